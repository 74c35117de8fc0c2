"""CSV files into `store-events`, each row exactly once for readers of committed records, whatever stops the feeding.

Rows go in the order of the files, in transactions; each transaction also holds the position after its last row.
Whoever starts next first fences off the one before, then reads the last committed position and goes on there. When
all files are finished the next call feeds them again: another pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from confluent_kafka import KafkaException

from ingest.console import Progress, stop_on_signals
from ingest.csv_rows import CsvRecord, csv_rows
from ingest.positions import POSITIONS_TOPIC, Plan, Position, file_ids, plan, read_positions
from ingest.producer import EventProducer, unreachable
from lakehouse.errors import LakehouseError, ServiceError
from lakehouse.settings import Settings, load_settings

TRANSACTIONAL_ID = "ingest-feed"
CHUNK_ROWS = 10_000
CHUNK_S = 0.25
ATTEMPTS = 5
MOST_UNREADABLE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Fed:
    """How far a feed is. Counts are of this call.

    :param plan: which of the two this call does: go on, or begin a pass.
    :param finished: all files of the pass are done.
    """

    plan: Plan
    path: Path
    rows: int = 0
    unreadable: int = 0
    finished: bool = False


def feed(
    files: Sequence[Path],
    settings: Settings,
    on_progress: Callable[[Fed], None] = lambda fed: None,
    should_stop: Callable[[], bool] = lambda: False,
    rate_per_s: float = 0.0,
) -> Fed:
    """Feed the files until they are finished or somebody says stop.

    :param on_progress: called before the first row and after each transaction.
    :param rate_per_s: rows a second at most; 0 is as fast as it can.
    :raises InputError: no files, one that cannot be read, or one given twice; before anything is sent.
    :raises ServiceError: Kafka is away, or another feeder has taken over.
    """
    ids = file_ids(files)
    producer = EventProducer(settings, TRANSACTIONAL_ID, linger_ms=20)
    try:
        producer.client.init_transactions(producer.timeout_s)
        work = plan(ids, read_positions(settings))
        chunk_rows = min(CHUNK_ROWS, max(1, int(rate_per_s * CHUNK_S))) if rate_per_s else CHUNK_ROWS
        fed, started_s = Fed(work, work.todo[0][0]), time.monotonic()
        on_progress(fed)
        for path, name, start in work.todo:
            position = start
            rows = csv_rows(path, position.byte, position.line)
            while not position.done:
                if should_stop():
                    return fed
                chunk = list(islice(rows, chunk_rows))
                position = _after(position, chunk, is_last=len(chunk) < chunk_rows)
                _commit(producer, settings, path, chunk, name, position)
                bad = sum(1 for row in chunk if row.reason)
                fed = replace(fed, path=path, rows=fed.rows + len(chunk), unreadable=fed.unreadable + bad)
                on_progress(fed)
                if rate_per_s:
                    time.sleep(max(0.0, started_s + fed.rows / rate_per_s - time.monotonic()))
        return replace(fed, finished=True)
    except KafkaException as error:
        raise _told(producer, error) from None


def _after(position: Position, chunk: Sequence[CsvRecord], is_last: bool) -> Position:
    if chunk:
        position = replace(position, byte=chunk[-1].next_byte, line=chunk[-1].next_line)
    return replace(position, done=is_last)


def _commit(
    producer: EventProducer, settings: Settings, path: Path, chunk: Sequence[CsvRecord], name: str, position: Position
) -> None:
    """The chunk and the position after it, in one transaction; sent again when Kafka aborts it."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            producer.client.begin_transaction()
            good = [row for row in chunk if not row.reason]
            producer.send_batch(settings.events_topic, [row.key for row in good], [row.value for row in good])
            for row in chunk:
                if row.reason:
                    _send_unreadable(producer, settings.unreadable_topic, path, row)
            producer.send(POSITIONS_TOPIC, name.encode(), position.to_json())
            _until_answered(lambda: producer.client.commit_transaction(producer.timeout_s))
            return
        except (KafkaException, ServiceError) as error:
            fatal = isinstance(error, KafkaException) and error.args[0].fatal()
            if fatal or attempt == ATTEMPTS:
                raise
            producer.drop()
            _until_answered(lambda: producer.client.abort_transaction(producer.timeout_s))
            producer.drop()


def _until_answered(call: Callable[[], None]) -> None:
    """Repeat a call whose answer is late; whether it happened must be known before anything else is sent."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            call()
            return
        except KafkaException as error:
            if not error.args[0].retriable() or attempt == ATTEMPTS:
                raise


def _send_unreadable(producer: EventProducer, topic: str, path: Path, row: CsvRecord) -> None:
    headers: dict[str, str | bytes | None] = {"file": path.name, "line": str(row.line), "reason": row.reason}
    value = row.value[:MOST_UNREADABLE_BYTES]  # Kafka refuses more; the rest is found by file and line
    if len(value) < len(row.value):
        headers["bytes"] = str(len(row.value))
    producer.send(topic, None, value, headers)


def _told(producer: EventProducer, error: KafkaException) -> ServiceError:
    cause = error.args[0]
    if cause.fatal():
        return ServiceError(
            f"This feeder was fenced off: {cause.str()}",
            "one feeder at a time",
            "let the other one finish, or stop it; then feed again: it goes on where that one was",
        )
    return unreachable(producer.bootstrap, cause.str())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0 when all is fed or somebody stopped it."""
    parser = argparse.ArgumentParser(prog="python -m ingest.feed", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="CSV file of store events")
    parser.add_argument("--rate", type=float, default=0.0, help="rows a second at most; 0, the default: no limit")
    parser.add_argument("--bootstrap", help="host:port of Kafka, instead of LAKEHOUSE_KAFKA_BOOTSTRAP")
    given = parser.parse_args(arguments)
    progress = Progress()
    should_stop = stop_on_signals()
    try:
        settings = load_settings(kafka_bootstrap=given.bootstrap)
        fed = feed(given.files, settings, lambda fed: _show(progress, fed), should_stop, given.rate)
    except LakehouseError as error:
        return progress.fail(error)
    progress.say(
        f"{fed.rows:,} rows fed, {fed.unreadable:,} of them unreadable; "
        + ("all files are finished" if fed.finished else "stopped; the next call goes on here")
    )
    return 0


def _show(progress: Progress, fed: Fed) -> None:
    if fed.rows:
        progress.show(f"{fed.rows:,} rows, {fed.path.name}")
    else:
        progress.say(str(fed.plan))


if __name__ == "__main__":
    raise SystemExit(main())
