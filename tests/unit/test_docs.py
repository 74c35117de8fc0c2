"""What the documentation lists is what there is."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from lakehouse.schemas import is_volatile
from lakehouse.settings import PREFIX, Settings
from lakehouse.settings_page import GROUPS, PAGE, settings_page, unit_of
from lakehouse.tables import TABLES
from operate.cli import COMMANDS
from silver.rejects import CONFLICTING_ID, RULES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS_PAGE = PAGE.read_text(encoding="utf-8")
USING = (ROOT / "docs" / "using.md").read_text(encoding="utf-8")
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
CHANGELOG = ROOT / "CHANGELOG.md"
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


def test_the_page_of_settings_is_the_one_that_the_settings_make() -> None:
    assert settings_page() == SETTINGS_PAGE, "a setting changed: `python -m lakehouse.settings_page`"


def test_every_setting_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(Settings.model_fields)


def test_every_setting_is_documented_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if str(field.default) else ""
        unit = unit_of(name, field.default)
        shown = f"{default} {unit}" if default and unit else default or unit
        assert f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |" in SETTINGS_PAGE


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("trigger_ms", 200, "ms"),
        ("file_settle_s", 1.0, "s"),
        ("sales_window_s", 60, "s"),
        ("customer_scores_s", 300.0, "s (5 minutes)"),
        ("session_hold_s", 86_400, "s (24 hours)"),
        ("kafka_retention_s", 604_800, "s (7 days)"),
        ("logs_mb", 256, "MB"),
        ("max_extra_chars", 1024, "characters"),
        ("topic_partitions", 4, ""),
        ("store_opened_on", None, ""),
    ],
)
def test_a_default_is_shown_with_the_unit_of_its_name(name: str, value: object, unit: str) -> None:
    assert unit_of(name, value) == unit


def test_every_rule_is_documented_with_its_sentence() -> None:
    page = (ROOT / "docs" / "input.md").read_text(encoding="utf-8")
    rules = [f"| `{rule.name}` | {rule.sentence} |" for rule in (*RULES, CONFLICTING_ID)]
    assert page.split("|---|---|\n")[-1].splitlines() == rules


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(re.findall(rf"\| `{PREFIX}(\w+)` \|", SETTINGS_PAGE)) == known
    for page in set(PAGES) - {CHANGELOG}:  # which also names what was
        named = re.findall(rf"\b{PREFIX}([A-Z][A-Z_]*[A-Z])\b", page.read_text(encoding="utf-8"))
        assert set(named) <= known, page


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_documented(table) -> None:  # type: ignore[no-untyped-def]
    page = TABLES_PAGE.split(f"## {table.name}\n")[1].split("\n## ")[0]
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| column")]
    assert rows == [
        f"| {field.name} | {field.dataType.simpleString()} | {field.metadata['comment']}"
        f"{' (volatile)' if is_volatile(field) else ''} |"
        for field in table.schema.fields
    ]
    assert f"| {table.name} | {table.grain} |" in TABLES_PAGE


def test_every_command_is_documented() -> None:
    for name in NAMES:
        assert f"`lakehouse {name}" in USING or f"`make {name}" in USING, name


def test_no_command_is_documented_that_does_not_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`lakehouse (\w[\w-]*)", text)) <= NAMES | PLANNED, page
        assert set(re.findall(r"^(?:\$ )?lakehouse ([\w-]+)", text, re.MULTILINE)) <= NAMES, page
        assert set(re.findall(r"`make ([\w-]+)", text)) <= set(targets), page
    assert not PLANNED & NAMES


def without_code(text: str) -> str:
    """A page without its blocks of code, in which a `#` begins a comment and brackets are no links."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: of several that are alike, the second ends with -1."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+?) *$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        found.append(f"{anchor}-{before}" if (before := found.count(anchor)) else anchor)
    return set(found)


def links(page: Path) -> list[str]:
    """What a page links to or shows, but for other sites."""
    text = without_code(page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:href|src|srcset)=\"([^\"]+)\"", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_anchors_are_those_of_headings_and_not_of_comments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`: [three](x.md), 4!\n```sh\n# no heading\n```\n## Again\n## Again\n")
    assert anchors(page) == {"one-two-three-4", "again", "again-1"}


def names_in(path: Path) -> set[str]:
    """Functions and classes of a file, methods as `Class.method`."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        return set(re.findall(r"\bfunction (\w+)\(", text))
    named: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            named.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            named.update(f"{node.name}.{method.name}" for method in methods)
    return named


def test_the_tour_names_only_files_and_functions_that_exist() -> None:
    stops = re.findall(r"\[`([\w/.]+)(?:: ([\w.]+))?`\]\(\.\./([\w/.]+)\)", TOUR)
    assert len(stops) == TOUR.count("](../") >= 30
    for shown, name, path in stops:
        assert shown == path
        assert not name or name in names_in(ROOT / path), f"{path}: {name}"


def test_the_readme_is_short_and_its_commands_few() -> None:
    assert len(README.split()) <= 1_100
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 6 and all(1 <= len(block.splitlines()) <= 3 for block in blocks)


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
