"""docker-compose.yml keeps to Compose's schema and to our rules, and these rules see what breaks them."""

from __future__ import annotations

import ast
import copy
import re
import secrets
import stat
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lakehouse.errors import InputError
from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED
from operate import rounds, stack
from operate.env_file import SECRETS, env_lines, init_env
from operate.services.connect_rights import WORKERS, connect_rights
from tests.compose import ROOT, load, service, values_of
from tests.compose_rules import faults, kafka_faults

COMPOSE = load()
SERVICES = COMPOSE["services"]
VALUES = values_of(env_lines(secrets.token_urlsafe))


def test_the_file_has_no_fault() -> None:
    assert faults(COMPOSE, set(VALUES)) == []


Break = Callable[[dict[str, Any]], object]

BREAKS: dict[str, Break] = {
    "schema: services.kafka": lambda s: s["kafka"].update(memory_limit="1g"),
    "schema: services.sink.depends_on": lambda s: s["sink"]["depends_on"]["postgres"].update(condition="healthy"),
    "variables: STOREFRONT_MADE_UP is not in what init-env writes": lambda s: s["sink"]["environment"].update(
        X="${STOREFRONT_MADE_UP:?x}"
    ),
    "variables: STOREFRONT_MLFLOW_SECRET_KEY is written by init-env and used nowhere": lambda s: s["mlflow"][
        "environment"
    ].pop("MLFLOW_FLASK_SERVER_SECRET_KEY"),
    "variables: STOREFRONT_BI_PASSWORD is not required": lambda s: s["postgres"]["environment"].update(
        BI_PASSWORD="${STOREFRONT_BI_PASSWORD:-bi}"
    ),
    "kafka: publishes 127.0.0.1:9092:9092, and is no page": lambda s: s["kafka"].update(ports=["127.0.0.1:9092:9092"]),
    "page: publishes 8050:8050, not a port of .env": lambda s: s["page"].update(ports=["8050:8050"]),
    "namenode: publishes 127.0.0.1:9870:9870, and is no page": lambda s: s["namenode"].update(
        ports=["127.0.0.1:9870:9870"]
    ),
    "spark-master: takes jobs without the secret": lambda s: s["spark-master"]["environment"].update(
        SPARK_DAEMON_JAVA_OPTS="-Dspark.authenticate=true"
    ),
    "silver: may change its image's files": lambda s: s["silver"].update(read_only=False),
    "mlflow: has no bounded /tmp of its own": lambda s: s["mlflow"].pop("tmpfs"),
    "postgres: has no bounded /tmp of its own": lambda s: s["postgres"].update(tmpfs=["/tmp"]),
    "connect: has no limit of processes": lambda s: s["connect"].pop("pids_limit"),
    "kafka: has a log without a bound": lambda s: s["kafka"].pop("logging"),
    "page: is in the network that all share": lambda s: s["page"].pop("networks"),
    "connect: is in the network serving for nothing": lambda s: s["connect"].update(networks=["kafka", "serving"]),
    "page: is in the network lake for nothing": lambda s: s["page"].update(networks=["lake", "serving"]),
    "sink: cannot reach postgres: they share no network": lambda s: s["sink"].update(networks=["kafka"]),
    "namenode: is in the network kafka for nothing": lambda s: s["namenode"].update(networks=["kafka", "lake"]),
    "gold: speaks to Spark from several networks": lambda s: s["gold"].update(networks=["kafka", "lake"]),
    "spark-master: speaks to Spark without encryption": lambda s: s["spark-master"]["environment"].update(
        SPARK_DAEMON_JAVA_OPTS="-Dspark.authenticate=true -Dspark.master.rest.enabled=false"
    ),
    "bronze: speaks to Spark without encryption": lambda s: s["bronze"].update(
        command=["spark-submit", "bronze/job.py"]
    ),
    "gold: has no health check": lambda s: s["gold"].pop("healthcheck"),
    "silver: has restart policy None": lambda s: s["silver"].pop("restart"),
    "sink: has no memory limit": lambda s: s["sink"].pop("mem_limit"),
    "postgres: the image 'postgres' has no tag": lambda s: s["postgres"].update(image="postgres"),
    "registry: the image 'apicurio/apicurio-registry:latest-release' has no tag": lambda s: s["registry"].update(
        image="apicurio/apicurio-registry:latest-release"
    ),
    "connect: storefront/connect:4.3.1-2.18.0 is built without FILE_PULSE_SHA256": lambda s: s["connect"]["build"].pop(
        "args"
    ),
    "bronze: runs as root": lambda s: s["bronze"].pop("user"),
    "connect: has rights that it does not need": lambda s: s["connect"].update(privileged=True),
    "mlflow: PGPASSWORD is a secret, and its value is in the file": lambda s: s["mlflow"]["environment"].update(
        PGPASSWORD="mlflow"
    ),
    "sink: LAKEHOUSE_POSTGRES_DSN is a secret": lambda s: s["sink"]["environment"].update(
        LAKEHOUSE_POSTGRES_DSN="host=postgres password=storefront"
    ),
    "mlflow: has a variable on a command line": lambda s: s["mlflow"]["command"].append("${STOREFRONT_MLFLOW_PORT:?x}"),
    "kafka: /tmp/kafka:/var/lib/kafka/data is neither a volume with a name": lambda s: s["kafka"].update(
        volumes=["/tmp/kafka:/var/lib/kafka/data"]
    ),
    "volumes: mlflow is used nowhere": lambda s: s["mlflow"].pop("volumes"),
    "bronze: waits for topics by service_healthy": lambda s: s["bronze"]["depends_on"].update(
        topics={"condition": "service_healthy"}
    ),
    "bronze: LAKEHOUSE_LAKE_URL is no setting": lambda s: s["bronze"]["environment"].update(LAKEHOUSE_LAKE_URL="x"),
    "topics: `lakehouse topic`: there is no such command": lambda s: s["topics"].update(command=["lakehouse", "topic"]),
    "gold: spark-submit is given ['gold/jobs.py'], not a job": lambda s: s["gold"].update(
        command=["spark-submit", "gold/jobs.py"]
    ),
    "page: serving.alive is no module": lambda s: s["page"].update(command=["python", "-m", "serving.alive"]),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_fault_is_named(fault: str) -> None:
    broken = copy.deepcopy(COMPOSE)  # and the parts that services share are one for each again
    broken["services"] = {name: copy.deepcopy(node) for name, node in SERVICES.items()}
    BREAKS[fault](broken["services"])
    found = faults(broken, set(VALUES))
    assert any(each.startswith(fault) for each in found), found


@pytest.mark.parametrize("network", ["kafka"])
def test_a_network_that_leads_outside_for_nothing_is_named(network: str) -> None:
    broken = copy.deepcopy(COMPOSE)
    broken["networks"][network] = None
    assert f"networks: {network} leads outside, and nothing in it is published" in faults(broken, set(VALUES))


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("authorizer.class.name", "", "everybody who logs in may do everything"),
        ("allow.everyone.if.no.acl.found", "true", "what has no rule is allowed"),
        ("super.users", "User:lakehouse;User:connect;User:ANONYMOUS", "others than the lakehouse may do everything"),
        ("listeners", "CLIENT://0.0.0.0:9092,LOCAL://0.0.0.0:9091", "LOCAL wants no login"),
        (
            "listener.security.protocol.map",
            "CLIENT:PLAINTEXT,LOCAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "CLIENT wants no login",
        ),
    ],
)
def test_a_broker_that_lets_everybody_do_everything_is_named(name: str, value: str, fault: str) -> None:
    lines = (ROOT / "deploy" / "kafka" / "server.properties").read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert list(kafka_faults(told)) == []
    assert [found for found in kafka_faults(told | {name: value}) if fault in found]


def test_what_connect_may_do_is_what_its_worker_is_told_to_use() -> None:
    """Its topics, its group, its transactions; and the two topics of events, which it writes and does not read."""
    lines = (ROOT / "deploy" / "connect" / "worker.properties").read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert told["group.id"] == WORKERS
    assert all(value.startswith(WORKERS) for name, value in told.items() if name.endswith(".storage.topic"))
    rights = {
        (right.resource_pattern.resource_type.name, right.resource_pattern.resource_name, right.operation.name)
        for right in connect_rights("connect", Settings())
    }
    assert rights == {
        ("TOPIC", "store-events", "WRITE"),
        ("TOPIC", "store-events-unreadable", "WRITE"),
        ("TOPIC", WORKERS, "ALL"),
        ("GROUP", WORKERS, "ALL"),
        ("TRANSACTIONAL_ID", WORKERS, "ALL"),
        ("TRANSACTIONAL_ID", f"connect-cluster-{WORKERS}", "ALL"),
    }
    assert not [table.topic(Settings()) for table in PUBLISHED if table.topic(Settings()).startswith(WORKERS)]


def test_all_that_up_runs_has_a_service() -> None:
    """Each process, and each table that one of them writes."""
    tree = ast.parse(Path(stack.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Program"]
    named = [ast.unparse(call.args[0]) for call in calls]
    constants = {name: getattr(stack, name) for name in named if name.isupper()}
    assert {constants.get(name, name.strip("'")) for name in named} == {
        "Kafka",
        "PostgreSQL",
        "MLflow",
        "live page",
        "sink",
        "pipeline",  # bronze, silver, gold
        "names[0]",  # of groups of operate.rounds
        "file source",  # connect
    }
    assert {"kafka", "postgres", "mlflow", "page", "sink", "bronze", "silver", "gold", "connect"} <= SERVICES.keys()
    jobs = [node["command"][-1] for node in SERVICES.values() if node.get("command", [""])[0] == "spark-submit"]
    text = "\n".join((ROOT / job).read_text(encoding="utf-8") for job in jobs)
    written = re.findall(r'run_job\(\s*"(\w+)"', text)
    for also in re.findall(r'(?:also=|in_session\("scores", )\(([^)]*)\)', text):
        written += re.findall(r'"(\w+)"', also)
    assert sorted(written) == sorted(["bronze", "silver", "gold", *rounds.WRITES])


def test_a_service_is_read_with_its_variables_filled_in() -> None:
    sink = service("sink", VALUES)
    assert sink.command == ["python", "-m", "serving.sink"]
    assert sink.environment["LAKEHOUSE_POSTGRES_DSN"].endswith(f"password={VALUES['STOREFRONT_SERVING_PASSWORD']}")
    assert sink.check == ["python", "-m", "operate.healthy", "sink"]
    assert service("kafka", VALUES).folders["/etc/storefront"] == "./deploy/kafka"


def test_every_image_is_explained_with_where_its_tag_is_documented() -> None:
    page = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    for name, node in SERVICES.items():
        assert f"`{name}`" in page, name
        if not node["image"].startswith("storefront/"):
            assert f"`{node['image']}`" in page, node["image"]


def test_no_image_gets_what_is_not_for_it() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".git", ".env", "*.env", ".venv", ".lakehouse"} <= set(ignored)
    for dockerfile in (ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "connect" / "Dockerfile"):
        text = dockerfile.read_text(encoding="utf-8")
        (base,) = re.findall(r"^FROM (\S+)$", text, re.M)
        assert re.search(r":\d[\w.-]+$", base) and re.findall(r"^USER (\w+)$", text, re.M)[-1] != "root"


def test_init_env_writes_secrets_for_its_owner_alone(tmp_path: Path) -> None:
    said, path = StringIO(), tmp_path / ".env"
    assert init_env(Console(file=said), path) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = values_of(path.read_text())
    assert values.keys() == VALUES.keys()
    told = [values[name] for name in SECRETS]
    assert len(set(told)) == len(told) and all(re.fullmatch(r"[\w-]{32}", secret) for secret in told)
    assert not any(secret in said.getvalue() for secret in told)
    assert "docker compose up --detach" in said.getvalue()


def test_init_env_leaves_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    with pytest.raises(InputError, match="is there already"):
        init_env(Console(file=StringIO()), path)
    assert path.read_text() == "MINE=1\n"
