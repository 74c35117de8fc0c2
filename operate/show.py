"""The commands that read the lake and print what they find."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.command import AsJson
from lakehouse.conninfo import without_login
from lakehouse.errors import ServiceError, TableError
from lakehouse.offsets import held_offsets
from lakehouse.pulse import is_running, read_pulse
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_MODEL_DRIFT, TABLES, find_table
from lakehouse.visible import in_one_line
from lakehouse.wire import plain
from ml.drift.standing import NEVER, Standing, standings
from ml.tracking import score_state
from operate import java, live
from operate.audit import audit
from operate.behind import Behind, bronze_behind, gold_behind, silver_behind
from operate.lake import commits_of, dicts_of, last_noted, open_table, query
from operate.programs import read_programs, run_since_s
from operate.services import process
from operate.services.mlflow import MlflowServer
from operate.services.topics import topic_differences
from operate.sizes import sizes, too_many
from operate.stack import known_services, services_at_hand
from operate.store_access import how_to_connect
from operate.summary import show_audit
from operate.supervisor import Say
from serving.state import read_state, silent_s
from silver.quality import newest, out_of_band, totals

_CELL = 60
_SPAN = ((min, "first_event_at"), (max, "last_event_at"))


def tables(settings: Settings, console: Console, as_json: AsJson = False) -> int:
    """Every table: rows, version, size, what a row is."""
    rows: list[dict[str, Any]] = []
    for table in TABLES:
        try:
            opened = open_table(table, settings)
        except TableError:
            rows.append({"table": table.name, "rows": None, "version": None, "files": None, "one_row_per": table.grain})
            continue
        files = len(opened.file_uris())
        row = {"rows": opened.count(), "version": opened.version(), "files": files, "one_row_per": table.grain}
        rows.append({"table": table.name} | row)
    return print_rows(rows, as_json, console)


def history(
    settings: Settings,
    console: Console,
    name: Annotated[str, typer.Argument(metavar="TABLE", help="for instance silver.events")],
    limit: Annotated[int, typer.Option(help="how many")] = 20,
    as_json: AsJson = False,
) -> int:
    """With how far each had read its source."""
    rows = [
        {
            "version": commit.version,
            "committed_at": commit.committed_at,
            "operation": commit.operation,
            "rows": commit.metrics.get("numOutputRows", commit.metrics.get("numTargetRowsInserted")),
            "note": json.dumps(commit.note) if commit.note else "",
        }
        for commit in commits_of(find_table(name), settings, limit)
    ]
    return print_rows(rows, as_json, console)


def sql(
    settings: Settings,
    console: Console,
    text: Annotated[str, typer.Argument(metavar="QUERY", help="for instance: SELECT count(*) FROM silver.events")],
    as_of: Annotated[
        str | None, typer.Option(metavar="V_OR_TIME", help="a version, or a time such as 2026-01-31T12:00:00Z")
    ] = None,
    as_json: AsJson = False,
) -> int:
    relation = query(text, settings, as_of)
    return print_rows(dicts_of(relation), as_json, console, relation.columns)


def show_findings(settings: Settings, console: Console, say: Say, as_json: AsJson = False) -> int:
    """A line per promise. Beside a run, which has promises to keep, it gives way."""
    if run_since_s(settings) is not None and (code := _goes_on_in_the_background()) is not None:
        return code
    with services_at_hand(settings, say) as reachable:
        if not as_json:
            return 0 if show_audit(reachable, console) else 1
        findings = list(audit(reachable))
    print(json.dumps([finding.as_dict() for finding in findings], default=plain, indent=1))
    return 0 if all(finding.holds for finding in findings) else 1


def _goes_on_in_the_background() -> int | None:
    """What follows is done by a process that gives way to a run on this machine.

    Out: None in that process; in this one the code with which it ended.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        process.give_way(19)
        return None
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except KeyboardInterrupt:
            os.kill(child, signal.SIGINT)


def status(
    settings: Settings,
    console: Console,
    as_json: AsJson = False,
    check: Annotated[
        bool, typer.Option("--check", help="exit code 1 unless all programs run, and gold is served")
    ] = False,
) -> int:
    """With --check the exit code is 1 unless the pipeline and all programs run, none of them died a moment ago, Kafka
    answers, and gold is served.
    """
    settings = known_services(settings)
    pulse = read_pulse(settings)
    running = is_running(pulse)
    state: dict[str, Any] = {"running": running, "home": str(settings.home), "lake": settings.lake_url}
    state |= {
        name: value
        for name, value in pulse.items()
        if name not in ("running", "written_at_s", "read", "written", "warnings")
    }
    kafka_answers = True
    try:
        if settings.kafka_bootstrap:
            state |= {"kafka": settings.kafka_bootstrap, "topics": topic_differences(settings)}
            state |= {"lag": _lag(settings, pulse)} if running else {}
        waiting = _waiting(settings)
    except ServiceError as error:
        kafka_answers, state["kafka"] = False, error.found
        waiting = _waiting(settings.model_copy(update={"kafka_bootstrap": ""}))
    served = read_state(settings)
    if served:
        alive = psutil.pid_exists(served["pid"])
        state["serving"] = _said(served) if alive else "not running"
        state |= {f"serving_{name}": served[name] for name in ("lag", "reason", "payment_to_row") if served.get(name)}
    if live.page_url(settings):
        address = live.page_url(settings) if as_json else live.page_address(settings, sys.stdout)
        state["live_page"] = address if live.is_answering(settings) else "not running"
    server = MlflowServer(settings)
    if settings.mlflow_tracking_uri:
        state["mlflow"] = without_login(settings.mlflow_tracking_uri)
    elif server.url:
        address = server.url if as_json else live.with_token(server.url, settings, sys.stdout)
        state["mlflow"] = address if server.is_ready() else "not running"
    scores = score_state.read_scores(settings)
    if scores:
        state["scoring"] = "running" if psutil.pid_exists(scores["pid"]) else "not running"
        state["scores"] = scores["models"]
    for line in how_to_connect(settings):
        state["sql"] = line.removeprefix("SQL: ")
    state["drift"] = [asdict(each) for each in _drift(settings)]
    quality = _quality(settings)
    state["quality"] = quality
    state["sizes"] = sizes(settings)
    too_large = too_many(state["sizes"], settings)
    programs, now_s = read_programs(settings), time.time()
    state["waiting"] = [asdict(each) for each in waiting]
    state["programs"] = [asdict(each) for each in programs]
    if old := java.outdated(datetime.fromtimestamp(now_s, UTC).date()):
        state["java"] = old
    is_served = state.get("serving", "serving") == "serving"
    is_well = running and kafka_answers and is_served and all(each.is_well(now_s) for each in programs)
    code = 1 if check and not is_well else 0
    if as_json:
        print(json.dumps(state, default=plain))
        return code
    for name, value in state.items():
        if name not in ("quality", "scores", "drift", "programs", "topics", "waiting", "java", "sizes"):
            _print_line(name, value, console)
    for each in waiting:
        line = f"{each.table} has {each.waiting:,} to take in, the oldest for {each.waited_s(now_s):,.0f} s"
        _print_line("waiting", line, console)
    for line in state.get("topics", []):
        _print_line("topic", line, console, warn=True)
    if old:
        _print_line("java", old, console, warn=True)
    for program in programs:
        _print_line(program.called, program.said(now_s), console, warn=not program.is_well(now_s))
    for name, model in state.get("scores", {}).items():
        _print_line(name, score_state.said(model), console)
    if not state["drift"]:
        _print_line("drift", NEVER, console)
    for each in state["drift"]:
        _print_line("drift", f"{each['model']} {each['said']}", console, warn=each["is_within"] is False)
    if quality:
        _print_quality(quality, console)
    for warning in too_large:
        console.print(f"WARNING: {warning}", style="yellow", highlight=False, soft_wrap=True)
    return code


def _print_line(name: str, value: object, console: Console, warn: bool = False) -> None:
    """What others say of themselves stays in its line."""
    style = "yellow" if warn else None
    console.print(f"{name:<16} {in_one_line(str(value))}", style=style, highlight=False, soft_wrap=True)


def _said(served: dict[str, Any]) -> str:
    """What the sink says of itself."""
    since_s = silent_s(served, time.time())
    return f"{served['state']}, but silent for {since_s:.0f} s" if since_s else str(served["state"])


def _lag(settings: Settings, pulse: dict[str, Any]) -> int:
    """Records in Kafka that the pipeline has not read."""
    read = pulse.get("read", {})
    ends = held_offsets(settings).end.items()
    return sum(at - read.get(topic, {}).get(place, 0) for topic, places in ends for place, at in places.items())


def _waiting(settings: Settings) -> list[Behind]:
    """The tables that have not taken in all that their source has.

    :raises ServiceError: Kafka does not answer.
    """
    bronze = [bronze_behind(settings)] if settings.kafka_bootstrap else []
    return [each for each in (*bronze, silver_behind(settings), *gold_behind(settings)) if each.waiting]


def _drift(settings: Settings) -> list[Standing]:
    """How the champions stand, as the last judgement of days left it; empty where nobody has judged any."""
    try:
        note = last_noted(GOLD_MODEL_DRIFT, settings).note
        return standings(note, dicts_of(query("SELECT * FROM gold.model_drift", settings)))
    except TableError:
        return []


def _quality(settings: Settings) -> dict[str, Any]:
    """Totals of the newest batches in silver.quality_log, and what is out of its band; empty without a batch."""
    try:
        relation = query("SELECT * FROM silver.quality_log ORDER BY silver_version DESC LIMIT 10000", settings)
    except TableError:
        return {}
    rows = newest(dicts_of(relation), settings)
    if not rows:
        return {}
    sums = totals(rows)
    first, last = (
        (pick(at for row in rows if (at := row[name])) for pick, name in _SPAN) if sums["events"] else (None, None)
    )
    ends = {
        "batches": len(rows),
        "first_event_at": first,
        "last_event_at": last,
        "warnings": out_of_band(sums, settings),
    }
    return sums | ends


def _print_quality(quality: dict[str, Any], console: Console) -> None:
    console.print(f"\nthe newest {quality['batches']:,} batches", style="bold", highlight=False)
    for name in ("records", "events", "duplicates", "quarantined", "late"):
        share = quality[name] / quality["records"] if quality["records"] else 0.0
        console.print(f"{name:<16} {quality[name]:>12,}   {share:7.2%}", highlight=False)
    for rule, records in quality["reasons"].items():
        console.print(f"  {rule:<22} {records:>4,}", highlight=False)
    for name, rate in quality["null_rates"].items():
        console.print(f"without {name:<16} {rate:>13.2%}", highlight=False)
    console.print(f"event_at         {quality['first_event_at']} to {quality['last_event_at']}", highlight=False)
    for warning in quality["warnings"]:
        console.print(f"WARNING: {warning}", style="yellow", highlight=False, soft_wrap=True)


def print_rows(rows: list[dict[str, Any]], as_json: bool, console: Console, columns: list[str] | None = None) -> int:
    """A grid with a line per row, or JSON. Out: 0."""
    if as_json:
        print(json.dumps(rows, default=plain))
        return 0
    grid = Grid(box=None, pad_edge=False)
    for name in columns or list(rows[0] if rows else []):
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*("" if value is None else _short(value) for value in row.values()))
    console.print(grid)
    return 0


def _short(value: Any) -> str:
    text = in_one_line(str(plain(value)))
    return text if len(text) <= _CELL else f"{text[:_CELL]}..."
