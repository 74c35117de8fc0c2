"""A source as XML: where its rows come from, its columns, and one logical table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from xml.etree import ElementTree as ET

from dashboards.fields import Field, Kind, Source
from dashboards.xml_text import VERSION, document, element, manifest, name_of

_REMOTE_TYPES: Mapping[Kind, int] = {
    "integer": 20,
    "decimal": 131,
    "double": 5,
    "string": 129,
    "date": 133,
    "datetime": 135,
}
"""OLE DB's numbers, by which Tableau names a column's type in its source."""

_TEXT_WIDTH = 2_147_483_647


class Place(Protocol):
    """Where the tables are."""

    kind: str
    schema: str

    @property
    def caption(self) -> str: ...

    def attributes(self, source: Source) -> dict[str, str]:
        """Of the connection. No password: Tableau asks for it."""


@dataclass(frozen=True)
class Live:
    """PostgreSQL, asked each time."""

    host: str = "127.0.0.1"
    port: int = 5432
    database: str = "lakehouse"
    user: str = "bi"
    kind = "postgres"
    schema = "storefront"

    @property
    def caption(self) -> str:
        return self.host

    def attributes(self, source: Source) -> dict[str, str]:
        del source  # all views are reached by one connection
        return {
            "authentication": "username-password",
            "class": self.kind,
            "dbname": self.database,
            "odbc-native-protocol": "",
            "one-time-sql": "",
            "port": str(self.port),
            "server": self.host,
            "sslmode": "",
            "username": self.user,
        }


@dataclass(frozen=True)
class Extract:
    """A Hyper file, by its path inside the package."""

    path: str
    kind = "hyper"
    schema = "Extract"

    @property
    def caption(self) -> str:
        return self.path.rpartition("/")[2]

    def attributes(self, source: Source) -> dict[str, str]:
        return {
            "authentication": "auth-none",
            "author-locale": "en_US",
            "class": self.kind,
            "dbname": self.path,
            "default-settings": "yes",
            "schema": self.schema,
            "sslmode": "",
            "tablename": source.view,
            "username": "",
        }


def source_name(source: Source) -> str:
    """By which sheets refer to it."""
    return f"federated.{name_of('source', source.view)}"


def in_workbook(source: Source, place: Place) -> ET.Element:
    return element(
        "datasource",
        *_contents(source, place),
        caption=source.caption,
        inline="true",
        name=source_name(source),
        version=VERSION,
    )


def data_source(source: Source, place: Place) -> bytes:
    """A .tds file."""
    root = element(
        "datasource",
        manifest(),
        *_contents(source, place),
        formatted_name=source_name(source),
        inline="true",
        source_platform="win",
        version=VERSION,
    )
    return document(root)


def column(field: Field) -> ET.Element:
    """A field as the source and the sheets that use it declare it."""
    parts = [element("calculation", class_="tableau", formula=field.formula)] if field.formula else []
    parts.append(element("desc", element("formatted-text", element("run", text=field.meaning))))
    is_quantity = field.is_measure
    return element(
        "column",
        *parts,
        aggregation="Avg" if field.aggregation == "Avg" and not field.formula else None,
        caption=field.caption,
        datatype=field.datatype,
        default_format=field.format or None,
        name=f"[{field.name}]",
        role="measure" if is_quantity else "dimension",
        type="quantitative" if is_quantity else "nominal" if field.kind == "string" else "ordinal",
    )


def _contents(source: Source, place: Place) -> list[ET.Element]:
    connection = f"{place.kind}.{name_of('connection', place.kind, source.view)}"
    table = f"[{place.schema}].[{source.view}]"
    thing = f"{source.view}_{name_of('object', source.view).upper()}"

    def relation() -> ET.Element:
        return element("relation", connection=connection, name=source.view, table=table, type="table")

    return [
        element(
            "connection",
            element(
                "named-connections",
                element(
                    "named-connection",
                    ET.Element("connection", place.attributes(source)),
                    caption=place.caption,
                    name=connection,
                ),
            ),
            relation(),
            element(
                "metadata-records", *(_record(field, n, source.view, thing) for n, field in enumerate(source.fields, 1))
            ),
            class_="federated",
        ),
        element("aliases", enabled="yes"),
        *map(column, source.fields + source.computed),
        element(
            "column",
            caption=source.view,
            datatype="table",
            name=f"[__tableau_internal_object_id__].[{thing}]",
            role="measure",
            type="quantitative",
        ),
        element("layout", dim_ordering="alphabetic", measure_ordering="alphabetic", show_structure="true"),
        element(
            "object-graph",
            element(
                "objects",
                element("object", element("properties", relation(), context=""), caption=source.view, id=thing),
            ),
        ),
    ]


def _record(field: Field, ordinal: int, view: str, thing: str) -> ET.Element:
    """What Tableau would have found when it asked the source for its columns."""
    facts: dict[str, object] = {
        "remote-name": field.name,
        "remote-type": _REMOTE_TYPES[field.kind],
        "local-name": f"[{field.name}]",
        "parent-name": f"[{view}]",
        "remote-alias": field.name,
        "ordinal": ordinal,
        "local-type": field.datatype,
        "aggregation": field.aggregation,
    }
    if field.kind == "integer":
        facts["precision"] = 19
    if field.kind == "string":
        facts["width"] = _TEXT_WIDTH
    facts |= {"contains-null": "true", "object-id": f"[{thing}]"}
    return element(
        "metadata-record", *(element(name, text=str(value)) for name, value in facts.items()), class_="column"
    )
