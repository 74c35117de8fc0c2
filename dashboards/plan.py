"""Which sheets there are, what each shows of which source, and how the three dashboards lay them out."""

from __future__ import annotations

from dashboards.sheet import Dashboard, Pill, Sheet, Top


def _each(field: str) -> Pill:
    return Pill(field)


def _sum(field: str) -> Pill:
    return Pill(field, "Sum")


_CUSTOMERS = Pill("user_id", "Count", "Customers")


def _ranked(name: str, asks: str, view: str, headings: tuple[str, ...], by: str, label: str, count: int = 15) -> Sheet:
    """Bars, the longest first."""
    return Sheet(
        name,
        asks,
        view,
        "Bar",
        rows=tuple(map(_each, headings)),
        columns=(_sum(by),),
        label=(_sum(label),),
        sorted_by=_sum(by),
        top=Top(count, by),
    )


LAST_HOUR = Sheet(
    "Last hour", "What do we sell now?", "sales_last_hour", "Text", label=(_sum("revenue"), _sum("units"))
)
ALL_SALES = Sheet(
    "All sales",
    "What have we sold in all?",
    "sales_by_product",
    "Text",
    label=(_sum("revenue"), _sum("units"), _sum("refund_amount")),
)
NEWEST_SALE = Sheet(
    "Newest sale", "How fresh is this?", "sales_by_product", "Text", label=(Pill("last_purchase_at", "Max", "At"),)
)
BY_HOUR = Sheet(
    "Revenue by hour",
    "When do people buy?",
    "sales_by_hour",
    "Line",
    rows=(_sum("revenue"),),
    columns=(_each("hour_at"),),
)
BY_DAY = Sheet(
    "Revenue by day",
    "Which way is it going?",
    "sales_by_day",
    "Bar",
    rows=(_sum("revenue"),),
    columns=(_each("day_on"),),
)
TOP_PRODUCTS = _ranked(
    "Top products", "What sells best?", "sales_by_product", ("product_id", "brand"), "revenue", "units"
)
TOP_NOW = _ranked(
    "Top products of the last hour",
    "What sells best now?",
    "sales_last_hour",
    ("product_id", "brand"),
    "revenue",
    "units",
)
BY_BRAND = _ranked("Revenue by brand", "Which brands sell?", "sales_by_product", ("brand",), "revenue", "units")

CUSTOMERS = Sheet(
    "Customers and their value",
    "How many customers, worth how much?",
    "customers",
    "Text",
    label=(_CUSTOMERS, _sum("revenue"), _sum("net_revenue"), _sum("orders")),
)
SEGMENTS = Sheet(
    "Segments",
    "How loyal are they?",
    "customers",
    "Bar",
    rows=(_each("segment"),),
    columns=(_CUSTOMERS,),
    label=(_sum("revenue"),),
    sorted_by=_CUSTOMERS,
)
VALUES = Sheet(
    "Distribution of value",
    "Do few customers bring most of it?",
    "customers",
    "Bar",
    rows=(_CUSTOMERS,),
    columns=(_each("revenue_step"),),
)
RECENCY_FREQUENCY = Sheet(
    "Recency and frequency",
    "Whom do we lose?",
    "customers",
    "Square",
    rows=(_each("recency_score"),),
    columns=(_each("frequency_score"),),
    color=_CUSTOMERS,
    label=(_CUSTOMERS,),
)
TOP_CUSTOMERS = _ranked(
    "Top customers", "Who are our best?", "top_customers", ("user_id", "segment"), "revenue", "orders", 25
)

OPEN_CARTS = Sheet(
    "Open carts",
    "How much waits to be won back?",
    "open_abandoned_carts",
    "Text",
    label=(Pill("session_key", "Count", "Carts"), _sum("cart_value")),
)
WIN_BACK = Sheet(
    "Carts to win back",
    "Whom do we write to first?",
    "open_abandoned_carts",
    "Bar",
    rows=(_each("user_id"),),
    columns=(_sum("cart_value"),),
    color=Pill("abandoned_minutes", "Avg"),
    label=(_sum("cart_value"),),
    detail=_each("session_key"),
    sorted_by=_sum("cart_value"),
    top=Top(25, "cart_value"),
)
VALUE_AND_AGE = Sheet(
    "Value and age of carts",
    "Which are still warm?",
    "open_abandoned_carts",
    "Circle",
    rows=(_sum("cart_value"),),
    columns=(_sum("abandoned_minutes"),),
    size=_sum("orders"),
    detail=_each("session_key"),
)
FUNNEL = Sheet(
    "Funnel by day",
    "Where do visits end?",
    "funnel_by_day",
    "Line",
    rows=(_sum("viewed"), _sum("carted"), _sum("bought")),
    columns=(_each("day_on"),),
)
CONVERSION = Sheet(
    "Conversion by brand",
    "Which brands are looked at and not bought?",
    "funnel_by_brand",
    "Bar",
    rows=(_each("brand"),),
    columns=(Pill("conversion_overall", "User"),),
    label=(_sum("sessions"),),
    sorted_by=_sum("sessions"),
    top=Top(20, "sessions"),
)

DASHBOARDS = (
    Dashboard(
        "Sales",
        "Sales: what sells, and when",
        (
            (16, ((LAST_HOUR, 3), (ALL_SALES, 4), (NEWEST_SALE, 3))),
            (34, ((BY_HOUR, 1), (BY_DAY, 1))),
            (50, ((TOP_NOW, 1), (TOP_PRODUCTS, 1), (BY_BRAND, 1))),
        ),
    ),
    Dashboard(
        "Customers",
        "Customers: who they are, what they are worth",
        (
            (16, ((CUSTOMERS, 1),)),
            (39, ((SEGMENTS, 1), (VALUES, 1), (RECENCY_FREQUENCY, 1))),
            (45, ((TOP_CUSTOMERS, 1),)),
        ),
    ),
    Dashboard(
        "Carts",
        "Carts: what was left, what can be won back",
        (
            (16, ((OPEN_CARTS, 1),)),
            (44, ((WIN_BACK, 1), (VALUE_AND_AGE, 1))),
            (40, ((FUNNEL, 1), (CONVERSION, 1))),
        ),
    ),
)

SHEETS = tuple(sheet for dashboard in DASHBOARDS for sheet in dashboard.sheets)
