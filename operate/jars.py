"""What Maven has for us: listed in ivy.xml, fetched with the Ivy that pyspark brings, checked against jars.sha256.

Each configuration of ivy.xml is a folder. Those of SETUP come with `make setup`, others when somebody asks for them.

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from lakehouse.errors import DownloadError

MODULES = Path(__file__).with_name("ivy.xml")
PINS = Path(__file__).with_name("jars.sha256")
PATTERN = "[conf]/[artifact](-[classifier])-[revision].[ext]"
SETUP = ("spark", "kafka")
Run = Callable[[list[str]], object]


def folder(venv: Path = Path(sys.prefix)) -> Path:
    """Where the jars are; `spark` and `kafka` below it are class paths of their own."""
    return venv / "share" / "lakehouse" / "jars"


def class_path(conf: str, venv: Path = Path(sys.prefix)) -> str:
    """The class path of a configuration, such as `spark`.

    :raises DownloadError: a jar is not there.
    """
    absent = [name for name in pins([conf]) if not (folder(venv) / name).is_file()]
    if absent:
        raise DownloadError(f"{len(absent)} jars are missing, {absent[0]} first.", "", "run `make setup`")
    return str(folder(venv) / conf / "*")


def at_hand(conf: str) -> Path:
    """The folder of a configuration that `make setup` leaves out, fetched if it is not there yet.

    :raises DownloadError: it cannot be fetched, or is not what is pinned.
    """
    import pyspark  # not at the top: setup imports this file before it is there

    from operate.java import java_home

    def run(command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DownloadError(f"Ivy ended with code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    fetch(folder(), java_home(), ivy_of(Path(pyspark.__file__).parent), run, [conf])
    return folder() / conf


def pins(confs: Sequence[str]) -> dict[str, str]:
    """SHA-256 by name, such as `kafka/kafka_2.13-4.3.1.jar`."""
    lines = (line.split() for line in PINS.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name: digest for digest, name in lines if name.split("/")[0] in confs}


def sums(place: Path, confs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files in the folders of these configurations below `place`, by name."""
    found = sorted(path for conf in confs for path in (place / conf).glob("*"))
    return {path.relative_to(place).as_posix(): _sum(path) for path in found}


def fetch(place: Path, java: Path, ivy: Path, run: Run, confs: Sequence[str] = SETUP) -> None:
    """Make the folders of these configurations below `place` hold exactly what is pinned; downloads only what the cache
    lacks.

    :raises DownloadError: what was fetched is not what is pinned.
    """
    wanted = pins(confs)
    if sums(place, confs) == wanted:
        return
    staging = retrieve(place.parent, java, ivy, run, confs)
    got = sums(staging, confs)
    wrong = sorted(name for name in got.keys() | wanted.keys() if got.get(name) != wanted.get(name))
    if wrong:
        shutil.rmtree(staging)
        found = f"{wrong[0]} has SHA-256 {got.get(wrong[0], '(not fetched)')}, and {len(wrong) - 1} more differ."
        expected = f"{wanted.get(wrong[0], '(no such jar)')}, as operate/jars.sha256 says"
        next_step = f"remove {cache()} and try again; if it stays, ask who serves the jars"
        raise DownloadError(found, expected, next_step)
    place.mkdir(exist_ok=True)
    for conf in confs:
        shutil.rmtree(place / conf, ignore_errors=True)
        (staging / conf).rename(place / conf)
    staging.rmdir()


def retrieve(parent: Path, java: Path, ivy: Path, run: Run, confs: Sequence[str]) -> Path:
    """Download into a new folder in `parent`, a folder for each configuration."""
    parent.mkdir(parents=True, exist_ok=True)
    cache().mkdir(parents=True, exist_ok=True)
    settings = os.environ.get("IVY_SETTINGS")  # where a company has a mirror of its own
    with (cache() / "lock").open("w") as lock:  # Ivy's cache is not made for two at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in parent.glob("jars.new.*"):
            shutil.rmtree(left, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix="jars.new.", dir=parent))
        command = [str(java / "bin" / "java"), *proxy(os.environ), "-jar", str(ivy)]
        command += ["-settings", settings] if settings else []
        command += ["-cache", str(cache()), "-ivy", str(MODULES), "-confs", *confs]
        run([*command, "-types", "jar", "bundle", "archive", "-retrieve", f"{staging}/{PATTERN}"])
    return staging


def ivy_of(pyspark: Path) -> Path:
    """The Ivy in pyspark's folder."""
    return next((pyspark / "jars").glob("ivy-*.jar"))


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

    every = [conf.attrib["name"] for conf in ElementTree.parse(MODULES).iterfind("configurations/conf")]
    ivy_jar = ivy_of(Path(pyspark.__file__).parent)
    fetched = retrieve(folder().parent, java_home(), ivy_jar, subprocess.check_call, every)
    PINS.write_text("".join(f"{digest}  {name}\n" for name, digest in sums(fetched, every).items()), encoding="utf-8")
    shutil.rmtree(fetched)
