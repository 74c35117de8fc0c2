"""Gold's tables as pure functions: what a calculation apart finds, however the events are parted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import jsonschema
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.abandoned_carts import abandoned_carts
from gold.corrections import corrections
from gold.folds import FOLDS, Fold
from gold.whole import whole_sales
from lakehouse.contract import json_schema, path_of, text_of
from lakehouse.revisions import in_revision, revised
from lakehouse.settings import Settings
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_CUSTOMER_VALUE,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCTS,
    GOLD_SALES_CORRECTIONS,
    PUBLISHED,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)
from lakehouse.wire import to_json
from silver.events import read_records
from silver.rows import NEW, event_rows
from silver.sessions import sessions
from tests.builders import Fields, bronze_frame, event, purchase, records, some_events
from tests.gold_by_hand import SQL, by_hand, columns_of, ordered

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BY_TABLE = {fold.table: fold for fold in FOLDS}


def silver(spark: SparkSession, settings: Settings, values: list[Fields]) -> DataFrame:
    """Distinct events, as silver.events has them."""
    judged = read_records(bronze_frame(spark, records(values)), settings).withColumn("verdict", F.lit(NEW))
    return event_rows(judged, NOW).dropDuplicates(["event_id"])


def whole(fold: Fold, events: DataFrame) -> DataFrame:
    if fold.source == SILVER_EVENTS:
        return fold.whole(events)
    if fold.source == SILVER_SESSIONS:
        return fold.whole(in_revision(sessions(events, Settings()), SILVER_SESSIONS, 1, NOW))
    return fold.whole(in_revision(whole(BY_TABLE[fold.source], events), fold.source, 1, NOW))


def rows_of(frame: DataFrame, table: Table) -> list[tuple]:
    return ordered(frame.select(*columns_of(table.name)).toArrow())


@pytest.fixture(scope="module")
def events(spark: SparkSession) -> DataFrame:
    return silver(spark, Settings(), some_events(7, 400)).persist()


@pytest.mark.parametrize("fold", [fold for fold in FOLDS if fold.table.name in SQL], ids=lambda fold: fold.table.name)
def test_a_table_is_what_a_calculation_apart_finds(events: DataFrame, fold: Fold) -> None:
    found = rows_of(whole(fold, events), fold.table)
    assert found == by_hand(events.toArrow(), fold.table.name)
    assert len(found) >= 5


def test_sales_are_what_a_calculation_apart_finds(events: DataFrame) -> None:
    assert rows_of(whole_sales(events, 60), GOLD_PRODUCT_SALES) == by_hand(events.toArrow(), "gold.product_sales")


@pytest.mark.parametrize("fold", [fold for fold in FOLDS if fold.held], ids=lambda fold: fold.table.name)
def test_rows_and_new_pieces_fold_to_the_same(events: DataFrame, fold: Fold) -> None:
    """Also when some of the pieces are already in the rows, or are taken back first."""
    assert fold.held is not None
    first = events.where(F.hash("event_id") % 2 == 0)
    again = events.where(F.hash("event_id") % 3 == 0)
    old = in_revision(whole(fold, first), fold.table, 1, NOW)
    if fold.taken_back:
        orders = [in_revision(whole(BY_TABLE[GOLD_ORDERS], part), GOLD_ORDERS, 1, NOW) for part in (first, events)]
        before, after = (fold.pieces(part) for part in orders)
        pieces = fold.held(old).unionByName(after).unionByName(fold.taken_back(before))
    else:
        rest = events.where(F.hash("event_id") % 2 != 0)
        pieces = fold.held(old).unionByName(fold.pieces(rest)).unionByName(fold.pieces(again))
    wanted = in_revision(whole(fold, events), fold.table, 1, NOW).toArrow()
    assert ordered(in_revision(fold.facts(pieces), fold.table, 1, NOW).toArrow()) == ordered(wanted)


def test_an_order_without_a_session_is_no_order_of_a_session(spark: SparkSession, settings: Settings) -> None:
    values = [purchase(product_id=number, user_session=session) for number, session in ((1, None), (2, "s"), (3, "s"))]
    orders = whole(BY_TABLE[GOLD_ORDERS], silver(spark, settings, values)).toArrow().to_pylist()
    assert sorted(len(order["lines"]) for order in orders) == [1, 2]
    assert len({order["order_id"] for order in orders}) == 2


def test_a_refund_alone_is_a_customer_without_a_purchase(spark: SparkSession, settings: Settings) -> None:
    events = silver(spark, settings, [purchase(price="-4.50"), purchase(price="0.00", user_id=2)])
    (customer,) = whole(BY_TABLE[GOLD_CUSTOMER_VALUE], events).toArrow().to_pylist()
    assert (customer["orders"], customer["revenue"], customer["refunds"]) == (0, Decimal("0.00"), Decimal("4.50"))
    assert customer["first_purchase_at"] is None


def test_a_product_is_as_its_newest_event_shows_it_nulls_included(spark: SparkSession, settings: Settings) -> None:
    values = [
        event(event_time=f"2019-10-0{day} 00:00:00 UTC", brand=brand) for day, brand in ((1, "a"), (3, None), (2, "b"))
    ]
    (product,) = whole(BY_TABLE[GOLD_PRODUCTS], silver(spark, settings, values)).toArrow().to_pylist()
    assert product["brand"] is None and product["last_event_at"].day == 3


def test_an_order_of_lines_with_much_beside_them_is_a_record_that_a_topic_takes(
    spark: SparkSession, settings: Settings
) -> None:
    """Ten lines of 0.9 MB each were more than one record may have, and no slower table went on."""
    much = {f"note {number}": "é" * 900 for number in range(64)}
    values = [purchase(event_id=str(number), product_id=number, **much) for number in range(300)]
    some = purchase(event_id="small", product_id=5, coupon="B")
    (order,) = whole(BY_TABLE[GOLD_ORDERS], silver(spark, settings, [*values, some])).toArrow().to_pylist()
    lines = {line["event_id"]: json.loads(line["extras"]) for line in order["lines"]}
    assert (len(lines), order["units"], order["revenue"]) == (301, 301, 301 * Decimal("2.62"))
    assert lines["small"] == {"coupon": "B"} and lines["7"] == {"_cut": "64 fields, see silver.events"}
    assert len(to_json(order | {"revision": 1})) < 100_000


def test_only_other_facts_make_a_revision(spark: SparkSession, settings: Settings) -> None:
    def products(*prices: str) -> DataFrame:
        values = [event(product_id=number, brand=None, price=price) for number, price in enumerate(prices)]
        return whole(BY_TABLE[GOLD_PRODUCTS], silver(spark, settings, values))

    old = in_revision(products("1.00", "2.00"), GOLD_PRODUCTS, 4, NOW)
    rows = revised(products("1.00", "3.00", "5.00"), old, GOLD_PRODUCTS, 5, NOW).toArrow().to_pylist()
    assert {row["product_id"]: row["revision"] for row in rows} == {0: 4, 1: 5, 2: 5}


def test_corrections_are_the_differences(spark: SparkSession, settings: Settings) -> None:
    def sales(*units: tuple[int, int]) -> DataFrame:
        values = [
            purchase(product_id=product, user_id=number, price="1.00")
            for product, count in units
            for number in range(count)
        ]
        return in_revision(whole_sales(silver(spark, settings, values), 60), GOLD_PRODUCT_SALES, 9, NOW)

    found = corrections(sales((1, 1), (2, 2), (3, 3)), sales((1, 1), (2, 4), (4, 1)), "late", 8, NOW)
    assert found.columns == GOLD_SALES_CORRECTIONS.schema.fieldNames()
    changes = {row["product_id"]: (row["old_units"], row["new_units"], row["revision"]) for row in found.collect()}
    assert changes == {2: (2, 4, 9), 3: (3, 0, 8), 4: (0, 1, 9)}


@pytest.mark.parametrize("table", PUBLISHED, ids=lambda table: table.name)
def test_the_contract_of_a_topic_is_that_of_its_table(table: Table) -> None:
    assert path_of(table).read_text() == text_of(table), (
        "a column changed: raise the version, then `python -m lakehouse.contract`"
    )


def test_records_keep_their_contract(events: DataFrame) -> None:
    session_rows = in_revision(sessions(events, Settings()), SILVER_SESSIONS, 1, NOW)
    orders = in_revision(whole(BY_TABLE[GOLD_ORDERS], events), GOLD_ORDERS, 1, NOW)
    tables = [(fold.table, whole(fold, events)) for fold in FOLDS]
    carts = abandoned_carts(session_rows, orders, F.lit(NOW), Settings())
    tables += [(SILVER_SESSIONS, session_rows), (GOLD_ABANDONED_CARTS, carts)]
    for table, facts in [*tables, (GOLD_PRODUCT_SALES, whole_sales(events, 60))]:
        check = jsonschema.Draft202012Validator(json_schema(table))
        for row in in_revision(facts, table, 1, NOW).toArrow().to_pylist():
            check.validate(json.loads(to_json(row)))
        with pytest.raises(jsonschema.ValidationError):
            check.validate(json.loads(to_json(row | {"revision": "1"})))
