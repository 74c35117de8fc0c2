"""A batch of events in columns, and the ways to write it: JSON for Kafka, CSV for files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from ingest.catalogue import Catalogue
from ingest.rows import Rows
from lakehouse.event_contract import EVENT_TYPES, FIELDS

HEADER = (",".join(FIELDS) + "\n").encode()

HEX = np.array([f"{byte:02x}" for byte in range(256)], "S2")


class Writer:
    """Text of the parts of a row that belong to its product, made once per catalogue."""

    def __init__(self, goods: Catalogue) -> None:
        ids, categories, cents = (a.tolist() for a in (goods.product_id, goods.category_id, goods.price_cents))
        parts = list(zip(ids, categories, goods.category_code, goods.brand, strict=True))
        self.json_product = [
            f'"product_id":{p},"category_id":{c},"category_code":"{code}","brand":"{brand}","price":"'
            for p, c, code, brand in parts
        ]
        self.csv_product = [f"{p},{c},{code},{brand}," for p, c, code, brand in parts]
        self.price = [money(amount) for amount in cents]


def money(cents: int) -> str:
    """Cents as text with two decimals."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


@dataclass(frozen=True)
class EventBatch:
    """Events in the order of time. Columns are numpy; text is made when asked for.

    :param rows: see `rows.ROW`.
    """

    rows: Rows
    writer: Writer

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, first: int, last: int) -> EventBatch:
        return EventBatch(self.rows[first:last], self.writer)

    @cached_property
    def seconds(self) -> np.ndarray:
        return self.rows["at_ms"] // 1000

    def keys(self) -> list[bytes]:
        """The Kafka key of each event: its user_id as text."""
        return [b"%d" % user for user in self.rows["user_id"].tolist()]

    def json_values(self) -> list[bytes]:
        """Each event as one JSON object: ids are numbers, money is text, and what is empty is empty text."""
        product = self.writer.json_product
        return [
            f'{{"event_time":"{at}","event_type":"{kind}",{product[p]}{price}",'
            f'"user_id":{user},"user_session":"{session}"}}'.encode()
            for at, kind, p, price, user, session in self._parts()
        ]

    def to_csv(self) -> bytes:
        """The nine columns without a header, each row with a line feed after it."""
        product = self.writer.csv_product
        return "".join(
            [
                f"{at},{kind},{product[p]}{price},{user},{session}\n"
                for at, kind, p, price, user, session in self._parts()
            ]
        ).encode()

    def _parts(self):  # type: ignore[no-untyped-def]  # the type would be longer than the method
        rows, prices = self.rows, self.writer.price
        product = rows["product"].tolist()
        price = [prices[p] for p in product]
        for at in np.flatnonzero(rows["refund"]).tolist():
            price[at] = "-" + price[at]
        kind = [EVENT_TYPES[t] for t in rows["type"].tolist()]
        return zip(self._times(), kind, product, price, rows["user_id"].tolist(), self._sessions(), strict=True)

    def _times(self) -> list[str]:
        if not len(self.rows):
            return []
        second, count = np.unique(self.seconds, return_counts=True)
        text = [datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") for s in second.tolist()]
        return [text[i] for i in np.repeat(np.arange(len(text)), count).tolist()]

    def _sessions(self) -> list[str]:
        """Version 4 UUIDs as text; empty where there is no session."""
        rows = self.rows
        words = np.empty((len(rows), 2), ">u8")
        words[:, 0] = rows["high"] & np.uint64(0xFFFFFFFFFFFF0FFF) | np.uint64(0x4000)
        words[:, 1] = rows["low"] & np.uint64(0x3FFFFFFFFFFFFFFF) | np.uint64(0x8000000000000000)
        text = np.full((len(rows), 36), ord("-"), np.uint8)
        digits = HEX[words.view(np.uint8)].view(np.uint8).reshape(-1, 32)
        for first, last, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
            text[:, at : at + last - first] = digits[:, first:last]
        sessions = text.tobytes().decode("ascii")
        out = [sessions[at : at + 36] for at in range(0, len(sessions), 36)]
        for at in np.flatnonzero((rows["high"] == 0) & (rows["low"] == 0)).tolist():
            out[at] = ""
        return out
