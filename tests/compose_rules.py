"""What docker-compose.yml has to keep to beyond Compose's own schema. Each fault is a line that names the service."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema import Draft202012Validator
from typer.exceptions import TyperException

from lakehouse.settings import PREFIX, Settings
from operate import cli
from tests.compose import ROOT, VARIABLE, texts

PUBLISHED = {"page", "mlflow", "spark-master"}
"""The live page, and pages of programs. Nothing else is reached from outside."""

WRITES_ANYWHERE = {"registry"}
"""Nobody here knows where else than in /tmp their images write."""

_ON_LOOPBACK = {"${env:KAFKA_LOCAL}", "${env:KAFKA_CONTROLLER}"}
_IMAGE = re.compile(r"[\w./-]+:[\w.-]*\d[\w.-]*")
_PORT = re.compile(r"127\.0\.0\.1:\$\{STOREFRONT_\w+_PORT:\?[^}]+\}:\d+")
_SECRET = re.compile(r"password|secret|token|login|_key", re.IGNORECASE)
_REQUIRED = re.compile(r":\?.+")
_OF_SUBMIT = {"--master": 1, "--load-spark-defaults": 0, "--properties-file": 1}
"""Options of spark-submit that are used, with how many words follow each."""

Node = Mapping[str, Any]


def faults(compose: Node, known: set[str]) -> list[str]:
    """What is wrong in the file.

    :param known: the variables of a file that `lakehouse init-env` writes.
    """
    broken_schema = list(_schema(compose))
    if broken_schema:  # what follows would stumble over it
        return broken_schema
    found = [*_variables(compose, known), *_volumes(compose), *_networks(compose), *_kafka()]
    for name, node in compose["services"].items():
        rules = (_image, _ports, _runs, _rights, _bounds, _waits, _secrets, _settings, _command, _reaches, _spark)
        found += [f"{name}: {fault}" for rule in rules for fault in rule(name, node, compose)]
    return found


def _schema(compose: Node) -> Iterator[str]:
    for error in Draft202012Validator(get_builtin_schema("vendor.compose-spec")).iter_errors(compose):
        yield f"schema: {'.'.join(map(str, error.absolute_path))}: {error.message}"


def _variables(compose: Node, known: set[str]) -> Iterator[str]:
    used = [variable for text in texts(compose) for variable in VARIABLE.findall(text)]
    for name, rest in used:
        if not _REQUIRED.fullmatch(rest):
            yield f"variables: {name} is not required with a message (${{{name}:?...}})"
    names = {name for name, _ in used}
    yield from (f"variables: {name} is not in what init-env writes" for name in sorted(names - known))
    yield from (f"variables: {name} is written by init-env and used nowhere" for name in sorted(known - names))


def _volumes(compose: Node) -> Iterator[str]:
    declared = set(compose["volumes"])
    used = set()
    for name, node in compose["services"].items():
        for volume in node.get("volumes", []):
            source, target, mode = (str(volume) + "::").split(":")[:3]
            if source.startswith("/") and not target:
                continue  # one without a name, for what may be lost
            if source.startswith("./deploy/"):
                if mode != "ro" or not (ROOT / source).exists():
                    yield f"{name}: {volume} is not there, or not mounted read-only"
            elif source in declared:
                used.add(source)
            else:
                yield f"{name}: {volume} is neither a volume with a name nor a part of ./deploy"
    yield from (f"volumes: {name} is used nowhere" for name in sorted(declared - used))


def _image(_name: str, node: Node, _compose: Node) -> Iterator[str]:
    image = node.get("image", "")
    if not _IMAGE.fullmatch(image) or "latest" in image:
        yield f"the image {image!r} has no tag that names a version"
    build = node.get("build")
    if not build:
        return
    dockerfile = ROOT / build["context"] / build.get("dockerfile", "Dockerfile")
    if not dockerfile.is_file():
        yield f"there is nothing to build {image} from"
        return
    text = dockerfile.read_text(encoding="utf-8")
    if len(re.findall(r"^ADD https?:", text, re.MULTILINE)) > text.count("| sha256sum -c -"):
        yield f"{image} is built from what is fetched, and its hash is not looked at"
    asked = set(re.findall(r"^ARG (\w+)$", text, re.MULTILINE))
    for argument in sorted(asked - build.get("args", {}).keys()):
        yield f"{image} is built without {argument}"


def _ports(name: str, node: Node, _compose: Node) -> Iterator[str]:
    for port in node.get("ports", []):
        if name not in PUBLISHED:
            yield f"publishes {port}, and is no page"
        elif not isinstance(port, str) or not _PORT.fullmatch(port):
            yield f"publishes {port}, not a port of .env on 127.0.0.1"
    if node.get("network_mode"):
        yield "leaves the network of the others"


def _runs(_name: str, node: Node, _compose: Node) -> Iterator[str]:
    restart = node.get("restart")
    if restart == "unless-stopped":
        check = node.get("healthcheck", {})
        if check.get("test", ["NONE"])[0] != "CMD" or not {"interval", "timeout", "retries"} <= set(check):
            yield "has no health check"
    elif restart not in ("on-failure", "no"):
        yield f"has restart policy {restart!r}"
    if "mem_limit" not in node:
        yield "has no memory limit"


def _rights(_name: str, node: Node, _compose: Node) -> Iterator[str]:
    user = str(node.get("user", "root"))
    if user.split(":")[0] in ("root", "0"):
        yield "runs as root"
    if node.get("privileged") or node.get("cap_add") or node.get("cap_drop") != ["ALL"]:
        yield "has rights that it does not need"
    if "no-new-privileges:true" not in node.get("security_opt", []):
        yield "may gain rights"


def _bounds(name: str, node: Node, _compose: Node) -> Iterator[str]:
    """What a service that was taken over, or has gone mad, can fill or change."""
    if not node.get("read_only") and name not in WRITES_ANYWHERE:
        yield "may change its image's files"
    if not any(str(each).startswith("/tmp:") and "size=" in str(each) for each in node.get("tmpfs", [])):
        yield "has no bounded /tmp of its own"
    if not node.get("pids_limit"):
        yield "has no limit of processes"
    logging = node.get("logging", {}).get("options", {})
    if not {"max-size", "max-file"} <= logging.keys():
        yield "has a log without a bound"


def _networks(compose: Node) -> Iterator[str]:
    """Nothing leads out of a network that no service is published from."""
    for network, how in compose.get("networks", {}).items():
        members = [node for node in compose["services"].values() if network in node.get("networks", [])]
        is_published = any(node.get("ports") for node in members)
        if not is_published and not (how or {}).get("internal"):
            yield f"networks: {network} leads outside, and nothing in it is published"


def _reaches(name: str, node: Node, compose: Node) -> Iterator[str]:
    """Each service shares a network with those that it names, and with nobody for nothing."""
    networks = node.get("networks", [])
    if not networks:
        yield "is in the network that all share"
        return
    services = compose["services"]
    mine = {other for other in services if other != name and _names(node, other)}
    named_by = {other for other, each in services.items() if other != name and _names(each, name)}
    shared = {other: set(networks) & set(services[other].get("networks", [])) for other in mine | named_by}
    yield from (f"cannot reach {other}: they share no network" for other in sorted(mine) if not shared[other])
    for network in networks:
        if {network} not in shared.values():  # whoever is met there is met in another one too
            yield f"is in the network {network} for nothing"


def _names(node: Node, other: str) -> bool:
    """Does a service say the other's name where a host is meant?"""
    environment = node.get("environment", {})
    if any(key.endswith("HOST") and value == other for key, value in environment.items()):
        return True
    host = re.compile(rf"(?<=[^/]//){other}\b|(?<=host=){other}\b|(?<![\w./-]){other}(?=:\d)")
    return any(host.search(text) for text in texts([node.get("command", []), node.get("healthcheck", {}), environment]))


def _spark(_name: str, node: Node, _compose: Node) -> Iterator[str]:
    """A driver and its executors meet at one address: that of a machine with several is any of them."""
    words = [str(word) for word in node.get("command", [])]
    if words[:1] not in (["spark-submit"], ["spark-class"]):
        return
    if len(node.get("networks", [])) > 1:
        yield "speaks to Spark from several networks"
    options = str(node.get("environment", {}).get("SPARK_DAEMON_JAVA_OPTS", ""))
    files = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--properties-file"]
    told = options + "".join((ROOT / file).read_text(encoding="utf-8") for file in files if (ROOT / file).is_file())
    if not re.search(r"spark\.network\.crypto\.enabled[= ]+true", told):
        yield "speaks to Spark without encryption"


def _kafka() -> Iterator[str]:
    text = (ROOT / "deploy" / "kafka" / "server.properties").read_text(encoding="utf-8")
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return kafka_faults(told)


def kafka_faults(properties: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with who may do what in the broker."""
    if not properties.get("authorizer.class.name"):
        yield "kafka: everybody who logs in may do everything"
    if properties.get("allow.everyone.if.no.acl.found", "false") != "false":
        yield "kafka: what has no rule is allowed"
    if properties.get("super.users") != "User:lakehouse;User:ANONYMOUS":
        yield "kafka: others than the lakehouse may do everything"
    listeners = dict(each.split("://") for each in properties.get("listeners", "").split(","))
    protocols = dict(each.split(":") for each in properties.get("listener.security.protocol.map", "").split(","))
    for listener, place in listeners.items():
        if not protocols.get(listener, "").startswith("SASL") and place not in _ON_LOOPBACK:
            yield f"kafka: {listener} wants no login, and ANONYMOUS may do everything"


def _waits(_name: str, node: Node, compose: Node) -> Iterator[str]:
    for other, how in node.get("depends_on", {}).items():
        awaited = compose["services"].get(other, {})
        condition = how["condition"]
        ends = awaited.get("restart") != "unless-stopped"
        if condition == "service_healthy" and "healthcheck" not in awaited:
            yield f"waits for the health of {other}, which is not checked"
        if (condition == "service_completed_successfully") != ends:
            yield f"waits for {other} by {condition}"


def _secrets(_name: str, node: Node, _compose: Node) -> Iterator[str]:
    for key, value in node.get("environment", {}).items():
        text = str(value)
        told = re.findall(r"password=(.*)", text) if "password=" in text else [text] if _SECRET.search(key) else []
        if any(not VARIABLE.search(secret) for secret in told):
            yield f"{key} is a secret, and its value is in the file"
    shown = [*node.get("command", []), *node.get("healthcheck", {}).get("test", [])]
    if any(VARIABLE.search(str(word)) for word in shown):
        yield "has a variable on a command line, which everybody on the machine can read"


def _settings(_name: str, node: Node, _compose: Node) -> Iterator[str]:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    for key in node.get("environment", {}):
        if key.startswith(PREFIX) and key not in known:
            yield f"{key} is no setting"


def _command(name: str, node: Node, _compose: Node) -> Iterator[str]:
    if not isinstance(node.get("command", []), list):
        yield "has its command line as text, which is for a shell to take apart"
        return
    words = [str(word) for word in node.get("command", [])]
    match words:
        case ["lakehouse", *rest]:
            yield from _lakehouse(rest)
        case ["spark-submit", *rest]:
            yield from _spark_submit(rest)
        case ["python", "-m", module, *_]:
            if find_spec(module) is None:
                yield f"{module} is no module"
        case ["spark-class", class_, *_] if class_.startswith("org.apache.spark.deploy."):
            options = str(node.get("environment", {}).get("SPARK_DAEMON_JAVA_OPTS", "")).split()
            if class_.endswith(".Master") and "-Dspark.master.rest.enabled=false" not in options:
                yield "takes jobs without the secret, by Spark's REST interface"
        case ["mlflow", "server", *_] | []:
            pass
        case [program, *_]:
            mounts = [str(volume).split(":") for volume in node.get("volumes", [])]
            mounted = {mount[1]: mount[0] for mount in mounts if mount[1:]}
            for target, source in mounted.items():
                program = re.sub(f"^{target}/", f"{source}/", program)
            if not (ROOT / program).is_file():
                yield f"{words[0]} is not there"


def _lakehouse(words: list[str]) -> Iterator[str]:
    if words == ["--help"]:
        return
    path = next((path for path in cli.COMMANDS if words[: len(path.split())] == path.split()), "")
    if not path:
        yield f"`lakehouse {' '.join(words)}`: there is no such command"
        return
    try:
        cli.command(path).make_context(path, words[len(path.split()) :])
    except TyperException as error:
        yield f"`lakehouse {' '.join(words)}`: {error.format_message()}"


def _spark_submit(words: list[str]) -> Iterator[str]:
    while words and words[0].startswith("--"):
        option, *words = words
        if option not in _OF_SUBMIT:
            yield f"spark-submit is given {option}"
            return
        taken, words = words[: _OF_SUBMIT[option]], words[_OF_SUBMIT[option] :]
        if option == "--properties-file" and not (ROOT / taken[0]).is_file():
            yield f"{taken[0]} is not there"
    if not words or not (ROOT / words[0]).is_file():
        yield f"spark-submit is given {words}, not a job"
