"""What Maven has for us: listed with its hashes in jars.sha256, downloaded by jgo, which knows where Maven Central is.

A line of jars.sha256 is a hash and `configuration/group:artifact:type[:classifier]:version`. Each configuration is a
folder. Those of SETUP come with `make setup`, others when somebody asks for them: `python -m operate.jars connect`.

Another place than Maven Central: jgo's own file, `~/.config/jgo.conf` or what JGO_CONFIG_FILE names, with the lines
`[repositories]` and `central = ADDRESS`. Standard library only, but for the download: setup imports this before there
is anything else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lakehouse.errors import DownloadError

PINS = Path(__file__).with_name("jars.sha256")
SETUP = ("spark", "kafka")
SIDE_BY_SIDE = 8
TRIES = 3
PAUSE_S = 1.0
Download = Callable[[str, Path], Path]


def folder(venv: Path = Path(sys.prefix)) -> Path:
    """Where the jars are; `spark` and `kafka` below it are class paths of their own."""
    return venv / "share" / "lakehouse" / "jars"


def class_path(conf: str, venv: Path = Path(sys.prefix)) -> str:
    """The class path of a configuration, such as `spark`.

    :raises DownloadError: a jar is not there.
    """
    absent = [name for name in files([conf]) if not (folder(venv) / name).is_file()]
    if absent:
        raise DownloadError(f"{len(absent)} jars are missing, {absent[0]} first.", "", "run `make setup`")
    return str(folder(venv) / conf / "*")


def at_hand(conf: str) -> Path:
    """The folder of a configuration that `make setup` leaves out, fetched if it is not there yet.

    :raises DownloadError: it cannot be fetched, or is not what is pinned.
    """
    command = [sys.executable, "-m", "operate.jars", conf]
    done = subprocess.run(command, cwd=PINS.parents[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DownloadError(f"The jars of {conf} could not be fetched:\n{done.stderr[-2000:]}")
    return folder() / conf


def pins(confs: Sequence[str]) -> dict[str, str]:
    """SHA-256 by `configuration/coordinate`, such as `kafka/org.apache.kafka:kafka_2.13:jar:4.3.1`."""
    lines = (line.split() for line in PINS.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name: digest for digest, name in lines if name.split("/")[0] in confs}


def files(confs: Sequence[str]) -> dict[str, str]:
    """SHA-256 by the name of a file, such as `kafka/kafka_2.13-4.3.1.jar`."""
    return {file_name(name): digest for name, digest in pins(confs).items()}


def file_name(pinned: str) -> str:
    """Maven's name of the file, in the folder of its configuration."""
    conf, coordinate = pinned.split("/")
    _, artifact, kind, *classifier, version = coordinate.split(":")
    return f"{conf}/{'-'.join([artifact, version, *classifier])}.{kind}"


def sums(place: Path, confs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files in the folders of these configurations below `place`, by name."""
    found = sorted(path for conf in confs for path in (place / conf).glob("*"))
    return {path.relative_to(place).as_posix(): sha256(path) for path in found}


def fetch(place: Path, confs: Sequence[str], download: Download) -> None:
    """Make the folders of these configurations below `place` hold exactly what is pinned; downloads only what the cache
    lacks.

    :param download: brings the file of a coordinate into an empty folder and says where it is.
    :raises DownloadError: a file cannot be had, or is not what is pinned.
    """
    place.mkdir(parents=True, exist_ok=True)
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:  # who comes second finds all that the first has fetched
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sums(place, confs) == files(confs):
            return
        for left in [*place.glob("new.*"), *cache().glob("new.*")]:
            shutil.rmtree(left)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            wanted = {digest: name.split("/")[1] for name, digest in pins(confs).items()}
            tasks = [pool.submit(into_cache, coordinate, digest, download) for digest, coordinate in wanted.items()]
            try:
                for task in tasks:
                    task.result()
            finally:
                pool.shutdown(cancel_futures=True)
        new = Path(tempfile.mkdtemp(prefix="new.", dir=place))
        for name, digest in files(confs).items():
            (new / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(cache() / digest, new / name)
        for conf in confs:
            shutil.rmtree(place / conf, ignore_errors=True)
            (new / conf).rename(place / conf)
        new.rmdir()


def into_cache(coordinate: str, digest: str, download: Download) -> None:
    """A file in the cache is whole: it comes there by renaming, once its hash is right.

    :raises DownloadError: as `fetch`.
    """
    kept = cache() / digest
    if kept.exists() and sha256(kept) == digest:
        return
    for left in reversed(range(TRIES)):
        attempt = Path(tempfile.mkdtemp(prefix="new.", dir=cache()))
        try:
            found = download(coordinate, attempt)
            got = sha256(found)
            if got == digest:
                found.replace(kept)
                return
            error = DownloadError(
                f"{coordinate} has SHA-256 {got}.",
                f"{digest}, as operate/jars.sha256 says",
                "try again; if it stays, ask who serves the jars",
            )
        except (OSError, RuntimeError) as trouble:  # jgo's errors, and those of requests
            error = DownloadError(f"{coordinate}: {trouble}", "", "look at the network and HTTPS_PROXY, then try again")
        finally:
            shutil.rmtree(attempt)
        if left:
            time.sleep(PAUSE_S)
    raise error


def by_jgo() -> Download:
    """Downloads from Maven Central, or where jgo's settings say."""
    places = ssl.get_default_verify_paths()
    system = places.cafile or places.capath
    if system:  # without it requests knows its own list of authorities only
        os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ.get("CURL_CA_BUNDLE", system))

    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}

    def download(coordinate: str, place: Path) -> Path:
        group, artifact, kind, *classifier, version = coordinate.split(":")
        maven = MavenContext(repo_cache=place, remote_repos=repositories, timeout=60)
        return maven.project(group, artifact).at_version(version).artifact("".join(classifier), kind).resolve()

    return download


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache() -> Path:
    """Files by their SHA-256."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lakehouse" / "jars"


if __name__ == "__main__":
    try:
        fetch(folder(), sys.argv[1:] or SETUP, by_jgo())
    except DownloadError as problem:
        sys.exit(str(problem))
