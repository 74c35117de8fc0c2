"""From JSON to Avro, and on to schemas with more fields, while the lakehouse runs: nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import SecretStr
from rich.console import Console

from ingest.event_wire import framed
from ingest.producer import EventProducer
from lakehouse.producers import make_producer
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from operate.show import status
from operate.stack import Stack
from tests.apicurio import ApicurioRegistry
from tests.avro import TYPED, V1, with_field
from tests.builders import Fields, purchase
from tests.services.runs import BIN, ROOT, ask, assert_promises, running, submit, wait_until_read

PASSWORD = "only the registry hears 4711"
COUPON = with_field(V1, name="coupon", type=["null", "string"], default=None)
CHANNEL = with_field(COUPON, name="channel", type=["null", {"type": "map", "values": "long"}], default=None)


# Over a minute: it starts the pipeline, a rebuild and two jobs, each with a Spark of its own.
@pytest.mark.long
def test_json_then_avro_then_a_new_field_and_nothing_is_lost(
    schema_registry: ApicurioRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = schema_registry
    settings = Settings(
        home=tmp_path / "home",
        topic_partitions=2,
        registry_url=registry.url,
        registry_user="store",
        registry_password=SecretStr(PASSWORD),
    )
    with running(settings, with_rounds=False) as stack:
        topic, pipeline = settings.events_topic, read_pulse(settings)["pid"]
        in_json = _ours(stack, "json", _purchases(0, 100))
        wait_until_read(stack)
        # The last ten are copies of events that came in JSON.
        in_avro = _ours(stack, "avro", [*_purchases(100, 190), *_purchases(90, 100)])
        other = TheirProducer(stack.settings, registry.url)
        other.send(COUPON, 200, coupon="SPRING")
        wait_until_read(stack)

        other.serializer(CHANNEL)  # it is registered, and no consumer has met it yet
        registry.stop()
        other.send(COUPON, 201, coupon=None)
        wait_until_read(stack)  # all that is needed is in bronze.schemas
        other.send(CHANNEL, 202, coupon="SPRING", channel={"app": 2**53 + 1})
        late = _ours(stack, "json", _purchases(300, 310))
        _wait(lambda: "the schema registry" in read_pulse(settings).get("waiting_for", ""), stack)
        status(stack.settings, Console(width=200))
        assert "waiting_for" in capsys.readouterr().out
        registry.start()
        wait_until_read(stack)
        assert "waiting_for" not in read_pulse(settings)

        producer = make_producer(stack.settings)
        producer.produce(topic, framed(424_242, b"?" * 20), key=b"1")
        producer.flush()
        wait_until_read(stack)
        seen = _command_lines()
        assert read_pulse(settings)["pid"] == pipeline, "it was never started again"
        stack.stop_pipeline()
        other.send(with_field(CHANNEL, name="shop", type="int", default=1), 203, coupon=None, channel=None, shop=7)

        registry.stop()
        _assert_a_rebuild_is_the_same(stack)
        registry.start()
        submit("bronze/job.py", stack.settings)
        submit("silver/job.py", stack.settings)

        assert _counts(settings) == {"events": in_json + in_avro - 10 + late + 4, "duplicates": 10, "quarantine": 1}
        assert ask("SELECT reasons FROM silver.quarantine", settings) == [(["unknown_schema"],)]
        assert dict(ask("SELECT user_id, extras FROM silver.events WHERE extras IS NOT NULL", settings)) == {
            200: {"coupon": "SPRING"},
            201: {"coupon": None},
            202: {"coupon": "SPRING", "channel": '{"app":9007199254740993}'},
            203: {"coupon": None, "channel": None, "shop": "7"},
        }
        assert len(ask("SELECT schema_id FROM bronze.schemas", settings)) == 4
        forms = "SELECT hex(value)[:2] = '00', count(*) FROM bronze.events GROUP BY 1 ORDER BY 1"
        assert ask(forms, settings) == [(False, in_json + late), (True, in_avro + 5)]
        assert_promises(stack.settings)
    said = "".join(path.read_text(errors="replace") for path in settings.logs.iterdir())
    assert "new schemas" in said and "waiting for the schema registry" in said
    assert "4711" not in said
    assert seen and "4711" not in "\n".join(seen)


class TheirProducer:
    """A program of somebody else's, with Confluent's own serializer."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._topic, self._producer = settings.events_topic, make_producer(settings)
        self._registry = SchemaRegistryClient({"url": url})
        self._serializers: dict[str, AvroSerializer] = {}

    def serializer(self, schema: str) -> AvroSerializer:
        """Of this schema, which is registered the first time."""
        if schema not in self._serializers:
            self._serializers[schema] = AvroSerializer(self._registry, schema)
            fields = {field["name"]: field.get("default") for field in json.loads(schema)["fields"]}
            self._serializers[schema](fields | TYPED, SerializationContext(self._topic, MessageField.VALUE))
        return self._serializers[schema]

    def send(self, schema: str, user_id: int, **fields: object) -> None:
        value = self.serializer(schema)(
            TYPED | {"user_id": user_id} | fields, SerializationContext(self._topic, MessageField.VALUE)
        )
        self._producer.produce(self._topic, value, key=str(user_id).encode())
        self._producer.flush()


def _purchases(first_user: int, end: int) -> list[Fields]:
    return [purchase(user_id=user, product_id=user % 3, price=f"{user % 7}.25") for user in range(first_user, end)]


def _ours(stack: Stack, wire: str, events: list[Fields]) -> int:
    """Sends events by our own producer. Out: how many."""
    producer = EventProducer(stack.settings.model_copy(update={"wire": wire}))
    keys = [str(each["user_id"]).encode() for each in events]
    producer.send_batch(stack.settings.events_topic, keys, [json.dumps(each).encode() for each in events])
    producer.flush()
    return len(events)


def _wait(is_so: Callable[[], bool], stack: Stack) -> None:
    end_s = time.monotonic() + 600
    while not is_so():
        stack.supervisor.watch()
        assert time.monotonic() < end_s, read_pulse(stack.settings)
        time.sleep(0.1)


def _command_lines() -> list[str]:
    """Of all that this test has started and that lives."""
    family = psutil.Process().children(recursive=True)
    return [" ".join(each.cmdline()) for each in family if each.status() != psutil.STATUS_ZOMBIE]


def _counts(settings: Settings) -> dict[str, int]:
    names = ("events", "duplicates", "quarantine")
    return {name: ask(f"SELECT count(*) FROM silver.{name}", settings)[0][0] for name in names}


def _assert_a_rebuild_is_the_same(stack: Stack) -> None:
    environment = os.environ | stack.settings.as_environment() | {"PYTHONPATH": str(ROOT)}
    command = [str(BIN / "lakehouse"), "rebuild", "silver", "--dry-run", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {each["table"]: each["is_same"] for each in json.loads(done.stdout)["tables"]}.items() >= {
        "silver.events": True,
        "silver.duplicates": True,
        "silver.quarantine": True,
        "gold.product_sales": True,
    }.items()
