"""The workbook as XML: sources, sheets, dashboards, and which window shows what."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from dashboards.datasource import Place, in_workbook
from dashboards.plan import DASHBOARDS, SHEETS
from dashboards.sheet import TITLE_H, Dashboard, Sheet
from dashboards.sources import SOURCES
from dashboards.worksheet import worksheet
from dashboards.xml_text import VERSION, document, element, manifest, simple_id

_UNIT = 100
"""Tableau measures zones in hundred-thousandths of the dashboard, we in thousandths."""

_MARGIN = 4
_STRIP = 2_147_483_647


def workbook(place: Place) -> bytes:
    """A .twb file."""
    root = element(
        "workbook",
        manifest(),
        element(
            "preferences",
            element("preference", name="ui.encoding.shelf.height", value="24"),
            element("preference", name="ui.shelf.height", value="26"),
        ),
        element("style"),
        element("datasources", *(in_workbook(source, place) for source in SOURCES)),
        element("worksheets", *map(worksheet, SHEETS)),
        element("dashboards", *map(_dashboard, DASHBOARDS)),
        element("windows", *map(_dashboard_window, DASHBOARDS), *map(_sheet_window, SHEETS), source_height="37"),
        original_version=VERSION,
        source_build="0.0.0 (0000.0.0.0)",
        source_platform="win",
        version=VERSION,
    )
    return document(root)


def _dashboard(dashboard: Dashboard) -> ET.Element:
    zones = [
        _zone(number, zone.x, zone.y, zone.w, zone.h, name=zone.sheet.name)
        for number, zone in enumerate(dashboard.zones(), 3)
    ]
    title = element("formatted-text", element("run", bold="true", fontsize=18, text=dashboard.title))
    return element(
        "dashboard",
        element("style"),
        element("size", sizing_mode="automatic"),
        element(
            "zones",
            element(
                "zone",
                _zone(2, 0, 0, 1000, TITLE_H, title, type_v2="text"),
                *zones,
                h=1000 * _UNIT,
                id=1,
                type_v2="layout-basic",
                w=1000 * _UNIT,
                x=0,
                y=0,
            ),
        ),
        simple_id("dashboard", dashboard.name),
        name=dashboard.name,
    )


def _zone(number: int, x: int, y: int, w: int, h: int, *children: ET.Element, **attributes: str) -> ET.Element:
    style = (("border-color", "#000000"), ("border-style", "none"), ("border-width", 0), ("margin", _MARGIN))
    formats = (element("format", attr=name, value=value) for name, value in style)
    return element(
        "zone",
        *children,
        element("zone-style", *formats),
        h=h * _UNIT,
        id=number,
        w=w * _UNIT,
        x=x * _UNIT,
        y=y * _UNIT,
        **attributes,
    )


def _dashboard_window(dashboard: Dashboard) -> ET.Element:
    """Tableau refuses a dashboard whose window does not list each of its sheets."""
    return element(
        "window",
        element(
            "viewpoints",
            *(
                element("viewpoint", element("zoom", type="entire-view"), name=sheet.name)
                for sheet in sorted(dashboard.sheets, key=lambda sheet: sheet.name)
            ),
        ),
        element("active", id=-1),
        simple_id("window", dashboard.name),
        class_="dashboard",
        maximized="true" if dashboard == DASHBOARDS[0] else None,
        name=dashboard.name,
    )


def _sheet_window(sheet: Sheet) -> ET.Element:
    left = [element("card", type=kind) for kind in ("pages", "filters", "marks")]
    top = [element("strip", element("card", type=kind), size=_STRIP) for kind in ("columns", "rows", "title")]
    return element(
        "window",
        element(
            "cards",
            element("edge", element("strip", *left, size=160), name="left"),
            element("edge", *top, name="top"),
        ),
        simple_id("window", sheet.name),
        class_="worksheet",
        name=sheet.name,
    )
