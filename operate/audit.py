"""Recounts the promises from the tables and from Kafka, with an engine that had no part in writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from lakehouse.errors import LakehouseError, TableError
from lakehouse.reading import Reading
from lakehouse.settings import Settings
from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_CUSTOMER_VALUE,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCT_SALES_DAILY,
    GOLD_PRODUCT_SALES_HOURLY,
    SILVER_DUPLICATES,
    SILVER_EVENTS,
    SILVER_QUARANTINE,
    SILVER_SESSIONS,
    Table,
    find_table,
)
from operate.behind import LATE_S, STARTING_S, Behind, bronze_behind, carts_behind, gold_behind, silver_behind
from operate.content import content_hash, prefixed
from operate.derived import derived_tables
from operate.held import held_records
from operate.lake import as_moved, commits_of, last_noted, open_table, query, rows_of
from operate.programs import run_since_s
from operate.served import served_counts

# An event's nine values as the text that its id is the hash of (docs/decisions/0001-event-identity.md).
_VALUES = (
    "epoch_us(event_at)::VARCHAR",
    "event_type",
    "product_id::VARCHAR",
    "category_id::VARCHAR",
    "category_code",
    "brand",
    "price::VARCHAR",
    "user_id::VARCHAR",
    "user_session",
)


Check = Callable[[Settings], dict[str, Any]]


@dataclass(frozen=True)
class Finding:
    """:param counts: the numbers that the verdict rests on."""

    promise: str
    sentence: str
    holds: bool
    counts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def audit(settings: Settings, is_through: bool = False) -> Iterator[Finding]:
    """One finding per promise, each as soon as it is known. A promise that cannot be checked does not hold.

    A table that is too long behind its source breaks the promise while something runs in this home; where nothing runs
    it is said how far it is.

    :param is_through: the run has taken in all that there was: no table may be behind at all.
    """
    now = datetime.now(UTC)
    now_s = now.timestamp()
    began_s, carts_s = run_since_s(settings), LATE_S if is_through else 0.0
    late_before_s = unserved_late_before_s(now_s, began_s, is_through)

    def complete(check: Check, behind: Callable[[], list[Behind]]) -> Check:
        def both(settings: Settings) -> dict[str, Any]:
            counts, waits = check(settings), behind()
            late = [each.table for each in waits if each.is_late(now_s, began_s) or (is_through and each.waiting)]
            return counts | _waiting(waits, late, now_s)

        return both

    checks: tuple[tuple[str, str, Check], ...] = (
        (
            "P1",
            "nothing is lost: bronze has every committed record once, bytes untouched",
            complete(_landed, lambda: [bronze_behind(settings)]),
        ),
        (
            "P2",
            "conservation: every bronze row is in exactly one table of silver",
            complete(_conserved, lambda: [silver_behind(settings)]),
        ),
        (
            "P3",
            "money: gold's sales are silver's purchases, to the cent",
            complete(_money, lambda: [*gold_behind(settings), carts_behind(settings, now, carts_s)]),
        ),
        ("P4", "replay equals live: ids are hashes of the events, copies have their event", _replayable),
        (
            "P5",
            "served equals gold: PostgreSQL has the newest revision of every row, and no other row",
            lambda settings: served_counts(settings, late_before_s),
        ),
    )
    for promise, sentence, check in checks:
        try:
            counts = check(settings)
            broken = any(count for name, count in counts.items() if name.startswith("broken_"))
            yield Finding(promise, sentence, not broken, counts)
        except LakehouseError as error:
            yield Finding(promise, sentence, False, {"error": error.found})


def unserved_late_before_s(now_s: float, began_s: float | None, is_through: bool) -> float:
    """Since before which time a row must not have waited, to be served or to be written, in seconds since 1970.

    Where nothing runs, and while a run starts, nothing is late: whoever died left it to the next start.
    """
    is_left = began_s is None and not is_through
    is_starting = began_s is not None and now_s - began_s < STARTING_S + LATE_S
    return 0.0 if is_left or is_starting else now_s - LATE_S


def _waiting(behind: list[Behind], late: list[str], now_s: float) -> dict[str, Any]:
    counts = {
        "waiting": sum(each.waiting for each in behind),
        "waited_s": round(max(each.waited_s(now_s) for each in behind)),
        "broken_late": len(late),
    }
    return counts | ({"late": ", ".join(late)} if late else {})


def _landed(settings: Settings) -> dict[str, Any]:
    """P1: the noted ranges abut, the rows are as many as noted, and what Kafka still holds is there, byte for byte."""
    ends: dict[tuple[str, int], int] = {}
    noted, gaps, given_up = 0, 0, 0
    commits = commits_of(BRONZE_EVENTS, settings)
    for commit in reversed(commits):
        for topic, spans in commit.note.get("position", {}).items():
            for partition, span in spans.items():
                place = (topic, int(partition))
                gaps += place in ends and ends[place] != span["from"]
                ends[place] = span["to"]
                noted += span["rows"]
        given_up += commit.note.get("accepted", {}).get("records", 0)
    as_of = commits[0].version
    # Of that version, not of one that was made since.
    reading = Reading.of_note(next((commit.note for commit in commits if commit.note), {}))
    rows, places = _one(
        'SELECT count(*), count(DISTINCT (topic, partition, "offset")) FROM bronze.events', settings, as_of
    )
    held, wrong = 0, 0
    for chunk in held_records(settings, reading):
        held += chunk.num_rows
        (same,) = _one(
            """SELECT count(*) FROM kafka JOIN bronze.events AS b
               ON kafka.topic = b.topic AND kafka.partition = b.partition AND kafka."offset" = b."offset"
              AND kafka.digest IS NOT DISTINCT FROM md5(b.value)""",
            settings,
            as_of,
            kafka=chunk,
        )
        wrong += chunk.num_rows - same
    return {
        "rows": rows,
        "rows_noted_by_commits": noted,
        "records_held_by_kafka": held,
        "records_given_up": given_up,
        "broken_ranges": gaps,
        "broken_counts": abs(noted - rows),
        "broken_copies": rows - places,
        "broken_records": wrong,
    }


def _conserved(settings: Settings) -> dict[str, Any]:
    """P2: at the version of bronze that silver has read, place by place."""
    as_of = _silver_versions(settings)
    names = ("bronze_rows", "events", "duplicates", "quarantined", "broken_missing", "broken_twice", "broken_unknown")
    place = 'topic, partition, "offset"'
    row = _one(
        f"""
        WITH silver AS (
            SELECT {place}, 'e' AS kind FROM silver.events
            UNION ALL SELECT {place}, 'd' FROM silver.duplicates
            UNION ALL SELECT {place}, 'q' FROM silver.quarantine WHERE replayed_at IS NULL
        ), places AS (
            SELECT {place}, count(*) AS n, count_if(kind = 'e') AS e, count_if(kind = 'd') AS d,
                   count_if(kind = 'q') AS q
            FROM silver GROUP BY ALL
        ), pairs AS (
            SELECT b.topic AS bronze_topic, p.topic AS silver_topic, n, e, d, q
            FROM bronze.events AS b FULL JOIN places AS p
              ON b.topic = p.topic AND b.partition = p.partition AND b."offset" = p."offset"
        )
        SELECT count(bronze_topic), coalesce(sum(e), 0)::BIGINT, coalesce(sum(d), 0)::BIGINT,
               coalesce(sum(q), 0)::BIGINT,
               count_if(silver_topic IS NULL), count_if(n > 1), count_if(bronze_topic IS NULL)
        FROM pairs""",
        settings,
        as_of,
    )
    (copies,) = _one("SELECT count(*) - count(DISTINCT event_id) FROM silver.events", settings, as_of)
    return _counts(names, row) | {"broken_event_ids": copies}


def _money(settings: Settings) -> dict[str, Any]:
    """P3: each table at the version of silver that it has read, row by row."""
    window_us = query(
        "SELECT coalesce(max(epoch_us(window_end_at) - epoch_us(window_start_at)), 1) FROM gold.product_sales", settings
    ).fetchall()[0][0]
    counts = _sold(GOLD_PRODUCT_SALES, window_us, settings)
    for name, table, length_us in (
        ("hours", GOLD_PRODUCT_SALES_HOURLY, 3_600_000_000),
        ("days", GOLD_PRODUCT_SALES_DAILY, 86_400_000_000),
    ):
        rolled_up = _sold(table, length_us, settings)
        counts |= {name: rolled_up["windows"], f"broken_{name}": rolled_up["broken_windows"] + rolled_up["broken_keys"]}
    return counts | _ordered(settings) | _spent(settings) | _visited(settings)


def _sold(table: Table, length_us: int, settings: Settings) -> dict[str, Any]:
    """Sales of a table in windows of a length, against silver's purchases."""
    as_of = _read_versions(table, settings)
    if not as_of:
        return {"windows": 0, "broken_windows": 0, "broken_keys": 0}
    names = ("windows", "units", "revenue", "refund_units", "refund_amount", "silver_units", "silver_revenue")
    broken = ("broken_windows", "broken_keys")
    row = _one(
        f"""
        WITH sold AS (
            SELECT epoch_us(event_at) - epoch_us(event_at) % {length_us} AS start_us, product_id,
                   count_if(price > 0) AS units, coalesce(sum(price) FILTER (price > 0), 0) AS revenue,
                   count(DISTINCT user_id) FILTER (price > 0) AS buyers,
                   count_if(price < 0) AS refund_units, coalesce(-sum(price) FILTER (price < 0), 0) AS refund_amount
            FROM silver.events WHERE event_type = 'purchase' AND price <> 0 GROUP BY ALL
        ), pairs AS (
            SELECT g.*, s.units AS s_units, s.revenue AS s_revenue,
                   coalesce((g.units, g.revenue, g.buyers, g.refund_units, g.refund_amount)
                          = (s.units, s.revenue, s.buyers, s.refund_units, s.refund_amount), false) AS same
            FROM {table.name} AS g FULL JOIN sold AS s
              ON epoch_us(g.window_start_at) = s.start_us AND g.product_id = s.product_id
        )
        SELECT count(units), coalesce(sum(units), 0)::BIGINT, coalesce(sum(revenue), 0),
               coalesce(sum(refund_units), 0)::BIGINT, coalesce(sum(refund_amount), 0),
               coalesce(sum(s_units), 0)::BIGINT, coalesce(sum(s_revenue), 0),
               count_if(NOT same),
               (SELECT count(*) - count(DISTINCT (window_start_at, product_id)) FROM {table.name})
        FROM pairs""",
        settings,
        as_of,
    )
    return _counts(names + broken, row)


def _ordered(settings: Settings) -> dict[str, Any]:
    as_of = _read_versions(GOLD_ORDERS, settings)
    if not as_of:
        return {"orders": 0}
    row = _one(
        """
        WITH bought AS (
            SELECT user_id, event_at, user_session, count(*) AS lines, count_if(price > 0) AS units,
                   coalesce(sum(price) FILTER (price > 0), 0) AS revenue,
                   coalesce(-sum(price) FILTER (price < 0), 0) AS refund_amount
            FROM silver.events WHERE event_type = 'purchase' GROUP BY ALL
        )
        SELECT count(g.order_id), count_if(NOT coalesce(
                   (len(g.lines), g.units, g.revenue, g.refund_amount, g.total)
                   = (s.lines, s.units, s.revenue, s.refund_amount, s.revenue - s.refund_amount), false))
        FROM gold.orders AS g FULL JOIN bought AS s
          ON g.user_id = s.user_id AND g.ordered_at = s.event_at AND g.user_session IS NOT DISTINCT FROM s.user_session
        """,
        settings,
        as_of,
    )
    return _counts(("orders", "broken_orders"), row)


def _spent(settings: Settings) -> dict[str, Any]:
    as_of = _read_versions(GOLD_CUSTOMER_VALUE, settings)
    if not as_of:
        return {"customers": 0}
    row = _one(
        """
        WITH spent AS (
            SELECT user_id, count(DISTINCT (event_at, coalesce(user_session, ''))) FILTER (price > 0) AS orders,
                   count_if(price > 0) AS units, coalesce(sum(price) FILTER (price > 0), 0) AS revenue,
                   coalesce(-sum(price) FILTER (price < 0), 0) AS refunds
            FROM silver.events WHERE event_type = 'purchase' AND price <> 0 GROUP BY ALL
        )
        SELECT count(g.user_id), coalesce(sum(g.revenue), 0), count_if(NOT coalesce(
                   (g.orders, g.units, g.revenue, g.refunds) = (s.orders, s.units, s.revenue, s.refunds), false))
        FROM gold.customer_value AS g FULL JOIN spent AS s ON g.user_id = s.user_id""",
        settings,
        as_of,
    )
    return _counts(("customers", "customers_revenue", "broken_customers"), row)


def _visited(settings: Settings) -> dict[str, Any]:
    """Is each event in one session, and its revenue too? Added up by customer."""
    as_of = _read_versions(SILVER_SESSIONS, settings)
    if not as_of:
        return {"sessions": 0}
    row = _one(
        """
        WITH came AS (
            SELECT user_id, count(*) AS events, coalesce(sum(price) FILTER (event_type = 'purchase' AND price > 0), 0)
                   AS revenue
            FROM silver.events GROUP BY ALL
        ), visited AS (
            SELECT user_id, count(*) AS sessions, sum(events) AS events, sum(revenue) AS revenue,
                   count(*) - count(DISTINCT session_key) AS copies
            FROM silver.sessions GROUP BY ALL
        )
        SELECT sum(v.sessions)::BIGINT, count_if(NOT coalesce((v.events, v.revenue, v.copies)
                                                              = (c.events, c.revenue, 0), false))
        FROM visited AS v FULL JOIN came AS c ON v.user_id = c.user_id""",
        settings,
        as_of,
    )
    return _counts(("sessions", "broken_sessions"), row)


def _read_versions(table: Table, settings: Settings) -> dict[str, int]:
    """A derived table as it is now, and the version of silver.events that it has read; empty before its first round."""
    try:
        commit = last_noted(table, settings)
    except TableError:
        return {}
    read = as_moved(SILVER_EVENTS, settings, commit.note.get("silver_version", 0))
    return {table.name: as_moved(table, settings, commit.version), SILVER_EVENTS.name: read}


def _replayable(settings: Settings) -> dict[str, Any]:
    """P4: what a replay rests on, and a digest of each table by which two lakes are compared.

    An event's id follows from its values alone, so that it is the same whenever the record comes; a copy is a copy of
    an event that is there. The versions are those of P2, and for gold that of P3.
    """
    as_of = _silver_versions(settings)
    columns = {field.name for field in open_table(SILVER_EVENTS, settings, as_of[SILVER_EVENTS.name]).schema().fields}
    # Where a producer's own id is the id of the event, the hash is kept beside it.
    hashed = "coalesce(content_id, event_id)" if "content_id" in columns else "event_id"
    form = " || ".join(f"coalesce({prefixed(value)}, '-')" for value in _VALUES)
    events, wrong = _one(
        f"SELECT count(*), count_if({hashed} IS DISTINCT FROM left(sha256({form}), 32)) FROM silver.events",
        settings,
        as_of,
    )
    place = 'c.topic = e.topic AND c.partition = e.partition AND c."offset" = e."offset"'
    orphans, both = _one(
        f"""SELECT (SELECT count(*) FROM silver.duplicates AS c ANTI JOIN silver.events AS e USING (event_id)),
                   (SELECT count(*) FROM silver.duplicates AS c SEMI JOIN silver.events AS e ON {place})""",
        settings,
        as_of,
    )
    for table in derived_tables():
        as_of |= {name: version for name, version in _read_versions(table, settings).items() if name == table.name}
    own = (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)
    tables = (table for table in (*own, *derived_tables()) if table.name in as_of)
    digests = {f"digest_{table.name}": content_hash(table, settings, as_of[table.name]).digest for table in tables}
    counts = _counts(("events", "broken_ids", "broken_copies", "broken_twice"), (events, wrong, orphans, both))
    return counts | digests


def _silver_versions(settings: Settings) -> dict[str, int]:
    """The versions of silver's tables that belong together, and of bronze.events that silver had read in them."""
    commit = last_noted(SILVER_EVENTS, settings)
    beside = commit.note.get("beside", {SILVER_DUPLICATES.name: 0, SILVER_QUARANTINE.name: 0})
    noted = {
        SILVER_EVENTS.name: commit.version,
        BRONZE_EVENTS.name: commit.note.get("bronze_version", 0),
        **beside,
    }
    return {name: as_moved(find_table(name), settings, version) for name, version in noted.items()}


def _counts(names: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    """Sums over no rows are null: they count as 0."""
    return {name: 0 if count is None else count for name, count in zip(names, row, strict=True)}


def _one(sql: str, settings: Settings, as_of: int | dict[str, int], **frames: pa.Table) -> tuple[Any, ...]:
    return rows_of(query(sql, settings, as_of, **frames))[0]
