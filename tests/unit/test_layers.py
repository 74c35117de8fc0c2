"""The rules of the layout, read from the code: who imports whom, what files may be called, where things are built."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from lakehouse.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("bronze", "silver", "gold", "ingest", "ml", "serving", "dashboards")
"""Each imports `lakehouse` and itself. dashboards is beside serving: it knows the names of its views, not its code."""

ABOVE = ("operate", "bench")
OURS = ("lakehouse", *LAYERS, *ABOVE, "tests")


@cache
def modules(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_by(source: ast.Module) -> set[str]:
    """Modules, and names with their module. Also the imports inside functions: late ones are dependencies too."""
    names: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def our_packages_imported_by(source: ast.Module) -> set[str]:
    return {name.split(".")[0] for name in imported_by(source)} & set(OURS)


def allowed(package: str) -> set[str]:
    """What modules of a package may import of ours."""
    if package == "lakehouse":
        return {"lakehouse"}
    if package in LAYERS:
        return {"lakehouse", package}
    if package == "operate":
        return {"lakehouse", *LAYERS, *ABOVE}
    return {"lakehouse", *LAYERS, *ABOVE}


@pytest.mark.parametrize("package", ["lakehouse", *LAYERS, *ABOVE])
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    broken = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in our_packages_imported_by(tree_of(path)) - allowed(package)
    }
    assert broken == set()


def test_a_forbidden_import_is_found_wherever_it_hides() -> None:
    hidden = ast.parse("def late():\n    from silver.seen import SeenEvents\n    import operate.cli as cli\n")
    assert our_packages_imported_by(hidden) - allowed("gold") == {"silver", "operate"}


def by_name() -> dict[str, Path]:
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules(*OURS)}


def test_no_import_leads_back_to_where_it_began() -> None:
    ours = by_name()
    below = {
        name: {module for found in imported_by(tree_of(path)) for module in (found, found.rpartition(".")[0])}
        & set(ours)
        for name, path in ours.items()
    }
    TopologicalSorter(below).prepare()  # raises CycleError, with the modules of the circle


def test_tests_import_from_no_test_module() -> None:
    """What several of them need is in a module of its own, without `test_`."""
    broken = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("tests")
        for name in imported_by(tree_of(path))
        if re.match(r"tests\.(.*\.)?test_", name)
    }
    assert broken == set()


def fixtures_in(source: ast.Module) -> set[str]:
    return {
        node.name
        for node in source.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each).split("(")[0] in ("pytest.fixture", "fixture") for each in node.decorator_list)
    }


def test_a_fixture_is_in_a_conftest_or_in_the_one_module_that_uses_it() -> None:
    """pytest knows an imported one anew in each module: what lives for the session would be started once for each."""
    fixtures = {f"{name}.{each}" for name, path in by_name().items() for each in fixtures_in(tree_of(path))}
    assert "tests.conftest.spark" in fixtures
    imported = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("tests")
        for name in imported_by(tree_of(path)) & fixtures
    }
    assert imported == set()


def test_no_file_is_called_like_a_module_that_someone_imports() -> None:
    """`spark-submit bronze/job.py` puts `bronze/` first on the path: `bronze/kafka.py` would replace the real kafka."""
    taken = set(sys.stdlib_module_names) | set(packages_distributions()) | set(OURS)
    shadowing = {
        str(path.relative_to(ROOT))
        for path in modules("lakehouse", *LAYERS, "bench")
        if path.stem in taken and path.stem != "__init__"
    }
    # operate's modules are never started as files in a folder that is on the path, but for install.py.
    beside_install = {str(path.relative_to(ROOT)) for path in (ROOT / "operate").glob("*.py") if path.stem in taken}
    assert shadowing | beside_install == set()
    assert {"kafka", "delta", "types", "queue", "pyspark"} <= taken


def test_there_is_one_builder_of_sessions() -> None:
    builders = {
        str(path.relative_to(ROOT))
        for path in modules(*OURS)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "builder"
        and isinstance(node.value, ast.Name)
        and node.value.id == "SparkSession"
    }
    # The textbook's version of the flow is what we are compared with, untuned as a tutorial leaves it.
    assert builders == {"lakehouse/session.py", "bench/textbook.py"}


def test_delta_rs_is_imported_in_one_place_which_has_set_what_it_logs() -> None:
    importing = {
        str(path.relative_to(ROOT))
        for path in modules("lakehouse", *LAYERS, *ABOVE)
        if any(name.split(".")[0] == "deltalake" for name in imported_by(tree_of(path)))
    }
    assert importing == {"operate/lake.py"}


def test_the_folder_of_a_table_is_spelled_nowhere_but_in_the_list_of_tables() -> None:
    """`bronze/events` as a path; `bronze.events` is a name, and free to use."""
    paths = re.compile("|".join(re.escape(table.name.replace(".", "/")) + r"\b(?!\.py)" for table in TABLES))
    spelled = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in modules("lakehouse", *LAYERS, *ABOVE)
        if path != ROOT / "lakehouse" / "tables.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and paths.search(node.value)
    }
    assert spelled == set()
    assert paths.search("lake/silver/events") and not paths.search("silver/events.py")


def test_a_table_belongs_to_a_layer_and_its_keys_are_its_columns() -> None:
    for table in TABLES:
        assert table.layer in LAYERS
        assert {*table.keys, *table.partition_by, *table.skipping} <= set(table.schema.fieldNames())
    assert len({table.name for table in TABLES}) == len(TABLES)
