"""Which Java runs Spark and the embedded services. Standard library only: setup imports this before pip has run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from lakehouse.errors import JavaError

TEMPLATE = Path(__file__).resolve().parents[1] / "deploy" / "spark" / "java"
COMPILE_QUICKLY = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
"""Options of a JVM that lives for minutes: without the second compiler, whose work would not pay. The room for compiled
code is then a fifth by default, which Spark's generated classes fill, and then nothing goes on.
"""

INTERPRET_ROWS = "-Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN"
"""Options of a Spark with few rows in many queries: to make code for each query takes longer than to do without."""

ARCHIVE_ANEW = "ARCHIVE_CLASSES"
"""A variable: JVMs that are started archive their classes instead of using an archive."""

OUTDATED_AFTER_DAYS = 120
"""Java's security releases are three months apart; who has none of the last four months lacks one."""

SUITABLE = "Java 17, 21, or 25 from 25.0.3 on"
NEXT_STEP = f"run `make setup`, which installs a runtime, or set JAVA_HOME to {SUITABLE}"


def installed_home(venv: Path) -> Path:
    """The folder that setup writes, usable as JAVA_HOME: its `bin/java` is deploy/spark/java, filled in."""
    return venv / "share" / "lakehouse" / "java"


def archives(venv: Path = Path(sys.prefix)) -> Path:
    """The folder of the archives of classes that setup makes."""
    return venv / "share" / "lakehouse" / "classes"


def version_of(home: Path) -> str:
    """The version of the runtime in a JAVA_HOME, such as `21.0.8`; empty where there is none that starts."""
    if not os.access(home / "bin" / "java", os.X_OK):
        return ""
    return _noted(home, "JAVA_VERSION") or _said(home, r'version "([^"]+)"')


def released_on(home: Path) -> date | None:
    """The day on which the runtime in a JAVA_HOME was released; None where there is none, or it does not say so."""
    day = _noted(home, "JAVA_VERSION_DATE") or _said(home, r'version "[^"]+" (\d{4}-\d\d-\d\d)')
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None


def outdated(today: date, environment: Mapping[str, str] = os.environ, venv: Path = Path(sys.prefix)) -> str:
    """What to tell about a runtime that lacks security releases; empty where it does not, or none is there."""
    try:
        home = java_home(environment, venv)
    except JavaError:
        return ""
    released = released_on(home)
    if released is None or (today - released).days <= OUTDATED_AFTER_DAYS:
        return ""
    return (
        f"Java {version_of(home)} is of {released}: it lacks the security releases since then. "
        "Next: install a newer 17, 21 or 25, name its folder in JAVA_HOME, and start again"
    )


def _noted(home: Path, name: str) -> str:
    """A line of the file `release`, which not every distribution has; empty without."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf'^{name}="([^"]+)"', text, re.M)
    return found[1] if found else ""


def _said(home: Path, pattern: str) -> str:
    """What `java -version` says; empty where it does not start."""
    try:
        answer = subprocess.run(
            [home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(pattern, answer.stderr)
    return found[1] if found else ""


def refusal(version: str) -> str:
    """Why Spark cannot run on this version of Java; empty if it can."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:3]]
    if not numbers:
        return "no Java runtime is there"
    if numbers[0] in (17, 21):
        return ""
    if numbers[0] == 25:
        first_builds = numbers[1:] in ([], [0], [0, 0], [0, 1], [0, 2])
        return "Java 25.0.0 to 25.0.2 can corrupt data under the G1 collector" if first_builds else ""
    return f"Spark does not run on Java {version}"


def from_environment(environment: Mapping[str, str]) -> tuple[Path | None, str]:
    """JAVA_HOME if it can be used; else None and, where it is set, why not."""
    given = environment.get("JAVA_HOME", "")
    if not given:
        return None, ""
    home = Path(given).expanduser().absolute()
    reason = refusal(version_of(home))
    return (None, f"JAVA_HOME={given} cannot be used: {reason}") if reason else (home, "")


def java_home(environment: Mapping[str, str] = os.environ, venv: Path = Path(sys.prefix)) -> Path:
    """The runtime to start a service with: JAVA_HOME if suitable, else the one that setup chose.

    :raises JavaError: neither is there.
    """
    given, reason = from_environment(environment)
    if given:
        return given
    home = installed_home(venv)
    if not refusal(version_of(home)):
        return home
    raise JavaError(
        reason or "No Java runtime: JAVA_HOME is not set and setup has not chosen one.", SUITABLE, NEXT_STEP
    )


def real_home(wrapper: Path) -> Path | None:
    """The runtime behind a folder written by `write_wrapper`, if it is still there."""
    script = wrapper / "bin" / "java"
    if not script.is_file():
        return None
    found = re.search(r'REAL_JAVA:-"(.+)/bin/java"', script.read_text(encoding="utf-8", errors="replace"))
    return Path(found[1]) if found and not refusal(version_of(Path(found[1]))) else None


def write_wrapper(wrapper: Path, real: Path, trust_store: Path | None, pyspark: Path) -> None:
    """Make `wrapper` usable as JAVA_HOME, starting the runtime in `real`.

    :param trust_store: PKCS12 file of certificate authorities for a runtime that does not know the system's.
    :param pyspark: the package's folder.
    """
    options = ""
    if trust_store:
        password = " -Djavax.net.ssl.trustStorePassword=changeit"  # the JVM's own default; it guards nothing
        options = f'-Djavax.net.ssl.trustStore="{trust_store}" -Djavax.net.ssl.trustStoreType=PKCS12{password} '
    filled = {"@JAVA@": f"{real}/bin/java", "@TRUST_STORE@": options, "@SHARE@": str(wrapper.parent)}
    text = TEMPLATE.read_text(encoding="utf-8").replace("@PYSPARK@", str(pyspark))
    for name, value in filled.items():
        text = text.replace(name, value)
    shutil.rmtree(wrapper, ignore_errors=True)
    (wrapper / "bin").mkdir(parents=True)
    # Spark's launcher and we read here what a runtime is instead of starting it.
    released = f'JAVA_VERSION="{version_of(real)}"\nJAVA_VERSION_DATE="{released_on(real) or ""}"\n'
    (wrapper / "release").write_text(released, encoding="utf-8")
    script = wrapper / "bin" / "java"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
