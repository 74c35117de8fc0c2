"""The JVM's jars: listed in ivy.xml, fetched with the Ivy that pyspark brings, checked against jars.sha256.

Standard library only: setup imports this before pip has run. `python -m operate.jars` writes jars.sha256 anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path

from lakehouse.errors import DownloadError

MODULES = Path(__file__).with_name("ivy.xml")
PINS = Path(__file__).with_name("jars.sha256")
PATTERN = "[conf]/[artifact](-[classifier])-[revision].[ext]"
Run = Callable[[list[str]], object]


def folder(venv: Path = Path(sys.prefix)) -> Path:
    """Where the jars are; `spark` and `kafka` below it are class paths of their own."""
    return venv / "share" / "lakehouse" / "jars"


def class_path(conf: str, venv: Path = Path(sys.prefix)) -> str:
    """The class path of `spark` or `kafka`.

    :raises DownloadError: a jar is not there.
    """
    absent = [name for name in pins() if name.startswith(f"{conf}/") and not (folder(venv) / name).is_file()]
    if absent:
        raise DownloadError(f"{len(absent)} jars are missing, {absent[0]} first.", "", "run `make setup`")
    return str(folder(venv) / conf / "*")


def pins() -> dict[str, str]:
    """SHA-256 by name, such as `kafka/kafka_2.13-4.3.1.jar`."""
    lines = (line.split() for line in PINS.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name: digest for digest, name in lines}


def sums(place: Path) -> dict[str, str]:
    """SHA-256 of the jars in `spark` and `kafka` below `place`, by name."""
    found = sorted(place.glob("*/*.jar"))
    return {path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def fetch(place: Path, java: Path, ivy: Path, run: Run) -> None:
    """Make `place` hold exactly the pinned jars; downloads only what the cache lacks.

    :raises DownloadError: what was fetched is not what is pinned.
    """
    if sums(place) == pins():
        return
    shutil.rmtree(place, ignore_errors=True)
    staging = retrieve(place.parent, java, ivy, run)
    got = sums(staging)
    wrong = sorted(name for name in got.keys() | pins().keys() if got.get(name) != pins().get(name))
    if wrong:
        shutil.rmtree(staging)
        found = f"{wrong[0]} has SHA-256 {got.get(wrong[0], '(not fetched)')}, and {len(wrong) - 1} more differ."
        expected = f"{pins().get(wrong[0], '(no such jar)')}, as operate/jars.sha256 says"
        next_step = f"remove {cache()} and run `make setup` again; if it stays, ask who serves the jars"
        raise DownloadError(found, expected, next_step)
    staging.chmod(0o755)  # mkdtemp is for its owner alone
    staging.rename(place)


def retrieve(parent: Path, java: Path, ivy: Path, run: Run) -> Path:
    """Download into a new folder in `parent`."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("jars.new.*"):
        shutil.rmtree(left, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix="jars.new.", dir=parent))
    settings = os.environ.get("IVY_SETTINGS")  # where a company has a mirror of its own
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:  # Ivy's cache is not made for two at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [str(java / "bin" / "java"), *proxy(os.environ), "-jar", str(ivy)]
        command += ["-settings", settings] if settings else []
        command += ["-cache", str(cache()), "-ivy", str(MODULES), "-confs", "spark", "kafka", "-types", "jar", "bundle"]
        run([*command, "-retrieve", f"{staging}/{PATTERN}"])
    return staging


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakehouse" / "ivy"


def proxy(environment: Mapping[str, str]) -> list[str]:
    """HTTPS_PROXY as JVM options, since Java does not read it. A proxy that asks for a password is not supported."""
    url = urllib.parse.urlsplit(environment.get("HTTPS_PROXY") or environment.get("https_proxy") or "")
    if not url.hostname:
        return []
    return [f"-Dhttps.proxyHost={url.hostname}", f"-Dhttps.proxyPort={url.port or 80}"]


if __name__ == "__main__":
    import pyspark

    from operate.java import java_home

    ivy_jar = next((Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar"))
    fetched = retrieve(folder().parent, java_home(), ivy_jar, subprocess.check_call)
    PINS.write_text("".join(f"{digest}  {name}\n" for name, digest in sums(fetched).items()), encoding="utf-8")
    shutil.rmtree(fetched)
