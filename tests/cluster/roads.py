"""The roads by which the input comes into Kafka: a producer with JSON, one with Avro, a connector that reads lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from ingest.event_wire import Wire
from lakehouse.settings import Settings
from operate.connect import apply
from tests.chaos.sendings import Sending

_AVRO, _LINES = 0.3, 0.2


def parted(sendings: Sequence[Sending], seed: int) -> tuple[list[Sending], list[Sending], list[Sending]]:
    """Those that go as JSON, as Avro, and as lines of a file. Broken ones go as JSON: of each every byte matters."""
    rng = np.random.default_rng(seed)
    json_, avro, lines = [], [], []
    for sending, chance in zip(sendings, rng.random(len(sendings)).tolist(), strict=True):
        value = sending.record.value
        if sending.record.rules or value is None or b"\n" in value or b"\r" in value:
            json_.append(sending)
        else:
            (avro if chance < _AVRO else lines if chance < _AVRO + _LINES else json_).append(sending)
    return json_, avro, lines


def in_avro(sendings: Sequence[Sending], wire: Wire) -> list[Sending]:
    """The same, as the wire has them."""
    values = wire([sending.record.value for sending in sendings])
    return [
        replace(sending, record=replace(sending.record, value=value))
        for sending, value in zip(sendings, values, strict=True)
    ]


class Lines:
    """A file to which lines are added, and a connector that reads it."""

    def __init__(self, folder: Path, sendings: Sequence[Sending]) -> None:
        self.values = [sending.record.value or b"" for sending in sendings]
        self._file, self._folder, self.allowed = folder / "events.jsonl", folder, 0

    def connect(self, settings: Settings) -> None:
        self._file.touch()
        config = {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
            "tasks.max": "1",
            "file": str(self._file),
            "topic": "${events_topic}",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "exactly.once.support": "required",
        }
        connector = self._folder / "lines.json"
        connector.write_text(json.dumps({"name": "lines", "config": config}), encoding="utf-8")
        apply(settings, Console(quiet=True), [connector])

    def allow(self, share: float) -> None:
        """This share of the lines may be read now."""
        end = round(len(self.values) * min(share, 1.0))
        with self._file.open("ab") as out:
            out.writelines(value + b"\n" for value in self.values[self.allowed : end])
        self.allowed = max(self.allowed, end)
