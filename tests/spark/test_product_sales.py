"""Sales per product and window: counted once, to the cent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DecimalType, LongType, StructField, StructType, TimestampType
from pyspark.testing import assertDataFrameEqual

from gold.product_sales import product_sales
from lakehouse.handover import Purchase, purchases_in
from lakehouse.schemas import GOLD_PRODUCT_SALES
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES as TABLE
from silver.events import read_records
from tests.builders import KAFKA_AT, bronze_frame, event, purchase, records

NOON = datetime(2019, 10, 1, 12, tzinfo=UTC)
PURCHASES = StructType(
    [
        StructField("event_at", TimestampType()),
        StructField("product_id", LongType()),
        StructField("price", DecimalType(10, 2)),
        StructField("user_id", LongType()),
    ]
)
FACT_COLUMNS = StructType([field for field in GOLD_PRODUCT_SALES.fields if field.name in TABLE.facts])


def sold(second: float, price: str, *, product: int = 1, user: int = 1) -> tuple[datetime, int, Decimal, int]:
    return NOON + timedelta(seconds=second), product, Decimal(price), user


def frame(spark: SparkSession, purchases: list[tuple]) -> DataFrame:
    return spark.createDataFrame(purchases, PURCHASES)


def fact(
    second: int,
    units: int,
    revenue: str,
    buyers: int,
    refund_units: int,
    refund_amount: str,
    last: float,
    *,
    product: int = 1,
    window_s: int = 60,
) -> tuple:
    start = NOON + timedelta(seconds=second)
    return (
        start,
        start + timedelta(seconds=window_s),
        start.date(),
        product,
        units,
        Decimal(revenue),
        buyers,
        refund_units,
        Decimal(refund_amount),
        NOON + timedelta(seconds=last),
    )


def assert_sales(actual: DataFrame, facts: list[tuple]) -> None:
    expected = actual.sparkSession.createDataFrame(facts, FACT_COLUMNS)
    # Nullability is ignored: Spark knows that a count is never null, the contract does not say so.
    assertDataFrameEqual(actual, expected, rtol=0, atol=0)
    assert [(field.name, field.dataType) for field in actual.schema] == [
        (field.name, field.dataType) for field in FACT_COLUMNS
    ]


def test_sales_are_summed_per_product_and_window(spark: SparkSession) -> None:
    purchases = [
        sold(0, "2.62"),
        sold(59.999999, "0.01", user=2),
        sold(60, "5.00"),
        sold(30, "7.10", product=2),
    ]
    assert_sales(
        product_sales(frame(spark, purchases), 60),
        [
            fact(0, 2, "2.63", 2, 0, "0.00", 59.999999),
            fact(60, 1, "5.00", 1, 0, "0.00", 60),
            fact(0, 1, "7.10", 1, 0, "0.00", 30, product=2),
        ],
    )


def test_a_buyer_who_comes_twice_is_one_buyer_and_two_units(spark: SparkSession) -> None:
    purchases = [sold(1, "1.00", user=7), sold(2, "1.00", user=7), sold(3, "1.00", user=8)]
    assert_sales(product_sales(frame(spark, purchases), 60), [fact(0, 3, "3.00", 2, 0, "0.00", 3)])


def test_a_refund_has_columns_of_its_own_and_no_buyer(spark: SparkSession) -> None:
    purchases = [sold(1, "10.00", user=1), sold(2, "-4.50", user=2), sold(3, "-0.50", user=1)]
    assert_sales(product_sales(frame(spark, purchases), 60), [fact(0, 1, "10.00", 1, 2, "5.00", 3)])


def test_a_window_of_refunds_alone_has_no_sale_and_zeros_not_nulls(spark: SparkSession) -> None:
    assert_sales(product_sales(frame(spark, [sold(1, "-4.50")]), 60), [fact(0, 0, "0.00", 0, 1, "4.50", 1)])


def test_sums_stay_exact_where_a_float_or_a_price_column_would_not(spark: SparkSession) -> None:
    purchases = [sold(0, "99999999.99", user=user) for user in range(2000)] + [sold(1, "0.01", user=1)] * 3
    total = Decimal("99999999.99") * 2000 + Decimal("0.03")
    assert str(total) == "199999999980.03"
    assert_sales(product_sales(frame(spark, purchases), 60), [fact(0, 2003, str(total), 2000, 0, "0.00", 1)])


def test_a_cent_in_two_hundred_thousand_is_seen(spark: SparkSession) -> None:
    purchases = [sold(0, "100000.00"), sold(0, "100000.00"), sold(0, "0.01")]
    assert_sales(product_sales(frame(spark, purchases), 60), [fact(0, 3, "200000.01", 1, 0, "0.00", 0)])


def test_the_order_of_the_purchases_makes_no_difference(spark: SparkSession) -> None:
    purchases = [sold(second, f"{second}.10", user=second % 3, product=second % 2) for second in range(0, 180, 7)]
    late_first = product_sales(frame(spark, purchases[::-1]), 60)
    assertDataFrameEqual(late_first, product_sales(frame(spark, purchases), 60), rtol=0, atol=0)


def test_the_length_of_the_window_is_obeyed(spark: SparkSession) -> None:
    purchases = [sold(0, "1.00"), sold(299, "2.00"), sold(300, "4.00")]
    assert_sales(
        product_sales(frame(spark, purchases), 300),
        [
            fact(0, 2, "3.00", 1, 0, "0.00", 299, window_s=300),
            fact(300, 1, "4.00", 1, 0, "0.00", 300, window_s=300),
        ],
    )


def test_no_purchases_give_no_rows(spark: SparkSession) -> None:
    assert_sales(product_sales(frame(spark, []), 60), [])


def test_only_purchases_with_a_price_are_handed_on_and_whole(spark: SparkSession, settings: Settings) -> None:
    values = [
        event(price="9.99"),
        event(event_type="cart"),
        purchase(price="0.00"),
        purchase(price="5.1", event_time="2019-10-01 00:00:00.000001 UTC", user_id=2**63 - 1),
        purchase(price="-5.10", category_id=None),
    ]
    events = read_records(bronze_frame(spark, records(values)), settings)
    ids = [row.event_id for row in events.orderBy("offset").collect()]
    kafka_at_us = int(KAFKA_AT.timestamp()) * 1_000_000
    midnight_us = int(datetime(2019, 10, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert purchases_in(events) == [
        Purchase(ids[3], midnight_us + 1, 5773203, "5.10", 2**63 - 1, kafka_at_us),
        Purchase(ids[4], midnight_us, 5773203, "-5.10", 463240011, kafka_at_us),
    ]
    assert purchases_in(events.where(F.lit(False))) == []
