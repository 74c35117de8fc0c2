"""XML as Tableau reads it: elements from names and attributes, names that stay the same, text that is deterministic."""

from __future__ import annotations

import hashlib
import uuid
from xml.etree import ElementTree as ET

VERSION = "18.1"
"""Of the format, not of a product: what Tableau itself still writes. What goes beyond it is named in the manifest."""

NAMESPACE = {"xmlns:user": "http://www.tableausoftware.com/xml/user"}

FEATURES = (
    "ObjectModelEncapsulateLegacy",
    "ObjectModelTableType",
    "SchemaViewerObjectModel",
    "SheetIdentifierTracking",
    "SortTagCleanup",
    "WindowsPersistSimpleIdentifiers",
)
"""What the documents use: tables as objects, sheets with identifiers, `computed-sort`. Tableau refuses to read an
element whose feature is not named."""

MARK = "Written by lakehouse export. Tableau saves without this line, and then no export writes over the file."

_IDS = uuid.UUID("5e0f7a52-6c1b-5d43-9a54-7d5f0c8be001")


def element(tag: str, *children: ET.Element, text: str = "", **attributes: object) -> ET.Element:
    """`type_v2="text"` is the attribute `type-v2`, `class_` is `class`; an attribute that is None is left out."""
    given = {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items() if value is not None}
    made = ET.Element(tag, given)
    made.text = text or None
    made.extend(children)
    return made


def manifest() -> ET.Element:
    return element("document-format-change-manifest", *map(element, FEATURES))


def simple_id(*path: str) -> ET.Element:
    """An identifier that is the same in every export."""
    return element("simple-id", uuid=f"{{{str(uuid.uuid5(_IDS, '/'.join(path))).upper()}}}")


def name_of(*path: str) -> str:
    """28 letters and digits, as Tableau ends the names of sources and connections."""
    return hashlib.sha256("/".join(path).encode()).hexdigest()[:28]


def document(root: ET.Element) -> bytes:
    """The whole file, with a line that says who wrote it."""
    for name, value in NAMESPACE.items():
        root.set(name, value)
    ET.indent(root)
    head = f"<?xml version='1.0' encoding='utf-8' ?>\n\n<!-- {MARK} -->\n"
    return (head + ET.tostring(root, encoding="unicode") + "\n").encode()


def is_ours(content: bytes) -> bool:
    """Was this written here, and not saved by Tableau since?"""
    return MARK.encode() in content[:1024]
