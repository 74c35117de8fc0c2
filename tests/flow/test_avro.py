"""Schemas are kept in bronze before their records are read; what had no schema comes back when it has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from bronze import schemas
from bronze.schemas import SeenSchemas
from lakehouse.errors import ServiceError
from lakehouse.registry import KnownSchema
from lakehouse.streams import Stop, StoppedError, run, table_stream
from lakehouse.tables import BRONZE_EVENTS, BRONZE_SCHEMAS, SILVER_EVENTS, SILVER_QUARANTINE
from tests.avro import TYPED, V1, by_schema, in_avro, with_field
from tests.builders import event, purchase, records
from tests.flow.repairs import rebuilt, replayed
from tests.flow.steps import Lake

COUPON = with_field(V1, name="coupon", type=["null", "string"], default=None)


@dataclass
class FakeRegistry:
    """Stands for lakehouse.registry.Registry. tests/services/test_avro.py has a real one."""

    known: dict[int, str] = field(default_factory=dict)
    is_away: bool = False
    asked: list[int] = field(default_factory=list)

    def schema(self, schema_id: int) -> KnownSchema | None:
        if self.is_away:
            raise ServiceError("it is away")
        self.asked.append(schema_id)
        text = self.known.get(schema_id)
        return None if text is None else KnownSchema(text, (f"store-events-value {schema_id}",))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    fake = FakeRegistry({1: V1})
    monkeypatch.setattr(schemas, "Registry", lambda settings: fake)
    monkeypatch.setattr(schemas, "_FIRST_PAUSE_S", 0.001)
    return fake


@pytest.fixture
def avro_lake(lake: Lake) -> Lake:
    return with_registry(lake, "http://registry")


def with_registry(lake: Lake, url: str) -> Lake:
    """The same lake under another setting."""
    return Lake(lake.spark, lake.settings.model_copy(update={"registry_url": url}), lake.topic)


def seen(lake: Lake) -> SeenSchemas:
    return SeenSchemas(lake.spark, lake.settings)


def refused(lake: Lake) -> list[tuple[int, tuple[str, ...]]]:
    rows = lake.rows(SILVER_QUARANTINE, "offset", "reasons", "replayed_at")
    return [(offset, reasons) for offset, reasons, replayed_at in rows if replayed_at is None]


def test_a_schema_that_was_denied_is_healed_by_a_replay_and_in_a_rebuild(
    avro_lake: Lake, registry: FakeRegistry, only: Callable[..., None]
) -> None:
    only()
    values = [event(), in_avro(purchase(), 1), by_schema(COUPON, TYPED | {"coupon": "B"}, 2), b"\0\0\0\0\1?"]
    avro_lake.land(records(values))
    assert seen(avro_lake).keep({1, 2}, Stop())
    avro_lake.refine()
    assert refused(avro_lake) == [(2, ("unknown_schema",)), (3, ("unreadable_avro",))]
    avro_lake.assert_conserved()

    registry.known[2] = COUPON
    would = replayed(avro_lake, "unknown_schema", dry_run=True)
    assert (avro_lake.version(BRONZE_SCHEMAS), would.events, would.copies) == (1, 1, 0)
    assert replayed(avro_lake, "unknown_schema") == would
    assert refused(avro_lake) == [(3, ("unreadable_avro",))]
    assert avro_lake.rows(BRONZE_SCHEMAS, "schema_id", "schema", "subjects") == [
        (1, V1, ("store-events-value 1",)),
        (2, COUPON, ("store-events-value 2",)),
    ]
    avro_lake.assert_conserved()
    avro_lake.aggregate()

    registry.is_away = True
    assert [table.is_same for table in rebuilt(avro_lake, dry_run=True).tables] == [True] * 4


def test_a_running_silver_reads_a_schema_that_comes_later(avro_lake: Lake, registry: FakeRegistry) -> None:
    registry.known[2] = COUPON
    book, refinement = seen(avro_lake), avro_lake.refine()
    for schema_id, value in ((1, in_avro(event(), 1)), (2, by_schema(COUPON, TYPED | {"user_id": 5}, 2))):
        assert book.keep({schema_id}, Stop())
        avro_lake.land(records([value], first_offset=schema_id))
        avro_lake.refine(refinement)
    assert avro_lake.rows(SILVER_EVENTS, "offset") == [(1,), (2,)]
    assert not book.keep({1, 2}, Stop()), "both are stored"
    assert registry.asked == [1, 2]


def test_a_denied_id_is_not_asked_for_with_every_batch(avro_lake: Lake, registry: FakeRegistry) -> None:
    book = seen(avro_lake)
    assert not book.keep({8, 9}, Stop())
    assert not book.keep({8, 9}, Stop())
    assert registry.asked == [8, 9]
    assert avro_lake.version(BRONZE_SCHEMAS) == -1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the layer takes for the seconds that have passed."""
    now_s = [1000.0]
    monkeypatch.setattr(schemas, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    return now_s


@pytest.mark.parametrize("made_up", [range(2, 100_000), range(2**31, 2**31 + 100_000)], ids=["small", "large"])
def test_made_up_ids_cost_a_batch_little_and_hide_no_true_one_for_long(
    avro_lake: Lake, registry: FakeRegistry, clock: list[float], made_up: range, caplog: pytest.LogCaptureFixture
) -> None:
    """Any four bytes behind a zero byte are an id. A request for each held sales up for minutes."""
    registry.known[150] = COUPON
    book, found, batches = seen(avro_lake), False, 0
    while not found:
        found = 150 in book.find({*made_up, 1, 150})
        batches += 1
        assert len(registry.asked) <= 20 * batches and batches < 10
        clock[0] += 1.0
    assert len(caplog.records) == 1 and "more were not asked for yet" in caplog.text


def test_an_id_that_was_denied_once_waits_for_those_that_were_not(
    avro_lake: Lake, registry: FakeRegistry, clock: list[float]
) -> None:
    book = seen(avro_lake)
    book.find(set(range(100, 120)))
    clock[0] += 61.0
    registry.asked.clear()
    book.find(set(range(100, 130)))
    assert registry.asked == [*range(120, 130), *range(100, 110)]


def test_denials_are_remembered_in_bounded_memory_and_said_once_a_minute(
    avro_lake: Lake, registry: FakeRegistry, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    book = seen(avro_lake)
    for minute in range(3):
        for batch in range(300):
            book.find(set(range(2 + 20 * batch + 10_000 * minute, 22 + 20 * batch + 10_000 * minute)))
        clock[0] += 61.0
    book.find({5})
    assert len(book._denied_until_s) == schemas._MOST_DENIED
    assert len(caplog.records) == 4
    assert "(6000 ids" in caplog.records[2].getMessage()


def test_without_a_registry_nothing_is_asked(lake: Lake, registry: FakeRegistry) -> None:
    assert not seen(lake).keep({1}, Stop())
    lake.land(records([in_avro(event(), 1)]))
    lake.refine()
    assert refused(lake) == [(0, ("no_registry",))]
    lake = with_registry(lake, "http://registry")
    assert replayed(lake).events == 1
    assert refused(lake) == []


def test_a_batch_waits_for_the_registry_and_goes_on(avro_lake: Lake, registry: FakeRegistry) -> None:
    registry.is_away = True
    reasons: list[str] = []

    def waiting(reason: str) -> None:
        reasons.append(reason)
        registry.is_away = len(reasons) < 3

    assert seen(avro_lake).keep({1}, Stop(), waiting)
    assert reasons == ["it is away"] * 3
    assert avro_lake.rows(BRONZE_SCHEMAS, "schema_id") == [(1,)]


def test_told_to_stop_while_it_waits_the_stream_ends_without_its_batch(avro_lake: Lake, registry: FakeRegistry) -> None:
    registry.is_away = True
    avro_lake.land(records([in_avro(event(), 1)]))
    stop, book, steps = Stop(), seen(avro_lake), []

    def step(_batch: object, _end: object) -> None:
        book.keep({1}, stop, lambda _reason: stop.set())
        steps.append("done")

    source = table_stream(avro_lake.spark, BRONZE_EVENTS, avro_lake.settings, 0)
    # Not the same stop: the stream hears of it from its step alone, whoever is quicker.
    run("waits", source, step, avro_lake.settings, Stop(), once=False)
    assert steps == []
    with pytest.raises(StoppedError):
        book.keep({1}, stop)


def test_a_replay_does_not_wait_for_the_registry(avro_lake: Lake, registry: FakeRegistry) -> None:
    avro_lake.land(records([in_avro(event(), 2)]))
    avro_lake.refine()
    registry.is_away = True
    with pytest.raises(ServiceError, match="away"):
        replayed(avro_lake)
    assert refused(avro_lake) == [(0, ("unknown_schema",))]
    assert replayed(with_registry(avro_lake, "")).after == {"no_registry": 1}
