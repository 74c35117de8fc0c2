"""The plan of a dashboard as a picture: where each sheet is, what it asks, which fields it shows. Shapes, not data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from dashboards.sheet import TITLE_H, Dashboard, Pill, Sheet, Zone

FOLDER = Path(__file__).parents[1] / "docs" / "images"

_W, _H = 1200, 840
_GAP, _PAD = 8, 14
_INK, _GREY, _PALE, _SHAPE, _EDGE = "#1f2933", "#6b7785", "#eef1f4", "#4e79a7", "#d5dbe1"
_LETTER_W = 5.7
_LINE_H = 15
_SAMPLE = (0.96, 0.81, 0.72, 0.60, 0.55, 0.43, 0.38, 0.31, 0.24, 0.2, 0.17, 0.12)
_WAVE = (0.30, 0.42, 0.38, 0.55, 0.71, 0.66, 0.52, 0.60, 0.78, 0.92, 0.83, 0.70)


def path_of(dashboard: Dashboard) -> Path:
    return FOLDER / f"dashboard-{dashboard.name.lower()}.svg"


def picture(dashboard: Dashboard) -> str:
    """An SVG file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_W} {_H}" width="{_W}" height="{_H}"'
        ' font-family="Helvetica, Arial, sans-serif">'
    )
    title_y = TITLE_H * _H / 1000 / 2 + 8
    parts = [
        head,
        f'<rect width="{_W}" height="{_H}" fill="{_PALE}"/>',
        _text(_GAP + _PAD, title_y, dashboard.title, 22, _INK, "bold"),
        f'<text x="{_W - _GAP - _PAD}" y="{title_y:.1f}" font-size="12" fill="{_GREY}" text-anchor="end">'
        "the plan: shapes, not data</text>",
    ]
    for zone in dashboard.zones():
        parts.extend(_card(zone))
    return "\n".join([*parts, "</svg>", ""])


def shelves(sheet: Sheet) -> list[str]:
    """One line per shelf: its name and its fields as a person would call them."""
    used = {
        "rows": sheet.rows,
        "columns": sheet.columns,
        "color": (sheet.color,),
        "size": (sheet.size,),
        "label": sheet.label,
        "one mark per": (sheet.detail,),
    }
    lines = [f"{shelf}: {_words(sheet, pills)}" for shelf, pills in used.items() if any(pills)]
    ranking = f", top {sheet.top.count} by {sheet.source.field(sheet.top.measure).caption}" if sheet.top else ""
    return [*lines, f"from {sheet.view}{ranking}"]


def _words(sheet: Sheet, pills: tuple[Pill | None, ...]) -> str:
    return ", ".join(pill.words(sheet.source) for pill in pills if pill)


def _card(zone: Zone) -> Iterator[str]:
    x, y = zone.x * _W / 1000 + _GAP, zone.y * _H / 1000 + _GAP / 2
    w, h = zone.w * _W / 1000 - 2 * _GAP, zone.h * _H / 1000 - _GAP
    sheet = zone.sheet
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" fill="#ffffff" stroke="{_EDGE}"/>'
    left, top = x + _PAD, y + _PAD + 10
    yield _text(left, top, sheet.name, 15, _INK, "bold")
    yield _text(left, top + 17, sheet.asks, 12, _GREY)
    if sheet.mark == "Text":
        names = [pill.words(sheet.source) for pill in sheet.label]
        for n, name in enumerate(names):
            at = left + n * (w - 2 * _PAD) / len(names)
            yield _text(at, top + 42, name, 11, _GREY)
            yield _rect(at, top + 48, 84, 15, opacity=0.55)
        yield _text(left, y + h - 10, shelves(sheet)[-1], 11, _GREY)
        return
    width = int((w - 2 * _PAD) / _LETTER_W)
    lines = [part for line in shelves(sheet) for part in textwrap.wrap(line, width, subsequent_indent="  ")]
    foot = y + h - 10 - _LINE_H * (len(lines) - 1)
    yield from _shapes(sheet, left, top + 30, w - 2 * _PAD, foot - top - 30 - 20)
    for n, line in enumerate(lines):
        yield _text(left, foot + n * _LINE_H, line, 11, _GREY)


def _shapes(sheet: Sheet, x: float, y: float, w: float, h: float) -> Iterator[str]:
    if sheet.mark == "Square":
        yield from _squares(x, y, w, h)
    elif sheet.mark == "Circle":
        for n, (share, high) in enumerate(zip(_SAMPLE, _WAVE[::-1], strict=True)):
            yield _circle(x + w * (0.04 + 0.92 * share), y + h * (1 - 0.9 * high), 4 + 4 * (n % 3))
    elif sheet.mark == "Line":
        each = h / len(sheet.rows)
        for n in range(len(sheet.rows)):
            yield _line(x, y + n * each, w, each - 6, 1 - 0.3 * n)
    elif sheet.rows[0].level(sheet.source) == "quantitative":
        step = w / len(_WAVE)
        for n, share in enumerate(_WAVE if sheet.columns[0].field.endswith("_on") else _SAMPLE):
            yield _rect(x + n * step, y + h * (1 - share), step * 0.72, h * share)
    else:
        count = min(len(_SAMPLE), max(3, int(h / 14)))
        step, head = h / count, 0.16 * len(sheet.rows) * w
        for n, share in enumerate(_SAMPLE[:count]):
            yield _rect(x, y + n * step + step * 0.3, head * 0.8, step * 0.35, _EDGE, 1)
            yield _rect(x + head, y + n * step, (w - head) * share, step * 0.72)


def _squares(x: float, y: float, w: float, h: float) -> Iterator[str]:
    side = min(w, h) / 5
    for row in range(5):
        for column in range(5):
            opacity = 0.15 + 0.85 * _SAMPLE[(row + 2 * column) % len(_SAMPLE)]
            yield _rect(x + column * side * 1.4, y + row * side, side * 1.34, side * 0.94, opacity=opacity)


def _line(x: float, y: float, w: float, h: float, scale: float) -> str:
    step = w / (len(_WAVE) - 1)
    points = " ".join(f"{x + n * step:.1f},{y + h * (1 - scale * share):.1f}" for n, share in enumerate(_WAVE))
    return f'<polyline points="{points}" fill="none" stroke="{_SHAPE}" stroke-width="2.5"/>'


def _rect(x: float, y: float, w: float, h: float, fill: str = _SHAPE, opacity: float = 0.85) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" opacity="{opacity:.2f}"/>'


def _circle(x: float, y: float, r: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{_SHAPE}" opacity="0.7"/>'


def _text(x: float, y: float, text: str, size: int, fill: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
    )
