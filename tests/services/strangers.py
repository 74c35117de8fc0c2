"""Another account of the machine tries every port and every file of a running lakehouse, and gets nothing."""

from __future__ import annotations

import http.client
import socket
import struct
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

from lakehouse.settings import Settings
from operate.supervisor import programs_in
from tests.services.sinks import wait_for
from tests.services.sockets import kafka_describes_quorum

STRANGER = 65_533
"""An account without a name, a group or rights."""

_ALL = {"kafka", "postgres", "mlflow", "page", "spark", "python"}


def assert_a_stranger_gets_nothing(settings: Settings) -> Iterable[int]:
    """Of a lakehouse that starts. Out: the ports that it listens at when all that listens is there."""
    wait_for(lambda: set(_listening(settings).values()) >= _ALL, "not all programs listen", 180.0)
    ports = _listening(settings)
    said = {f"{name} at {port}": _what_it_says(name, port) for port, name in ports.items()}
    told = {place: what for place, what in said.items() if not what.startswith("refused")}
    assert set(ports.values()) == _ALL, ports
    assert not told, told
    assert_nothing_is_readable(settings)
    return ports


def assert_nothing_is_readable(settings: Settings) -> None:
    found = _readable_by_a_stranger(settings.home)
    assert not found, found


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _listening(settings: Settings) -> dict[int, str]:
    """Port -> what listens there, of all programs of a run. None listens beyond the loopback."""
    found = {}
    programs = [psutil.Process(pid) for pid in programs_in(settings).values()]
    for each in [*programs, *(child for program in programs for child in program.children(recursive=True))]:
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            words = " ".join(each.cmdline())
            for connection in each.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), (words, connection.laddr)
                    found[connection.laddr.port] = _name(words)
    return found


def _name(command: str) -> str:
    known = {
        "kafka.Kafka": "kafka",
        "pginstall": "postgres",
        "mlflow_shown": "mlflow",
        "serving.live": "page",
        "SparkSubmit": "spark",
        "operate.": "python",
        "pyspark.daemon": "python",
    }
    return next((name for part, name in known.items() if part in command), command)


def _what_it_says(name: str, port: int) -> str:
    """To somebody without a login, who asks for something that matters: `refused`, or what it said."""
    if name == "postgres":
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="lakehouse", dbname="postgres", passfile="").close()
        except psycopg.OperationalError as error:
            return "refused" if "password" in str(error) else str(error)
        return "let in"
    if name in ("mlflow", "page"):
        return _said_to_a_browser(port)
    if name == "kafka":
        said = kafka_describes_quorum(port)
        return "refused" if said == b"" else repr(said)
    return _said_to_a_program(port)


def _said_to_a_browser(port: int) -> str:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", "/")
    said = client.getresponse()
    return "refused" if said.status in (401, 403) else f"{said.status} {said.read(200)!r}"


def _said_to_a_program(port: int) -> str:
    """Spark's own ports want a login before anything else, and py4j's and PySpark's a token."""
    call = b"x" * 8
    of_spark = struct.pack(">qbqi", 8 + 1 + 8 + 4 + len(call), 3, 1, len(call)) + call
    said = _exchange(port, of_spark)
    if b"challenge" in said or b"SaslMessage" in said:
        return "refused by Spark"
    if said:
        return repr(said)
    said = _exchange(port, b"c\nt\ngetClass\ne\n")
    return "refused" if not said or said.startswith((b"!", b"Authentication", b"err")) else repr(said)


def _exchange(port: int, sent: bytes) -> bytes:
    """What comes back within some seconds, until the other side closes."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=3) as stranger:
        try:
            stranger.sendall(sent)
            while piece := stranger.recv(65_536):
                said += piece
        except (TimeoutError, ConnectionError):
            pass
    return said


def _readable_by_a_stranger(home: Path) -> list[str]:
    """The home itself, and whatever could be read in it if its folder were open. Asked as that account where we can be
    another, else by modes.
    """
    try:
        find = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "find", str(home)]
        seen = subprocess.run([*find, "-readable"], capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        seen = []
    for path in (home, *home.rglob("*")):
        try:
            if not path.is_symlink() and path.stat().st_mode & 0o077:
                seen.append(f"{path} {path.stat().st_mode:o}")
        except FileNotFoundError:  # a file that was for a moment
            continue
    return seen
