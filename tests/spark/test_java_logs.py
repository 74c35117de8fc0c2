"""What Java programs log of others' text does nothing on the terminal where the log is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.visible import visible

ROOT = Path(__file__).resolve().parents[2]
ACTING = "".join(filter(lambda each: visible(each) != each, map(chr, range(0x2100))))


@pytest.mark.parametrize("file", sorted((ROOT / "deploy").glob("*/*log4j2.properties")), ids=str)
def test_no_pattern_lets_it_through(file: Path, spark: SparkSession) -> None:
    assert spark.sparkContext._jvm is not None
    jvm = spark.sparkContext._jvm
    properties = jvm.java.util.Properties()
    properties.load(jvm.java.io.StringReader(file.read_text(encoding="utf-8")))
    patterns = [text for name, text in dict(properties).items() if name.endswith(".layout.pattern")]
    assert patterns
    log4j = jvm.org.apache.logging.log4j
    for pattern in patterns:
        layout = log4j.core.layout.PatternLayout.newBuilder().withPattern(pattern).build()
        event = log4j.core.impl.Log4jLogEvent.newBuilder().setLoggerName("a.B").setLevel(log4j.Level.WARN)
        event = event.setMessage(log4j.message.SimpleMessage(f"<{ACTING}> \t[b]{{}}%m é"))
        event = event.setThrown(jvm.java.lang.RuntimeException(f"({ACTING})")).build()
        lines = layout.toSerializable(event).splitlines()
        assert lines[0].endswith(f"WARN B: <{'?' * len(ACTING)}> \t[b]{{}}%m é")
        assert lines[1] == f"java.lang.RuntimeException: ({'?' * len(ACTING)})"
