"""A bill of materials in CycloneDX's JSON: what is pinned here, each with its SHA-256. `make sbom` writes it.

It has the Python packages of requirements/ (those of tests and linters alone are marked `excluded`), the jars of
jars.sha256, and the files in vendor folders of the live page. What pyspark's own archive holds is pyspark's. It needs
what `make setup-test` installs.
"""

from __future__ import annotations

import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from operate import jars
from operate.packages import REQUIREMENTS

ROOT = REQUIREMENTS.parent
FILE = ROOT / "build" / "sbom.cdx.json"
VENDORED = ROOT / "serving" / "live" / "page" / "vendor"
TESTS = "test.txt"
_PINNED = re.compile(r"([a-z0-9-]+)==(\S+)")
_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_ORIGIN = re.compile(r"(\d[\w.]*), `(\S+)` of the npm package `(\S+)`")
"""What the README of a vendor folder begins with: version, file, package."""


def bill(made_at: datetime, serial: uuid.UUID) -> str:
    """The text of the bill. The same moment and serial number give the same text."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = Component(name=project["name"], version=project["version"], type=ComponentType.APPLICATION)
    parts = [*python_packages(), *maven_files(), *vendored_files()]
    bom = Bom(components=parts, serial_number=serial, metadata=BomMetaData(component=ours, timestamp=made_at))
    bom.register_dependency(ours, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=1))


def python_packages() -> Iterator[Component]:
    """Each package once, with the hashes of all its files: a list fits several platforms and versions of Python."""
    lists = sorted(REQUIREMENTS.iterdir(), key=lambda file: file.name == TESTS)  # the lakehouse's own before the tests'
    seen = set[tuple[str, str]]()
    for file in lists:
        for entry in file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            pin = _PINNED.match(entry)
            if pin is None or pin.groups() in seen:
                continue
            name, version = pin.groups()
            seen.add((name, version))
            scope = ComponentScope.EXCLUDED if file.name == TESTS else ComponentScope.REQUIRED
            yield _component(PackageURL("pypi", None, name, version), _SHA256.findall(entry), scope=scope)


def maven_files() -> Iterator[Component]:
    """Each file once, with the configurations that it is in."""
    confs: dict[tuple[str, str], list[str]] = {}
    for line in jars.PINS.read_text(encoding="utf-8").splitlines():
        digest, pinned = line.split()
        conf, coordinate = pinned.split("/")
        confs.setdefault((coordinate, digest), []).append(conf)
    for (coordinate, digest), names in confs.items():
        group, artifact, kind, *classifier, version = coordinate.split(":")
        qualifiers = {"type": kind} | ({"classifier": classifier[0]} if classifier else {})
        is_required = not set(names).isdisjoint(jars.SETUP)
        yield _component(
            PackageURL("maven", group, artifact, version, qualifiers),
            [digest],
            scope=ComponentScope.REQUIRED if is_required else ComponentScope.OPTIONAL,
            properties=[Property(name="storefront:configuration", value=name) for name in names],
        )


def vendored_files() -> Iterator[Component]:
    """What each vendor folder says that it is a copy of."""
    for folder in sorted(path for path in VENDORED.iterdir() if path.is_dir()):
        origin = _ORIGIN.search((folder / "README.md").read_text(encoding="utf-8"))
        if origin is None:
            raise ValueError(f"{folder}/README.md does not say which version, file and npm package it is of")
        version, file, package = origin.groups()
        digest = vendored_sums(folder)[Path(file).name]
        yield _component(PackageURL("npm", None, package, version, None, file), [digest])


def vendored_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name of file, as SHA256SUMS of a vendor folder has it."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def _component(
    purl: PackageURL,
    sha256s: list[str],
    *,
    scope: ComponentScope = ComponentScope.REQUIRED,
    properties: list[Property] | None = None,
) -> Component:
    return Component(
        name=purl.name,
        group=purl.namespace,
        version=purl.version,
        type=ComponentType.LIBRARY,
        scope=scope,
        purl=purl,
        bom_ref=purl.to_string(),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in sha256s],
        properties=properties,
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(bill(datetime.now(UTC), uuid.uuid4()) + "\n", encoding="utf-8")
    print(target)
