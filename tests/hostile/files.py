"""Files as other people's programs write them: good ones in every shape, and such as hold no events."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import random
from typing import NamedTuple

from tests.builders import event
from tests.hostile.records import sale
from tests.packed import zipped

COLUMNS = tuple(event())


class Dropped(NamedTuple):
    """:param sessions: of the sales in it; None: it must be refused as a file.
    :param perhaps: of those that are before its cut, which may have been sent before that is met.
    """

    name: str
    content: bytes
    sessions: tuple[str, ...] | None
    perhaps: tuple[str, ...] = ()


def dropped(draw: random.Random, number: int) -> Dropped:
    """The file of this number: two of three are good."""
    sessions = tuple(f"f{number}-{row}" for row in range(draw.randrange(1, 12)))
    name = f"file-{number:04}.csv"
    if draw.random() < 2 / 3:
        content, suffix = _good(draw, sessions)
        return Dropped(name + suffix, content, sessions)
    content, suffix = draw.choice(_BAD)(_table(draw, sessions, COLUMNS))
    return Dropped(name + suffix, content, None, sessions if suffix else ())


def _good(draw: random.Random, sessions: tuple[str, ...]) -> tuple[bytes, str]:
    columns = [*COLUMNS, *draw.choice([(), ("coupon",), ("Unnamed: 0", "channel")])]
    draw.shuffle(columns)
    text = _table(
        draw,
        sessions,
        tuple(columns),
        header=draw.choice([str, str.upper, str.title, lambda name: f"  {name} "]),
        separator=draw.choice([",", ";", "\t", "|"]),
        line_end=draw.choice(["\n", "\r\n"]),
        quoting=draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    content = draw.choice([b"", b"\xef\xbb\xbf"]) + text.encode()
    packed = [(gzip.compress(content), ".gz"), (lzma.compress(content), ".xz"), (zipped(events=content), ".zip")]
    return draw.choice([(content, ""), (content, ""), (content, ".gz"), *packed])


def _table(
    draw: random.Random,
    sessions: tuple[str, ...],
    columns: tuple[str, ...],
    header: object = str,
    separator: str = ",",
    line_end: str = "\n",
    quoting: int = csv.QUOTE_MINIMAL,
) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([header(name) for name in columns])  # type: ignore[operator]
    for session in sessions:
        row = sale(draw, session, coupon="B", channel='a "b", c', brand=draw.choice([None, "a;b|c,d", "Ünï"]))
        writer.writerow(["" if row.get(name) is None else row[name] for name in columns])
    return out.getvalue()


_BAD = (
    lambda text: (text.encode("utf-16"), ""),
    lambda text: (text.encode("utf-16-le"), ""),
    lambda text: (zipped(".txt", events=text.encode()), ""),
    lambda text: (gzip.compress(text.encode())[:-12], ".gz"),
    lambda text: (b"<!doctype html>\n<html><body>404</body></html>\n" * 3, ""),
    lambda text: (text.replace("price", "amount", 1).encode(), ""),
    lambda text: (text.replace("brand", "price", 1).encode(), ""),
    lambda text: (b"SQLite format 3\x00" + bytes(range(256)) * 4, ""),
)
"""The text of a good file -> what is no file of ours: content, and what its name ends with."""
