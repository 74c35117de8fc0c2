"""The columns of every table: type, meaning and unit.

A column is marked `volatile` when a replay of the same records may give it another value (processing times, the
place of the copy that survived, revisions). Promise P4, replay equals live, speaks of all the others.
"""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

PRICE = DecimalType(10, 2)
AMOUNT = DecimalType(20, 2)


def _column(name: str, kind: DataType, comment: str, *, nullable: bool = True, volatile: bool = False) -> StructField:
    return StructField(name, kind, nullable, {"comment": comment, "volatile": volatile})


def _place(*, volatile: bool) -> list[StructField]:
    return [
        _column("topic", StringType(), "Kafka topic of the record", volatile=volatile),
        _column("partition", IntegerType(), "Kafka partition of the record", volatile=volatile),
        _column("offset", LongType(), "Kafka offset of the record", volatile=volatile),
    ]


BRONZE_EVENTS = StructType(
    [
        _column("key", BinaryType(), "Record key, as it came"),
        _column("value", BinaryType(), "Record value, as it came"),
        _column(
            "headers",
            ArrayType(StructType([StructField("key", StringType()), StructField("value", BinaryType())])),
            "Record headers, as they came",
        ),
        *_place(volatile=False),
        _column("kafka_at", TimestampType(), "When Kafka appended the record (UTC)"),
        _column("ingested_at", TimestampType(), "When the row was made (UTC)", volatile=True),
        _column("ingested_on", DateType(), "Day of ingested_at (UTC)", volatile=True),
    ]
)

SILVER_EVENTS = StructType(
    [
        _column(
            "event_id", StringType(), "The producer's own id; else 128-bit hash of the nine normalised values, in hex"
        ),
        _column("content_id", StringType(), "That hash, where the producer's own id is another; else null"),
        _column("event_at", TimestampType(), "When it happened in the store (UTC)"),
        _column("event_on", DateType(), "Day of event_at (UTC)"),
        _column("event_type", StringType(), "view, cart, remove_from_cart or purchase"),
        _column("product_id", LongType(), "Product"),
        _column("category_id", LongType(), "Category; exceeds 2^53"),
        _column("category_code", StringType(), "Category in words, mostly null"),
        _column("brand", StringType(), "Brand, often null"),
        _column("price", PRICE, "Price of the product (USD); below zero on a purchase: a refund"),
        _column("user_id", LongType(), "Customer"),
        _column("user_session", StringType(), "Session, as the store's pages gave it"),
        _column("extras", MapType(StringType(), StringType()), "Fields we do not know, as JSON text; null if none"),
        *_place(volatile=True),
        _column("kafka_at", TimestampType(), "When Kafka appended the surviving copy (UTC)", volatile=True),
        _column("processed_at", TimestampType(), "When the row was made (UTC)", volatile=True),
    ]
)

SILVER_DUPLICATES = StructType(
    [
        _column("event_id", StringType(), "The event of which this record is a copy"),
        *_place(volatile=True),
    ]
)

SILVER_QUARANTINE = StructType(
    [
        _column("value", BinaryType(), "Record value, as it came"),
        *_place(volatile=False),
        _column("kafka_at", TimestampType(), "When Kafka appended the record (UTC)"),
        _column("reasons", ArrayType(StringType()), "Names of all rules that the record breaks"),
        _column("first_seen_at", TimestampType(), "When it was first refused (UTC)", volatile=True),
        _column("replayed_at", TimestampType(), "When a replay took it out again (UTC)", volatile=True),
    ]
)

SILVER_QUALITY_LOG = StructType(
    [
        _column("silver_version", LongType(), "Version of silver.events that the batch made", volatile=True),
        _column("bronze_version", LongType(), "Version of bronze.events that the batch ends with", volatile=True),
        _column("processed_at", TimestampType(), "When the batch was refined (UTC)", volatile=True),
        _column("records", LongType(), "Records of the batch", volatile=True),
        _column("events", LongType(), "New events among them", volatile=True),
        _column("duplicates", LongType(), "Copies among them", volatile=True),
        _column("quarantined", LongType(), "Refused records among them", volatile=True),
        _column("reasons", MapType(StringType(), LongType()), "Rule: records that break it", volatile=True),
        _column("late", LongType(), "New events behind the store clock by the setting late_s", volatile=True),
        _column("first_event_at", TimestampType(), "Oldest new event (UTC)", volatile=True),
        _column("last_event_at", TimestampType(), "Newest new event (UTC)", volatile=True),
        _column(
            "null_rates",
            MapType(StringType(), DoubleType()),
            "Column: share of the new events without a value; null if there are none",
            volatile=True,
        ),
    ]
)

GOLD_PRODUCT_SALES = StructType(
    [
        _column("window_start_at", TimestampType(), "Start of the window, included (UTC)"),
        _column("window_end_at", TimestampType(), "End of the window, excluded (UTC)"),
        _column("window_start_on", DateType(), "Day of window_start_at (UTC)"),
        _column("product_id", LongType(), "Product"),
        _column("units", LongType(), "Purchases with a price above zero"),
        _column("revenue", AMOUNT, "Sum of their prices (USD)"),
        _column("buyers", LongType(), "Distinct customers among them"),
        _column("refund_units", LongType(), "Purchases with a price below zero"),
        _column("refund_amount", AMOUNT, "Sum of what was given back (USD), above zero"),
        _column("last_purchase_at", TimestampType(), "Newest purchase or refund in the window (UTC)"),
        _column("revision", LongType(), "Rises with every change of the row", volatile=True),
        _column("updated_at", TimestampType(), "When this revision was made (UTC)", volatile=True),
    ]
)


def is_volatile(field: StructField) -> bool:
    return bool(field.metadata.get("volatile"))


def stable_columns(schema: StructType) -> list[str]:
    """The columns in which a replay must equal the live run."""
    return [field.name for field in schema.fields if not is_volatile(field)]
