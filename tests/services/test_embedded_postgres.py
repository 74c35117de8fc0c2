"""The embedded PostgreSQL, wherever it is installed: as whom it runs, and which role may do what."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED
from operate.services import other_account, postgres, public_copy
from operate.services.postgres import PostgresServer
from serving.server import connect
from serving.store import VIEWS, prepare_store
from tests.postgres_server import running, running_server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's server runs as that user")


@pytest.fixture
def public_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As /var/cache is: everybody may enter it."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    monkeypatch.setattr(public_copy, "PLACE", folder / "copies")
    yield folder / "copies"
    shutil.rmtree(folder)


def ask(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def test_it_runs_from_a_folder_that_nobody_else_may_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public_place: Path
) -> None:
    """Root runs it as another account, whose way to it leads through root's folders."""
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    package = postgres.BIN.parents[1]
    for folder in package.parent.glob(f"{package.name}*"):  # its libraries lie beside it
        shutil.copytree(folder, own / folder.name, symlinks=True)
    monkeypatch.setattr(postgres, "BIN", own / package.name / "pginstall" / "bin")
    with running_server(own / "home") as (server, _):
        assert ask(server.bi_dsn, "SELECT current_user") == [("bi",)]
        assert len(ask(server.bi_dsn, "SELECT * FROM pg_timezone_names")) > 100
    assert public_place.is_dir() == (os.geteuid() == 0)


@as_root
def test_as_root_it_runs_as_an_account_of_its_own_without_any_right_of_roots(tmp_path: Path) -> None:
    with running_server(tmp_path / "home") as (server, process):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        (number,) = {member.uids().real for member in family}
        assert number in other_account.IDS and server.data.stat().st_uid == number
        for member in family:
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{member.pid}/status").read_text().splitlines())
            assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
            assert status["NoNewPrivs"] == "1" and status["Groups"].strip() == ""
        with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as superuser:
            superuser.execute("CREATE TABLE said (line text)")
            for closed in ("/etc/shadow", str(server.folder / "sink.pgpass")):
                with pytest.raises(psycopg.Error, match="Permission denied"):
                    superuser.execute(f"COPY said FROM '{closed}'")  # type: ignore[arg-type]
    assert "account" in server.prepare()[0] and server.data.stat().st_uid == number


@as_root
def test_the_data_of_an_earlier_version_leaves_the_account_that_daemons_share(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with running_server(tmp_path / "home") as (server, _):
        pass
    other_account.hand_over(server.data, nobody)
    (server.data / "link").symlink_to(tmp_path / "home")
    with running_server(tmp_path / "home") as (server, _):
        owners = {path.lstat().st_uid for path in [server.data, *server.data.rglob("*")]}
    assert owners == {server.data.stat().st_uid} and nobody not in owners
    assert (tmp_path / "home").stat().st_uid == 0


def test_a_store_of_before_whose_owner_was_the_superuser_goes_on(tmp_path: Path) -> None:
    with running_server(tmp_path) as (server, _):
        with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as superuser:
            superuser.execute("ALTER DATABASE lakehouse OWNER TO lakehouse")
            superuser.execute("DROP OWNED BY sink, live, bi; DROP ROLE sink, live, bi")
        with connect(server.superuser_dsn("lakehouse"), "sink") as superuser:
            superuser.execute("CREATE VIEW public.mine AS SELECT 1 AS one")
            prepare_store(superuser, "before")
            superuser.execute("INSERT INTO sink.topics VALUES ('t', 'u')")
    (server.folder / "sink.pgpass").unlink()
    with running_server(tmp_path) as (server, _):
        with connect(server.dsn, "sink") as owner:
            assert owner.execute("SELECT * FROM sink.topics").fetchall() == [("t", "u")]
            owner.execute("UPDATE sink.layout SET digest = 'of before'")
            prepare_store(owner, "before")
            owner.execute("ALTER TABLE gold.orders ADD COLUMN later int; DROP VIEW public.mine")
        assert ask(server.bi_dsn, "SELECT count(*) FROM customers") == [(0,)]
        left = "SELECT count(*) FROM pg_class WHERE relowner = 10 AND relnamespace >= 16384"
        assert ask(server.dsn, left) == [(0,)]


def test_its_reader_gets_the_password_that_is_asked_for_later(tmp_path: Path) -> None:
    with running_server(tmp_path) as (server, _), psycopg.connect(server.bi_dsn):
        pass
    later = PostgresServer(Settings(home=tmp_path, bi_password=SecretStr("a: b\\c"), _env_file=None))
    with running(later) as (server, _):
        with connect(server.dsn, "sink") as connection:
            prepare_store(connection, "a: b\\c")
        assert ask(server.bi_dsn, "SELECT count(*) FROM customers") == [(0,)]
        assert server.bi_password == "a: b\\c"


def test_who_may_do_what(postgres: PostgresServer) -> None:
    """All of it: what is not here is not granted."""
    with connect(postgres.dsn, "sink") as owner:
        prepare_store(owner, "")
    roles = """SELECT rolname, rolconnlimit, concat_ws(' ', CASE WHEN rolsuper THEN 'superuser' END,
        CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END,
        CASE WHEN rolreplication THEN 'replication' END, CASE WHEN rolbypassrls THEN 'bypassrls' END)
        FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"""
    assert ask(postgres.dsn, roles) == [
        ("bi", 15, ""),
        ("lakehouse", -1, "superuser createrole createdb replication bypassrls"),
        ("live", 10, ""),
        ("sink", -1, ""),
    ]
    members = "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members WHERE roleid >= 16384"
    assert ask(postgres.dsn, members) == [("bi", "live")]

    databases = """SELECT datname, coalesce(nullif(grantee, 0)::regrole::text, 'everybody'),
        string_agg(privilege_type, ' ' ORDER BY privilege_type)
        FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
        WHERE grantee NOT IN (datdba, 10) AND datname IN ('lakehouse', 'postgres', 'template1') GROUP BY 1, 2"""
    assert sorted(ask(postgres.dsn, databases)) == [
        ("lakehouse", "bi", "CONNECT TEMPORARY"),
        ("lakehouse", "live", "CONNECT"),
    ]
    granted = """SELECT grantee::regrole::text, string_agg(DISTINCT privilege_type, ' '),
        array_agg(nspname || '.' || relname ORDER BY 1)
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl)
        WHERE pg_class.oid >= 16384 AND grantee <> relowner GROUP BY 1"""
    ((who, what, relations),) = ask(postgres.dsn, granted)
    assert (who, what) == ("bi", "SELECT")
    assert set(relations) == {*VIEWS, *(table.name for table in PUBLISHED)}
    schemas = """SELECT nspname, nullif(grantee, 0)::regrole::text, privilege_type
        FROM pg_namespace, aclexplode(nspacl) WHERE grantee NOT IN (nspowner, 10) ORDER BY 1"""
    assert ask(postgres.dsn, schemas) == [
        ("gold", "bi", "USAGE"),
        ("information_schema", None, "USAGE"),
        ("pg_catalog", None, "USAGE"),
        ("public", None, "USAGE"),
        ("silver", "bi", "USAGE"),
        ("storefront", "bi", "USAGE"),
    ]
    callable_ = """SELECT proname FROM pg_proc WHERE has_function_privilege('bi', oid, 'EXECUTE')
        AND (proname ~ 'advisory|^lo_|^pg_(read|ls_|stat_file|write|reload|rotate|promote|switch)|logical_emit'
             OR proname IN ('loread', 'lowrite'))"""
    assert ask(postgres.dsn, callable_) == []
    settings = "SELECT setrole::regrole::text, setdatabase <> 0, unnest(setconfig) FROM pg_db_role_setting"
    in_all = {(role, value) for role, is_of_database, value in ask(postgres.dsn, settings) if not is_of_database}
    assert in_all == {
        ("bi", "idle_in_transaction_session_timeout=10min"),
        ("bi", "lock_timeout=30s"),
        ("bi", "log_min_messages=fatal"),
        ("bi", "statement_timeout=5min"),
        ("bi", "temp_file_limit=2GB"),
        ("live", "log_min_messages=fatal"),
        ("sink", "log_min_messages=fatal"),
    }
