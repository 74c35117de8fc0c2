"""A sheet as XML: the fields that it uses, its filter and order, its marks and its shelves."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from dashboards.datasource import column, source_name
from dashboards.sheet import Pill, Sheet
from dashboards.xml_text import element, simple_id

_LINE_BREAK = "Æ\n"
"""How Tableau writes the end of a line in a text."""


def worksheet(sheet: Sheet) -> ET.Element:
    return element(
        "worksheet",
        element(
            "table",
            _view(sheet),
            element("style"),
            element("panes", _pane(sheet)),
            element("rows", text=_shelf(sheet, sheet.rows)),
            element("cols", text=_shelf(sheet, sheet.columns)),
        ),
        simple_id("worksheet", sheet.name),
        name=sheet.name,
    )


def _view(sheet: Sheet) -> ET.Element:
    source = sheet.source
    return element(
        "view",
        element("datasources", element("datasource", caption=source.caption, name=source_name(source))),
        element(
            "datasource-dependencies",
            *map(column, sheet.fields),
            *(_instance(sheet, pill) for pill in sheet.pills),
            datasource=source_name(source),
        ),
        *_top(sheet),
        *_order(sheet),
        *([element("slices", element("column", text=_reference(sheet, sheet.rows[0])))] if sheet.top else []),
        element("aggregation", value="true"),
    )


def _instance(sheet: Sheet, pill: Pill) -> ET.Element:
    return element(
        "column-instance",
        column=f"[{pill.field}]",
        derivation=pill.derivation,
        name=pill.instance(sheet.source),
        pivot="key",
        type=pill.level(sheet.source),
    )


def _reference(sheet: Sheet, pill: Pill) -> str:
    return f"[{source_name(sheet.source)}].{pill.instance(sheet.source)}"


def _top(sheet: Sheet) -> list[ET.Element]:
    """The rank is taken over the whole source, then the others go."""
    if sheet.top is None:
        return []
    heading = sheet.rows[0]
    everyone = element("groupfilter", function="level-members", level=heading.instance(sheet.source))
    everyone.attrib |= {"user:ui-enumeration": "all", "user:ui-marker": "enumerate"}
    expression = f"SUM([{sheet.top.measure}])"
    ranked = element("groupfilter", everyone, direction="DESC", expression=expression, function="order")
    ranked.attrib |= {"user:ui-marker": "order"}
    first = element("groupfilter", ranked, count=sheet.top.count, end="top", function="end", units="records")
    first.attrib |= {"user:ui-marker": "end", "user:ui-top-by-field": "true"}
    return [element("filter", first, class_="categorical", column=_reference(sheet, heading))]


def _order(sheet: Sheet) -> list[ET.Element]:
    if sheet.sorted_by is None:
        return []
    using = _reference(sheet, sheet.sorted_by)
    return [element("computed-sort", column=_reference(sheet, sheet.rows[0]), direction="DESC", using=using)]


def _pane(sheet: Sheet) -> ET.Element:
    encodings = [
        ("color", sheet.color),
        ("size", sheet.size),
        *(("text", pill) for pill in sheet.label),
        ("lod", sheet.detail),
    ]
    used = [element(name, column=_reference(sheet, pill)) for name, pill in encodings if pill]
    is_numbers = sheet.mark == "Text" and not sheet.rows
    return element(
        "pane",
        element("view", element("breakdown", value="auto")),
        element("mark", class_=sheet.mark),
        *([element("encodings", *used)] if used else []),
        *([_large_numbers(sheet)] if is_numbers else []),
        *([_labels()] if sheet.label else []),
        selection_relaxation_option="selection-relaxation-allow",
    )


def _large_numbers(sheet: Sheet) -> ET.Element:
    """Each field's caption, small, and under it its value."""
    runs = []
    for pill in sheet.label:
        runs += [
            element("run", fontcolor="#555555", fontsize=10, text=pill.words(sheet.source)),
            element("run", text=_LINE_BREAK),
            element("run", bold="true", fontsize=18, text=f"<{_reference(sheet, pill)}>"),
            element("run", text=_LINE_BREAK),
        ]
    return element("customized-label", element("formatted-text", *runs[:-1]))


def _labels() -> ET.Element:
    shown = element("format", attr="mark-labels-show", value="true")
    culled = element("format", attr="mark-labels-cull", value="true")
    return element("style", element("style-rule", shown, culled, element="mark"))


def _shelf(sheet: Sheet, pills: tuple[Pill, ...]) -> str:
    """Headings nest (`/`), axes stand beside each other (`+`)."""
    names = [_reference(sheet, pill) for pill in pills]
    if len(names) < 2:
        return "".join(names)
    is_axes = pills[0].level(sheet.source) == "quantitative"
    return f"({(' + ' if is_axes else ' / ').join(names)})"
