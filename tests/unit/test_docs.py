"""What the documentation lists is what there is."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from lakehouse.schemas import is_volatile
from lakehouse.settings import PREFIX, Settings
from lakehouse.tables import TABLES
from operate.cli import COMMANDS
from silver.rejects import CONFLICTING_ID, RULES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DASHBOARDS_PAGE = ROOT / "dashboards" / "README.md"
DEPLOY_PAGE = ROOT / "deploy" / "README.md"
TABLES_PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), DASHBOARDS_PAGE, DEPLOY_PAGE, *(ROOT / "docs").rglob("*.md")]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
PYTHON = sorted({path for name in (*PACKAGES, "tests") for path in (ROOT / name.replace(".", "/")).rglob("*.py")})
NAMES = {path.split()[0] for path in COMMANDS}
PLANNED = {"forget", "maintain"}
"""Commands that decisions speak of and that are not made yet."""


def test_every_setting_is_documented_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if str(field.default) else ""
        assert f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |" in README


def test_every_rule_is_documented_with_its_sentence() -> None:
    page = (ROOT / "docs" / "input.md").read_text(encoding="utf-8")
    rules = [f"| `{rule.name}` | {rule.sentence} |" for rule in (*RULES, CONFLICTING_ID)]
    assert page.split("|---|---|\n")[-1].splitlines() == rules


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = set(re.findall(rf"\| `{PREFIX}(\w+)` \|", README))
    assert documented == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_documented(table) -> None:  # type: ignore[no-untyped-def]
    page = TABLES_PAGE.split(f"## {table.name}\n")[1].split("\n## ")[0]
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| column")]
    assert rows == [
        f"| {field.name} | {field.dataType.simpleString()} | {field.metadata['comment']}"
        f"{' (volatile)' if is_volatile(field) else ''} |"
        for field in table.schema.fields
    ]
    assert f"| {table.name} | {table.grain} |" in README


def test_every_command_is_documented() -> None:
    for name in NAMES:
        assert f"lakehouse {name}" in README or f"`make {name}" in README, name


def test_no_command_is_documented_that_does_not_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`lakehouse (\w[\w-]*)", text)) <= NAMES | PLANNED, page
        assert set(re.findall(r"`make ([\w-]+)", text)) <= set(targets), page
    assert not PLANNED & NAMES


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_that_is_named_exists() -> None:
    for path in [*PAGES, *PYTHON, ROOT / "serving" / "views.sql"]:
        for page in re.findall(r"docs/[\w/.-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / page).exists(), f"{path.relative_to(ROOT)}: {page}"


def test_the_architecture_page_names_every_package_and_only_files_that_exist() -> None:
    for package in PACKAGES:
        assert f"| `{package.replace('.', '/')}/` |" in ARCHITECTURE
    named = re.findall(r"`([\w/.-]+\.py)`", ARCHITECTURE)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_is_vendored_has_its_licence_beside_it_and_is_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    vendored = [path for name in PACKAGES for path in (ROOT / name.replace(".", "/")).glob("**/vendor/*")]
    assert vendored
    for folder in vendored:
        assert (folder / "LICENSE").is_file(), folder
        named = notice.split(f"\n{folder.relative_to(ROOT)}\n")[1]
        for licence in folder.glob("LICENSE-*"):
            assert f"({licence.name})" in named


def test_every_module_says_what_it_does() -> None:
    for path in PYTHON:
        if path.name != "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
