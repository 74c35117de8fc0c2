"""The `lakehouse` command."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import Settings, load_settings
from lakehouse.surroundings import ask_directly, speak_utf8, use_ours
from lakehouse.visible import print_traceback, print_visible, visible
from operate.services import process
from operate.services.mlflow import missing_extra
from operate.terminal import Terminal

_UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
_UNUSABLE |= {errno.ENOSPC, errno.EDQUOT}
"""What a path is to blame for, and not we."""

Command = Callable[[argparse.Namespace, Settings, Console], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Out: 0 on success, 1 when it failed or a promise is broken, 2 when it was asked wrongly."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    given.rest = rest
    if rest and not hasattr(given, "module"):
        parser.error(f"unrecognized arguments: {visible(' '.join(rest))}")
    ask_directly(os.environ)
    speak_utf8(os.environ)
    console = Terminal()
    sys.excepthook = print_traceback
    try:
        settings = load_settings(home=given.home, lake=given.lake)
        use_ours(os.environ, postgres_too=not settings.postgres_dsn.get_secret_value())
        command: Command = given.command
        return command(given, settings, console)
    except LakehouseError as error:
        print_visible(error, to_stderr=True)
        return 1
    except OSError as error:
        if error.errno not in _UNUSABLE or not error.filename:
            raise
        found = f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}."
        print_visible(
            InputError(found, "a path that this user may use", "choose a home with LAKEHOUSE_HOME"), to_stderr=True
        )
        return 1
    except KeyboardInterrupt:
        return 130


def command_names() -> list[str]:
    """All commands, as they are typed."""
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return list(commands.choices)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, help="folder of all state (LAKEHOUSE_HOME; .lakehouse)")
    common.add_argument("--lake", help="folder or URL of the tables (LAKEHOUSE_LAKE; `lake` in the home folder)")
    readable = argparse.ArgumentParser(add_help=False)
    readable.add_argument("--json", action="store_true", help="print JSON")

    parser = argparse.ArgumentParser(prog="lakehouse", description="Run and ask the storefront lakehouse.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Command, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_, parents=[common, *parents])
        sub.set_defaults(command=command)
        return sub

    demo = add("demo", _demo, "Run everything on a generated stream, or on CSV files, with a view, and end.")
    demo.add_argument("--minutes", type=float, default=3.0, help="minutes of stream (3)")
    demo.add_argument("--rate", type=float, default=100.0, metavar="R", help="events per second (100)")
    demo.add_argument("--seed", type=int, default=1, help="of the generated stream (1)")
    demo.add_argument(
        "--files", type=Path, nargs="+", default=[], help="CSV files, or folders of them, to feed instead"
    )
    add("up", _up, "Run everything until Ctrl-C; what dies is started again.")
    down = add("down", _down, "Stop what `up` or `demo` runs.")
    down.add_argument("--wipe", action="store_true", help="and remove the home folder with all data, after asking")
    down.add_argument("--yes", action="store_true", help="do not ask")
    init_env = add("init-env", _init_env, "Write the file of secrets and ports that docker-compose.yml needs.")
    init_env.add_argument("path", type=Path, nargs="?", default=Path(".env"), metavar="PATH", help="a new file (.env)")
    topics = add("topics", _topics, "Make the topics that are missing in Kafka, and say how the others differ.")
    topics.add_argument(
        "--connect-user",
        default="",
        metavar="NAME",
        help="let this user, Kafka Connect's, write events and use what is its own; for a Kafka with an authorizer",
    )
    topics.add_argument(
        "--accept",
        metavar="REASON",
        help="go on though Kafka has lost what bronze would read next, or has a topic anew; bronze keeps the reason",
    )
    status = add("status", _status, "Is it running, how far has it read, how far is it behind?", readable)
    status.add_argument("--check", action="store_true", help="exit code 1 unless all programs run, and gold is served")
    add("tables", _tables, "All tables, with rows and versions.", readable)
    history = add("history", _history, "The commits of a table, newest first.", readable)
    history.add_argument("table", help="for instance silver.events")
    history.add_argument("--limit", type=int, default=20, help="how many (20)")
    sql = add("sql", _sql, "Ask the tables in DuckDB's SQL, now or as of a version or a time.", readable)
    sql.add_argument("query", help="for instance: SELECT count(*) FROM silver.events")
    sql.add_argument("--as-of", metavar="V_OR_TIME", help="a version, or a time such as 2026-01-31T12:00:00Z")
    add("audit", _audit, "Recount the promises from the tables and Kafka; exit code 1 when one is broken.", readable)
    add("live", _live, "Serve the live page alone; `up` and `demo` have it with them.")
    _add_export(commands, common, readable)
    _add_quarantine(commands, common, readable)
    rebuild = add(
        "rebuild",
        _rebuild,
        "Build silver (and gold with it) or gold anew beside the lake, then take it over.",
        readable,
    )
    rebuild.add_argument("layer", choices=["silver", "gold"])
    rebuild.add_argument("--dry-run", action="store_true", help="build and compare with the tables in force, then stop")
    _add_ingest(commands, common)
    _add_connect(commands, common, readable)
    _add_ml(commands, common)
    _add_bench(commands, common)
    return parser


def _add_export(
    commands: argparse._SubParsersAction, common: argparse.ArgumentParser, readable: argparse.ArgumentParser
) -> None:
    export = commands.add_parser("export", help="What Tableau opens: documents on the live store, or an extract of it.")
    ways = export.add_subparsers(title="ways", required=True, metavar="WAY")
    live = ways.add_parser(
        "tableau", parents=[common], help="a workbook and data sources that ask PostgreSQL each time"
    )
    live.add_argument("--host", default="", help="of the store as Tableau sees it (as this machine does)")
    live.add_argument("--port", type=int, default=0, help="likewise (as this machine does)")
    live.set_defaults(command=_export_tableau)
    packed = ways.add_parser(
        "hyper", parents=[common, readable], help="an extract, and a packaged workbook that needs no server"
    )
    packed.set_defaults(command=_export_hyper)
    for way in (live, packed):
        way.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a folder that is there")


def _add_quarantine(
    commands: argparse._SubParsersAction, common: argparse.ArgumentParser, readable: argparse.ArgumentParser
) -> None:
    quarantine = commands.add_parser("quarantine", help="What was refused and why; and its way back after a fix.")
    ways = quarantine.add_subparsers(title="ways", required=True, metavar="WAY")
    listed = ways.add_parser(
        "list", parents=[common, readable], help="refused records by rule and by day, with samples"
    )
    listed.add_argument("--samples", type=int, default=5, metavar="N", help="how many of the newest to show (5)")
    listed.set_defaults(command=_quarantine_list)
    replayed = ways.add_parser("replay", parents=[common, readable], help="judge them once more by today's rules")
    replayed.add_argument("--dry-run", action="store_true", help="only say what would become of them")
    replayed.set_defaults(command=_quarantine_replay)
    for way in (listed, replayed):
        way.add_argument("--rule", metavar="R", help="only records that break this rule")


def _add_ingest(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    ingest = commands.add_parser("ingest", help="Files into Kafka, a live stream into Kafka, or a synthetic history.")
    ways = ingest.add_subparsers(title="ways", required=True, metavar="WAY")
    _add_modules(
        ways,
        common,
        ("split", "ingest.split", "CSV files of months into one file per day"),
        ("drop", "ingest.drop", "files of days into the input folder, one a minute"),
        ("source", "ingest.file_source", "the input folder into Kafka, exactly once"),
        ("status", "ingest.status", "what has become of the files: waiting, refused and why, archived"),
        ("replay", "ingest.archive", "archived files into the input folder again"),
        ("produce", "ingest.produce", "a live stream into Kafka at a rate"),
        ("generate", "ingest.csv_files", "a synthetic history as CSV files"),
    )


def _add_connect(
    commands: argparse._SubParsersAction, common: argparse.ArgumentParser, readable: argparse.ArgumentParser
) -> None:
    connect = commands.add_parser("connect", help="Connectors of Kafka Connect: create, change, see how they are.")
    ways = connect.add_subparsers(title="ways", required=True, metavar="WAY")
    applied = ways.add_parser("apply", parents=[common], help="make connectors be as their files say, and run")
    applied.add_argument("files", type=Path, nargs="*", metavar="FILE", help="JSON (all of deploy/connect)")
    applied.set_defaults(command=_connect_apply)
    shown = ways.add_parser("status", parents=[common, readable], help="connectors and tasks, and what has failed")
    shown.set_defaults(command=_connect_status)
    for way in (applied, shown):
        way.add_argument("--url", help="of Connect's REST interface (LAKEHOUSE_CONNECT_URL)")


def _add_ml(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    ml = commands.add_parser("ml", help="Models of customers and carts: train, do a training again, fit to a file.")
    ways = ml.add_subparsers(title="ways", required=True, metavar="WAY")
    _add_modules(
        ways,
        common,
        ("train", "ml.train", "models on silver, into MLflow; the better one becomes champion"),
        ("champion", "ml.set_champion", "choose the version that scores, or none"),
        ("reproduce", "ml.reproduce", "train again what a run has trained, and compare"),
        ("card", "ml.model_card", "a model on a page: purpose, data, how good, limits, what it must not be used for"),
        ("drift", "ml.show_drift", "are days like what was learned, and did what was said come true?"),
        ("fit-summary", "ml.lifetime_value.fit_summary", "BG/NBD and Gamma-Gamma to a CSV file of customers"),
    )


def _add_modules(
    ways: argparse._SubParsersAction, common: argparse.ArgumentParser, *commands: tuple[str, str, str]
) -> None:
    """:param commands: name, module and help of each whose own flags are those of the module's main function."""
    for name, module, help_ in commands:
        way = ways.add_parser(name, parents=[common], add_help=False, help=help_)
        way.set_defaults(command=_by_module, module=module)


def _add_bench(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    bench = commands.add_parser("bench", help="Measure this machine.")
    ways = bench.add_subparsers(title="measures", required=True, metavar="MEASURE")
    latency = ways.add_parser("latency", parents=[common], help="from payment to sale and to its row, open loop")
    latency.add_argument("--rate", type=float, default=300.0, metavar="R", help="events per second (300)")
    latency.add_argument("--seconds", type=float, default=120.0, metavar="S", help="measured, after the warm-up (120)")
    latency.add_argument("--warm-up", type=float, default=60.0, metavar="S", help="seconds before it (60)")
    latency.add_argument("--kill-at", type=float, metavar="S", help="kill -9 of Spark so far into the measured time")
    latency.add_argument("--json", action="store_true", help="print JSON")
    latency.set_defaults(command=_bench_latency)
    carts = ways.add_parser("carts", parents=[common], help="from a cart's abandonment to its alert and to its row")
    carts.add_argument("--rate", type=float, default=500.0, metavar="R", help="events per second (500)")
    carts.add_argument("--seconds", type=float, default=300.0, metavar="S", help="measured, after the warm-up (300)")
    carts.add_argument("--warm-up", type=float, default=330.0, metavar="S", help="seconds before it (330)")
    carts.add_argument(
        "--abandon-after", type=int, default=300, metavar="S", help="a cart without a change for so long is left (300)"
    )
    carts.add_argument("--json", action="store_true", help="print JSON")
    carts.set_defaults(command=_bench_carts)
    live = ways.add_parser("live", parents=[common], help="from a stored row to the live page's pixels, and its memory")
    live.add_argument("--rate", type=float, default=500.0, metavar="R", help="events per second (500)")
    live.add_argument("--seconds", type=float, default=120.0, metavar="S", help="measured, after the warm-up (120)")
    live.add_argument("--warm-up", type=float, default=60.0, metavar="S", help="seconds before it (60)")
    live.add_argument("--browsers", type=int, default=20, metavar="N", help="at the page, one of them real (20)")
    live.add_argument("--json", action="store_true", help="print JSON")
    live.set_defaults(command=_bench_live)
    queries = ways.add_parser("queries", parents=[common], help="what people ask PostgreSQL, while sales come in")
    queries.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="in the store before (1000000)")
    queries.add_argument("--rate", type=float, default=500.0, metavar="R", help="events per second (500)")
    queries.add_argument("--seconds", type=float, default=60.0, metavar="S", help="measured (60)")
    queries.add_argument("--json", action="store_true", help="print JSON")
    queries.set_defaults(command=_bench_queries)
    throughput = ways.add_parser(
        "throughput", parents=[common], help="events per second that were put into Kafka at once"
    )
    throughput.add_argument("--events", type=int, default=300_000, metavar="N", help="how many (300000)")
    throughput.add_argument("--json", action="store_true", help="print JSON")
    throughput.set_defaults(command=_bench_throughput)
    ingest = ways.add_parser("ingest", parents=[common], help="files into Kafka, against plain kafka-python sends")
    ingest.add_argument("--rows", type=int, default=300_000, metavar="N", help="how many (300000)")
    ingest.add_argument("--json", action="store_true", help="print JSON")
    ingest.set_defaults(command=_bench_ingest)


def _demo(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.demo import demo

    return demo(settings, given.minutes, given.rate, given.seed, given.files, console)


def _up(_given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.stack import up

    return up(settings, lambda line: console.print(line, highlight=False, soft_wrap=True))


def _down(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.down import down

    return down(settings, given.wipe, given.yes, console)


def _init_env(given: argparse.Namespace, _settings: Settings, console: Console) -> int:
    import secrets

    from operate.env_file import init_env

    return init_env(given.path, secrets.token_urlsafe, console)


def _topics(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.services.topics import ensure_topics
    from operate.stack import known_kafka, services_at_hand

    if given.accept is None:
        for line in ensure_topics(known_kafka(settings), connect_user=given.connect_user):
            console.print(line, highlight=False, soft_wrap=True)
        return 0

    from lakehouse.session import spark_session
    from operate.accept import accept

    with services_at_hand(settings, _on_stderr) as reachable, spark_session("storefront accept", reachable) as spark:
        lost = accept(spark, reachable, given.accept, _on_stderr)
    for line in lost:
        console.print(f"accepted: {line}", highlight=False, soft_wrap=True)
    if not lost:
        console.print("Kafka has all that bronze would read next; there is nothing to accept")
    return 0


def _status(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.show import status
    from operate.stack import known_services

    return status(known_services(settings), given.json, console, given.check)


def _tables(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.show import tables

    return tables(settings, given.json, console)


def _history(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.show import history

    return history(given.table, given.limit, settings, given.json, console)


def _sql(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.show import sql

    return sql(given.query, given.as_of, settings, given.json, console)


def _live(_given: argparse.Namespace, settings: Settings, _console: Console) -> int:
    from operate.live import live
    from operate.stack import known_store

    return live(known_store(settings), _on_stderr)


def _audit(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.programs import run_since_s
    from operate.show import show_findings
    from operate.stack import services_at_hand

    if run_since_s(settings) is not None and (code := _goes_on_in_the_background()) is not None:
        return code
    with services_at_hand(settings, _on_stderr) as reachable:
        return show_findings(reachable, given.json, console)


def _export_tableau(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.export import export_tableau

    return export_tableau(settings, given.out, given.host, given.port, console)


def _export_hyper(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.export import export_hyper

    return export_hyper(settings, given.out, given.json, console)


def _quarantine_list(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.quarantine import list_refused

    return list_refused(settings, given.rule, given.samples, given.json, console)


def _quarantine_replay(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from lakehouse.session import spark_session
    from lakehouse.streams import Stop
    from operate.quarantine import replay, show_replay

    stop = Stop().listen()
    with spark_session("storefront replay", settings) as spark:
        done = replay(spark, settings, given.rule, given.dry_run, _on_stderr, stop)
    return show_replay(done, given.dry_run, given.json, console)


def _connect_apply(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.connect import apply

    return apply(given.files, _at_connect(given, settings), console)


def _connect_status(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from operate.connect import status

    return status(_at_connect(given, settings), given.json, console)


def _at_connect(given: argparse.Namespace, settings: Settings) -> Settings:
    return settings if given.url is None else settings.model_copy(update={"connect_url": given.url})


def _rebuild(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from lakehouse.session import spark_session
    from lakehouse.streams import Stop
    from lakehouse.topics import GoldTopics
    from operate.rebuild import rebuild, show_outcome
    from operate.stack import services_at_hand

    stop = Stop().listen()
    with services_at_hand(settings, _on_stderr) as reachable, spark_session("storefront rebuild", reachable) as spark:
        outcome = rebuild(given.layer, spark, reachable, GoldTopics(reachable), given.dry_run, _on_stderr, stop)
    return show_outcome(outcome, given.dry_run, given.json, console)


def _goes_on_in_the_background() -> int | None:
    """What follows is done by a process that gives way to a run on this machine, which has promises to keep.

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


def _on_stderr(line: str) -> None:
    print_visible(line, to_stderr=True)


def _bench_latency(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from bench.latency import bench_latency

    return bench_latency(settings, given.rate, given.seconds, given.warm_up, given.kill_at, given.json, console)


def _bench_carts(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from bench.carts import bench_carts

    return bench_carts(settings, given.rate, given.seconds, given.warm_up, given.abandon_after, given.json, console)


def _bench_live(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from bench.live import bench_live

    return bench_live(settings, given.rate, given.seconds, given.warm_up, given.browsers, given.json, console)


def _bench_queries(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from bench.store_queries import bench_queries

    return bench_queries(settings, given.rows, given.rate, given.seconds, given.json, console)


def _bench_throughput(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from bench.throughput import bench_throughput

    return bench_throughput(settings, given.events, given.json, console)


def _bench_ingest(given: argparse.Namespace, settings: Settings, console: Console) -> int:
    from bench.files import bench_ingest

    return bench_ingest(settings, given.rows, given.json, console)


def _by_module(given: argparse.Namespace, settings: Settings, _console: Console) -> int:
    """A command whose own flags, all that are left, are those of a module's main function."""
    from operate.stack import known_kafka

    if not any(word.startswith("--bootstrap") for word in given.rest):  # our login is for our broker
        os.environ |= known_kafka(settings).as_environment()
    try:
        module = importlib.import_module(given.module)
    except ModuleNotFoundError as error:
        if not given.module.startswith("ml."):
            raise
        raise missing_extra(str(error.name)) from None
    return int(module.main(given.rest))


if __name__ == "__main__":
    sys.exit(main())
