"""The sources of the dashboards: views of the serving store, their columns as the tables' contracts have them."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    TimestampType,
)

from dashboards.fields import Field, Kind, Source
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

_KINDS: Mapping[type[DataType], Kind] = {
    LongType: "integer",
    StringType: "string",
    DecimalType: "decimal",
    DoubleType: "double",
    TimestampType: "datetime",
    DateType: "date",
}


def _of(table: Table, *columns: str, **renamed: str) -> tuple[Field, ...]:
    """Columns as the table's contract has them; `day_on="window_start_on"` gives one another name."""
    chosen = {column: column for column in columns} | renamed
    fields = {name: table.schema[column] for name, column in chosen.items()}
    return tuple(
        Field(name, _KINDS[type(column.dataType)], column.metadata["comment"]) for name, column in fields.items()
    )


_SHOWN = _of(GOLD_PRODUCTS, "brand", "category_code")
_SUMS = _of(GOLD_PRODUCT_SALES, "units", "revenue", "refund_units", "refund_amount", "last_purchase_at")
_SUMS_AND_BUYERS = _of(
    GOLD_PRODUCT_SALES, "units", "revenue", "buyers", "refund_units", "refund_amount", "last_purchase_at"
)
_PRODUCT = _of(GOLD_PRODUCT_SALES, "product_id")
_STEPS_TAKEN = _of(GOLD_FUNNEL, "visitors", "viewed", "carted", "bought", "conversion", "sessions")
_CONVERSION = Field(
    "conversion_overall", "double", "bought / sessions, over all rows", "SUM([bought]) / SUM([sessions])"
)
_CUSTOMER = (
    *_of(GOLD_CUSTOMER_VALUE, "user_id", "orders", "units", "revenue", "refund_units", "refunds"),
    Field("net_revenue", "decimal", "Revenue less refunds (USD)"),
    Field("average_order", "decimal", "Revenue per order (USD); null of refunds alone"),
    *_of(GOLD_CUSTOMER_VALUE, "first_purchase_at", "last_purchase_at"),
    Field("recency_days", "decimal", "Days since the newest sale, by the store clock"),
    Field("tenure_days", "decimal", "Days since the oldest sale, by the store clock"),
    Field("recency_score", "integer", "1 to 5, 5 for the most recent"),
    Field("frequency_score", "integer", "1 to 5, 5 for the most orders"),
    Field("monetary_score", "integer", "1 to 5, 5 for the greatest revenue"),
    Field("segment", "string", "What recency and frequency make of the customer"),
)
_VALUE_STEP = Field(
    "revenue_step", "integer", "Revenue in steps of 25 USD, by its lower end", "INT([revenue] / 25) * 25", is_step=True
)

SOURCES = (
    Source("sales_last_hour", "product with sales in the last hour of the store clock", (*_PRODUCT, *_SHOWN, *_SUMS)),
    Source("sales_by_product", "product", (*_PRODUCT, *_SHOWN, *_of(GOLD_PRODUCTS, "price"), *_SUMS)),
    Source(
        "sales_by_hour",
        GOLD_PRODUCT_SALES_HOURLY.grain,
        (*_of(GOLD_PRODUCT_SALES_HOURLY, hour_at="window_start_at"), *_PRODUCT, *_SHOWN, *_SUMS_AND_BUYERS),
    ),
    Source(
        "sales_by_day",
        GOLD_PRODUCT_SALES_DAILY.grain,
        (*_of(GOLD_PRODUCT_SALES_DAILY, day_on="window_start_on"), *_PRODUCT, *_SHOWN, *_SUMS_AND_BUYERS),
    ),
    Source("customers", GOLD_CUSTOMER_VALUE.grain, _CUSTOMER, computed=(_VALUE_STEP,)),
    Source("top_customers", "customer, of the hundred with the greatest revenue", _CUSTOMER),
    Source("funnel_by_day", "day", (*_of(GOLD_FUNNEL, day_on="event_on"), *_STEPS_TAKEN), computed=(_CONVERSION,)),
    Source(
        "funnel_by_brand",
        "day and brand",
        (*_of(GOLD_FUNNEL, day_on="event_on"), *_of(GOLD_FUNNEL, "brand"), *_STEPS_TAKEN),
        computed=(_CONVERSION,),
    ),
    Source(
        "open_abandoned_carts",
        "cart that was abandoned in the last seven days and not recovered",
        (
            *_of(GOLD_ABANDONED_CARTS, "session_key", "user_id", "user_session", "cart_value", "abandonments"),
            *_of(GOLD_ABANDONED_CARTS, "abandoned_at"),
            Field("abandoned_minutes", "decimal", "Minutes since then, by the store clock"),
            *_of(GOLD_CUSTOMER_VALUE, "orders", "revenue"),
        ),
        left_out=("items",),
    ),
)


def source_of(view: str) -> Source:
    """:raises KeyError: no dashboard reads this view."""
    return {source.view: source for source in SOURCES}[view]
