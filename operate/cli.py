"""The `lakehouse` command: a table of what there is. The options of a command stand at the function that does the work,
whose module is imported when the command is asked for, and not before.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lakehouse.command import CONTEXT, EVERYWHERE, command_of, flag_parameters, run_command, with_arguments
from lakehouse.settings import Settings
from lakehouse.surroundings import ask_directly, speak_utf8, use_ours
from operate.terminal import TOOLS

GROUPS = {
    "export": "What Tableau opens: documents on the live store, or an extract of it.",
    "quarantine": "What was refused and why; and its way back after a fix.",
    "ingest": "Files into Kafka, a live stream into Kafka, or a synthetic history.",
    "connect": "Connectors of Kafka Connect: create, change, see how they are.",
    "ml": "Models of customers and carts: train, do a training again, fit to a file.",
    "bench": "Measure this machine.",
}

COMMANDS = {
    "demo": ("operate.demo:demo", "Run everything on a generated stream, or on CSV files, with a view, and end."),
    "up": ("operate.stack:up", "Run everything until Ctrl-C; what dies is started again."),
    "down": ("operate.down:down", "Stop what `up` or `demo` runs."),
    "init-env": ("operate.env_file:init_env", "Write the file of secrets and ports that docker-compose.yml needs."),
    "topics": ("operate.accept:topics", "Make the topics that are missing in Kafka, and say how the others differ."),
    "status": ("operate.show:status", "Is it running, how far has it read, how far is it behind?"),
    "tables": ("operate.show:tables", "All tables, with rows and versions."),
    "history": ("operate.show:history", "The commits of a table, newest first."),
    "sql": ("operate.show:sql", "Ask the tables in DuckDB's SQL, now or as of a version or a time."),
    "audit": (
        "operate.show:show_findings",
        "Recount the promises from the tables and Kafka; exit code 1 when one is broken.",
    ),
    "live": ("operate.live:live", "Serve the live page alone; `up` and `demo` have it with them."),
    "export tableau": ("operate.export:export_tableau", "a workbook and data sources that ask PostgreSQL each time"),
    "export hyper": ("operate.export:export_hyper", "an extract, and a packaged workbook that needs no server"),
    "quarantine list": ("operate.quarantine:list_refused", "refused records by rule and by day, with samples"),
    "quarantine replay": ("operate.quarantine:replay_refused", "judge them once more by today's rules"),
    "rebuild": (
        "operate.rebuild:rebuild_layer",
        "Build silver (and gold with it) or gold anew beside the lake, then take it over.",
    ),
    "ingest split": ("ingest.split:split_files", "CSV files of months into one file per day"),
    "ingest drop": ("ingest.drop:drop_files", "files of days into the input folder, one a minute"),
    "ingest source": ("ingest.file_source:send_files", "the input folder into Kafka, exactly once"),
    "ingest status": (
        "ingest.status:show_status",
        "what has become of the files: waiting, refused and why, archived",
    ),
    "ingest replay": ("ingest.archive:replay_files", "archived files into the input folder again"),
    "ingest produce": ("ingest.produce:produce_stream", "a live stream into Kafka at a rate"),
    "ingest generate": ("ingest.csv_files:generate_files", "a synthetic history as CSV files"),
    "connect apply": ("operate.connect:apply", "make connectors be as their files say, and run"),
    "connect status": ("operate.connect:status", "connectors and tasks, and what has failed"),
    "ml train": ("ml.train:train", "models on silver, into MLflow; the better one becomes champion"),
    "ml champion": ("ml.set_champion:set_champion", "choose the version that scores, or none"),
    "ml reproduce": ("ml.reproduce:reproduce_run", "train again what a run has trained, and compare"),
    "ml card": (
        "ml.model_card:show_cards",
        "a model on a page: purpose, data, how good, limits, what it must not be used for",
    ),
    "ml drift": (
        "ml.show_drift:show_drift",
        "are days like what was learned, and did what was said come true?",
    ),
    "ml fit-summary": (
        "ml.lifetime_value.fit_summary:show_fit",
        "BG/NBD and Gamma-Gamma to a CSV file of customers",
    ),
    "bench latency": ("bench.latency:bench_latency", "from payment to sale and to its row, open loop"),
    "bench carts": ("bench.carts:bench_carts", "from a cart's abandonment to its alert and to its row"),
    "bench scores": ("bench.scores:bench_scores", "from a cart's opening to its score and to its row"),
    "bench live": ("bench.live:bench_live", "from a stored row to the live page's pixels, and its memory"),
    "bench queries": ("bench.store_queries:bench_queries", "what people ask PostgreSQL, while sales come in"),
    "bench throughput": ("bench.throughput:bench_throughput", "events per second that were put into Kafka at once"),
    "bench ingest": ("bench.files:bench_ingest", "files into Kafka, against plain kafka-python sends"),
    "bench compare": (
        "bench.compare:bench_compare",
        "how much sooner a sale is visible than in the textbook's pipeline",
    ),
    "bench late": ("bench.late:bench_late", "what late rows cost, in a small table and in a large one"),
    "bench backlog": ("bench.backlog:bench_backlog", "how long sessions take for a backlog, in bulk and as a stream"),
    "bench lifetime-value": (
        "bench.lifetime_value:bench_lifetime_value",
        "how long lifetime value takes for as many buyers as the store has",
    ),
}
"""What is typed -> where its function is, and its help in a line."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command. Out: 0 on success, 1 when it failed or a promise is broken, 2 when it was asked wrongly."""
    ask_directly(os.environ)
    speak_utf8(os.environ)
    return run_command(lakehouse(), words, "lakehouse")


def lakehouse() -> TyperGroup:
    """All commands."""
    app = typer.Typer(rich_markup_mode=None, context_settings=CONTEXT)
    app.callback(help="Run and ask the storefront lakehouse.")(
        with_arguments(lambda **_: None, flag_parameters(EVERYWHERE))
    )
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    groups = {"": root}
    for name, about in GROUPS.items():
        groups[name] = TyperGroup(
            name=name, help=about, short_help=about, rich_markup_mode=None, context_settings=CONTEXT
        )
    for path in COMMANDS:
        group, _, name = path.rpartition(" ")
        groups[group].add_command(_Late(path), name)
        if group:
            root.add_command(groups[group])
    return root


def command(path: str) -> TyperCommand:
    """One command, as it is typed.

    :raises SettingError: its module needs a package that is not installed.
    """
    place, about = COMMANDS[path]
    module, _, function = place.partition(":")
    work = getattr(_imported(module), function)
    return command_of(work, path.split()[-1], about, partial(_prepared, module), TOOLS)


class _Late(TyperCommand):
    """Is listed from the table; its options are those of the function, which is imported for them."""

    def __init__(self, path: str) -> None:
        self._path, about = path, COMMANDS[path][1]
        super().__init__(path.split()[-1], help=about, short_help=about, rich_markup_mode=None)

    def make_context(self, *given: Any, **more: Any) -> Any:
        return command(self._path).make_context(*given, **more)


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not module.startswith(("ml.", "bench.")):
            raise
        from operate.services.mlflow import missing_extra

        raise missing_extra(str(error.name)) from None


def _prepared(module: str, settings: Settings) -> Settings:
    """The layers below know no broker but that which the settings name."""
    use_ours(os.environ, postgres_too=not settings.postgres_dsn.get_secret_value())
    if not module.startswith(("ingest.", "ml.")):
        return settings
    from operate.stack import known_kafka

    return known_kafka(settings)


if __name__ == "__main__":
    sys.exit(main())
