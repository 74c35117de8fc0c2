"""The input folder into Kafka: each row of each file exactly once for readers of committed records.

Rows go in the order of the files, in transactions; each transaction also holds the position after its last row, so
that neither is there without the other. Whoever starts next first fences off the one before, then reads the last
committed position and goes on there. Files that are done go, compressed, into the archive; those that cannot be read
are set aside, each with its reason.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, BinaryIO

import typer
from confluent_kafka import KafkaException

from ingest.archive import Archive
from ingest.console import Progress, printable, stop_on_signals, wait
from ingest.csv_records import CsvRecord, Recorder
from ingest.csv_rows import CsvFile, CsvRow
from ingest.deliveries import Delivery
from ingest.input_folder import InputFolder, Say, reader_of, signature
from ingest.positions import POSITIONS_TOPIC, Position, read_position
from ingest.producer import EventProducer, send_unreadable, unreachable
from lakehouse.command import Flag, run_alone
from lakehouse.errors import InputError, LakehouseError, ServiceError
from lakehouse.settings import Settings

CHUNK_ROWS, CHUNK_BYTES, CHUNK_S = 10_000, 16 * 1024 * 1024, 0.25
ATTEMPTS = 5
LOOK_EVERY_S = 0.5
RETRY_S = 5.0
REMOVE_EVERY_S = 3600.0

_ONE_SOURCE = (
    "one source for a folder",
    "let the other one go on, or stop it; then start again: it goes on where that one was",
)

ShouldStop = Callable[[], bool]
START = Position()


@dataclass(frozen=True)
class Sent:
    """How far a source is, since it started. :param position: in the file of this name."""

    files: int = 0
    failed: int = 0
    rows: int = 0
    unreadable: int = 0
    name: str = ""
    position: Position = START


class FileSource:
    """:param rate_per_s: rows a second at most; 0 is as fast as it can.
    :param on_progress: called after each transaction.
    :raises ServiceError: Kafka is away, or another source has taken over.
    """

    def __init__(
        self,
        folder: InputFolder,
        archive: Archive,
        settings: Settings,
        say: Say = lambda line: None,
        on_progress: Callable[[Sent], None] = lambda sent: None,
        should_stop: ShouldStop = lambda: False,
        rate_per_s: float = 0.0,
    ) -> None:
        self._folder, self._archive, self._settings = folder, archive, settings
        self._deliveries = folder.deliveries
        self._say, self._on_progress, self._should_stop, self._rate_per_s = say, on_progress, should_stop, rate_per_s
        self._chunk_rows = min(CHUNK_ROWS, max(1, int(rate_per_s * CHUNK_S))) if rate_per_s else CHUNK_ROWS
        self._id = self._deliveries.source_id(fresh=uuid.uuid4().hex)
        self._producer = EventProducer(settings, f"file-source-{self._id}", linger_ms=20)
        self.sent = Sent()
        self._removes_at_s = 0.0
        try:
            self._producer.client.init_transactions(self._producer.timeout_s)
        except KafkaException as error:
            raise self._told(error) from None
        self._position = read_position(settings, self._id)
        self._archived = archive.newest(self._id)  # in case that Kafka has forgotten what was read

    def run(self, once: bool = False) -> Sent:
        """Until somebody says stop; with `once`, until the folder holds nothing more that can be read."""
        while not self._should_stop():
            try:
                self._folder.claim(above=max(self._position.number, self._archived))
                claimed = self._deliveries.claimed()
                for delivery in claimed:
                    if self._should_stop() or not self._take(delivery):
                        break
                if not claimed and not self._pack():
                    self._remove_old()
                    if once and not self._folder.count():
                        break
                    self._wait(LOOK_EVERY_S)
            except OSError as error:
                self._say(f"{error.filename or self._folder.folder}: {error.strerror}; tried again in {RETRY_S:.0f} s")
                self._wait(RETRY_S)
            except KafkaException as error:
                raise self._told(error) from None
        return self.sent

    def _take(self, delivery: Delivery) -> bool:
        """Sends a file, or what is left of it. Out: is it done with?"""
        position = self._position
        if delivery.number < position.number or (delivery.number == position.number and position.done):
            self._deliveries.finish(delivery)  # all was sent, and the end came before this
            return True
        began_s = time.monotonic()
        try:
            with delivery.open() as opened:
                if not self._folder.is_ready(delivery.number, opened.fileno()):
                    self._wait(LOOK_EVERY_S)
                    return False
                if not self._send(delivery, opened):
                    return False
        except FileNotFoundError:
            raise ServiceError(f"{printable(delivery.name)} is gone from {delivery.folder}.", *_ONE_SOURCE) from None
        except InputError as error:
            aside = self._deliveries.fail(delivery, f"{error.found}\n{_how_far(self._position, delivery)}\n")
            self.sent = replace(self.sent, failed=self.sent.failed + 1)
            self._say(f"{printable(delivery.name)} cannot be read and is set aside: {aside}. {error.found}")
            return True
        self._deliveries.finish(delivery)
        self.sent = replace(self.sent, files=self.sent.files + 1)
        rows, took_s = self._position.rows, time.monotonic() - began_s
        how = f"{rows:,} rows in {took_s:.1f} s" if rows else "no rows"
        self._say(f"{printable(delivery.name)}: {how}")
        return True

    def _pack(self) -> bool:
        """Moves what is done into the archive, for a while: files may have come. Out: was there any?"""
        began_s, done = time.monotonic(), self._deliveries.finished()
        for delivery in done:
            try:
                self._archive.take(delivery, self._id)
                self._deliveries.forget(delivery)
            except InputError as error:  # somebody has put something else there
                self._deliveries.fail(delivery, f"{error.found} All of it was sent, but it is not in the archive.")
            if self._should_stop() or time.monotonic() - began_s > LOOK_EVERY_S:
                break
        return bool(done)

    def _remove_old(self) -> None:
        """What has been kept as long as the setting says; looked at now and then."""
        days, now_s = self._settings.file_retention_days, time.time()
        if not days or now_s < self._removes_at_s:
            return
        self._removes_at_s = now_s + REMOVE_EVERY_S
        self._archive.remove_before(now_s - days * 86_400, self._id)
        self._deliveries.remove_before(now_s - days * 86_400)

    def _send(self, delivery: Delivery, opened: BinaryIO) -> bool:
        """Out: is it done? Else somebody said stop."""
        if delivery.number != self._position.number:
            size, mtime_ns = signature(opened.fileno())
            self._position = Position(delivery.number, size, mtime_ns, done=False)
        elif not self.sent.rows:
            self._say(f"{printable(delivery.name)}: resumed at line {self._position.line:,}")
        file = CsvFile(printable(delivery.name), opened, self._settings.max_unreadable_share)
        rows = file.rows(self._position.byte, self._position.line)
        recorder = Recorder(file.columns)
        while not self._position.done:
            if self._should_stop():
                return False
            began_s = time.monotonic()
            chunk, is_last = _chunk(rows, self._chunk_rows)
            if signature(opened.fileno()) != (self._position.size, self._position.mtime_ns):
                raise InputError(f"{printable(delivery.name)}: changed while it was read.", "a file that is whole")
            records = [recorder.record(row) for row in chunk]
            for record in records:
                if record.sha256:
                    self._say_is_cut(delivery, record)
            position = replace(self._position, rows=self._position.rows + len(chunk), done=is_last)
            if chunk:
                position = replace(position, byte=chunk[-1].next_byte, line=chunk[-1].next_line)
            self._commit(delivery, records, position)
            self._position = position
            bad = sum(1 for record in records if record.reason)
            self.sent = replace(
                self.sent,
                rows=self.sent.rows + len(chunk),
                unreadable=self.sent.unreadable + bad,
                name=printable(delivery.name),
                position=position,
            )
            self._on_progress(self.sent)
            if self._rate_per_s:
                self._wait(len(chunk) / self._rate_per_s - (time.monotonic() - began_s))
        return True

    def _say_is_cut(self, delivery: Delivery, record: CsvRecord) -> None:
        self._say(
            f"{printable(delivery.name)} line {record.line}: {record.reason}; the first {len(record.value):,} bytes of "
            f"{record.row.size:,} are in {self._settings.unreadable_topic}, all in the file, number {delivery.number}"
        )

    def _commit(self, delivery: Delivery, records: Sequence[CsvRecord], position: Position) -> None:
        """The records and the position after them, in one transaction; sent again when Kafka aborts it."""
        producer, settings = self._producer, self._settings
        good = [record for record in records if not record.reason]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                producer.client.begin_transaction()
                producer.send_batch(settings.events_topic, [r.key for r in good], [r.value for r in good])
                for record in records:
                    if record.reason:
                        send_unreadable(producer, settings.unreadable_topic, delivery.name, record, delivery.number)
                producer.send(POSITIONS_TOPIC, self._id.encode(), position.to_json())
                _until_answered(lambda: producer.client.commit_transaction(producer.timeout_s))
                return
            except (KafkaException, ServiceError) as error:
                fatal = isinstance(error, KafkaException) and error.args[0].fatal()
                if fatal or attempt == ATTEMPTS:
                    raise
                producer.drop()
                _until_answered(lambda: producer.client.abort_transaction(producer.timeout_s))
                producer.drop()

    def _wait(self, seconds: float) -> None:
        wait(seconds, self._should_stop)

    def _told(self, error: KafkaException) -> ServiceError:
        cause = error.args[0]
        if cause.fatal():
            return ServiceError(f"This source was fenced off: {cause.str()}", *_ONE_SOURCE)
        return unreachable(self._producer.settings, cause.str())


def _chunk(rows: Iterator[CsvRow], most_rows: int) -> tuple[list[CsvRow], bool]:
    """The next rows, bounded in number and bytes; and whether these are the last."""
    chunk: list[CsvRow] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.raw)
        if len(chunk) == most_rows or size > CHUNK_BYTES:
            return chunk, False
    return chunk, True


def _how_far(position: Position, delivery: Delivery) -> str:
    if position.number != delivery.number or not position.rows:
        return "Nothing of it was sent."
    return f"Its first {position.rows} rows, all before line {position.line} (byte {position.byte}), were sent."


def _until_answered(call: Callable[[], None]) -> None:
    """Repeat a call whose answer is late; whether it happened must be known before anything else is sent."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            call()
            return
        except KafkaException as error:
            if not error.args[0].retriable() or attempt == ATTEMPTS:
                raise


def send_files(
    settings: Annotated[
        Settings,
        Flag("input_folder", "--folder", "the input folder, instead of LAKEHOUSE_INPUT_FOLDER"),
        Flag("kafka_bootstrap", "--bootstrap", "host:port of Kafka, instead of LAKEHOUSE_KAFKA_BOOTSTRAP"),
    ],
    once: Annotated[bool, typer.Option("--once", help="send what is there, then end")] = False,
    rate: Annotated[float, typer.Option(help="rows a second at most; 0: no limit")] = 0.0,
) -> int:
    """Each row of each file exactly once for readers of committed records.

    Exit code 0 when somebody stopped it or, with --once, when all is sent; 1 if a file failed.
    """
    progress, should_stop = Progress(), stop_on_signals()
    began_s = time.monotonic()

    def show(sent: Sent) -> None:
        per_s = sent.rows / max(time.monotonic() - began_s, 0.001)
        progress.show(f"{sent.rows:,} rows, {per_s:,.0f}/s, {sent.name} line {sent.position.line:,}")

    try:
        with reader_of(settings, progress.say) as folder:
            archive = Archive(settings.archive_path)
            source = FileSource(folder, archive, settings, progress.say, show, should_stop, rate)
            progress.say(f"watching {settings.input_path}")
            sent = source.run(once)
    except LakehouseError as error:
        return progress.fail(error)
    progress.say(
        f"{sent.rows:,} rows of {sent.files:,} files sent, {sent.unreadable:,} of them unreadable; "
        f"{sent.failed:,} files failed"
    )
    return 1 if once and sent.failed else 0


if __name__ == "__main__":
    raise SystemExit(run_alone(send_files))
