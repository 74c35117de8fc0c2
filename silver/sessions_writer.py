"""The writer of silver.sessions: what a stream with state says of sessions, checked against the table, and written.

What of it is not right is computed again from silver.events (`session_reconcile`). Where much is waiting nothing is
streamed, and all is computed so: in bulk. Views of sessions with an id go round the stream (`session_views`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.publication import publish_committed
from lakehouse.revisions import in_revision
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, follow_table, is_whole, last_whole_version
from lakehouse.tables import SILVER_EVENTS, SILVER_SESSIONS
from lakehouse.topics import Topics
from lakehouse.values import frame_of_columns, frame_of_rows
from silver.days_of_ids import date_of
from silver.session_index import SessionIndex
from silver.session_reconcile import Reconciled, Span, StreamKey, newest_sessions, reconcile
from silver.session_spans import arrived_spans, events_within, is_of_key, keys_frame, rows_of, rule_spans, table_spans
from silver.session_stream import held_states, is_streamed, session_stream
from silver.session_views import changed_sessions
from silver.sessions import (
    RULE_INPUT,
    RULE_ROWS,
    computed_sessions,
    refuse_other_rules,
    rule_input,
    rules_in,
    rules_of,
    session_facts,
    sessions,
)

_PIECE_EVENTS = 250_000
"""Of a backlog, so many are taken in at a time: of each session among them the driver holds when it was."""

_HELD_EVENTS = 50_000
"""Of sessions that a stream begins with: to take them in takes it as long as new ones, half a minute."""


class SessionsWriter:
    """Keeps silver.sessions up with silver.events. For the writer of silver, in one thread.

    :raises SettingError: the table was made with other rules than the settings have.
    """

    def __init__(self, spark: SparkSession, settings: Settings, topics: Topics) -> None:
        # A Spark session of its own: no batches without data for the sake of timers, which can wait for the next one.
        self._spark, self._settings, self._topics = spark.newSession(), settings, topics
        self._gap_us = rules_of(settings).gap_us
        self._is_between_commits = True  # at the start, and after a batch that ends between two
        self._spark.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", "false")
        commits.create_tables(self._spark, (SILVER_SESSIONS,), settings)
        self._note = commits.last_note(self._spark, SILVER_SESSIONS, settings)
        refuse_other_rules(self._note, settings)
        if not self._note:
            self._build()
        self._publish()
        self.read_version: int = self._note["silver_version"]
        self._index = SessionIndex(commits.read_table(self._spark, SILVER_SESSIONS, settings))

    def follow(self, stop: Stop, once: bool) -> None:
        """Takes in what silver.events has beyond what the table has read, and with `once` false what it gets. Told to
        stop, it takes in first what is there.
        """
        while True:
            is_last = once or stop.is_set()
            is_through = not self.catch_up(0 if is_last else self._settings.sessions_bulk_events)
            if is_last:
                return
            if is_through:
                self.stream(stop)

    def catch_up(self, most_left: int) -> bool:
        """Takes in all that silver.events has by now, in bulk, piece by piece, if it is more events than `most_left`.
        Out: was it?
        """
        waiting = self._waiting()
        if sum(waiting.values()) <= most_left:
            return False
        for upto in _pieces(waiting):
            self._take_in(frame_of_rows(self._spark, [], RULE_ROWS), upto, covers_commits=True)
        self._is_between_commits = True
        return True

    def stream(self, stop: Stop) -> None:
        """Takes in what silver.events has and gets through the stream, until stopped or too much waits for it."""
        settings = self._settings
        follow_table(
            "sessions",
            SILVER_EVENTS,
            self.read_version,
            self.step,
            self._spark,
            settings,
            stop,
            once=False,
            through=lambda events: session_stream(events, self._held_states(), settings),
            every_s=settings.sessions_s,
            is_enough=lambda: sum(self._waiting().values()) > settings.sessions_bulk_events,
        )

    def step(self, batch: DataFrame, end: Position) -> None:
        """In: what the stream says of a batch (RULE_ROWS), which ends at this position of silver.events."""
        covers_commits = self._is_between_commits and is_whole(end)
        self._is_between_commits = is_whole(end)
        streamed = batch.persist()
        self._take_in(streamed, last_whole_version(end), covers_commits)
        streamed.unpersist()

    def _take_in(self, streamed: DataFrame, upto: int, covers_commits: bool) -> None:
        """:param covers_commits: what is streamed is of the events that came up to this version, and of no others."""
        events, _ = commits.added_rows(self._spark, SILVER_EVENTS, self._settings, self.read_version, upto)
        arrived, spans = arrived_spans(events), rule_spans(streamed)
        stored = self._stored({*arrived, *spans})
        reconciled = reconcile(arrived, spans, stored, self._gap_us, covers_commits)
        if arrived or spans or upto > self.read_version:
            self._write(events, streamed, reconciled, upto)
        self.read_version = upto

    def _write(self, events: DataFrame, streamed: DataFrame, reconciled: Reconciled, upto: int) -> None:
        computed = None
        if reconciled.recompute:
            computed = self._computed(reconciled.recompute, upto).persist()
            reconciled = reconciled.with_computed(rule_spans(computed))
        note = self._note_of(reconciled, upto)
        if note["days"]:
            self._replace_days(events, streamed, computed, reconciled, note)
        else:
            commits.append_nothing(self._spark, SILVER_SESSIONS, self._settings, note)
        self._note = note
        self._publish()
        self._index.add(reconciled.placed)
        if computed is not None:
            computed.unpersist()

    def _note_of(self, reconciled: Reconciled, upto: int) -> commits.Note:
        days = [day.isoformat() for day in reconciled.days]
        gone = [[key] for key in reconciled.gone_keys]
        revision = self._note.get("revision", 0) + bool(days)
        return self._note | _note(self._settings, upto, revision) | {"days": days, "gone": gone}

    def _replace_days(
        self,
        events: DataFrame,
        streamed: DataFrame,
        computed: DataFrame | None,
        reconciled: Reconciled,
        note: commits.Note,
    ) -> None:
        table = commits.read_table(self._spark, SILVER_SESSIONS, self._settings)
        table = table.where(F.col("started_on").isin(reconciled.days))
        rows = self._changed_rows(events, streamed, computed, table, reconciled.recompute)
        fresh = in_revision(rows, SILVER_SESSIONS, note["revision"], datetime.now(UTC))
        kept = self._without(table, reconciled)
        commits.replace(kept.unionByName(fresh), SILVER_SESSIONS, self._settings, note, note["days"])

    def _computed(self, ranges: Mapping[StreamKey, Span], upto: int) -> DataFrame:
        silver = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        return computed_sessions(events_within(ranges, silver, self._spark), self._settings)

    def _changed_rows(
        self,
        events: DataFrame,
        streamed: DataFrame,
        computed: DataFrame | None,
        table: DataFrame,
        recompute: Iterable[StreamKey],
    ) -> DataFrame:
        """The facts of all sessions that have changed.

        :param table: the days of silver.sessions that change.
        :param recompute: whose sessions were computed again, and are not right as streamed.
        """
        if computed is None:
            return changed_sessions(events, streamed, table)
        wrong = F.broadcast(keys_frame(self._spark, recompute))
        streamed = streamed.join(wrong, is_of_key(streamed, wrong), how="left_anti")
        events = events.join(wrong, is_of_key(events, wrong), how="left_anti")
        return changed_sessions(events, streamed, table).unionByName(session_facts(computed))

    def _without(self, table: DataFrame, reconciled: Reconciled) -> DataFrame:
        """In: rows of silver.sessions. Out: those of sessions that have neither changed nor gone."""
        keys = [*reconciled.changed_keys, *reconciled.gone_keys]
        replaced = frame_of_columns(self._spark, {"session_key": (pa.string(), keys)})
        return table.join(F.broadcast(replaced), "session_key", how="left_anti").select(*table.columns)

    def _stored(self, keys: Iterable[StreamKey]) -> dict[StreamKey, list[Span]]:
        """What the table has of these."""
        stored: defaultdict[StreamKey, list[Span]] = defaultdict(list)
        found = self._index.days_of(keys)
        if not found:
            return stored
        days = sorted({date_of(day) for its_days in found.values() for day in its_days})
        wanted = keys_frame(self._spark, found)
        table = commits.read_table(self._spark, SILVER_SESSIONS, self._settings).where(F.col("started_on").isin(days))
        for key, span in table_spans(table.join(F.broadcast(wanted), is_of_key(table, wanted), how="left_semi")):
            stored[key].append(span)
        return stored

    def _held_states(self) -> DataFrame:
        """The states of the newest sessions that are still held, with at most _HELD_EVENTS together."""
        rules = rules_of(self._settings)
        clock_us = commits.last_note(self._spark, SILVER_EVENTS, self._settings).get("clock_us") or 0
        table = commits.read_table(self._spark, SILVER_SESSIONS, self._settings)
        held = table_spans(table.where(F.unix_micros("ended_at") > clock_us - rules.hold_us))
        spans = newest_sessions(sorted(held, key=lambda each: -each[1].last_us), _HELD_EVENTS)
        if not spans:
            return held_states(self._spark, [], rules)
        read = commits.read_old(self._spark, SILVER_EVENTS, self._settings, self.read_version)
        events = rule_input(events_within(spans, read, self._spark).where(is_streamed())).select(*RULE_INPUT)
        return held_states(self._spark, list(rows_of(events)), rules)

    def _waiting(self) -> dict[int, int]:
        """Events of each version of silver.events that the table has not read."""
        return commits.rows_added(self._spark, SILVER_EVENTS, self._settings, self.read_version)

    def _publish(self) -> None:
        self._note = publish_committed(self._spark, self._settings, self._topics, SILVER_SESSIONS, self._note)

    def _build(self) -> None:
        """All at once: of a lake that has had no sessions yet."""
        version = commits.current_version(self._spark, SILVER_EVENTS, self._settings)
        if version == 0:  # was just made
            self._note = _note(self._settings, version, 0)
            commits.append_nothing(self._spark, SILVER_SESSIONS, self._settings, self._note)
            return
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, version)
        rows = in_revision(sessions(events, self._settings), SILVER_SESSIONS, 1, datetime.now(UTC))
        self._note = _note(self._settings, version, 1)
        commits.overwrite(rows, SILVER_SESSIONS, self._settings, self._note)


def _pieces(waiting: Mapping[int, int]) -> Iterator[int]:
    """In: rows of each version. Out: up to which versions to take them in at a time."""
    rows = 0
    for version, more in waiting.items():
        rows += more
        if rows >= _PIECE_EVENTS:
            yield version
            rows = 0
    if rows:
        yield version


def _note(settings: Settings, silver_version: int, revision: int) -> commits.Note:
    return {"silver_version": silver_version, "revision": revision, "rules": rules_in(settings)}
