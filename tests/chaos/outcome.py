"""What the stack made of its input, in the columns of the plain calculation, and whether it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from lakehouse.clock import at_us
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_ABANDONED_CARTS, GOLD_PRODUCT_SALES
from operate.audit import audit
from operate.lake import last_noted, query
from tests.chaos.checks import Check, check, same_rows
from tests.chaos.plain import calculate
from tests.chaos.sales_reader import read_sales, topic_records
from tests.gold_by_hand import SQL, by_hand, columns_of, ordered
from tests.sessions_by_hand import TABLES, table_by_hand

_EVENT = """epoch_us(event_at) AS event_at_us, event_type, product_id, category_id, category_code, brand, price,
            user_id, user_session"""


def outcome_checks(sent: pa.Table, settings: Settings) -> Iterator[Check]:
    """In: the records that were sent, once all of them are read and the pipeline has ended."""
    yield _kafka_has(sent, settings)
    yield from table_checks(sent, settings)


def table_checks(sent: pa.Table, settings: Settings) -> Iterator[Check]:
    """In: the records that were sent, as JSON, once all of them are read, whatever they were on the wire."""
    for finding in audit(settings):
        yield check(f"audit {finding.promise}", finding.holds, **finding.counts)
    plain = calculate(sent, settings.sales_window_s)
    yield same_rows(
        "events: the nine values of each", plain.events, _ask(f"SELECT {_EVENT} FROM silver.events", settings)
    )
    (ids,) = query("SELECT count(DISTINCT event_id) FROM silver.events", settings).fetchall()[0]
    yield check("event_id: one for each", ids == plain.events.num_rows, expected=plain.events.num_rows, found=ids)
    (rows,) = query("SELECT count(*) FROM silver.duplicates", settings).fetchall()[0]
    copies = f"SELECT {_EVENT} FROM silver.duplicates JOIN silver.events USING (event_id)"
    yield same_rows("duplicates: as many of each event", plain.copies, _ask(copies, settings), rows=rows)
    refused = "SELECT md5(value) AS digest, array_to_string(list_sort(reasons), ' ') AS reasons FROM silver.quarantine"
    reasons = len(set(plain.refused["reasons"].to_pylist()))
    yield same_rows(
        "quarantine: bytes and all reasons", plain.refused, _ask(refused, settings), sets_of_reasons=reasons
    )
    yield _sales(plain.sales, settings)
    yield from _folds(settings)
    yield from _sessions(settings)
    yield from _topic(settings)


def _sales(expected: pa.Table, settings: Settings) -> Check:
    actual = _ask(
        """SELECT epoch_us(window_start_at) AS window_start_us, product_id, units, revenue, buyers, refund_units,
                  refund_amount, epoch_us(last_purchase_at) AS last_purchase_us
           FROM gold.product_sales""",
        settings,
    )
    sums = {name: sum(expected[name].to_pylist()) for name in ("units", "revenue", "refund_units", "refund_amount")}
    return same_rows("product_sales: window by window", expected, actual, **sums)


def _folds(settings: Settings) -> Iterator[Check]:
    """The tables of gold that are made in rounds. Silver's events are right, as was seen before."""
    events = _ask("SELECT * FROM silver.events", settings)
    for name in sorted(
        SQL.keys() - {GOLD_PRODUCT_SALES.name}
    ):  # whose windows have another length here, and which was seen
        expected = by_hand(events, name)
        found = ordered(_ask(f"SELECT {', '.join(columns_of(name))} FROM {name}", settings))
        yield check(f"{name}: as calculated apart", found == expected, expected=len(expected), found=len(found))


def _sessions(settings: Settings) -> Iterator[Check]:
    """Sessions, and what is made of them, as of the time at which carts were looked at last."""
    events = _ask("SELECT * FROM silver.events", settings)
    clock = at_us(last_noted(GOLD_ABANDONED_CARTS, settings).note["clock_us"])
    for name in TABLES:
        expected = table_by_hand(name, events, clock)
        found = ordered(_ask(f"SELECT {', '.join(expected.column_names)} FROM {name}", settings))
        same = found == ordered(expected)
        yield check(f"{name}: as calculated apart", same, expected=expected.num_rows, found=len(found))


def _topic(settings: Settings) -> Iterator[Check]:
    topic = GOLD_PRODUCT_SALES.topic(settings)
    sales = read_sales(topic_records(settings, topic))
    gold = _ask(
        """SELECT strftime(window_start_at, '%Y-%m-%dT%H:%M:%SZ') || '|' || product_id AS key, units, revenue, revision
           FROM gold.product_sales""",
        settings,
    )
    yield same_rows(
        f"{topic}: the highest revisions are gold",
        gold,
        sales.as_table(),
        records=sales.records,
        tombstones=sales.tombstones,
    )
    yield check(
        "revisions: one content each", not sales.contradictions, records=sales.records, broken=sales.contradictions
    )


def _kafka_has(sent: pa.Table, settings: Settings) -> Check:
    """The input is known exactly only if Kafka has each record once, in its partition."""
    held = list(topic_records(settings, settings.events_topic))
    columns = (sent[name].to_pylist() for name in ("partition", "key", "value"))
    return same_rows("Kafka: each record sent, once", _digests(list(zip(*columns, strict=True))), _digests(held))


def _digests(records: Sequence[tuple[int, bytes | None, bytes | None]]) -> pa.Table:
    def digest(content: bytes | None) -> str | None:
        return None if content is None else hashlib.md5(content).hexdigest()

    return pa.table(
        {
            "partition": pa.array([partition for partition, _, _ in records], pa.int32()),
            "key": pa.array([digest(key) for _, key, _ in records], pa.string()),
            "value": pa.array([digest(value) for _, _, value in records], pa.string()),
        }
    )


def came_once(values: Sequence[bytes | None], settings: Settings) -> Check:
    """In: the values that were sent on all roads. Does the topic of events have each once, in any partition?"""
    held = [value for _, _, value in topic_records(settings, settings.events_topic)]
    return same_rows(
        "Kafka: each record sent, once",
        _digests([(0, None, value) for value in values]),
        _digests([(0, None, value) for value in held]),
    )


def _ask(sql: str, settings: Settings, **frames: Any) -> pa.Table:
    return query(sql, settings, **frames).to_arrow_table()
