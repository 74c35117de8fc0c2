"""What a Java name means is asked for once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F


@pytest.fixture
def asked(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the JVM is asked from now on."""
    commands: list[str] = []
    client = spark.sparkContext._gateway._gateway_client  # type: ignore[union-attr]
    send: Callable[..., str] = client.send_command

    def recorded(command: str, *more: object, **named: object) -> str:
        commands.append(command)
        return send(command, *more, **named)

    monkeypatch.setattr(client, "send_command", recorded)
    return commands


def test_a_function_that_was_used_before_costs_its_call_alone(spark: SparkSession, asked: list[str]) -> None:
    F.coalesce("a", "b"), F.col("a")
    del asked[:]
    F.col("b")
    assert len([command for command in asked if not command.startswith("m\n")]) == 1, asked  # not what frees memory


def test_a_value_is_asked_for_each_time(spark: SparkSession, asked: list[str]) -> None:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    for _ in range(2):
        del asked[:]
        assert jvm.java.lang.Integer.MAX_VALUE == 2**31 - 1
        assert asked


def test_a_name_that_is_none_is_said_as_before(spark: SparkSession) -> None:
    assert spark.sparkContext._jvm is not None
    for _ in range(2):
        with pytest.raises(Exception, match="nothing does not exist in the JVM"):
            spark.sparkContext._jvm.java.lang.Integer.nothing()
