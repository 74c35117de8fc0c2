"""What a sheet is, a field on one of its shelves, and a dashboard of sheets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dashboards.fields import Field, Source
from dashboards.sources import source_of

Derivation = Literal["None", "Sum", "Count", "Avg", "Max", "User"]
"""What becomes of a field's rows. None: each value by itself. User: the field's formula has the aggregation."""

_PREFIXES: dict[Derivation, str] = {
    "None": "none",
    "Sum": "sum",
    "Count": "cnt",
    "Avg": "avg",
    "Max": "max",
    "User": "usr",
}


@dataclass(frozen=True)
class Pill:
    """A field on a shelf."""

    field: str
    derivation: Derivation = "None"
    title: str = dataclasses.field(default="", compare=False)

    def level(self, source: Source) -> str:
        """nominal and ordinal make headings, quantitative makes an axis."""
        field = source.field(self.field)
        if self.derivation != "None" or field.kind in ("date", "datetime") or field.is_measure:
            return "quantitative"
        return "nominal" if field.kind == "string" else "ordinal"

    def instance(self, source: Source) -> str:
        """The name that Tableau gives a field used in this way."""
        letter = self.level(source)[0]
        return f"[{_PREFIXES[self.derivation]}:{self.field}:{letter}k]"

    def words(self, source: Source) -> str:
        """What a person would call it."""
        caption = source.field(self.field).caption
        return self.title or (f"{caption}, average" if self.derivation == "Avg" else caption)


@dataclass(frozen=True)
class Top:
    """Only the values of the first heading that have most of a measure."""

    count: int
    measure: str


@dataclass(frozen=True)
class Sheet:
    """A worksheet.

    :param asks: the question that it answers.
    :param mark: Tableau's name for how a row is drawn; Text without rows and columns is a few large numbers.
    :param detail: what tells marks apart beside the headings.
    :param sorted_by: the first heading's values, the greatest first.
    """

    name: str
    asks: str
    view: str
    mark: Literal["Bar", "Line", "Circle", "Square", "Text"]
    rows: tuple[Pill, ...] = ()
    columns: tuple[Pill, ...] = ()
    color: Pill | None = None
    size: Pill | None = None
    label: tuple[Pill, ...] = ()
    detail: Pill | None = None
    sorted_by: Pill | None = None
    top: Top | None = None

    @property
    def source(self) -> Source:
        return source_of(self.view)

    @property
    def pills(self) -> tuple[Pill, ...]:
        """Each once, in the order of the shelves."""
        single = [pill for pill in (self.color, self.size, self.detail, self.sorted_by) if pill]
        return tuple(dict.fromkeys([*self.rows, *self.columns, *self.label, *single]))

    @property
    def fields(self) -> tuple[Field, ...]:
        """Of its source, in the source's order: those on shelves, and those that a formula or the ranking needs."""
        names = {pill.field for pill in self.pills} | ({self.top.measure} if self.top else set())
        formulas = [self.source.field(name).formula for name in names]
        return tuple(
            field
            for field in self.source.fields + self.source.computed
            if field.name in names or any(f"[{field.name}]" in formula for formula in formulas)
        )


@dataclass(frozen=True)
class Zone:
    """Where a sheet is, in thousandths of the dashboard."""

    sheet: Sheet
    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True)
class Dashboard:
    """Sheets in lines from top to bottom.

    :param lines: of each line its height, and its sheets with their widths; both are shares.
    """

    name: str
    title: str
    lines: tuple[tuple[int, tuple[tuple[Sheet, int], ...]], ...]

    @property
    def sheets(self) -> tuple[Sheet, ...]:
        return tuple(zone.sheet for zone in self.zones())

    def zones(self) -> Iterator[Zone]:
        """One per sheet; together they cover all below the title."""
        heights = _edges([height for height, _ in self.lines], TITLE_H)
        for (y, h), (_, cells) in zip(heights, self.lines, strict=True):
            widths = _edges([width for _, width in cells], 0)
            for (x, w), (sheet, _) in zip(widths, cells, strict=True):
                yield Zone(sheet, x, y, w, h)


TITLE_H = 60
"""The title's height, in thousandths too."""


def _edges(shares: list[int], start: int) -> list[tuple[int, int]]:
    """Begin and length of each share of what is left from start to 1000, without a gap."""
    at = [start + (1000 - start) * sum(shares[:n]) // sum(shares) for n in range(len(shares) + 1)]
    return [(begin, end - begin) for begin, end in pairwise(at)]
