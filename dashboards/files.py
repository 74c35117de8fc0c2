"""The documents as files: the workbook and the data sources, alone or packed together with an extract."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfileobj

from dashboards.datasource import Extract, Place, data_source
from dashboards.sources import SOURCES
from dashboards.workbook import workbook
from dashboards.xml_text import is_ours
from lakehouse.errors import InputError
from lakehouse.whole_file import whole_file

WORKBOOK = "storefront.twb"
PACKAGE = "storefront.twbx"
HYPER = "storefront.hyper"
SOURCES_FOLDER = "data_sources"
PACKED_EXTRACT = f"Data/{HYPER}"
"""Where the extract is in the package, as the packed workbook names it."""

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def documents(place: Place) -> dict[str, bytes]:
    """The workbook and one data source per view, by the path in the folder they are written to."""
    sources = {f"{SOURCES_FOLDER}/{source.view}.tds": data_source(source, place) for source in SOURCES}
    return {WORKBOOK: workbook(place)} | sources


def write_documents(folder: Path, place: Place) -> list[Path]:
    """All of them or, when one would replace a file that was not written here, none. Out: what was written.

    :raises InputError: the folder is missing, or has such a file.
    """
    check_folder(folder)
    written = {folder / name: content for name, content in documents(place).items()}
    for path in written:
        check_free(path)
    (folder / SOURCES_FOLDER).mkdir(exist_ok=True)
    for path, content in written.items():
        with whole_file(path) as out:
            out.write(content)
    return list(written)


def write_package(path: Path, extract: Path) -> None:
    """The workbook on the extract, with the extract, in one file: the same bytes for the same extract.

    :raises InputError: a file that was not written here has this name.
    """
    check_free(path)
    with whole_file(path) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(_entry(WORKBOOK), workbook(Extract(PACKED_EXTRACT)))
        with extract.open("rb") as rows, package.open(_entry(PACKED_EXTRACT), "w", force_zip64=True) as packed:
            copyfileobj(rows, packed, 1 << 20)


def check_folder(folder: Path) -> None:
    """:raises InputError: there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "a folder to write into", f"mkdir -p {folder}")


def check_free(path: Path) -> None:
    """:raises InputError: what is there was not written here, or was saved by Tableau since."""
    if path.exists() and not any(map(is_ours, _workbooks_in(path))):
        raise InputError(
            f"{path} was not written by an export, or was changed since.",
            "a name that is free",
            "move it, or choose another folder",
        )


def _workbooks_in(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        return
    if not zipfile.is_zipfile(path):
        yield path.read_bytes()
        return
    with zipfile.ZipFile(path) as package:
        for name in package.namelist():
            if name.endswith(".twb"):
                yield package.read(name)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
