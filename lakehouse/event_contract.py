"""What all layers agree on about an event: its fields, its types, and how its time is written.

Nothing here loads Spark: what splits files or sends events starts in no time. For the key of an event's session, which
Spark computes too, see `session_key`.
"""

from __future__ import annotations

FIELDS = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)
"""On the wire and in files, in this order."""

NEEDED_FIELDS = ("event_time", "event_type", "product_id", "price", "user_id")
"""Those without which a record is no event."""

OWN_ID = "event_id"
"""The field in which a producer may send an id of its own for the event."""

VIEW, CART, REMOVE, PURCHASE = EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")
"""Events of one user at one moment are in this order."""

# A time is ISO 8601 as PostgreSQL, Java, JavaScript, Go, Ruby, .NET and pandas write it: TIME_DAY, TIME_MINUTE, perhaps
# TIME_SECOND, TIME_ZONE, in either case. These read the same in Java and in Python (with re.ASCII); their groups are
# the day, hour and minute, second, fraction, offset.
TIME_DAY = r"(\d{4}-\d{2}-\d{2})[ T]"
TIME_MINUTE = r"(\d{2}:\d{2})"
TIME_SECOND = r":(\d{2})(?:[.,](\d{1,6})\d{0,93})?"
TIME_ZONE = r"(?: ?(?:UTC|GMT|Z|([+-]\d{2}(?::?\d{2})?)(?: [A-Z]{3,5})?)(?:\[[\w/+:-]{1,40}\])?)?"
