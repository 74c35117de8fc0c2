"""What the documentation lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lakehouse.schemas import is_volatile
from lakehouse.settings import PREFIX, Settings
from lakehouse.tables import TABLES
from operate.cli import command_names

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DASHBOARDS_PAGE = ROOT / "dashboards" / "README.md"
DEPLOY_PAGE = ROOT / "deploy" / "README.md"
TABLES_PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


def test_every_setting_is_documented_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if str(field.default) else ""
        assert f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |" in README


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
    for name in command_names():
        assert f"lakehouse {name}" in README or f"`make {name}" in README, name


def test_links_lead_somewhere() -> None:
    others = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", DASHBOARDS_PAGE, DEPLOY_PAGE]
    for page in [*(ROOT / "docs").rglob("*.md"), *others]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
