"""What we ask of a schema registry, asked of a real one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from ingest.committed import committed_records
from ingest.event_wire import event_wire
from lakehouse.errors import InputError, ServiceError
from lakehouse.registry import KnownSchema, Registry
from lakehouse.settings import Settings
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics
from tests.apicurio import ApicurioRegistry
from tests.avro import V1, with_field
from tests.builders import event

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def client(schema_registry: ApicurioRegistry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": schema_registry.url})


@pytest.fixture
def avro(settings: Settings, schema_registry: ApicurioRegistry) -> Settings:
    return settings.model_copy(update={"wire": "avro", "registry_url": schema_registry.url})


def test_a_new_subject_is_backward_compatible_from_its_first_schema_on(
    avro: Settings, client: SchemaRegistryClient
) -> None:
    avro = avro.model_copy(update={"events_topic": "first"})
    value = json.dumps(event()).encode()
    (sent,) = event_wire(avro)([value])
    assert client.get_compatibility("first-value") == "BACKWARD"
    schema_id = int.from_bytes((sent or b"")[1:5])
    assert Registry(avro).schema(schema_id) == KnownSchema(
        client.get_schema(schema_id).schema_str or "", ("first-value 1",)
    )
    assert event_wire(avro)([value]) == [sent], "the same schema is not registered twice"

    with_coupon = with_field(V1, name="coupon", type=["null", "string"], default=None)
    assert Registry(avro).register("first-value", with_coupon) != schema_id
    with pytest.raises(InputError, match=r"refuses a schema for first-value: .*ncompatible.*channel"):
        Registry(avro).register("first-value", with_field(with_coupon, name="channel", type="string"))
    assert client.get_versions("first-value") == [1, 2]


def test_a_level_that_is_less_strict_is_said_and_kept(
    avro: Settings, client: SchemaRegistryClient, caplog: pytest.LogCaptureFixture
) -> None:
    for level in ("NONE", "FULL"):
        client.set_compatibility(f"{level}-value", level)
        Registry(avro).register(f"{level}-value", V1)
        assert client.get_compatibility(f"{level}-value") == level
    assert [record.getMessage().split(",")[0] for record in caplog.records if record.name == "lakehouse"] == [
        "schema registry: the compatibility of NONE-value is NONE"
    ]


def test_an_id_that_it_does_not_have_is_denied(avro: Settings) -> None:
    assert Registry(avro).schema(4_294_967_295) is None


def test_a_schema_comes_with_all_that_it_refers_to(avro: Settings, client: SchemaRegistryClient) -> None:
    part = {"type": "record", "name": "Place", "namespace": "of", "fields": [{"name": "x", "type": "long"}]}
    whole = {"type": "record", "name": "Whole", "namespace": "of", "fields": [{"name": "at", "type": "of.Place"}]}
    client.register_schema("place", Schema(json.dumps(part), "AVRO"))
    reference = SchemaReference("of.Place", "place", 1)
    found = Registry(avro).schema(client.register_schema("whole", Schema(json.dumps(whole), "AVRO", [reference])))
    assert found is not None
    assert json.loads(found.text)["fields"][0]["type"]["fields"] == part["fields"]


@pytest.mark.parametrize("path", ["", "/nothing/here"])
def test_a_server_that_is_no_registry_denies_nothing(avro: Settings, path: str) -> None:
    elsewhere = avro.model_copy(update={"registry_url": avro.registry_url.removesuffix("/apis/ccompat/v7") + path})
    with pytest.raises(ServiceError, match="cannot be asked"):
        Registry(elsewhere).schema(1)
    with pytest.raises(ServiceError, match="cannot be asked"):
        Registry(elsewhere).register("first-value", V1)


def test_a_producer_whose_schema_is_refused_says_why_and_sends_nothing(
    avro: Settings,
    client: SchemaRegistryClient,
    kafka_broker: KafkaBroker,
) -> None:
    topics = {"events_topic": "refused", "unreadable_topic": "refused-unreadable"}
    avro = avro.model_copy(update=topics | kafka_broker.access)
    ensure_topics(avro)
    client.set_compatibility("refused-value", "BACKWARD")
    in_text = json.loads(V1)
    in_text["fields"][2]["type"] = "string"
    client.register_schema("refused-value", Schema(json.dumps(in_text), "AVRO"))
    command = [sys.executable, "-m", "ingest.produce", "--rate", "50", "--seconds", "1"]
    environment = os.environ | avro.as_environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert re.search("refuses a schema for refused-value: .*ncompatible.*LONG.*STRING", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert list(committed_records(avro, "refused", avro.topic_partitions)) == []
