"""The documents for Tableau: valid by its schema, without a loose end, and kept as they are made."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dashboards import extract, files
from dashboards.datasource import Extract, Live
from dashboards.files import PACKED_EXTRACT, WORKBOOK, documents, write_documents, write_package
from dashboards.plan import DASHBOARDS, SHEETS
from dashboards.render import path_of, picture, shelves
from dashboards.sheet import TITLE_H
from dashboards.sources import SOURCES
from dashboards.workbook import workbook
from dashboards.xml_text import MARK, document, element, is_ours
from lakehouse.errors import InputError, MissingExtraError
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES
from operate.cli import main
from operate.export import store_place
from operate.services.postgres import PostgresServer
from tests.tableau_schema import EXEMPT, complaints

ROOT = Path(__file__).resolve().parents[2]
LIVE = documents(Live())
PACKED = workbook(Extract(PACKED_EXTRACT))
TWB = LIVE[WORKBOOK]
TDS = LIVE["data_sources/customers.tds"]


def loose_ends(workbook: bytes) -> set[str]:
    """Names that are used in a workbook and declared nowhere: what the schema does not look at."""
    root = ET.fromstring(workbook)
    found = set()
    columns: dict[str, set[str]] = {}
    for source in root.findall("datasources/datasource"):
        name = source.get("name", "")
        columns[name] = {column.get("name", "") for column in source.findall("column")}
        relations = [(relation.get("name"), relation.get("connection")) for relation in source.iter("relation")]
        connection = source.find(".//named-connection")
        thing = source.find(".//object")
        assert connection is not None and thing is not None
        found |= {f"{name}: relation {each}" for each in relations if each[1] != connection.get("name")}
        found |= {
            f"{name}: record of {record.findtext('local-name')}"
            for record in source.iter("metadata-record")
            if record.findtext("local-name") not in columns[name]
            or record.findtext("object-id") != f"[{thing.get('id')}]"
            or record.findtext("parent-name") != f"[{relations[0][0]}]"
        }
        if f"[__tableau_internal_object_id__].[{thing.get('id')}]" not in columns[name]:
            found.add(f"{name}: no column for the table")
    for sheet in root.findall("worksheets/worksheet"):
        title = sheet.get("name")
        declared: set[str] = set()
        for used in sheet.iter("datasource-dependencies"):
            name = used.get("datasource", "")
            own = {column.get("name", "") for column in used.findall("column")}
            found |= {f"{title}: {each} is no column of {name}" for each in own - columns.get(name, set())}
            for instance in used.findall("column-instance"):
                if instance.get("column") not in own:
                    found.add(f"{title}: {instance.get('column')} is used and not declared")
                declared.add(f"[{name}].{instance.get('name')}")
            formulas = " ".join(calculation.get("formula", "") for calculation in used.iter("calculation"))
            found |= {f"{title}: {each} in a formula" for each in set(re.findall(r"\[\w+\]", formulas)) - own}
        text = ET.tostring(sheet, encoding="unicode")
        found |= {f"{title}: {each}" for each in set(re.findall(r"\[federated\.\w+\]\.\[[^]]+\]", text)) - declared}
        levels = {f"[{name}].{each.get('level')}" for each in sheet.iter("groupfilter") if each.get("level")}
        found |= {f"{title}: level {each}" for each in levels - declared}
    sheets = {sheet.get("name") for sheet in root.findall("worksheets/worksheet")}
    windows = {window.get("name"): window for window in root.findall("windows/window")}
    boards = root.findall("dashboards/dashboard")
    for board in boards:
        shown = {zone.get("name") for zone in board.iter("zone") if zone.get("name")}
        found |= {f"{board.get('name')}: no sheet {each}" for each in shown - sheets}
        window = windows.get(board.get("name"), ET.Element("none"))
        seen = {viewpoint.get("name") for viewpoint in window.iter("viewpoint")}
        found |= {f"{board.get('name')}: viewpoint of {each}" for each in seen ^ shown}
    names = sheets | {board.get("name") for board in boards}
    return found | {f"window {each}" for each in names ^ set(windows)}


@pytest.mark.parametrize("name", LIVE)
def test_every_document_is_valid_by_tableaus_schema(name: str) -> None:
    assert complaints(LIVE[name]) == []


def test_the_packed_workbook_is_valid_too() -> None:
    assert complaints(PACKED) == []


def test_one_element_is_exempt_from_the_schema_and_no_other() -> None:
    (only,) = complaints(TWB, strictly=True)
    assert only.startswith("Element 'workbook': Missing child element(s).") and only.endswith(f"{EXEMPT} ).")
    assert complaints(TDS, strictly=True) == []


@pytest.mark.parametrize(
    ("good", "pattern", "bad"),
    [
        (TWB, r'<mark class="Bar" />', '<mark class="Pie chart" />'),
        (TWB, r'<mark class="Bar" />', '<mark type="Bar" />'),
        (TWB, r"<aggregation value=\"true\" />", ""),
        (TWB, r'<simple-id uuid="\{[^"]+" />\s*</worksheet>', "</worksheet>"),
        (TWB, r'<simple-id uuid="\{[^"]+" />\s*</dashboard>', "</dashboard>"),
        (TWB, r"(<panes>.*?</panes>)(\s*<rows>[^<]*</rows>)", r"\2\1"),
        (TWB, r'role="measure"', 'role="fact"'),
        (TWB, r'datatype="real"', 'datatype="decimal"'),
        (TWB, r' derivation="Sum"', ""),
        (TWB, r'<zone h="(\d+)" id="3"', r'<zone h="\1"'),
        (TWB, r"</worksheets>", "<worksheet-number>1</worksheet-number></worksheets>"),
        (TWB, r' version="18.1" xmlns', ' version="new" xmlns'),
        (TWB, r"<lod ", "<angle "),
        (TDS, r'<aliases enabled="yes" />', '<aliases enabled="maybe" />'),
        (TDS, r' inline="true"', ""),
        (TDS, r"<layout [^>]+>", "<layout />"),
        (TDS, r"<desc>(.*?)</desc>", r"<description>\1</description>"),
        (TDS, r"(<aliases [^>]+>)(.*)(<layout [^>]+>)", r"\3\1\2"),
    ],
)
def test_a_broken_document_is_refused(good: bytes, pattern: str, bad: str) -> None:
    broken, count = re.subn(pattern, bad, good.decode(), count=1, flags=re.DOTALL)
    assert count == 1, "the test breaks nothing"
    assert complaints(broken.encode()) != []


@pytest.mark.parametrize("content", [TWB, PACKED], ids=["live", "packed"])
def test_no_workbook_has_a_loose_end(content: bytes) -> None:
    assert loose_ends(content) == set()


@pytest.mark.parametrize(
    ("pattern", "bad"),
    [
        (r'name="\[sum:revenue:qk\]"', 'name="[sum:income:qk]"'),
        (r'<column-instance column="\[brand\]"', '<column-instance column="[maker]"'),
        (r'<viewpoint name="Segments">', '<viewpoint name="Segment">'),
        (r'(<zone [^>]*)name="Top products"', r'\1name="Best products"'),
        (r'<window class="worksheet" name="Segments"', '<window class="worksheet" name="Segment"'),
        (r"<object-id>\[customers_", "<object-id>[clients_"),
        (r"<local-name>\[orders\]", "<local-name>[order]"),
        (r'level="\[none:brand:nk\]"', 'level="[brand]"'),
        (r"SUM\(\[bought\]\)", "SUM([sold])"),
        (r'<relation connection="postgres\.', '<relation connection="pg.'),
    ],
)
def test_a_loose_end_is_found(pattern: str, bad: str) -> None:
    broken, count = re.subn(pattern, bad, TWB.decode(), flags=re.DOTALL)
    assert count > 0, "the test breaks nothing"
    assert loose_ends(broken.encode()) != set()


def test_the_documents_that_are_kept_are_those_that_are_made() -> None:
    kept = {name: (ROOT / "dashboards" / name).read_bytes() for name in LIVE}
    assert kept == LIVE, "python -m dashboards"
    assert {path.name for path in (ROOT / "dashboards" / "data_sources").iterdir()} == {
        f"{each.view}.tds" for each in SOURCES
    }


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_the_pictures_that_are_kept_show_todays_plan(board) -> None:  # type: ignore[no-untyped-def]
    kept = path_of(board).read_text(encoding="utf-8")
    assert kept == picture(board), "python -m dashboards"
    ET.fromstring(kept)
    for sheet in board.sheets:
        assert f">{sheet.name}<" in kept and f">{sheet.asks}<" in kept
        assert shelves(sheet)[-1].startswith(f"from {sheet.view}")


def test_the_page_shows_the_embedded_view_and_says_which_view_feeds_which_sheet() -> None:
    page = (ROOT / "dashboards" / "README.md").read_text(encoding="utf-8")
    assert f"```html\n{(ROOT / 'dashboards' / 'embed.html').read_text(encoding='utf-8')}```\n" in page
    for source in SOURCES:
        sheets = [sheet.name for sheet in SHEETS if sheet.view == source.view]
        assert f"| `{source.view}` | {', '.join(sheets)} |\n" in page
    assert f"eight for {DASHBOARDS[0].name}" in page and len(DASHBOARDS[0].sheets) == 8
    usual = Live()
    assert f"{usual.host}, port {usual.port}, database `{usual.database}`, user `{usual.user}`" in page


def test_every_field_of_a_sheet_is_in_its_source_and_every_source_is_shown() -> None:
    for sheet in SHEETS:
        assert {pill.field for pill in sheet.pills} <= {
            field.name for field in sheet.source.fields + sheet.source.computed
        }
        assert sheet.rows or sheet.label
        if sheet.top:
            assert sheet.top.measure in {field.name for field in sheet.source.fields} and sheet.rows
    assert {sheet.view for sheet in SHEETS} == {source.view for source in SOURCES}


def test_a_column_means_what_its_table_says() -> None:
    by_hour = next(source for source in SOURCES if source.view == "sales_by_hour")
    contract = {column.name: column.metadata["comment"] for column in GOLD_PRODUCT_SALES.schema.fields}
    assert by_hour.field("hour_at").meaning == contract["window_start_at"]
    assert by_hour.field("buyers").meaning == contract["buyers"]
    assert by_hour.field("hour_at").datatype == "datetime" and by_hour.field("revenue").datatype == "real"


def test_what_must_not_be_added_up_is_averaged_and_a_formula_with_a_sum_is_left_alone() -> None:
    columns = {column.get("name"): column for column in ET.fromstring(TWB).iterfind("datasources/datasource/column")}
    assert columns["[price]"].get("aggregation") == columns["[recency_days]"].get("aggregation") == "Avg"
    assert columns["[revenue]"].get("aggregation") is None and columns["[units]"].get("aggregation") is None
    assert columns["[conversion_overall]"].get("aggregation") is None


def test_captions_tell_the_fields_of_a_source_apart() -> None:
    for source in SOURCES:
        captions = [field.caption for field in source.fields + source.computed]
        assert len(set(captions)) == len(captions)
    customers = next(source for source in SOURCES if source.view == "customers")
    assert customers.field("average_order").caption == "Average order (USD)"
    assert customers.field("recency_days").caption == "Recency (days)"
    assert not customers.field("recency_score").is_measure and not customers.field("user_id").is_measure


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)
def test_zones_cover_a_dashboard_without_a_gap_or_an_overlap(board) -> None:  # type: ignore[no-untyped-def]
    zones = list(board.zones())
    assert sum(zone.w * zone.h for zone in zones) == 1000 * (1000 - TITLE_H)
    for zone in zones:
        assert zone.x >= 0 and zone.y >= TITLE_H and zone.x + zone.w <= 1000 and zone.y + zone.h <= 1000


def test_no_document_has_a_password() -> None:
    for content in (*LIVE.values(), PACKED):
        assert b"password=" not in content and b"passfile" not in content
        root = ET.fromstring(content)
        assert all("password" not in node.attrib for node in root.iter())
    assert b'username="bi"' in TWB and b'authentication="username-password"' in TWB


def test_the_place_is_a_parameter(tmp_path: Path) -> None:
    write_documents(tmp_path, Live("db.example", 6543, "shop"))
    written = (tmp_path / WORKBOOK).read_text()
    assert written.count('dbname="shop"') == len(SOURCES) == written.count('port="6543"')
    assert 'server="db.example"' in written and "127.0.0.1" not in written
    assert complaints(written.encode()) == []


def test_a_store_that_is_not_ours_is_found_by_its_dsn() -> None:
    settings = Settings(postgres_dsn="host=db.example dbname=shop user=me password=secret")
    assert store_place(settings, "", 0) == Live("db.example", 5432, "shop")
    assert store_place(settings, "elsewhere", 1) == Live("elsewhere", 1, "shop")
    with pytest.raises(InputError, match="one host and port"):
        store_place(Settings(postgres_dsn="host=a,b dbname=shop"), "", 0)
    with pytest.raises(InputError, match="give --host"):
        store_place(Settings(postgres_dsn="host=/run/postgresql dbname=shop"), "", 0)


def test_a_store_that_was_never_started_is_where_one_usually_is(settings: Settings) -> None:
    assert store_place(settings, "", 0) == Live()


def test_the_embedded_store_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresServer, "bi_dsn", "host=127.0.0.1 port=21873 dbname=lakehouse user=bi passfile=/x")
    assert store_place(settings, "", 0) == Live(port=21873)


def test_the_command_writes_all_documents_and_replaces_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for port in ("1111", "2222"):
        assert main(["export", "tableau", "--out", str(tmp_path), "--host", "db.example", "--port", port]) == 0
    assert "10 files" in capsys.readouterr().out
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(LIVE)
    assert 'port="2222"' in (tmp_path / WORKBOOK).read_text()


def test_a_file_that_tableau_saved_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_documents(tmp_path, Live())
    saved = (tmp_path / WORKBOOK).read_text().replace(MARK, "build 20261.26.0211.1127")
    (tmp_path / WORKBOOK).write_text(saved)
    before = (tmp_path / "data_sources" / "customers.tds").stat().st_mtime_ns
    assert main(["export", "tableau", "--out", str(tmp_path), "--port", "9"]) == 1
    error = capsys.readouterr().err
    assert "was not written by an export" in error and "Next:" in error
    assert (tmp_path / WORKBOOK).read_text() == saved
    assert (tmp_path / "data_sources" / "customers.tds").stat().st_mtime_ns == before


def test_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for way in ("tableau", "hyper"):
        assert main(["export", way, "--out", str(tmp_path / "away")]) == 1
        error = capsys.readouterr().err
        assert f"There is no folder {tmp_path / 'away'}" in error and "mkdir" in error


def test_a_missing_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tableauhyperapi", None)
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_DSN", "host=127.0.0.1 port=1")
    assert main(["export", "hyper", "--out", str(tmp_path)]) == 1
    assert ".[dashboards]" in capsys.readouterr().err
    with pytest.raises(MissingExtraError):
        extract.write_extract("host=127.0.0.1 port=1", tmp_path / "a.hyper")
    assert list(tmp_path.iterdir()) == []


def test_a_package_has_the_workbook_and_its_extract_and_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows" * 1000)
    write_package(tmp_path / "a.twbx", tmp_path / "rows")
    write_package(tmp_path / "b.twbx", tmp_path / "rows")
    assert (tmp_path / "a.twbx").read_bytes() == (tmp_path / "b.twbx").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.twbx") as package:
        assert package.namelist() == [WORKBOOK, PACKED_EXTRACT] and package.testzip() is None
        packed, rows = package.read(WORKBOOK), package.read(PACKED_EXTRACT)
    assert (packed, rows) == (PACKED, b"rows" * 1000)
    places = {node.get("dbname") for node in ET.fromstring(packed).iter("connection") if node.get("class") == "hyper"}
    assert places == {PACKED_EXTRACT}
    write_package(tmp_path / "a.twbx", tmp_path / "rows")


def test_a_package_that_tableau_saved_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"rows")
    saved = tmp_path / "saved.twbx"
    with zipfile.ZipFile(saved, "w") as package:
        package.writestr(WORKBOOK, TWB.replace(MARK.encode(), b"build"))
    before = saved.read_bytes()
    for other in (saved, tmp_path / "rows"):
        with pytest.raises(InputError, match="was not written by an export"):
            files.write_package(other, tmp_path / "rows")
    assert saved.read_bytes() == before and (tmp_path / "rows").read_bytes() == b"rows"


def test_text_that_is_markup_elsewhere_stays_text() -> None:
    hostile = '<script>&"]]>'
    content = document(element("run", text=hostile, name=hostile))
    root = ET.fromstring(content)
    assert (root.text, root.get("name")) == (hostile, hostile)
    assert is_ours(content) and not is_ours(content.replace(MARK.encode(), b""))
