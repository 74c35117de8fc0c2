"""The life of one lake: real rows by the demo, the same files again by three jobs, then the pipeline again."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lakehouse.clock import at_us
from lakehouse.producers import make_producer
from lakehouse.schemas import stable_columns
from lakehouse.settings import Settings
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_FUNNEL,
    GOLD_PRODUCT_SALES,
    PUBLISHED,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)
from lakehouse.wire import to_json, to_key
from operate.lake import last_noted, query
from operate.served import connected, served_rows
from operate.stack import services_at_hand
from serving import example_consumer
from tests.gold_by_hand import SQL, by_hand, columns_of, ordered
from tests.services.runs import BIN, ROOT, ask, assert_promises, running, submit, wait_until_read
from tests.services.sinks import serving, wait_until_served
from tests.services.store import committed
from tests.sessions_by_hand import table_by_hand

REAL_ROWS = ROOT.parent / "shared" / "data"


# It starts Spark seven times, as a user does.
@pytest.mark.long
@pytest.mark.skipif(not REAL_ROWS.is_dir(), reason="the 45,029 real rows are not beside the project")
def test_a_lake_is_handed_from_the_pipeline_to_the_jobs_and_back(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ".lakehouse", topic_partitions=2)
    environment = os.environ | {"LAKEHOUSE_HOME": str(settings.home), "LAKEHOUSE_TOPIC_PARTITIONS": "2"}
    command = [str(BIN / "lakehouse"), "demo", "--files", str(REAL_ROWS)]
    demo = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "45,029 rows of 3 files split into 92 days" in demo.stdout
    assert demo.stdout.count("holds") == 5
    assert _rows(settings) == {"bronze": 45_029, "events": 42_809, "duplicates": 2_220, "quarantine": 0}
    sales = _sales(settings)
    assert sales["purchases"] == 3_027
    assert sales["revenue"] == Decimal("15495.56")
    assert sales["top"] == (5809910, 16, Decimal("82.81"))
    before = _stable_rows(settings)
    with services_at_hand(settings, print) as reachable:
        _assert_numbers_agree_everywhere(reachable)
        _assert_the_pages_are_right(tmp_path)
        _feed_again(reachable)
        for layer in ("bronze", "silver", "gold"):
            submit(f"{layer}/job.py", reachable)
        with serving(reachable):
            wait_until_served(reachable)
        assert_promises(reachable)
    assert _rows(settings) == {"bronze": 90_058, "events": 42_809, "duplicates": 47_249, "quarantine": 0}
    assert _stable_rows(settings) == before

    with running(settings, with_rounds=False) as stack:
        _produce_one_purchase(stack.settings)
        wait_until_read(stack)
        stack.stop_pipeline()
        assert_promises(stack.settings)
    assert _rows(settings)["events"] == 42_810
    assert _sales(settings)["revenue"] == Decimal("15499.56")


def _assert_numbers_agree_everywhere(settings: Settings) -> None:
    """Gold, its topics and PostgreSQL have, row by row and to the cent, what a calculation apart finds in events."""
    events = query("SELECT * FROM silver.events", settings).to_arrow_table()
    with connected(settings) as connection:
        for table in PUBLISHED:
            if table.name not in SQL:
                continue
            # An order's lines are JSON in PostgreSQL; the audit compares them.
            names = [name for name in columns_of(table.name) if name != "lines"]
            columns = ", ".join(names)
            wanted = by_hand(events, table.name, columns)
            gold = query(f"SELECT * FROM {table.name}", settings).to_arrow_table()
            assert ordered(gold.select(names)) == wanted, table.name
            assert ordered(served_rows(connection, table).select(names)) == wanted, table.name
            assert _newest(settings, table) == {_key(row, table): to_json(row) for row in gold.to_pylist()}, table.name
        clock = at_us(last_noted(GOLD_ABANDONED_CARTS, settings).note["clock_us"])
        for table in (SILVER_SESSIONS, GOLD_FUNNEL, GOLD_ABANDONED_CARTS):
            found = table_by_hand(table.name, events, clock)
            rows = query(f"SELECT * FROM {table.name}", settings).to_arrow_table()
            assert ordered(rows.select(found.column_names)) == ordered(found), table.name
            # Lists are JSON in PostgreSQL; the audit compares them.
            names = [name for name in found.column_names if name not in ("cart", "items")]
            served = served_rows(connection, table).select(names)
            assert ordered(served) == ordered(found.select(names)), table.name
            assert _newest(settings, table) == {_key(row, table): to_json(row) for row in rows.to_pylist()}, table.name
            assert found.num_rows == {"silver.sessions": 9_617, "gold.abandoned_carts": 2_007}.get(table.name, 4_597)


def _newest(settings: Settings, table: Table) -> dict[bytes, bytes]:
    """The topic, as a reader of the highest revision of each key has it."""
    example_consumer.newest.clear()
    for record in committed(settings, table.topic(settings)):
        example_consumer.take(record.key() or b"", record.value(), dict(record.headers() or []))  # type: ignore[arg-type]
    return {key: to_json(row) for key, (_, row) in example_consumer.newest.items() if row is not None}


def _key(row: dict[str, Any], table: Table) -> bytes:
    return to_key(*(row[name] for name in table.keys))


def _feed_again(settings: Settings) -> None:
    """The same files once more, from the archive."""
    environment = os.environ | settings.as_environment()
    for way in (["replay"], ["source", "--once"]):
        command = [str(BIN / "lakehouse"), "ingest", *way]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
    assert "45,029 rows of 92 files sent" in done.stderr


def _assert_the_pages_are_right(folder: Path) -> None:
    """The examples of time travel, and the commands of two pages that only read, run where the demo has run."""
    readme, using, time_travel = (
        (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/using.md", "docs/time-travel.md")
    )
    examples = re.findall(r"```python\n(.*?)```", time_travel, re.DOTALL)
    assert len(examples) == 3
    as_of_2 = ["--as-of", "2", "--json", "SELECT count(*) AS n FROM gold.product_sales"]
    wanted = json.loads(_run([str(BIN / "lakehouse"), "sql", *as_of_2], folder))[0]["n"]
    for number, code in enumerate(examples):
        script = folder / f"as_of_{number}.py"
        script.write_text(code, encoding="utf-8")
        program = BIN / ("spark-submit" if "spark" in code else "python")
        assert re.findall(r"\d+", _run([str(program), str(script)], folder)) == [str(wanted)], code
    reads = r"lakehouse (?:tables|history|status|sql|audit|quarantine list|ingest status)\b"
    in_tables = re.findall(rf"`({reads}[^`]*)`", using)
    in_blocks = re.findall(rf"^({reads}.*)$", readme, re.MULTILINE)
    assert len(set(in_tables)) >= 5 and len(set(in_blocks)) >= 5
    for command in {shlex.join(shlex.split(command, comments=True)) for command in (*in_tables, *in_blocks)}:
        if "--as-of" not in command:
            _run([str(BIN / "lakehouse"), *shlex.split(command)[1:]], folder)
    assert "42809" in _run([str(BIN / "lakehouse"), "sql", "SELECT count(*) AS n FROM silver.events"], folder)
    as_of = ["--as-of", "0", "--json", "SELECT count(*) AS n FROM silver.events"]
    assert json.loads(_run([str(BIN / "lakehouse"), "sql", *as_of], folder)) == [{"n": 0}]


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _produce_one_purchase(settings: Settings) -> None:
    producer = make_producer(settings)
    event = {"event_time": "2019-12-31 23:00:00 UTC", "event_type": "purchase", "product_id": 1, "price": "4.00"}
    producer.produce(settings.events_topic, key=b"7", value=json.dumps(event | {"user_id": 7}).encode())
    producer.flush()


def _rows(settings: Settings) -> dict[str, int]:
    return {
        name: ask(f"SELECT count(*) FROM {table}", settings)[0][0]
        for name, table in (
            ("bronze", "bronze.events"),
            ("events", "silver.events"),
            ("duplicates", "silver.duplicates"),
            ("quarantine", "silver.quarantine"),
        )
    }


def _sales(settings: Settings) -> dict[str, object]:
    purchases = ask("SELECT count(*) FROM silver.events WHERE event_type = 'purchase'", settings)[0][0]
    revenue = ask("SELECT sum(revenue) FROM gold.product_sales", settings)[0][0]
    top = ask(
        """SELECT product_id, sum(units)::BIGINT, sum(revenue) FROM gold.product_sales
           GROUP BY 1 ORDER BY 2 DESC, 3 DESC LIMIT 1""",
        settings,
    )[0]
    return {"purchases": purchases, "revenue": revenue, "top": top}


def _stable_rows(settings: Settings) -> list[list[tuple]]:
    """Silver and gold in the columns in which a replay must equal the live run."""
    return [
        ask(f"SELECT {', '.join(stable_columns(table.schema))} FROM {table.name} ORDER BY ALL", settings)
        for table in (SILVER_EVENTS, GOLD_PRODUCT_SALES, SILVER_SESSIONS, GOLD_ABANDONED_CARTS, GOLD_FUNNEL)
    ]
