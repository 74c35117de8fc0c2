"""The step of silver.sessions: what a stream with state tells of visits, checked against the table, and written.

The stream is soon there and does not know everything: it lets go of visits, and never sees events behind its watermark.
So its rows are not believed, but checked: a row is right if it has, besides the batch's own events, as many as the
table's row of the same visit. What does not fit is computed again, whole, from silver.events, by the same rules
(docs/decisions/0016-sessions.md). Where much is waiting nothing is told, and all is computed so: in bulk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.errors import SettingError
from lakehouse.publication import publish_committed
from lakehouse.revisions import in_revision
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, follow_table, is_whole, last_whole_version
from lakehouse.tables import SILVER_EVENTS, SILVER_SESSIONS
from lakehouse.topics import Topics
from lakehouse.values import frame_of_columns, frame_of_rows
from silver.days_of_ids import Day, DaysOfIds
from silver.session_rules import session_key
from silver.sessions import (
    INPUT,
    TOLD,
    held_states,
    rules_of,
    session_facts,
    session_stream,
    sessions,
    stream_is_told,
    told_events,
    told_sessions,
    with_views,
)
from silver.stretches import DAY_US, Stretch, in_stretches, widen

_PIECE_EVENTS = 250_000
"""Of a backlog, so many are taken in at a time: of each visit among them the driver holds when it was."""

_HELD_EVENTS = 50_000
"""Of visits that a stream begins with: to be told of them takes it as long as of new ones, half a minute."""

One = tuple[int, str]
"""(user_id, session); the session is empty of a user's events without one."""


class Span(NamedTuple):
    """Of a visit, or of the events of one user and session in a batch.

    :param key: of the visit.
    :param events: those of which the stream is told.
    :param added: events of the batch in it.
    :param replaces: keys of visits that have become part of it.
    """

    key: str
    first_us: int
    last_us: int
    events: int
    added: int = 0
    replaces: tuple[str, ...] = ()


class Visits:
    """Keeps silver.sessions up with silver.events. For the writer of silver, in one thread.

    :raises SettingError: the table was made with other rules than the settings have.
    """

    def __init__(self, spark: SparkSession, settings: Settings, topics: Topics) -> None:
        # A session of its own: no batches without data for the sake of timers, which can wait for the next one.
        self._spark, self._settings, self._topics = spark.newSession(), settings, topics
        self._gap_us = rules_of(settings).gap_us
        self._is_between = True  # at the start, and after a batch that ends between two commits
        self._spark.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", "false")
        commits.create_tables(self._spark, (SILVER_SESSIONS,), settings)
        self._note = commits.last_note(self._spark, SILVER_SESSIONS, settings)
        _refuse_other_rules(self._note, settings)
        if not self._note:
            self._build()
        self._publish()
        self.read_version: int = self._note["silver_version"]
        self._days = DaysOfIds()
        table = commits.read_table(self._spark, SILVER_SESSIONS, settings)
        name = F.concat_ws("|", "user_id", F.coalesce("user_session", F.lit("")))
        self._days.load(table.select(name.alias("id"), F.col("started_on").alias("day")))

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
            self._take(frame_of_rows(self._spark, [], TOLD), upto, is_between=True)
        self._is_between = True
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
            through=lambda events: session_stream(events, self._held(), settings),
            every_s=settings.sessions_s,
            is_enough=lambda: sum(self._waiting().values()) > settings.sessions_bulk_events,
        )

    def step(self, batch: DataFrame, end: Position) -> None:
        """In: what the stream tells of a batch (TOLD), which ends at this position of silver.events."""
        is_between, self._is_between = self._is_between and is_whole(end), is_whole(end)
        told = batch.persist()
        self._take(told, last_whole_version(end), is_between)
        told.unpersist()

    def _take(self, told: DataFrame, upto: int, is_between: bool) -> None:
        """:param is_between: what was told is of the events that came up to this version, and of no others."""
        events, _ = commits.added_rows(self._spark, SILVER_EVENTS, self._settings, self.read_version, upto)
        came, spans = _came(events), _spans(told)
        ones = {*came, *spans}
        known = self._known(ones)
        again = {
            one: span
            for one in ones
            if (span := to_compute_again(one, came.get(one), spans[one], known[one], self._gap_us, is_between))
        }
        if ones or upto > self.read_version:
            placed = {
                one: [_as_came(one, came[one], known[one])] if one[1] else spans[one] for one in ones - again.keys()
            }
            self._write(events, told, placed, known, again, upto)
        self.read_version = upto

    def _waiting(self) -> dict[int, int]:
        """Events of each version of silver.events that the table has not read."""
        return commits.rows_added(self._spark, SILVER_EVENTS, self._settings, self.read_version)

    def _write(
        self,
        events: DataFrame,
        told: DataFrame,
        placed: dict[One, list[Span]],
        known: Mapping[One, list[Span]],
        again: Mapping[One, Span],
        upto: int,
    ) -> None:
        """:param placed: where the visits are that need not be computed again."""
        computed = None
        if again:
            silver = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
            computed = told_sessions(self._events_of(again, silver), self._settings).persist()
            found = _spans(computed)
            placed |= {one: found[one] for one in again}
        gone: set[str] = set()
        days: set[date] = set()
        for one, mine in placed.items():
            keys = {span.key for span in mine}
            replaced = {key for span in mine for key in span.replaces}
            old = [each for each in known[one] if each.key in keys | replaced or _is_within(each, again.get(one))]
            gone |= {each.key for each in old} - keys
            days |= {_on(span.first_us // DAY_US) for span in (*old, *mine)}
        revision = self._note.get("revision", 0) + bool(days)
        texts = [day.isoformat() for day in sorted(days)]
        note = self._note | _note(self._settings, upto, revision)
        note |= {"days": texts, "gone": [[key] for key in sorted(gone)]}
        if days:
            table = commits.read_table(self._spark, SILVER_SESSIONS, self._settings)
            table = table.where(F.col("started_on").isin(sorted(days)))
            rows = self._rows(events, told, computed, table, again)
            fresh = in_revision(rows, SILVER_SESSIONS, revision, datetime.now(UTC))
            taken = [span.key for mine in placed.values() for span in mine] + sorted(gone)
            taken_keys = frame_of_columns(self._spark, {"session_key": (pa.string(), taken)})
            others = table.join(F.broadcast(taken_keys), "session_key", how="left_anti").select(*table.columns)
            commits.replace(others.unionByName(fresh), SILVER_SESSIONS, self._settings, note, texts)
        else:
            commits.append_nothing(self._spark, SILVER_SESSIONS, self._settings, note)
        self._note = note
        self._publish()
        self._remember(placed)
        if computed is not None:
            computed.unpersist()

    def _rows(
        self,
        events: DataFrame,
        told: DataFrame,
        computed: DataFrame | None,
        table: DataFrame,
        again: Mapping[One, Span],
    ) -> DataFrame:
        """The facts of all visits that have changed. :param table: the days of silver.sessions that change."""
        if again:
            wrong = F.broadcast(_frame_of_ones(self._spark, again))
            told = told.join(wrong, _is_one(told, wrong), how="left_anti")
            events = events.join(wrong, _is_one(events, wrong), how="left_anti")
        has_session = F.col("user_session").isNotNull()
        rows = with_views(_seen(events.where(has_session)), told.where(has_session), table.where(has_session))
        rows = rows.unionByName(session_facts(told.where(~has_session)))
        return rows if computed is None else rows.unionByName(session_facts(computed))

    def _remember(self, placed: Mapping[One, list[Span]]) -> None:
        names = [f"{user_id}|{session}" for user_id, session in placed]
        known_days = self._days.days_of(names)
        for mine, name in zip(placed.values(), names, strict=True):
            begun = {span.first_us // DAY_US for span in mine}
            self._days.add((name, day) for day in begun - known_days.get(name, set()))

    def _publish(self) -> None:
        self._note = publish_committed(self._spark, self._settings, self._topics, SILVER_SESSIONS, self._note)

    def _events_of(self, spans: Mapping[One, Span], events: DataFrame) -> DataFrame:
        stretches: dict[Day, Stretch] = {}
        for span in spans.values():
            widen(stretches, span.first_us, span.last_us)
        events = events.where(in_stretches(stretches))
        wanted = _frame_of_ones(self._spark, spans)
        at_us = F.unix_micros("event_at")
        is_wanted = _is_one(events, wanted) & at_us.between(wanted["first_us"], wanted["last_us"])
        return events.join(F.broadcast(wanted), is_wanted, how="left_semi")

    def _known(self, ones: set[One]) -> defaultdict[One, list[Span]]:
        """What the table has of these, by user and session."""
        known: defaultdict[One, list[Span]] = defaultdict(list)
        names = {f"{user_id}|{session}": (user_id, session) for user_id, session in ones}
        found = self._days.days_of(list(names))
        if not found:
            return known
        days = sorted({_on(day) for each in found.values() for day in each})
        wanted = _frame_of_ones(self._spark, {names[name]: Span("", 0, 0, 0) for name in found})
        table = commits.read_table(self._spark, SILVER_SESSIONS, self._settings).where(F.col("started_on").isin(days))
        mine = table.join(F.broadcast(wanted), _is_one(table, wanted), how="left_semi")
        for user_id, session, *span in _values(_spans_of_rows(mine)):
            known[user_id, session].append(Span(*span))
        return known

    def _held(self) -> DataFrame:
        """The states of the newest visits that are still held, with at most _HELD_EVENTS together."""
        rules = rules_of(self._settings)
        clock_us = commits.last_note(self._spark, SILVER_EVENTS, self._settings).get("clock_us") or 0
        table = commits.read_table(self._spark, SILVER_SESSIONS, self._settings)
        recent = _spans_of_rows(table.where(F.unix_micros("ended_at") > clock_us - rules.hold_us))
        spans: dict[One, Span] = {}
        room = _HELD_EVENTS
        for user_id, session, *rest in sorted(_values(recent), key=lambda row: -row[4]):
            span = Span(*rest)
            room -= span.events
            if room < 0:
                break
            before = spans.get((user_id, session), span)
            ends = (min(before.first_us, span.first_us), max(before.last_us, span.last_us))
            spans[user_id, session] = span._replace(first_us=ends[0], last_us=ends[1])
        if not spans:
            return held_states(self._spark, [], rules)
        read = commits.read_old(self._spark, SILVER_EVENTS, self._settings, self.read_version)
        events = self._events_of(spans, read)
        held = told_events(events.where(stream_is_told())).select(*INPUT)
        return held_states(self._spark, list(_values(held)), rules)

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


def to_compute_again(
    one: One, came: Span | None, told: list[Span], known: list[Span], gap_us: int, is_whole: bool = True
) -> Span | None:
    """Is what the stream tells of one user and session right? Out: None if so, else from when to when to compute anew.

    :param came: their events in the batch. None: the stream has taken in what is not all there yet.
    :param told: visits as the stream has them. :param known: visits as the table has them.
    :param is_whole: the batch begins and ends between two commits. If not, what was told need not be what came, and
        equal numbers say nothing.
    """
    mine = [{span.key, *span.replaces} for span in told]
    if is_whole and came is not None and not came.events and not told:
        return None  # views of a visit with a session: the stream has no part in them
    right = (
        is_whole
        and came is not None
        and sum(span.added for span in told) == came.events
        and all(
            span.events - span.added == sum(old.events for old in known if old.key in keys)
            for span, keys in zip(told, mine, strict=True)
        )
        and all(
            old.key in set().union(*mine)
            for old in known
            if one[1] or any(_are_near(old, span, gap_us) for span in told)
        )
    )
    if right:
        return None
    spans = [*told, *([came] if came else [])]
    all_ = Span("", min(span.first_us for span in spans), max(span.last_us for span in spans), 0)
    near = [all_, *(old for old in known if one[1] or _are_near(old, all_, gap_us))]
    return all_._replace(first_us=min(span.first_us for span in near), last_us=max(span.last_us for span in near))


def _are_near(span: Span, other: Span, gap_us: int) -> bool:
    """Would they be one visit?"""
    return span.first_us < other.last_us + gap_us and other.first_us < span.last_us + gap_us


def _is_within(span: Span, all_: Span | None) -> bool:
    return all_ is not None and all_.first_us <= span.first_us and span.last_us <= all_.last_us


def _as_came(one: One, came: Span, known: list[Span]) -> Span:
    """The visit of a user and session with this batch's events in it."""
    ends = [came, *known]
    first_us, last_us = min(span.first_us for span in ends), max(span.last_us for span in ends)
    return Span(session_key(*one, first_us), first_us, last_us, came.events)


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


def _came(events: DataFrame) -> dict[One, Span]:
    """In: rows of silver.events. Out: from when to when each user and session had some, and of how many of them the
    stream is told.
    """
    at_us = F.unix_micros("event_at")
    session = F.coalesce("user_session", F.lit(""))
    counts = (F.min(at_us), F.max(at_us), F.count_if(stream_is_told()))
    grouped = events.groupBy("user_id", session).agg(*counts)
    return {(user_id, session_): Span("", *rest) for user_id, session_, *rest in _values(grouped)}


def _seen(events: DataFrame) -> DataFrame:
    """In: rows of silver.events, all with a session. Out: one row per visit, as `with_views` wants it."""
    at_us, is_view = F.unix_micros("event_at"), F.col("event_type") == "view"
    return events.groupBy("user_id", "user_session").agg(
        F.min(at_us).alias("first_us"),
        F.max(at_us).alias("last_us"),
        F.count_if(is_view).alias("new_views"),
        F.collect_set(F.when(is_view, F.coalesce("brand", F.lit("")))).alias("viewed_brands"),
    )


def _spans(told: DataFrame) -> defaultdict[One, list[Span]]:
    """In: TOLD. Out: the visits of each user and session."""
    spans: defaultdict[One, list[Span]] = defaultdict(list)
    session = F.coalesce("user_session", F.lit(""))
    columns = ("session_key", "started_us", "ended_us", "events", "added", "replaces")
    for user_id, session_, *rest in _values(told.select("user_id", session, *columns)):
        *span, replaces = rest
        spans[user_id, session_].append(Span(*span)._replace(replaces=tuple(replaces)))
    return spans


def _spans_of_rows(rows: DataFrame) -> DataFrame:
    """In: rows of silver.sessions. Out: user_id, session, and the first columns of a Span."""
    times = (F.unix_micros("started_at"), F.unix_micros("ended_at"))
    told = F.when(F.col("user_session").isNull(), F.col("events")).otherwise(F.col("events") - F.col("views"))
    return rows.select("user_id", F.coalesce("user_session", F.lit("")), "session_key", *times, told)


def _values(rows: DataFrame) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in rows.toArrow().columns), strict=True)


def _frame_of_ones(spark: SparkSession, spans: Mapping[One, Span]) -> DataFrame:
    users, sessions_ = zip(*spans, strict=True)
    columns: dict[str, tuple[pa.DataType, Sequence[Any]]] = {
        "user_id": (pa.int64(), users),
        "session": (pa.string(), sessions_),
    }
    for name in ("first_us", "last_us"):
        columns[name] = (pa.int64(), [getattr(span, name) for span in spans.values()])
    return frame_of_columns(spark, columns)


def _is_one(rows: DataFrame, ones: DataFrame) -> Column:
    return (rows["user_id"] == ones["user_id"]) & (F.coalesce(rows["user_session"], F.lit("")) == ones["session"])


def _on(day: Day) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def _note(settings: Settings, silver_version: int, revision: int) -> commits.Note:
    return {"silver_version": silver_version, "revision": revision, "rules": rules_in(settings)}


def rules_in(settings: Settings) -> dict[str, int]:
    """The settings that the rows are made by, for the note of a commit."""
    return {name: getattr(settings, name) for name in ("session_gap_s", "cart_abandon_s")}


def _refuse_other_rules(note: commits.Note, settings: Settings) -> None:
    """Rows by two rules in one table would be neither."""
    made_with = note.get("rules", rules_in(settings))
    for name, value in rules_in(settings).items():
        if made_with[name] != value:
            raise SettingError(
                f"The setting {name} is {value}, but {SILVER_SESSIONS.name} was made with {made_with[name]}.",
                "the rules that the table was made with",
                f"set LAKEHOUSE_{name.upper()}={made_with[name]}, or run `lakehouse rebuild gold` with the new one",
            )
