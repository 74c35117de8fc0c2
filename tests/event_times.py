"""Times as others write them, with what they are in UTC: for all that reads an event_time."""

from __future__ import annotations

from datetime import UTC, datetime

_AT = datetime(2019, 10, 5, 10, 1, 2, tzinfo=UTC)
_FRACTION = _AT.replace(microsecond=123456)
_MINUTE = _AT.replace(second=0)

READABLE = {
    # The real files.
    "2019-10-05 10:01:02 UTC": _AT,
    # PostgreSQL, also of a server in India, and psql's ISO style with a fraction.
    "2019-10-05 10:01:02+00": _AT,
    "2019-10-05 12:01:02+02": _AT,
    "2019-10-05 15:31:02.5+05:30": _AT.replace(microsecond=500000),
    # JavaScript; .NET's "o", "u" and of a DateTimeOffset.
    "2019-10-05T10:01:02.123Z": _AT.replace(microsecond=123000),
    "2019-10-05T10:01:02.1234567Z": _FRACTION,
    "2019-10-05 10:01:02Z": _AT,
    "2019-10-05T12:01:02.1234567+02:00": _FRACTION,
    # Java: Instant, OffsetDateTime and ZonedDateTime leave seconds out that are zero.
    "2019-10-05T10:01Z": _MINUTE,
    "2019-10-05T12:01+02:00": _MINUTE,
    "2019-10-05T12:01:02+02:00[Europe/Paris]": _AT,
    "2019-10-05T10:01:02Z[UTC]": _AT,
    "2019-10-05T10:01:02.123456789Z": _FRACTION,
    # Go: RFC3339Nano and time.String; Ruby.
    "2019-10-05T10:01:02.1Z": _AT.replace(microsecond=100000),
    "2019-10-05 10:01:02.123456789 +0000 UTC": _FRACTION,
    "2019-10-05 12:01:02 +0200 CEST": _AT,
    "2019-10-05 10:01:02 +0000": _AT,
    # pandas, Python.
    "2019-10-05 10:01:02.123456+00:00": _FRACTION,
    "2019-10-05 10:01:02": _AT,
    "2019-10-05T10:01": _MINUTE,
    # ISO 8601: a comma, lower case, no colon in the offset.
    "2019-10-05T10:01:02,123456Z": _FRACTION,
    "2019-10-05t10:01:02z": _AT,
    "2019-10-05 10:01:02 utc": _AT,
    "2019-10-05 10:01:02GMT": _AT,
    "2019-10-05T04:31:02-0530": _AT,
    "2019-10-05T10:01:02." + "123456" + "7" * 30 + "Z": _FRACTION,
    "2019-10-06T04:01:02+18:00": _AT,
}

UNREADABLE = (
    "2019-10-05",
    "2019-10-05T10",
    "2019-10-05T10Z",
    "2019-10-05  10:01:02",
    "2019-10-05T10:01:02.Z",
    "2019-10-05T10:01.5Z",
    "2019-10-05T10:01:02+2",
    "2019-10-05T10:01:02+02:",
    "2019-10-05T10:01:02+25:00",
    "2019-10-05T10:01[Europe/Paris]",
    "2019-10-05T10:01:02 CEST",
    "2019-02-30T10:01Z",
    "2019-10-05T10:61Z",
    "05.10.2019 10:01:02",
    "10/05/2019 10:01:02",
    "20191005T100102Z",
    "1570269662",
    "2019-10-05T10:01:02Z and so on",
    "\u0662019-10-05T10:01:02Z",
)

AT_24 = ("2019-10-05T24:00:00Z", "2019-10-05 24:00", "2019-10-05t24:00:00.0+02")
LEAP_SECONDS = ("2016-12-31T23:59:60Z", "2016-12-31 23:59:60 UTC", "2016-12-31T23:59:60.5Z")
