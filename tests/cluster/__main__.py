"""Each layer as a job on a cluster of Spark, while a worker, a DataNode and a broker are killed; then the comparison.

    python -m tests.cluster [--short] [--seed S] [--keep]

A Spark standalone master with two workers, a lake on HDFS (three DataNodes, two copies), three brokers of Kafka with
TLS and logins, a schema registry, a Connect worker, PostgreSQL over TLS, MLflow with a login: all on this machine, in a
temporary folder. The input comes as JSON, as Avro and through a connector. Every table is compared with a plain
calculation from the input. The last line is `N passed, N failed`; exit code 1 when something failed.
"""

from __future__ import annotations

import argparse
import random
import secrets
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaException
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from ingest.event_wire import event_wire
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings
from operate.services import process
from operate.services.topics import ensure_topics
from operate.supervisor import Say
from tests.apicurio import ApicurioRegistry
from tests.chaos.checks import Check, check
from tests.chaos.feed import Feed
from tests.chaos.outcome import came_once, table_checks
from tests.chaos.report import Clock, reported, temporary_folder
from tests.chaos.sendings import Sending, as_table, made_input, spread
from tests.cluster.hdfs import Hdfs
from tests.cluster.kills import killed, victims
from tests.cluster.mlflow_server import MlflowWithLogin
from tests.cluster.roads import Lines, in_avro, parted
from tests.cluster.scoring import scoring_checks
from tests.cluster.spark import SparkCluster
from tests.cluster.stage import Stage
from tests.cluster.tls_postgres import TlsPostgres
from tests.cluster.watch import Watch
from tests.postgres_server import running
from tests.services.connect_worker import PASSWORD as CONNECT_PASSWORD
from tests.services.connect_worker import ConnectWorker
from tests.services.runs import BIN
from tests.services.secure_kafka import SecureKafka

LONG_RECORDS, SHORT_RECORDS = 40_000, 10_000
_RATE_PER_S, _DRAIN_S, _PARTITIONS = 600.0, 1_200.0, 3
_USER, _SECRETS = "store", ("kafka", "registry", "bi", "spark")
_LAYERS = ("bronze", "silver", "gold")
_SETTINGS = {
    # Small batches are many, and there is always one for a kill to hit.
    "max_batch_rows": 2_000,
    "round_s": 10.0,
    "sessions_s": 10.0,
    "sessions_bulk_events": 2_000,
    "carts_s": 10.0,
    "sales_window_s": 6 * 3_600,
    # Most copies and late sales are then looked up in the tables.
    "recent_rows": 5_000,
    "ml_holdout_days": 7,
}
_READERS = (
    ("tables",),
    ("status",),
    ("history", "silver.events"),
    ("quarantine", "list"),
    ("sql", "SELECT count(*) FROM gold.product_sales"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    say = Clock()
    say(f"seed {seed}: python -m tests.cluster --seed {seed}{' --short' if given.short else ''}")
    return reported(run(seed, given.short, given.keep, say))


def run(seed: int, short: bool, keep: bool, say: Say) -> Generator[Check]:
    """All of it. What goes wrong on the way is a failed check, and the last."""
    passwords = {name: f"{name}-{secrets.token_urlsafe(12)}" for name in _SECRETS}
    passwords["connect"] = CONNECT_PASSWORD
    sendings = spread(made_input(SHORT_RECORDS if short else LONG_RECORDS, seed, datetime.now(UTC)), _PARTITIONS, seed)
    watch = Watch()
    with temporary_folder("cluster-", keep, say) as folder, ExitStack() as at_end:
        try:
            stage = _stage(folder, sendings, seed, passwords, watch, at_end, say)
            all_ = victims(stage)
            yield from killed(stage, [all_] if short else [[one] for one in all_])
            stage.drain(len(sendings), _DRAIN_S)
            yield from _compared(stage, sendings)
            yield _commands_read(stage, folder)
            if not short:
                passwords["mlflow"] = f"mlflow-{secrets.token_urlsafe(12)}"
                mlflow = at_end.enter_context(MlflowWithLogin(folder / "mlflow", passwords["mlflow"]))
                yield from scoring_checks(stage, mlflow)
            passwords["postgres"] = conninfo_to_dict(stage.settings.postgres_dsn.get_secret_value())["password"]
            yield watch.secrets_check(passwords, folder)
            yield check("spark: takes no job without the secret", not stage.spark.takes_jobs_by_rest())
        except (AssertionError, LakehouseError, KafkaException, OSError) as error:
            yield check("the run itself", False, error=f"{type(error).__name__}: {error}")
        say(f"at most {watch.peak_mb:,} MB in {watch.peak_processes} processes, all together")


def _stage(
    folder: Path,
    sendings: Sequence[Sending],
    seed: int,
    passwords: Mapping[str, str],
    watch: Watch,
    at_end: ExitStack,
    say: Say,
) -> Stage:
    """All services, the jobs, the sink, and the input ready to be sent. What takes long is started first and waited for
    last. At the end clients are stopped before servers.
    """
    hdfs = at_end.enter_context(Hdfs(folder / "hdfs"))
    spark = at_end.enter_context(SparkCluster(folder / "spark", hdfs.client, passwords["spark"]))
    (folder / "registry").mkdir()
    registry = ApicurioRegistry(folder / "registry")
    at_end.callback(registry.stop)
    registry.begin()
    (folder / "kafka").mkdir()
    kafka = at_end.enter_context(SecureKafka(folder / "kafka", brokers=3))
    kafka.add_user(_USER, passwords["kafka"])
    say(f"Kafka with {len(kafka.processes)} brokers")
    bi = SecretStr(passwords["bi"])
    postgres = TlsPostgres(Settings(home=folder / "postgres", bi_password=bi, _env_file=None))
    at_end.enter_context(running(postgres))
    say("PostgreSQL, over TLS alone")
    settings = Settings(
        home=folder / "home",
        lake=f"{hdfs.url}/lake",
        topic_partitions=_PARTITIONS,
        registry_url=registry.url,
        registry_user=_USER,
        registry_password=SecretStr(passwords["registry"]),
        postgres_dsn=SecretStr(postgres.tls_dsn()),
        bi_password=bi,
        _env_file=None,  # type: ignore[call-arg]
        **_SETTINGS | kafka.settings(_USER, passwords["kafka"]),  # type: ignore[arg-type]
    )
    ensure_topics(settings)
    hdfs.wait_until_ready()
    say(f"HDFS with {len(hdfs.processes)} DataNodes: {hdfs.url}")
    registry.wait_until_ready()
    say(f"schema registry: {registry.url}")
    json_, avro, by_lines = parted(sendings, seed)
    by_producer = json_ + in_avro(avro, event_wire(settings.model_copy(update={"wire": "avro"})))
    random.Random(seed).shuffle(by_producer)
    (folder / "connect").mkdir()
    lines = Lines(folder / "connect", by_lines)
    spark.wait_for_workers(len(spark.processes))
    say(f"Spark with {len(spark.processes)} workers: {spark.url}")
    stage = Stage(hdfs, kafka, spark, settings, Feed(settings, by_producer, _RATE_PER_S), lines, watch, say)
    at_end.callback(stage.kill_jobs)
    stage.start(_LAYERS)
    environment = spark.environment | settings.as_environment()
    sink = process.spawn([sys.executable, "-m", "serving.sink"], settings.logs / "sink.log", environment)
    at_end.callback(process.stop, sink, 20)
    worker = at_end.enter_context(ConnectWorker(settings, folder / "connect"))
    lines.connect(worker.settings())
    say(f"Connect; {len(json_):,} records as JSON, {len(avro):,} as Avro, {len(by_lines):,} as lines of a file")
    return stage


def _compared(stage: Stage, sendings: Sequence[Sending]) -> Iterator[Check]:
    stage.say("all is read, and the jobs have ended; now compared with the plain calculation")
    feed = stage.feed
    yield check("feed: all acknowledged", not feed.refused, acknowledged=feed.acknowledged, refused=len(feed.refused))
    yield came_once([*feed.values, *stage.lines.values], stage.settings)
    yield from table_checks(as_table(sendings), stage.settings)


def _commands_read(stage: Stage, folder: Path) -> Check:
    """The commands that read the lake without Spark, as an operator types them."""
    environment = stage.spark.environment | stage.settings.as_environment()
    failed = []
    for words in _READERS:
        command = [str(BIN / "lakehouse"), *words]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not done.stdout.strip():
            failed.append(f"{' '.join(words)}: {(done.stderr or done.stdout)[-500:]}")
    more = {"failed": failed} if failed else {}
    return check("commands: read the lake on HDFS", not failed, commands=len(_READERS), **more)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, help="repeats a run's input (random)")
    short = f"{SHORT_RECORDS:,} records instead of {LONG_RECORDS:,}, all kills at once, and no model"
    parser.add_argument("--short", action="store_true", help=short)
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder with data and logs behind")
    return parser


if __name__ == "__main__":
    sys.exit(main())
