"""The extract against a real PostgreSQL with the real views, read back with Hyper itself, row by row."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from tableauhyperapi import (
    Connection,
    CreateMode,
    Date,
    HyperProcess,
    SqlType,
    TableDefinition,
    TableName,
    Telemetry,
    Timestamp,
    TypeTag,
)

from dashboards.extract import write_extract
from dashboards.fields import Kind, Source
from dashboards.files import HYPER, PACKAGE, PACKED_EXTRACT, WORKBOOK
from dashboards.sources import SOURCES
from lakehouse.errors import InputError, ServiceError
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCT_SALES_DAILY,
    GOLD_PRODUCT_SALES_HOURLY,
    GOLD_PRODUCTS,
    Table,
)
from operate.cli import main
from operate.services.postgres import PostgresServer
from serving.store import identifier, prepare_store
from tests.builders import HOSTILE
from tests.chaos.small_disk import SmallDisk
from tests.postgres_server import database_in
from tests.services.store import own_name
from tests.tableau_schema import complaints

AT = datetime(2019, 10, 31, 23, 59, 59, 123456, tzinfo=UTC)
LATER = datetime(2026, 1, 1, tzinfo=UTC)
"""When rows were made: so long after their events that the store clock stands still at the newest of these."""

BRANDS = (*(brand.replace("\0", "\N{REPLACEMENT CHARACTER}") for brand in HOSTILE), "", " ", "a\r\nb\t", None)
KINDS: Mapping[str, Kind] = {
    "bigint": "integer",
    "integer": "integer",
    "numeric": "decimal",
    "double precision": "double",
    "text": "string",
    "date": "date",
    "timestamp with time zone": "datetime",
}
"""PostgreSQL's type -> what a field has to be."""

Insert = Callable[[Table, Mapping[str, Any]], None]


@pytest.fixture
def owner_dsn(postgres: PostgresServer, tmp_path: Path) -> str:
    """A store of this test's own, with all tables and views, empty."""
    dsn = database_in(postgres, own_name(tmp_path))
    with psycopg.connect(dsn, autocommit=True) as connection:
        prepare_store(connection, "")
    return dsn


@pytest.fixture
def reader(owner_dsn: str, postgres: PostgresServer, tmp_path: Path) -> str:
    """How `bi` connects to it."""
    return postgres.bi_dsn.replace("dbname=lakehouse", f"dbname={own_name(tmp_path)}")


@pytest.fixture
def insert(owner_dsn: str) -> Iterator[Insert]:
    with psycopg.connect(owner_dsn, autocommit=True) as connection:

        def one(table: Table, row: Mapping[str, Any]) -> None:
            whole = {"key": str(hash(str(row))), "row": Jsonb({}), "revision": 1, "updated_at": LATER} | dict(row)
            names = sql.SQL(", ").join(map(sql.Identifier, whole))
            marks = sql.SQL(", ").join([sql.Placeholder()] * len(whole))
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(identifier(table), names, marks)
            connection.execute(statement, list(whole.values()))

        yield one


def fill(insert: Insert) -> None:
    """A few rows of each table: odd brands, refunds, prices below zero, nulls, large and small amounts."""
    for n, brand in enumerate(BRANDS):
        price = Decimal("-1.50") if n % 2 else Decimal("99999999.99")
        shown = {"category_id": 2**62 + n, "category_code": None if n % 3 else "apparel.glove", "brand": brand}
        seen = {"last_event_at": AT - timedelta(days=n), "last_event_id": "e"}
        insert(GOLD_PRODUCTS, {"product_id": 2**53 + 1 + n, "price": price} | shown | seen)
    for n in range(2 * len(BRANDS)):
        start = AT.replace(hour=23 - n, minute=0, second=0, microsecond=0) + timedelta(minutes=59 if n < 3 else 0)
        amounts = {
            "revenue": Decimal(n) * Decimal("0.01"),
            "refund_amount": Decimal("123456789012.34") if n == 3 else 0,
        }
        facts = {"product_id": 2**53 + 1 + n, "units": n, "buyers": n, "refund_units": n == 3, **amounts}
        facts = {name: int(value) if isinstance(value, bool) else value for name, value in facts.items()}
        for table, length in (
            (GOLD_PRODUCT_SALES, timedelta(minutes=1)),
            (GOLD_PRODUCT_SALES_HOURLY, timedelta(hours=1)),
            (GOLD_PRODUCT_SALES_DAILY, timedelta(days=1)),
        ):
            begin = (
                start if length < timedelta(hours=1) else start.replace(hour=0 if length.days else start.hour, minute=0)
            )
            window = {"window_start_at": begin, "window_end_at": begin + length, "window_start_on": begin.date()}
            insert(table, window | facts | {"last_purchase_at": AT - timedelta(seconds=n)})
    for n in range(7):
        bought = {"orders": n, "units": n, "revenue": Decimal(n) * Decimal("33.33")}
        given_back = {"refund_units": 7 - n, "refunds": Decimal("0.01")}
        times = {"first_purchase_at": AT - timedelta(days=40 * n) if n else None, "last_purchase_at": AT if n else None}
        insert(GOLD_CUSTOMER_VALUE, {"user_id": n} | bought | given_back | times)
    for scope, brand in [("day", ""), *(("brand", brand or "") for brand in BRANDS[:-1])]:
        steps = {"visitors": 3, "sessions": 3, "viewed": 3, "carted": 2, "bought": 1, "conversion": 1 / 3}
        insert(GOLD_FUNNEL, {"event_on": date(2019, 10, 31), "scope": scope, "brand": brand} | steps)
    for n in range(3):
        cart = {"items": Jsonb([{"product_id": 1, "quantity": 2, "price": "2.62"}]), "cart_value": Decimal("5.24")}
        when = {"started_on": AT.date(), "started_at": AT, "abandoned_at": AT - timedelta(minutes=31, seconds=n)}
        who = {"session_key": f"{n:032x}", "user_id": 5 + n, "user_session": None if n else "Ünïcødé"}
        insert(GOLD_ABANDONED_CARTS, who | cart | when | {"abandonments": 1, "recovered_at": AT if n == 1 else None})


def served(dsn: str, source: Source) -> Counter[tuple[Any, ...]]:
    """The view's rows as PostgreSQL gives them; times as UTC without a zone."""
    columns = sql.SQL(", ").join(sql.Identifier(field.name) for field in source.fields)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(source.view))).fetchall()
    return Counter(
        tuple(v.astimezone(UTC).replace(tzinfo=None) if isinstance(v, datetime) else v for v in row) for row in rows
    )


def extracted(path: Path, source: Source) -> Counter[tuple[Any, ...]]:
    """The same from the extract."""
    with hyper(path) as connection:
        rows = connection.execute_list_query(f'SELECT * FROM "Extract"."{source.view}"')
    plain: Mapping[type, Callable[[Any], Any]] = {Timestamp: Timestamp.to_datetime, Date: Date.to_date}
    return Counter(tuple(plain.get(type(v), lambda same: same)(v) for v in row) for row in rows)


class hyper:
    """An open Hyper file."""

    def __init__(self, path: Path, mode: CreateMode = CreateMode.NONE) -> None:
        self._path, self._mode = path, mode

    def __enter__(self) -> Connection:
        self._process = HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters={"log_config": ""})
        self._connection = Connection(self._process.endpoint, self._path, self._mode)
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.close()


def test_the_fields_of_each_source_are_the_columns_of_its_view(reader: str) -> None:
    query = (
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'storefront' AND table_name = %s ORDER BY ordinal_position"
    )
    with psycopg.connect(reader) as connection:
        for source in SOURCES:
            columns = connection.execute(query, [source.view]).fetchall()
            assert [name for name, kind in columns if kind == "jsonb"] == list(source.left_out)
            expected = [(field.name, field.kind) for field in source.fields]
            assert [(name, KINDS[kind]) for name, kind in columns if kind != "jsonb"] == expected, source.view


def test_an_extract_has_what_is_served_row_by_row_and_to_the_cent(reader: str, insert: Insert, tmp_path: Path) -> None:
    fill(insert)
    path = tmp_path / "a.hyper"
    counts = write_extract(reader, path)
    for source in SOURCES:
        expected = served(reader, source)
        assert extracted(path, source) == expected, source.view
        assert counts[source.view] == expected.total() > 0, source.view
    by_product = next(source for source in SOURCES if source.view == "sales_by_product")
    place = [field.name for field in by_product.fields].index("brand")
    assert {row[place] for row in extracted(path, by_product)} == set(BRANDS)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.hyper"]


def test_money_is_exact_and_times_have_no_zone_in_an_extract(reader: str, insert: Insert, tmp_path: Path) -> None:
    fill(insert)
    path = tmp_path / "a.hyper"
    write_extract(reader, path)
    with hyper(path) as connection:
        definition = connection.catalog.get_table_definition(TableName("Extract", "open_abandoned_carts"))
        kinds = {column.name.unescaped: column.type for column in definition.columns}
    assert kinds["cart_value"] == SqlType.numeric(18, 2) and kinds["abandoned_at"].tag == TypeTag.TIMESTAMP
    assert "items" not in kinds


def test_an_empty_store_gives_empty_tables(reader: str, tmp_path: Path) -> None:
    assert set(write_extract(reader, tmp_path / "a.hyper").values()) == {0}


def test_an_extract_is_of_one_moment(reader: str, insert: Insert, tmp_path: Path) -> None:
    fill(insert)
    told: list[tuple[str, int]] = []

    def progress(view: str, rows: int) -> None:
        if rows and not any(done for _, done in told):  # the first rows are there: the moment was chosen
            insert(GOLD_FUNNEL, {"event_on": date(2020, 1, 1), "scope": "day", "brand": "", "sessions": 1})
        told.append((view, rows))

    path = tmp_path / "a.hyper"
    counts = write_extract(reader, path, progress)
    assert counts["funnel_by_day"] == 1
    assert [view for view, rows in told if rows == 0] == [source.view for source in SOURCES]
    assert dict(told) == counts
    assert write_extract(reader, path)["funnel_by_day"] == 2


def test_a_large_view_comes_in_chunks(owner_dsn: str, reader: str, tmp_path: Path) -> None:
    with psycopg.connect(owner_dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO gold.customer_value (key, row, user_id, orders, revenue, refunds, first_purchase_at,"
            " last_purchase_at) SELECT n, '{}', n, 1, n / 100.0, 0, now(), now() FROM generate_series(1, 45000) AS n"
        )
    told: list[int] = []
    counts = write_extract(
        reader, tmp_path / "a.hyper", lambda view, rows: told.append(rows) if view == "customers" else None
    )
    assert (told, counts["customers"], counts["top_customers"]) == ([0, 20000, 40000, 45000], 45000, 100)


def test_the_command_writes_an_extract_and_a_package_that_needs_no_server(
    reader: str, insert: Insert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(insert)
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_DSN", reader)
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):  # its own files are replaced
        assert main(["export", "hyper", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["bytes"] == {name: (out / name).stat().st_size for name in (HYPER, PACKAGE)} and said["seconds"] > 0
    assert sorted(path.name for path in out.iterdir()) == sorted([HYPER, PACKAGE])
    with zipfile.ZipFile(out / PACKAGE) as package:
        workbook = package.read(WORKBOOK)
        package.extract(PACKED_EXTRACT, tmp_path)
    assert complaints(workbook) == []
    root = ET.fromstring(workbook)
    assert {node.get("class") for node in root.iter("connection")} == {"federated", "hyper"}
    for source in SOURCES:
        assert any(node.get("table") == f"[Extract].[{source.view}]" for node in root.iter("relation"))
        assert extracted(tmp_path / PACKED_EXTRACT, source).total() == said["rows"][source.view]
    assert main(["export", "hyper", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{'sales_by_product':<22}{said['rows']['sales_by_product']:>12,} rows" in printed and PACKAGE in printed


def test_what_the_command_writes_knows_no_password(
    owner_dsn: str, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_DSN", owner_dsn)
    monkeypatch.setenv("LAKEHOUSE_BI_PASSWORD", postgres.bi_password)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["export", "hyper", "--out", str(out)]) == 0
    assert main(["export", "tableau", "--out", str(out)]) == 0
    for path in out.rglob("*"):
        if path.is_file():
            assert postgres.bi_password.encode() not in path.read_bytes(), path
    with zipfile.ZipFile(out / PACKAGE) as package:
        assert all(postgres.bi_password.encode() not in package.read(name) for name in package.namelist())


def test_another_hyper_file_is_not_written_over(reader: str, tmp_path: Path) -> None:
    other = tmp_path / "other.hyper"
    with hyper(other, CreateMode.CREATE) as connection:
        connection.catalog.create_table(
            TableDefinition(TableName("mine"), [TableDefinition.Column("a", SqlType.int())])
        )
    text = tmp_path / "text.hyper"
    text.write_text("no extract")
    for path in (other, text):
        with pytest.raises(InputError, match="was not written by an export"):
            write_extract(reader, path)
    assert text.read_text() == "no extract" and other.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.hyper", "text.hyper"]


def test_a_store_that_is_away_or_empty_is_named_and_leaves_the_last_extract(
    reader: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.hyper"
    write_extract(reader, path)
    before = path.read_bytes()
    with pytest.raises(ServiceError, match="does not answer") as away:
        write_extract("host=127.0.0.1 port=1 dbname=lakehouse", path)
    assert "lakehouse up" in away.value.next_step
    database_in(postgres, "no-views")
    with pytest.raises(ServiceError, match="cannot be read"):
        write_extract(postgres.bi_dsn.replace("dbname=lakehouse", "dbname=no-views"), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hyper"]


def test_an_amount_that_does_not_fit_is_refused_and_leaves_the_last_extract(
    reader: str, insert: Insert, tmp_path: Path
) -> None:
    path = tmp_path / "a.hyper"
    write_extract(reader, path)
    before = path.read_bytes()
    insert(GOLD_CUSTOMER_VALUE, {"user_id": 1, "orders": 1, "revenue": Decimal("10000000000000000.00"), "refunds": 0})
    with pytest.raises(InputError, match="too large for an extract"):
        write_extract(reader, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hyper"]


def test_a_full_disk_is_named_and_leaves_nothing(
    reader: str, insert: Insert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(insert)
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_DSN", reader)
    out = tmp_path / "small"
    try:
        disk = SmallDisk(out, 1)
    except OSError as error:
        pytest.skip(str(error))
    try:
        disk.fill()
        assert main(["export", "hyper", "--out", str(out)]) == 1
        assert "cannot be written" in capsys.readouterr().err
        disk.free()
        assert list(out.iterdir()) == []
    finally:
        disk.unmount()


def test_a_server_that_ends_in_the_middle_leaves_the_last_extract(reader: str, insert: Insert, tmp_path: Path) -> None:
    fill(insert)
    path = tmp_path / "a.hyper"
    write_extract(reader, path)
    before = extracted(path, SOURCES[0])

    def end_it(view: str, rows: int) -> None:
        if view == "customers":
            with psycopg.connect(reader, autocommit=True) as connection:
                connection.execute(
                    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE usename = 'bi' AND datname = current_database() AND pid <> pg_backend_pid()"""
                )

    with pytest.raises(ServiceError, match="went away"):
        write_extract(reader, path, end_it)
    assert extracted(path, SOURCES[0]) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hyper"]
