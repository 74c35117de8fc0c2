"""Where others' servers are: connection strings looked at before libpq does, addresses without their login."""

from __future__ import annotations

import re


def is_conninfo(dsn: str) -> bool:
    """Can libpq read it, and find no piece of a password where a host, a port or a database is to stand?

    Errors of libpq quote what it cannot read or reach: of a password with an unescaped sign, what follows that.
    """
    from psycopg import ProgrammingError, conninfo  # late: whoever sets none does not wait for it

    try:
        parts = conninfo.conninfo_to_dict(dsn)
    except ProgrammingError:
        return False
    place = f"{parts.get('host', '')}{parts.get('dbname', '')}".removeprefix("@")  # at first: an abstract socket
    ports = str(parts.get("port") or 0).split(",")
    return "\0" not in dsn and "@" not in place and all(not port or port.isdecimal() for port in ports)


def without_login(address: str) -> str:
    """A URL as it may be shown: without user and password."""
    return re.sub(r"(?<=://)[^/?#]*@", "", address)
