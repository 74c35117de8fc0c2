"""What the environment holds for other programs changes nothing of ours."""

from __future__ import annotations

from collections.abc import MutableMapping

_HERE = ("127.0.0.1", "localhost")

_OF_SPARK = """
    SPARK_HOME SPARK_CONF_DIR SPARK_ENV_LOADED SPARK_DIST_CLASSPATH SPARK_CLASSPATH SPARK_SUBMIT_OPTS
    SPARK_LOCAL_DIRS SPARK_LOCAL_IP SPARK_LOCAL_HOSTNAME SPARK_PUBLIC_DNS SPARK_MASTER SPARK_DRIVER_MEMORY
    SPARK_TESTING SPARK_PREPEND_CLASSES SPARK_REMOTE SPARK_CONNECT_MODE_ENABLED SPARK_API_MODE PYSPARK_PYTHON
    PYSPARK_DRIVER_PYTHON PYSPARK_DRIVER_PYTHON_OPTS PYSPARK_SUBMIT_ARGS PYSPARK_GATEWAY_PORT PYSPARK_GATEWAY_SECRET
    PYSPARK_PIN_THREAD
"""
_OF_PYTHON_AND_JAVA = "PYTHONPATH PYTHONSTARTUP PYTHONOPTIMIZE CLASSPATH _JAVA_OPTIONS JDK_JAVA_OPTIONS"
_FOREIGN = frozenset((_OF_SPARK + _OF_PYTHON_AND_JAVA).split())


def use_ours(environment: MutableMapping[str, str], postgres_too: bool) -> None:
    """Takes away what would make the programs that we start run on another Spark, Python or Java than the installed
    ones. JAVA_TOOL_OPTIONS stays: agents are given by it, and each JVM says in its log that it took them.

    :param postgres_too: and what libpq reads: another server's address, time zone or encoding.
    """
    for name in list(environment):
        if name in _FOREIGN or (postgres_too and name.startswith("PG")):
            del environment[name]


def speak_utf8(environment: MutableMapping[str, str]) -> None:
    """Java and initdb write names of files in the locale's encoding, and under `C` or none they cannot write most."""
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or ""
    if not locale.upper().replace("-", "").endswith("UTF8"):
        environment["LC_ALL"] = "C.UTF-8"


def ask_directly(environment: MutableMapping[str, str]) -> None:
    """Adds this machine to the hosts that no proxy is asked for, for this process and those that it starts: urllib,
    requests, httpx and curl all look there. What is there already stays.
    """
    # Programs prefer the lower-case name where both are there.
    named = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in _HERE if host not in hosts]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(hosts)
