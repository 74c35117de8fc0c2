"""A reader of a gold topic that is right however often a record comes: it keeps the highest revision of each key.

`python serving/example_consumer.py client.properties customer-value` prints how many keys there are, whenever that is
known. The file says where Kafka is and how to log in.
"""

import json
import sys
from pathlib import Path

from kafka import KafkaConsumer

newest: dict[bytes, tuple[int, dict | None]] = {}


def take(key: bytes, value: bytes | None, headers: dict[str, bytes]) -> None:
    """A record with a value is the whole row; one without withdraws its key, in the revision that its header names."""
    row = None if value is None else json.loads(value)
    revision = int(headers["revision"]) if row is None else row["revision"]
    if key not in newest or revision > newest[key][0]:
        newest[key] = (revision, row)


if __name__ == "__main__":
    login = dict(line.split("=", 1) for line in Path(sys.argv[1]).read_text().splitlines())
    consumer = KafkaConsumer(
        sys.argv[2],
        bootstrap_servers=login["bootstrap.servers"],
        security_protocol=login["security.protocol"],
        sasl_mechanism=login["sasl.mechanism"],
        sasl_plain_username=login["sasl.username"],
        sasl_plain_password=login["sasl.password"],
        auto_offset_reset="earliest",  # compacted: the newest record of each key is there
        enable_auto_commit=False,  # what is kept in memory is read again after a restart
        isolation_level="read_committed",
    )
    while True:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                take(record.key, record.value, dict(record.headers))
        print(f"{sum(row is not None for _, row in newest.values()):,} keys", flush=True)
