"""Throws at one running `up` what the world sends: hostile records and files, mixed with good ones; audits beside it.

    python -m tests.hostile [--seed S] [--records N] [--files N] [--audits N] [--short] [--keep]

Every good sale must be served within its bound, every bad record be refused by its rule, every bad file be set aside
with a reason; no program may be started again, and no audit see a broken promise. The last line is `N passed, N
failed`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from subprocess import Popen

from confluent_kafka import KafkaException

from ingest.status import status
from lakehouse.errors import LakehouseError
from lakehouse.producers import make_producer
from lakehouse.settings import PREFIX, Settings, load_settings
from operate.lake import query
from operate.programs import read_programs
from operate.stack import Stack
from operate.supervisor import Say
from serving.state import read_state
from tests.chaos.checks import Check, check
from tests.chaos.report import Clock, reported, temporary_folder
from tests.hostile.files import Dropped, dropped
from tests.hostile.records import Thrown, thrown
from tests.services.runs import running, wait_until_read
from tests.services.sinks import wait_until_served

LONG, SHORT = (100_000, 1_000, 100), (3_000, 40, 3)
"""Records, files, audits."""

RECORDS_PER_S, FILES_PER_S = 300.0, 3.0
SERVED_WITHIN_S, _FILES_WITHIN_S = 45.0, 600.0
_SETTINGS = {"kafka_port": 0, "kafka_bootstrap": "", "topic_partitions": 3, "cart_abandon_s": 60}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description="Hostile input, and what becomes of it."
    )
    parser.add_argument("--seed", type=int, help="of all that is random (a new one)")
    parser.add_argument("--records", type=int, help=f"how many ({LONG[0]:,}; short {SHORT[0]:,})")
    parser.add_argument("--files", type=int, help=f"how many ({LONG[1]:,}; short {SHORT[1]})")
    parser.add_argument("--audits", type=int, help=f"at least so many, in turn ({LONG[2]}; short {SHORT[2]})")
    parser.add_argument("--short", action="store_true", help="few of all, as in `make ci-extra`")
    parser.add_argument("--keep", action="store_true", help="leave the folder behind")
    given = parser.parse_args(arguments)
    counts = [
        chosen if asked is None else asked
        for asked, chosen in zip(
            (given.records, given.files, given.audits), SHORT if given.short else LONG, strict=True
        )
    ]
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    say = Clock()
    say(f"seed {seed}: {counts[0]:,} records, {counts[1]:,} files, {counts[2]} audits")
    return reported(run(seed, *counts, given.keep, say))


def run(seed: int, records: int, files: int, audits: int, keep: bool, say: Say) -> Generator[Check]:
    draw = random.Random(seed)
    with temporary_folder("hostile-", keep, say) as folder:
        settings = load_settings(home=folder / "home", **_SETTINGS)
        with running(settings, say) as stack:
            say("running")
            throw = _Throw(stack, draw, records, files, audits, folder, say)
            try:
                yield from throw.all()
            except (AssertionError, LakehouseError, KafkaException, OSError) as error:
                yield check("the run itself", False, error=f"{type(error).__name__}: {error}")


class _Throw:
    def __init__(
        self, stack: Stack, draw: random.Random, records: int, files: int, audits: int, folder: Path, say: Say
    ) -> None:
        self._stack, self._draw, self._folder, self._say = stack, draw, folder, say
        self._records, self._files, self._audits = records, files, audits
        self._thrown: list[Thrown] = []
        self._dropped: list[Dropped] = []
        self._codes: list[int] = []

    @property
    def _settings(self) -> Settings:
        return self._stack.settings

    def all(self) -> Generator[Check]:
        self._throw()
        self._say("all is thrown; waiting for what is left")
        self._wait_for_files()
        wait_until_read(self._stack)
        wait_until_served(self._settings)
        yield self._audited()
        yield self._none_died()
        yield from self._sales()
        yield self._refused()
        yield from self._set_aside()

    def _throw(self) -> None:
        """In step with the clock; an audit is always at work."""
        producer, began_s, said_s = make_producer(self._settings), time.monotonic(), 0.0
        audit: Popen[bytes] | None = None
        while len(self._thrown) < self._records or len(self._dropped) < self._files or len(self._codes) < self._audits:
            passed_s = time.monotonic() - began_s
            while len(self._thrown) < min(self._records, passed_s * RECORDS_PER_S):
                self._thrown.append(thrown(self._draw, len(self._thrown)))
                producer.produce(self._settings.events_topic, self._thrown[-1].value, key=self._thrown[-1].session)
            while len(self._dropped) < min(self._files, passed_s * FILES_PER_S):
                self._drop(dropped(self._draw, len(self._dropped)))
            producer.poll(0)
            if audit is None or audit.poll() is not None:
                if audit is not None:
                    self._codes.append(audit.returncode)
                audit = self._audit(len(self._codes))
            self._stack.supervisor.watch()
            if passed_s - said_s > 10:
                said_s = passed_s
                self._say(f"{len(self._thrown):,} records, {len(self._dropped):,} files, {len(self._codes)} audits")
            time.sleep(0.02)
        producer.flush()
        if audit is not None:
            self._codes.append(audit.wait())

    def _wait_for_files(self) -> None:
        """Until the source has taken them all: what it sends then is all there."""
        end_s = time.monotonic() + _FILES_WITHIN_S
        while (found := status(self._settings, limit=0)).waiting or found.taken:
            self._stack.supervisor.watch()
            assert time.monotonic() < end_s, "files are left in the input folder"
            time.sleep(0.2)

    def _drop(self, file: Dropped) -> None:
        unfinished = self._settings.input_path / f"{file.name}.part"
        unfinished.write_bytes(file.content)
        unfinished.rename(self._settings.input_path / file.name)
        self._dropped.append(file)

    def _audit(self, number: int) -> Popen[bytes]:
        with (self._folder / f"audit-{number}.log").open("wb") as log:
            command = [sys.executable, "-m", "operate.cli", "audit"]
            environment = self._settings.as_environment()
            return Popen(command, env=_outside() | environment, stdout=log, stderr=log)

    def _audited(self) -> Check:
        wrong = [number for number, code in enumerate(self._codes) if code]
        said = (self._folder / f"audit-{wrong[0]}.log").read_text() if wrong else ""
        broken = "; ".join(line for line in said.splitlines() if "broken_" in line or "BROKEN" in line)[:2000]
        return check("audits: all green", not wrong, audits=len(self._codes), red=len(wrong), first=broken or "none")

    def _none_died(self) -> Check:
        programs = read_programs(self._settings)
        died = [f"{each.called} {each.last_end}" for each in programs if each.restarts or not each.is_running]
        return check(
            "programs: none was started again", not died, programs=len(programs), died="; ".join(died) or "none"
        )

    def _sales(self) -> Generator[Check]:
        in_files = [session for file in self._dropped for session in file.sessions or ()]
        wanted = Counter([each.session for each in self._thrown if each.rule is None] + in_files)
        cut = {session for file in self._dropped for session in file.perhaps}
        rows = query("SELECT user_session, count(*) FROM silver.events GROUP BY ALL", self._settings).fetchall()
        found = Counter({session: count for session, count in rows if session not in cut})
        missing, unexpected = wanted - found, found - wanted
        yield check(
            "sales: all good ones and no others",
            wanted == found,
            good=wanted.total(),
            found=found.total(),
            missing=", ".join(list(missing)[:5]) or "none",
            unexpected=", ".join(list(unexpected)[:5]) or "none",
        )
        waits = read_state(self._settings)["payment_to_row"]
        yield check("sales: served within their bound", waits["max_s"] <= SERVED_WITHIN_S, **waits)

    def _refused(self) -> Check:
        """By place: a record's key is its session."""
        rows = query(
            """SELECT decode(b.key), q.reasons FROM silver.quarantine AS q JOIN bronze.events AS b
               ON b.topic = q.topic AND b.partition = q.partition AND b."offset" = q."offset"
               WHERE q.topic = 'store-events'""",
            self._settings,
        ).fetchall()
        reasons = dict(rows)
        wrong = [
            f"{each.session} {each.rule} {reasons.get(each.session)}"
            for each in self._thrown
            if each.rule is not None and each.rule not in reasons.get(each.session, ())
        ]
        bad = sum(each.rule is not None for each in self._thrown)
        return check("records: each bad one has its reason", not wrong, bad=bad, wrong="; ".join(wrong[:5]) or "none")

    def _set_aside(self) -> Generator[Check]:
        wanted = {file.name for file in self._dropped if file.sessions is None}
        found = {each.name for each in status(self._settings, limit=len(self._dropped)).refused if each.reason}
        missing, unexpected = sorted(wanted - found), sorted(found - wanted)
        yield check(
            "files: each bad one is set aside with its reason",
            wanted == found,
            bad=len(wanted),
            missing=", ".join(missing[:5]) or "none",
            unexpected=", ".join(unexpected[:5]) or "none",
        )


def _outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}


if __name__ == "__main__":
    sys.exit(main())
