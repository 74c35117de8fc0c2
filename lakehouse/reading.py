"""How far bronze has read Kafka, as the notes of bronze.events say it, and whether Kafka still has what comes next.

A topic that is made anew counts its offsets from 0 again. What it has then follows, in bronze, what it had before: a
shift is added to Kafka's offsets, so that a place (topic, partition, offset) names one record for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lakehouse.errors import DataLossError
from lakehouse.offsets import Held, Offsets

_NEXT_STEP = "docs/operations.md says more; `lakehouse topics --accept REASON` goes on with what Kafka has now"


@dataclass(frozen=True)
class Reading:
    """:param topic_ids: topic -> what Kafka calls this life of it; none of a broker that gives its topics no ids.
    :param read: the next offset to read, as bronze counts.
    :param shift: what bronze adds to Kafka's offsets; a partition without one has Kafka's own.
    """

    topic_ids: Mapping[str, str] = field(default_factory=dict)
    read: Offsets = field(default_factory=dict)
    shift: Offsets = field(default_factory=dict)

    @staticmethod
    def of_note(note: Mapping[str, Any]) -> Reading:
        """In: the newest note of bronze.events."""
        topics = note.get("topics")
        if topics is None:  # of before there was more to know
            spans = note.get("position", {})
            return Reading(read={topic: {at: span["to"] for at, span in each.items()} for topic, each in spans.items()})
        return Reading(
            {topic: known["id"] for topic, known in topics.items()},
            {topic: known["read"] for topic, known in topics.items()},
            {topic: known["shift"] for topic, known in topics.items() if known["shift"]},
        )

    def as_note(self) -> dict[str, Any]:
        return {
            topic: {"id": self.topic_ids.get(topic, ""), "read": read, "shift": self.shift.get(topic, {})}
            for topic, read in self.read.items()
        }

    def shift_of(self, topic: str, partition: str) -> int:
        return self.shift.get(topic, {}).get(partition, 0)

    def in_kafka(self, topic: str) -> dict[str, int]:
        """The next offsets of a topic's partitions, as Kafka counts."""
        return {at: end - self.shift_of(topic, at) for at, end in self.read.get(topic, {}).items()}

    def up_to(self, end: Offsets) -> Reading:
        """When Kafka has been read up to these offsets, as Kafka counts. Topics that are read no more stay known."""
        moved = {
            topic: self.read.get(topic, {}) | {at: offset + self.shift_of(topic, at) for at, offset in each.items()}
            for topic, each in end.items()
        }
        return replace(self, read=self.read | moved)

    def named(self, topic_ids: Mapping[str, str]) -> Reading:
        """With the ids that Kafka's topics have now, for those that had none."""
        known = {topic: topic_id for topic, topic_id in self.topic_ids.items() if topic_id}
        return replace(self, topic_ids={**topic_ids, **known})

    def lives_end(self, topic_ids: Mapping[str, str]) -> list[str]:
        """The topics that are not in the life any more in which they were read."""
        known = ((topic, self.topic_ids.get(topic), now) for topic, now in topic_ids.items())
        return [topic for topic, before, now in known if before and now and before != now]

    def start(self, held: Held, topic_ids: Mapping[str, str]) -> Offsets:
        """Where to go on, as Kafka counts: after what was read, or at the first record of a partition that never was.

        :raises DataLossError: records expired unread, were cut off, or the topic was made anew.
        """
        wrong = self.lost(held, topic_ids)
        if wrong:
            expected = "what comes next, in the topic that was read before; nothing is skipped"
            raise DataLossError(" ".join(wrong.values()), expected, _NEXT_STEP)
        return {
            topic: firsts | {at: offset for at, offset in self.in_kafka(topic).items() if at in firsts}
            for topic, firsts in held.first.items()
        }

    def lost(self, held: Held, topic_ids: Mapping[str, str]) -> dict[tuple[str, str], str]:
        """(topic, partition) -> why reading cannot simply go on there; of a whole topic its partition is empty."""
        found = {
            (topic, ""): f"The topic {topic} was made anew since bronze has read it, or is another cluster's."
            for topic in self.lives_end(topic_ids)
        }
        for topic, firsts in held.first.items():
            for partition, offset in self.in_kafka(topic).items():
                if (topic, "") in found or partition not in firsts:
                    continue
                first, end = firsts[partition], held.end[topic][partition]
                if not first <= offset <= end:
                    how = "records expired unread" if offset < first else "its end was cut off"
                    read = f"bronze has read {topic}[{partition}] up to offset {offset}"
                    found[topic, partition] = f"{read}, but Kafka holds {first} to {end}: {how}."
        return found

    def accepted(self, held: Held, topic_ids: Mapping[str, str]) -> Reading:
        """The same place with what is lost given up: of records that expired, the first that is there comes next; of a
        new life, and where the end was cut off, all that is there.
        """
        shifts, read = {**self.shift}, {**self.read}
        ids = {**self.topic_ids}
        for topic, partition in self.lost(held, topic_ids):
            firsts = held.first[topic]
            shift, at = dict(shifts.get(topic, {})), dict(read[topic])
            for each in [partition] if partition else at:
                first = firsts.get(each, 0)
                offset = at[each] - self.shift_of(topic, each)
                if not partition or offset > held.end[topic][each]:
                    shift[each] = at[each] - first
                else:
                    at[each] = first + self.shift_of(topic, each)
            shifts[topic], read[topic] = shift, at
            ids[topic] = topic_ids.get(topic, "")
        return Reading(ids, read, shifts)
