"""Connectors as files: what is filled in, what is refused, and that the one we ship fits together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lakehouse.errors import InputError, SettingError
from lakehouse.event_contract import FIELDS
from lakehouse.settings import Settings
from operate.connect_rest import ConnectRest
from operate.connector_file import SHIPPED, read_connector, shipped
from operate.services.kafka_properties import MAX_BATCH_BYTES

CLASS = "org.example.Connector"


def written(folder: Path, content: object) -> Path:
    path = folder / "connector.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_value(folder: Path, value: object) -> Path:
    return written(folder, {"name": "one", "config": {"connector.class": CLASS, "key": value}})


def worker_properties() -> dict[str, str]:
    lines = (SHIPPED / "worker.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_settings_are_filled_in_and_what_the_worker_looks_up_is_left(tmp_path: Path) -> None:
    path = with_value(tmp_path, "${events_topic}, ${topic_partitions}: ${env:LAKEHOUSE_KAFKA_USER} $1 {2}")
    connector = read_connector(path, Settings(events_topic='my "events"', topic_partitions=7))
    assert connector.name == "one"
    assert connector.config == {
        "name": "one",
        "connector.class": CLASS,
        "key": 'my "events", 7: ${env:LAKEHOUSE_KAFKA_USER} $1 {2}',
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting"),
        ([], "is no connector"),
        ({"name": "one"}, "is no connector"),
        ({"name": "one", "config": {}, "tasks": []}, "is no connector"),
        ({"name": "one", "config": {"key": "x"}}, "connector.class is no text"),
        ({"name": "one", "config": {"connector.class": CLASS, "tasks.max": 1}}, "tasks.max is no text"),
        ({"name": "one", "config": {"connector.class": CLASS, "name": "two"}}, "two names, one and two"),
        ({"name": "one", "config": {"connector.class": CLASS, "key": "${event_topic}"}}, "nearest is events_topic"),
        ({"name": "one", "config": {"connector.class": CLASS, "key": "${kafka_password}"}}, "is a secret"),
    ],
)
def test_what_is_no_connector_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_connector(written(tmp_path, content), Settings())


def test_the_shipped_connector_follows_the_settings_and_holds_no_secret() -> None:
    (path,) = shipped()
    settings = Settings(events_topic="my-events", unreadable_topic="my-unreadable")
    name, config = read_connector(path, settings)
    assert name == "store-events-files"
    assert config["topic"] == config["predicates.IsEvent.pattern"] == "my-events"
    assert config["filters.Unreadable.value"] == "my-unreadable"
    looked_up = set(re.findall(r"\$\{([^}]*)\}", "".join(config.values())))
    allowed = re.compile(worker_properties()["config.providers.env.param.allowlist.pattern"])
    assert looked_up and all(allowed.fullmatch(each.removeprefix("env:")) for each in looked_up)
    passwords = [value for value in config.values() if "password=" in value]
    assert passwords and all('password="${env:LAKEHOUSE_KAFKA_PASSWORD}"' in value for value in passwords)


def test_the_shipped_connector_keys_by_user_and_sends_plain_objects() -> None:
    config = read_connector(*shipped(), Settings()).config
    kafka = "org.apache.kafka.connect."
    chain = [config[f"transforms.{alias}.type"] for alias in config["transforms"].split(",")]
    assert chain == [f"{kafka}transforms.ValueToKey", f"{kafka}transforms.ExtractField$Key"]
    assert config["transforms.User.fields"] == config["transforms.UserId.field"] == "user_id"
    # What could not be read has no user_id: there these transforms would stop the task.
    assert {config[f"transforms.{alias}.predicate"] for alias in config["transforms"].split(",")} == {"IsEvent"}
    assert config["key.converter"] == f"{kafka}storage.StringConverter"
    assert config["value.converter"] == f"{kafka}json.JsonConverter"
    assert config["value.converter.schemas.enable"] == "false"


def test_the_shipped_filters_are_all_there_and_every_failure_has_a_way_out() -> None:
    config = read_connector(*shipped(), Settings()).config
    main = config["filters"].split(",")
    used = {*main, *(name for alias in main for name in config.get(f"filters.{alias}.withOnFailure", "").split(","))}
    assert used - {""} == {key.split(".")[1] for key in config if key.startswith("filters.")}
    assert all(f"filters.{alias}.type" in config for alias in used - {""})
    for alias in ("Utf8", "ParseCSV", "AllColumns"):
        assert config[f"filters.{alias}.withOnFailure"] == "Unreadable,Reason"
    assert re.findall(r"exists\(\$value, '(\w+)'\)", config["filters.AllColumns.if"]) == list(FIELDS)
    assert config["filters.ParseCSV.trim.column"] == "false"
    # The hash is of a file's length and first 4 KiB: it alone would miss a corrected price further on.
    assert set(config["offset.attributes.string"].split("+")) == {"name", "hash", "lastModified"}
    # done and failed are within the folder that is listed.
    assert config["fs.listing.recursive.enabled"] == "false"


def test_the_worker_is_exactly_once_asks_for_a_login_and_speaks_to_kafka_alike_throughout() -> None:
    properties = worker_properties()
    assert properties["exactly.once.source.support"] == "enabled"
    assert properties["rest.extension.classes"].endswith(".BasicAuthSecurityRestExtension")
    assert properties["producer.max.request.size"] == str(MAX_BATCH_BYTES)
    own = {key: value for key, value in properties.items() if key.startswith(("security.", "sasl.", "ssl."))}
    assert len(own) == 5
    for client in ("producer", "consumer", "admin"):
        assert {key: properties[f"{client}.{key}"] for key in own} == own


@pytest.mark.parametrize("url", ["", "connect:8083", "ftp://connect", "http://me:hunter2@connect:8083"])
def test_an_address_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingError, match="LAKEHOUSE_CONNECT_URL") as caught:
        ConnectRest(Settings(connect_url=url))
    assert "hunter2" not in str(caught.value)
