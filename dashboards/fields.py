"""The sources of the dashboards: views of the serving store, with what Tableau has to know of each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    TimestampType,
)

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

Kind = Literal["integer", "decimal", "double", "string", "date", "datetime"]
"""Of a column: decimal is exact, double is not. Tableau computes with doubles whatever a column is stored as."""

_KINDS: Mapping[type[DataType], Kind] = {
    LongType: "integer",
    StringType: "string",
    DecimalType: "decimal",
    DoubleType: "double",
    TimestampType: "datetime",
    DateType: "date",
}
_SHARES = ("conversion", "conversion_overall")
_TITLES = {"user_id": "Customer", "product_id": "Product", "session_key": "Session", "user_session": "Store session"}
_AVERAGED = ("price", "average_order", *_SHARES)
_UNITS = ("days", "minutes")


@dataclass(frozen=True)
class Field:
    """A column of a source.

    :param meaning: one line, shown by Tableau beside the field.
    :param formula: in Tableau's language; empty for a column of the view.
    :param is_step: the lower end of a step of dollars: a heading, not added up.
    """

    name: str
    kind: Kind
    meaning: str
    formula: str = ""
    is_step: bool = False

    @property
    def datatype(self) -> str:
        return {"decimal": "real", "double": "real"}.get(self.kind, self.kind)

    @property
    def is_measure(self) -> bool:
        is_number = self.kind in ("integer", "decimal", "double")
        return is_number and not self.is_step and not self.name.endswith(("_id", "_score"))

    @property
    def is_amount(self) -> bool:
        """US dollars and cents."""
        return self.kind == "decimal" and not self.name.endswith(_UNITS)

    @property
    def caption(self) -> str:
        """`cart_value` is `Cart value (USD)`, `recency_days` is `Recency (days)`, `day_on` is `Day`."""
        if self.name in _TITLES:
            return _TITLES[self.name]
        words = self.name.removesuffix("_at").removesuffix("_on").split("_")
        unit = words.pop() if words[-1] in _UNITS else "USD" if self.is_amount or self.is_step else ""
        text = " ".join(words).capitalize()
        return f"{text} ({unit})" if unit else text

    @property
    def aggregation(self) -> str:
        """What Tableau does by itself when the field is put on a shelf."""
        if self.kind in ("date", "datetime"):
            return "Year"
        if not self.is_measure:
            return "Count"
        return "Avg" if self.name in _AVERAGED or self.name.endswith(_UNITS) else "Sum"

    @property
    def format(self) -> str:
        if self.is_amount:
            return 'c"$"#,##0.00;-"$"#,##0.00'
        if self.name in _SHARES:
            return "p0.0%"
        if self.kind == "integer":
            return "n#,##0;-#,##0" if self.is_measure else "n0;-0"
        return ""


@dataclass(frozen=True)
class Source:
    """A view.

    :param fields: its columns, in its order.
    :param left_out: its columns that are no field: JSON, which Tableau cannot take apart.
    :param computed: fields that Tableau computes from these.
    """

    view: str
    grain: str
    fields: tuple[Field, ...]
    left_out: tuple[str, ...] = ()
    computed: tuple[Field, ...] = ()

    @property
    def caption(self) -> str:
        return self.view.replace("_", " ").capitalize()

    def field(self, name: str) -> Field:
        """:raises KeyError: the source has no such field."""
        return {each.name: each for each in self.fields + self.computed}[name]


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
