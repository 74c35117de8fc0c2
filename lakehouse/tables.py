"""The list of all tables, and where each one is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from pyspark.sql.types import StructType

from lakehouse import schemas
from lakehouse.errors import TableError
from lakehouse.settings import Settings


@dataclass(frozen=True)
class Table:
    """What a table is.

    :param name: `layer.noun`.
    :param schema: its columns.
    :param grain: what one row stands for.
    :param keys: the columns that tell rows apart.
    :param partition_by: the columns that choose the folder of a row.
    :param skipping: the columns whose range is kept for each file, so that look-ups open few files.
    """

    name: str
    schema: StructType = field(compare=False)
    grain: str
    keys: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        return self.name.split(".")[0]

    @property
    def facts(self) -> list[str]:
        """The columns of a revised row that are not about the revision."""
        return [name for name in self.schema.fieldNames() if name not in ("revision", "updated_at")]

    def topic(self, settings: Settings) -> str:
        """The Kafka topic of a table that is PUBLISHED."""
        return settings.gold_topic_prefix + self.topic_name

    @property
    def topic_name(self) -> str:
        return self.name.split(".")[1].replace("_", "-")

    def path(self, settings: Settings) -> str:
        return f"{settings.lake_url}/{self.name.replace('.', '/')}"


_PLACE = ("topic", "partition", "offset")

BRONZE_EVENTS = Table(
    "bronze.events", schemas.BRONZE_EVENTS, "Kafka record", _PLACE, ("ingested_on",), skipping=("offset",)
)
BRONZE_SCHEMAS = Table(
    "bronze.schemas",
    schemas.BRONZE_SCHEMAS,
    "Avro schema that records came with",
    ("schema_id",),
    skipping=("schema_id",),
)
SILVER_EVENTS = Table(
    "silver.events",
    schemas.SILVER_EVENTS,
    "distinct event",
    ("event_id",),
    ("event_on",),
    skipping=("event_at", "content_id"),
)
SILVER_DUPLICATES = Table("silver.duplicates", schemas.SILVER_DUPLICATES, "dropped copy", _PLACE, skipping=("offset",))
SILVER_QUARANTINE = Table(
    "silver.quarantine", schemas.SILVER_QUARANTINE, "refused record", _PLACE, skipping=("offset",)
)
SILVER_QUALITY_LOG = Table(
    "silver.quality_log", schemas.SILVER_QUALITY_LOG, "batch of silver", ("silver_version",), skipping=("processed_at",)
)
SILVER_SESSIONS = Table(
    "silver.sessions",
    schemas.SILVER_SESSIONS,
    "session",
    ("session_key",),
    ("started_on",),
    skipping=("last_cart_change_at", "revision"),
)
GOLD_PRODUCT_SALES = Table(
    "gold.product_sales",
    schemas.GOLD_PRODUCT_SALES,
    "product and window",
    ("window_start_at", "product_id"),
    ("window_start_on",),
    skipping=("window_start_at",),
)
GOLD_PRODUCT_SALES_HOURLY = Table(
    "gold.product_sales_hourly",
    schemas.GOLD_PRODUCT_SALES,
    "product and hour",
    ("window_start_at", "product_id"),
    ("window_start_on",),
    skipping=("revision",),
)
GOLD_PRODUCT_SALES_DAILY = Table(
    "gold.product_sales_daily",
    schemas.GOLD_PRODUCT_SALES,
    "product and day",
    ("window_start_at", "product_id"),
    ("window_start_on",),
    skipping=("revision",),
)
GOLD_SALES_CORRECTIONS = Table(
    "gold.sales_corrections",
    schemas.GOLD_SALES_CORRECTIONS,
    "change of a window that had been complete",
    ("window_start_at", "product_id", "revision"),
    skipping=("revision",),
)
GOLD_ORDERS = Table("gold.orders", schemas.GOLD_ORDERS, "order", ("order_id",), ("ordered_on",), skipping=("revision",))
GOLD_PRODUCTS = Table("gold.products", schemas.GOLD_PRODUCTS, "product", ("product_id",), skipping=("revision",))
GOLD_CUSTOMER_VALUE = Table(
    "gold.customer_value", schemas.GOLD_CUSTOMER_VALUE, "customer", ("user_id",), skipping=("revision",)
)
GOLD_FUNNEL = Table(
    "gold.funnel",
    schemas.GOLD_FUNNEL,
    "day and brand, and day",
    ("event_on", "scope", "brand"),
    ("event_on",),
    skipping=("revision",),
)

GOLD_ABANDONED_CARTS = Table(
    "gold.abandoned_carts",
    schemas.GOLD_ABANDONED_CARTS,
    "session whose cart was abandoned",
    ("session_key",),
    ("started_on",),
    skipping=("abandoned_at", "revision"),
)

GOLD_CUSTOMER_SCORES = Table(
    "gold.customer_scores",
    schemas.GOLD_CUSTOMER_SCORES,
    "customer who has ordered",
    ("user_id",),
    skipping=("revision",),
)
GOLD_CART_SCORES = Table(
    "gold.cart_scores",
    schemas.GOLD_CART_SCORES,
    "opening of a cart",
    ("event_id",),
    ("opened_on",),
    skipping=("revision",),
)
GOLD_MODEL_DRIFT = Table(
    "gold.model_drift",
    schemas.GOLD_MODEL_DRIFT,
    "model, version, day, measure and variable",
    ("model_name", "model_version", "observed_on", "measure", "variable"),
    skipping=("observed_on",),
)

PUBLISHED = (
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCT_SALES_HOURLY,
    GOLD_PRODUCT_SALES_DAILY,
    GOLD_SALES_CORRECTIONS,
    GOLD_ORDERS,
    GOLD_PRODUCTS,
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_ABANDONED_CARTS,
    GOLD_CUSTOMER_SCORES,
    GOLD_CART_SCORES,
    SILVER_SESSIONS,
)
"""The tables whose rows are published, each in a topic of its own, and served."""

TABLES = (
    BRONZE_EVENTS,
    BRONZE_SCHEMAS,
    SILVER_EVENTS,
    SILVER_DUPLICATES,
    SILVER_QUARANTINE,
    SILVER_QUALITY_LOG,
    *PUBLISHED,
    GOLD_MODEL_DRIFT,
)


def find_table(name: str) -> Table:
    """The table of this name.

    :raises TableError: no such table; the nearest name is given.
    """
    by_name = {table.name: table for table in TABLES}
    if name in by_name:
        return by_name[name]
    nearest = difflib.get_close_matches(name, by_name, n=1, cutoff=0.0)[0]
    raise TableError(f"There is no table {name!r}.", f"one of {', '.join(by_name)}", f"did you mean {nearest}?")
