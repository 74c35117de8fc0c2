"""Which sheets there are, what each shows of which source, and how the three dashboards lay them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dashboards.fields import Field, Source, source_of

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


def _each(field: str) -> Pill:
    return Pill(field)


def _sum(field: str) -> Pill:
    return Pill(field, "Sum")


_CUSTOMERS = Pill("user_id", "Count", "Customers")


def _ranked(name: str, asks: str, view: str, headings: tuple[str, ...], by: str, label: str, count: int = 15) -> Sheet:
    """Bars, the longest first."""
    return Sheet(
        name,
        asks,
        view,
        "Bar",
        rows=tuple(map(_each, headings)),
        columns=(_sum(by),),
        label=(_sum(label),),
        sorted_by=_sum(by),
        top=Top(count, by),
    )


LAST_HOUR = Sheet(
    "Last hour", "What do we sell now?", "sales_last_hour", "Text", label=(_sum("revenue"), _sum("units"))
)
ALL_SALES = Sheet(
    "All sales",
    "What have we sold in all?",
    "sales_by_product",
    "Text",
    label=(_sum("revenue"), _sum("units"), _sum("refund_amount")),
)
NEWEST_SALE = Sheet(
    "Newest sale", "How fresh is this?", "sales_by_product", "Text", label=(Pill("last_purchase_at", "Max", "At"),)
)
BY_HOUR = Sheet(
    "Revenue by hour",
    "When do people buy?",
    "sales_by_hour",
    "Line",
    rows=(_sum("revenue"),),
    columns=(_each("hour_at"),),
)
BY_DAY = Sheet(
    "Revenue by day",
    "Which way is it going?",
    "sales_by_day",
    "Bar",
    rows=(_sum("revenue"),),
    columns=(_each("day_on"),),
)
TOP_PRODUCTS = _ranked(
    "Top products", "What sells best?", "sales_by_product", ("product_id", "brand"), "revenue", "units"
)
TOP_NOW = _ranked(
    "Top products of the last hour",
    "What sells best now?",
    "sales_last_hour",
    ("product_id", "brand"),
    "revenue",
    "units",
)
BY_BRAND = _ranked("Revenue by brand", "Which brands sell?", "sales_by_product", ("brand",), "revenue", "units")

CUSTOMERS = Sheet(
    "Customers and their value",
    "How many customers, worth how much?",
    "customers",
    "Text",
    label=(_CUSTOMERS, _sum("revenue"), _sum("net_revenue"), _sum("orders")),
)
SEGMENTS = Sheet(
    "Segments",
    "How loyal are they?",
    "customers",
    "Bar",
    rows=(_each("segment"),),
    columns=(_CUSTOMERS,),
    label=(_sum("revenue"),),
    sorted_by=_CUSTOMERS,
)
VALUES = Sheet(
    "Distribution of value",
    "Do few customers bring most of it?",
    "customers",
    "Bar",
    rows=(_CUSTOMERS,),
    columns=(_each("revenue_step"),),
)
RECENCY_FREQUENCY = Sheet(
    "Recency and frequency",
    "Whom do we lose?",
    "customers",
    "Square",
    rows=(_each("recency_score"),),
    columns=(_each("frequency_score"),),
    color=_CUSTOMERS,
    label=(_CUSTOMERS,),
)
TOP_CUSTOMERS = _ranked(
    "Top customers", "Who are our best?", "top_customers", ("user_id", "segment"), "revenue", "orders", 25
)

OPEN_CARTS = Sheet(
    "Open carts",
    "How much waits to be won back?",
    "open_abandoned_carts",
    "Text",
    label=(Pill("session_key", "Count", "Carts"), _sum("cart_value")),
)
WIN_BACK = Sheet(
    "Carts to win back",
    "Whom do we write to first?",
    "open_abandoned_carts",
    "Bar",
    rows=(_each("user_id"),),
    columns=(_sum("cart_value"),),
    color=Pill("abandoned_minutes", "Avg"),
    label=(_sum("cart_value"),),
    detail=_each("session_key"),
    sorted_by=_sum("cart_value"),
    top=Top(25, "cart_value"),
)
VALUE_AND_AGE = Sheet(
    "Value and age of carts",
    "Which are still warm?",
    "open_abandoned_carts",
    "Circle",
    rows=(_sum("cart_value"),),
    columns=(_sum("abandoned_minutes"),),
    size=_sum("orders"),
    detail=_each("session_key"),
)
FUNNEL = Sheet(
    "Funnel by day",
    "Where do visits end?",
    "funnel_by_day",
    "Line",
    rows=(_sum("viewed"), _sum("carted"), _sum("bought")),
    columns=(_each("day_on"),),
)
CONVERSION = Sheet(
    "Conversion by brand",
    "Which brands are looked at and not bought?",
    "funnel_by_brand",
    "Bar",
    rows=(_each("brand"),),
    columns=(Pill("conversion_overall", "User"),),
    label=(_sum("sessions"),),
    sorted_by=_sum("sessions"),
    top=Top(20, "sessions"),
)

DASHBOARDS = (
    Dashboard(
        "Sales",
        "Sales: what sells, and when",
        (
            (16, ((LAST_HOUR, 3), (ALL_SALES, 4), (NEWEST_SALE, 3))),
            (34, ((BY_HOUR, 1), (BY_DAY, 1))),
            (50, ((TOP_NOW, 1), (TOP_PRODUCTS, 1), (BY_BRAND, 1))),
        ),
    ),
    Dashboard(
        "Customers",
        "Customers: who they are, what they are worth",
        (
            (16, ((CUSTOMERS, 1),)),
            (39, ((SEGMENTS, 1), (VALUES, 1), (RECENCY_FREQUENCY, 1))),
            (45, ((TOP_CUSTOMERS, 1),)),
        ),
    ),
    Dashboard(
        "Carts",
        "Carts: what was left, what can be won back",
        (
            (16, ((OPEN_CARTS, 1),)),
            (44, ((WIN_BACK, 1), (VALUE_AND_AGE, 1))),
            (40, ((FUNNEL, 1), (CONVERSION, 1))),
        ),
    ),
)

SHEETS = tuple(sheet for dashboard in DASHBOARDS for sheet in dashboard.sheets)
