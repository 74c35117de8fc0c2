"""The columns of every table: type, meaning and unit.

A column is marked `volatile` when a replay of the same records may give it another value (processing times, the
place of the copy that survived, revisions). Promise P4, replay equals live, speaks of all the others.
"""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
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
CUT = "_cut"
"""The name among the extras of an event that says that there were more."""


def _column(
    name: str, kind: DataType, comment: str, *, volatile: bool = False, may_be_null: bool = False
) -> StructField:
    """:param may_be_null: in a published row. It is said here, for Delta and its readers bear a null everywhere."""
    metadata = {"comment": comment, "volatile": volatile} | ({"may_be_null": True} if may_be_null else {})
    return StructField(name, kind, True, metadata)


def _place(*, volatile: bool) -> list[StructField]:
    return [
        _column("topic", StringType(), "Kafka topic of the record", volatile=volatile),
        _column("partition", IntegerType(), "Kafka partition of the record", volatile=volatile),
        _column("offset", LongType(), "Kafka offset; of a topic made anew, after those before", volatile=volatile),
    ]


def _revision() -> list[StructField]:
    return [
        _column("revision", LongType(), "Rises with every change of the row", volatile=True),
        _column("updated_at", TimestampType(), "When this revision was made (UTC)", volatile=True),
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
        _column("kafka_at", TimestampType(), "When Kafka appended it, or we had it if producers stamp (UTC)"),
        _column("ingested_at", TimestampType(), "When the row was made (UTC)", volatile=True),
        _column("ingested_on", DateType(), "Day of ingested_at (UTC)", volatile=True),
    ]
)

BRONZE_SCHEMAS = StructType(
    [
        _column("schema_id", LongType(), "The registry's id of the schema, as Avro records begin with"),
        _column("schema", StringType(), "The schema, in JSON, with all that it refers to"),
        _column(
            "subjects",
            ArrayType(StringType()),
            "Subject and version of it in the registry, such as store-events-value 3",
            volatile=True,
        ),
        _column("seen_at", TimestampType(), "When the first record of it came (UTC)", volatile=True),
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
        _column("kafka_at", TimestampType(), "When Kafka appended it, or we had it if producers stamp (UTC)"),
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

_ITEMS = ArrayType(
    StructType(
        [
            StructField("product_id", LongType()),
            StructField("quantity", LongType()),
            StructField("price", PRICE),
        ]
    )
)

SILVER_SESSIONS = StructType(
    [
        _column("session_key", StringType(), "128-bit hash of customer and session, or start without one, in hex"),
        _column("started_on", DateType(), "Day of started_at (UTC)"),
        _column("user_id", LongType(), "Customer"),
        _column("user_session", StringType(), "Session, as the store's pages gave it", may_be_null=True),
        _column("started_at", TimestampType(), "First event (UTC)"),
        _column("ended_at", TimestampType(), "Last event so far (UTC)"),
        _column("events", LongType(), "Events: the four columns that follow, added up"),
        _column("views", LongType(), "Products looked at"),
        _column("carts", LongType(), "Products put into the cart"),
        _column("removes", LongType(), "Products taken out of the cart"),
        _column("purchases", LongType(), "Products bought, at whatever price"),
        _column("revenue", AMOUNT, "Sum of the prices above zero of what was bought (USD)"),
        _column("cart", _ITEMS, "What the cart holds after its last change, by product, at the price when last put in"),
        _column("cart_value", AMOUNT, "Sum of quantity and price of the cart's items (USD)"),
        _column("last_cart_change_at", TimestampType(), "Last cart, remove or purchase (UTC)", may_be_null=True),
        _column("earlier_abandonments", LongType(), "How often the cart was abandoned before its last change"),
        _column("earlier_abandoned_at", TimestampType(), "The newest time of these (UTC)", may_be_null=True),
        _column("earlier_cart", _ITEMS, "What the cart held then; empty if it was not"),
        _column("earlier_cart_value", AMOUNT, "Sum of quantity and price of its items (USD)"),
        _column(
            "brands",
            ArrayType(
                StructType(
                    [
                        StructField("brand", StringType()),
                        StructField("viewed", BooleanType()),
                        StructField("carted", BooleanType()),
                        StructField("bought", BooleanType()),
                    ]
                )
            ),
            "The steps taken with products of each brand, by brand; empty for events without one",
        ),
        *_revision(),
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
        *_revision(),
    ]
)

GOLD_SALES_CORRECTIONS = StructType(
    [
        _column("window_start_at", TimestampType(), "Start of the window that changed (UTC)", volatile=True),
        _column("product_id", LongType(), "Product", volatile=True),
        _column("old_units", LongType(), "Units before", volatile=True),
        _column("new_units", LongType(), "Units from then on", volatile=True),
        _column("old_revenue", AMOUNT, "Revenue before (USD)", volatile=True),
        _column("new_revenue", AMOUNT, "Revenue from then on (USD)", volatile=True),
        _column("old_refund_amount", AMOUNT, "Refunds before (USD)", volatile=True),
        _column("new_refund_amount", AMOUNT, "Refunds from then on (USD)", volatile=True),
        _column("reason", StringType(), "late: a purchase came late; rebuild: gold was built anew", volatile=True),
        _column("corrected_at", TimestampType(), "When the change was made (UTC)", volatile=True),
        _column("revision", LongType(), "Revision of the window's row that has the change", volatile=True),
    ]
)

GOLD_ORDERS = StructType(
    [
        _column("order_id", StringType(), "128-bit hash of customer, time and session, in hex"),
        _column("ordered_at", TimestampType(), "When it was placed (UTC)"),
        _column("ordered_on", DateType(), "Day of ordered_at (UTC)"),
        _column("user_id", LongType(), "Customer"),
        _column("user_session", StringType(), "Session, as the store's pages gave it", may_be_null=True),
        _column(
            "lines",
            ArrayType(
                StructType(
                    [
                        StructField("event_id", StringType()),
                        StructField("product_id", LongType()),
                        StructField("price", PRICE),
                        StructField("extras", StringType(), True, {"json": True, "may_be_null": True}),
                    ]
                )
            ),
            "Its purchases, by event_id; below zero: a refund; extras: fields we do not know, a JSON object of texts",
        ),
        _column("units", LongType(), "Lines with a price above zero"),
        _column("revenue", AMOUNT, "Sum of their prices (USD)"),
        _column("refund_units", LongType(), "Lines with a price below zero"),
        _column("refund_amount", AMOUNT, "Sum of what was given back (USD), above zero"),
        _column("total", AMOUNT, "Revenue less refunds (USD)"),
        *_revision(),
    ]
)

GOLD_PRODUCTS = StructType(
    [
        _column("product_id", LongType(), "Product"),
        _column("category_id", LongType(), "Category in its newest event; exceeds 2^53", may_be_null=True),
        _column("category_code", StringType(), "Category in words in its newest event", may_be_null=True),
        _column("brand", StringType(), "Brand in its newest event", may_be_null=True),
        _column("price", PRICE, "Price in its newest event (USD)"),
        _column("last_event_at", TimestampType(), "When the newest event happened (UTC)"),
        _column("last_event_id", StringType(), "The newest event; of several at one time the one with the greatest id"),
        *_revision(),
    ]
)

GOLD_CUSTOMER_VALUE = StructType(
    [
        _column("user_id", LongType(), "Customer"),
        _column("orders", LongType(), "Orders with at least one sale"),
        _column("units", LongType(), "Purchases with a price above zero"),
        _column("revenue", AMOUNT, "Sum of their prices (USD), refunds not taken off"),
        _column("refund_units", LongType(), "Purchases with a price below zero"),
        _column("refunds", AMOUNT, "Sum of what was given back (USD), above zero"),
        _column(
            "first_purchase_at",
            TimestampType(),
            "Oldest sale (UTC); null of refunds alone",
            may_be_null=True,
        ),
        _column("last_purchase_at", TimestampType(), "Newest sale (UTC); null of refunds alone", may_be_null=True),
        *_revision(),
    ]
)

GOLD_FUNNEL = StructType(
    [
        _column("event_on", DateType(), "Day on which the sessions began (UTC)"),
        _column("scope", StringType(), "brand: sessions with events of one brand; day: all of the store"),
        _column("brand", StringType(), "Brand; empty for events without one, and in scope day"),
        _column("visitors", LongType(), "Distinct customers of these sessions"),
        _column("sessions", LongType(), "Sessions with any event"),
        _column("viewed", LongType(), "Those among them in which a product was looked at"),
        _column("carted", LongType(), "Those in which one was put into the cart"),
        _column("bought", LongType(), "Those in which one was bought, at a price above zero"),
        _column("conversion", DoubleType(), "bought / sessions"),
        *_revision(),
    ]
)

GOLD_ABANDONED_CARTS = StructType(
    [
        _column("session_key", StringType(), "Session whose cart was abandoned: the key of silver.sessions"),
        _column("started_on", DateType(), "Day on which the session began (UTC)"),
        _column("started_at", TimestampType(), "When the session began (UTC)"),
        _column("user_id", LongType(), "Customer"),
        _column("user_session", StringType(), "Session, as the store's pages gave it", may_be_null=True),
        _column("items", _ITEMS, "What the cart held when it was last abandoned, by product"),
        _column("cart_value", AMOUNT, "Sum of quantity and price of its items (USD)"),
        _column("abandonments", LongType(), "How often the session's cart was abandoned"),
        _column("abandoned_at", TimestampType(), "When it was last abandoned (UTC)"),
        _column(
            "recovered_at",
            TimestampType(),
            "First purchase of one of the items by this customer after that, within cart_recovery_s (UTC)",
            may_be_null=True,
        ),
        *_revision(),
    ]
)

_MODEL = [
    _column("model_name", StringType(), "Registered model that said so", volatile=True),
    _column("model_version", LongType(), "Its version", volatile=True),
    _column("silver_version", LongType(), "Version of silver.events that it was told of", volatile=True),
    _column("scored_at", TimestampType(), "When it was asked (UTC)", volatile=True),
]

GOLD_CUSTOMER_SCORES = StructType(
    [
        _column("user_id", LongType(), "Customer"),
        _column("probability_alive", DoubleType(), "Probability that it still is one", volatile=True),
        _column("expected_purchases", DoubleType(), "Orders expected within horizon_days of cut_off_at", volatile=True),
        _column("purchases_low", LongType(), "Lower end of their 80 % interval", volatile=True),
        _column("purchases_high", LongType(), "Upper end of it", volatile=True),
        _column(
            "expected_value",
            AMOUNT,
            "Their value (USD); null where the model has none",
            volatile=True,
            may_be_null=True,
        ),
        _column("value_low", AMOUNT, "Lower end of its 80 % interval (USD)", volatile=True, may_be_null=True),
        _column("value_high", AMOUNT, "Upper end of it (USD)", volatile=True, may_be_null=True),
        _column("horizon_days", DoubleType(), "How far it looks ahead", volatile=True),
        _column("cut_off_at", TimestampType(), "Store clock up to which the customer was known (UTC)", volatile=True),
        *_MODEL,
        *_revision(),
    ]
)

GOLD_CART_SCORES = StructType(
    [
        _column("event_id", StringType(), "Cart event that opened the cart"),
        _column("session_key", StringType(), "Session whose cart it is: the key of silver.sessions"),
        _column("user_id", LongType(), "Customer"),
        _column("user_session", StringType(), "Session, as the store's pages gave it", may_be_null=True),
        _column("product_id", LongType(), "Product that was put in"),
        _column("opened_at", TimestampType(), "When the cart opened (UTC)"),
        _column("opened_on", DateType(), "Day of opened_at (UTC)"),
        _column("outcome_at", TimestampType(), "When it is known whether the product was bought (UTC)"),
        _column("probability", DoubleType(), "Probability that it is bought by then", volatile=True),
        *_MODEL,
        *_revision(),
    ]
)

GOLD_MODEL_DRIFT = StructType(
    [
        _column("model_name", StringType(), "Registered model"),
        _column("model_version", LongType(), "Its version, the champion when the day was judged"),
        _column("observed_on", DateType(), "Day of the store that was judged (UTC)"),
        _column(
            "measure", StringType(), "psi: is the day like what was learned? outcome: did what was said come true?"
        ),
        _column(
            "variable",
            StringType(),
            "psi: the feature; outcome: bought, bought_of_top_tenth (shares), purchases, value (totals; orders, USD)",
        ),
        _column("rows", LongType(), "Carts or customers of the day", volatile=True),
        _column("value", DoubleType(), "psi: the index; outcome: what came; null of no rows", volatile=True),
        _column("expected", DoubleType(), "psi: its mean if nothing changed; outcome: what was said", volatile=True),
        _column("low", DoubleType(), "Lower end of the band; null where there is none", volatile=True),
        _column("high", DoubleType(), "Upper end of it", volatile=True),
        _column("is_within", BooleanType(), "Is value in the band? null: too few rows to say", volatile=True),
        _column("computed_at", TimestampType(), "When the day was judged (UTC)", volatile=True),
    ]
)


def is_volatile(field: StructField) -> bool:
    return bool(field.metadata.get("volatile"))


def stable_columns(schema: StructType) -> list[str]:
    """The columns in which a replay must equal the live run."""
    return [field.name for field in schema.fields if not is_volatile(field)]
