"""What a row of an open cart has. `*_s` and `*_days` are lengths of time, prices and revenue USD, `log_*` natural
logarithms of ratios, `*_rate` shares; all other numbers are counts.
"""

from __future__ import annotations

KEYS = ("event_id", "session_key", "user_id", "user_session", "product_id", "cut_off_at")
"""Of a cart: the event that opened it, where, whose, what was put in, when."""

OUTCOME = ("outcome_at", "bought")
"""When it is known what became of the cart, and whether it was bought."""

AMOUNTS = (
    "session_s", "idle_s", "session_views", "session_carts", "session_removes", "session_purchases", "session_products",
    "product_views", "user_orders", "user_revenue", "user_visits", "user_carts", "last_order_days",
    "user_product_carts", "user_product_units", "price", "product_carts",
)  # fmt: skip
RATIOS = (
    "product_rate", "category_rate", "log_price_to_product", "log_price_to_category", "log_price_to_catalogue",
)  # fmt: skip
NUMBERS = (*AMOUNTS, *RATIOS)
CATEGORIES = ("hour", "weekday")
FEATURES = (*NUMBERS, *CATEGORIES)
