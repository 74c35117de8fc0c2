"""Events of one session, as the rules of sessions take them."""

from __future__ import annotations

from hypothesis import strategies as st

from silver.session_rules import Event, Rules

MINUTE_US = 60_000_000
RULES = Rules(gap_us=30 * MINUTE_US, abandon_us=30 * MINUTE_US, hold_us=24 * 60 * MINUTE_US)


def event(
    minute: float, kind: str = "view", product: int = 1, cents: int = 262, brand: str = "", id_: str = ""
) -> Event:
    at_us = round(minute * MINUTE_US)
    return Event(at_us, id_ or f"{at_us:020d}{kind}{product}", kind, product, cents, brand)


EVENTS = st.lists(
    st.builds(
        event,
        st.integers(0, 200).map(lambda number: number * 7.5),
        st.sampled_from(["view", "cart", "remove_from_cart", "purchase"]),
        st.integers(1, 3),
        st.sampled_from([-100, 0, 262, 300]),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=25,
    unique_by=lambda each: each.event_id,
)
