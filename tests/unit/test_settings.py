"""Settings: where they come from, which wins, and what is refused."""

from __future__ import annotations

import codecs
import os
import re
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from lakehouse.conninfo import without_login
from lakehouse.errors import SettingError
from lakehouse.settings import Settings, load_settings


def test_without_anything_given_all_settings_have_their_defaults() -> None:
    assert load_settings() == Settings()
    assert load_settings().events_topic == "store-events"


def test_an_unknown_variable_is_refused_with_the_nearest_known_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_SALES_WINDOWS", "60")
    with pytest.raises(
        SettingError, match=r"LAKEHOUSE_SALES_WINDOWS in the environment(.|\n)*LAKEHOUSE_SALES_WINDOW_S$"
    ):
        load_settings()


def test_an_unknown_name_in_the_env_file_is_refused_and_the_file_is_named() -> None:
    Path(".env").write_text("LAKEHOUSE_TRIGER_MS=5\n")
    with pytest.raises(SettingError, match=r"LAKEHOUSE_TRIGER_MS in \.env(.|\n)*LAKEHOUSE_TRIGGER_MS"):
        load_settings()


def test_the_env_file_is_read_and_what_is_not_ours_in_it_is_left_alone() -> None:
    Path(".env").write_text("# LAKEHOUSE_NOT_A_SETTING=1\n\nPATH_OF_SOMEONE=x\nLAKEHOUSE_TRIGGER_MS=5\n")
    assert load_settings().trigger_ms == 5


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("# Grüße\nLAKEHOUSE_TRIGGER_MS=5\n".encode("latin-1"), "Latin-1 or the like: line 1"),
        (b"A=1\n# caf\xe9\nLAKEHOUSE_TRIGGER_MS=5\n", "line 2"),
        ("LAKEHOUSE_TRIGGER_MS=5\n".encode("utf-16"), "UTF-16"),
        (codecs.BOM_UTF16_BE + "LAKEHOUSE_TRIGGER_MS=5\n".encode("utf-16-be"), "UTF-16"),
        ("LAKEHOUSE_TRIGGER_MS=5\n".encode("utf-16-le"), "UTF-16 without its mark"),
        ("LAKEHOUSE_TRIGGER_MS=5\n".encode("utf-32"), "UTF-32"),
        ("LAKEHOUSE_TRIGGER_MS=5 # ä\n".encode("cp437"), "line 1"),
    ],
)
def test_an_env_file_in_another_encoding_is_refused_and_both_are_named(content: bytes, found: str) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(SettingError, match=rf"^\.env is in another encoding \(.*{found}.*\)(.|\n)*UTF-8"):
        load_settings()


@pytest.mark.parametrize("line", ["{}=5", "export {}=5", "  {} = '5' # five", 'export {}="5"', "A='x\ny'\n{}=5"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_in_the_env_file_are_checked_as_they_are_read(line: str, mark: bytes, end: str) -> None:
    def write(name: str) -> None:
        Path(".env").write_bytes(mark + (line.format(name) + "\n# größer\n").replace("\n", end).encode())

    write("LAKEHOUSE_TRIGGER_MS")
    assert load_settings().trigger_ms == 5
    write("LAKEHOUSE_TRIGER_MS")
    with pytest.raises(SettingError, match=r"LAKEHOUSE_TRIGER_MS in \.env(.|\n)*LAKEHOUSE_TRIGGER_MS"):
        load_settings()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("a\nb", "control characters"),
        ("\x1b[31m", "control characters"),
        ("bad-\udcff", "is UTF-8"),
        *(
            (f"a{each}b", f"the path has {re.escape(each)}, which delta-rs or Kafka cannot open")
            for each in "#%?[]|^\\,"
        ),
    ],
)
def test_a_home_or_a_lake_that_cannot_be_opened_is_refused(path: str, why: str) -> None:
    for place in ({"home": Path(path)}, {"lake": path}):
        with pytest.raises(SettingError, match=why):
            load_settings(**place)
    assert load_settings(lake="s3://a,b/c%20d").lake_url == "s3://a,b/c%20d"


def test_the_environment_wins_over_the_env_file_and_a_flag_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LAKEHOUSE_TRIGGER_MS=5\nLAKEHOUSE_KAFKA_PORT=1\nLAKEHOUSE_MAX_BATCH_ROWS=7\n")
    monkeypatch.setenv("LAKEHOUSE_KAFKA_PORT", "2")
    monkeypatch.setenv("LAKEHOUSE_MAX_BATCH_ROWS", "8")
    read = load_settings(max_batch_rows=9)
    assert (read.trigger_ms, read.kafka_port, read.max_batch_rows) == (5, 2, 9)


def test_a_flag_that_was_not_given_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_KAFKA_PORT", "2")
    assert load_settings(kafka_port=None).kafka_port == 2


@pytest.mark.parametrize("window_s", [1, 60, 90, 3600, 86400])
def test_a_window_that_divides_a_day_is_taken(window_s: int) -> None:
    assert load_settings(sales_window_s=window_s).sales_window_s == window_s


@pytest.mark.parametrize("window_s", [7, 61, 3601, 50000])
def test_a_window_that_does_not_divide_a_day_is_refused(window_s: int) -> None:
    with pytest.raises(SettingError, match=rf"LAKEHOUSE_SALES_WINDOW_S is {window_s}: .*must divide a day"):
        load_settings(sales_window_s=window_s)


@pytest.mark.parametrize(
    ("name", "value"), [("SALES_WINDOW_S", "0"), ("KAFKA_PORT", "65536"), ("RECENT_S", "1 hour"), ("TRIGGER_MS", "")]
)
def test_a_value_out_of_range_is_refused_with_its_name_and_the_value_found(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    with pytest.raises(SettingError) as caught:
        load_settings()
    assert f"LAKEHOUSE_{name} is {value!r}" in str(caught.value)


def test_settings_handed_to_a_process_as_its_environment_are_the_same_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = Settings(
        home=tmp_path / "a home",
        lake="s3a://bucket/lake",
        kafka_bootstrap="one:9092,two:9092",
        round_s=0.5,
        sales_window_s=300,
    )
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().trigger_ms = 1  # type: ignore[misc]


def test_the_home_is_absolute_and_the_lake_is_in_it_unless_a_place_is_given(tmp_path: Path) -> None:
    assert Settings(home="somewhere").lake_url == str(tmp_path / "somewhere" / "lake")
    assert Settings(lake="hdfs://host/lake/").lake_url == "hdfs://host/lake"


def test_an_unknown_name_that_a_program_gives_is_refused_too() -> None:
    with pytest.raises(SettingError, match=r"LAKEHOUSE_ROUND_SS in the program(.|\n)*LAKEHOUSE_ROUND_S$"):
        load_settings(round_ss=4.0)


def test_a_login_to_kafka_is_whole_or_refused(tmp_path: Path) -> None:
    secure = {"kafka_bootstrap": "kafka:9093", "kafka_security_protocol": "SASL_SSL"}
    assert load_settings(**secure, kafka_user="me", kafka_password="s").kafka_has_login
    with pytest.raises(SettingError, match=r"KAFKA_USER(.|\n)*must be for a login"):
        load_settings(**secure)
    with pytest.raises(SettingError, match=r"KAFKA_PASSWORD(.|\n)*must be for a login"):
        load_settings(**secure, kafka_user="me")
    with pytest.raises(SettingError, match=r"KAFKA_PASSWORD(.|\n)*PLAINTEXT") as caught:
        load_settings(kafka_password="hunter2")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingError, match="no such file"):
        load_settings(kafka_ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(SettingError, match="LAKEHOUSE_KAFKA_BOOTSTRAP names none"):
        load_settings(kafka_security_protocol="SSL")


DSNS = [
    "postgresql://u:pa%sshunter@h/db",
    "postgresql://u:hun%ter",
    "postgresql://u:hunter@h:5432:1/db",
    "postgresql://u:hun ter@[::1/db",
    "host=h password='hunter",
    "host=h password=hun ter",
    "host=h hunter",
    "pasword=hunter host=h",
    "hunter",
    "host=h password=hunter ter\\",
    "host=h\0password=hunter",
    "postgres//u:hunter@h/db",
    "postgresql://u:p@hunter@h/db",
    "postgresql://u:hunter/ter@h/db",
    "postgresql://u:12/hunter@h/db",
]


@pytest.mark.parametrize("name", ["postgres_dsn", "live_dsn"])
@pytest.mark.parametrize("dsn", DSNS)
def test_a_connection_string_with_a_typing_error_is_refused_and_nothing_of_it_is_shown(dsn: str, name: str) -> None:
    """In no line of a stack trace either, with all errors behind the error."""
    for make in (lambda: load_settings(**{name: dsn}), lambda: Settings(**{name: dsn})):
        with pytest.raises((SettingError, ValidationError)) as caught:
            make()
        told = "".join(traceback.format_exception(caught.value)) + str(caught.value) + repr(caught.value)
        assert name in told.lower() and "password" in told
        assert not [piece for piece in ("hun", "pa%s", 'ter"', "ter@") if piece in told]


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "postgresql://u:pa%25ss@h:5432/db?sslmode=verify-full",
        "host=h dbname=d user=u password='a b'",
        "host=/run/postgresql",
        "service=shop",
        "postgres://u@h,other/db",
        "postgres://u@h:1,other:2/db",
        "postgresql://u:p?hunter@h/db",
        "host=@abstract dbname=d",
    ],
)
def test_connection_strings_that_libpq_reads_are_taken_as_they_are(dsn: str) -> None:
    assert load_settings(postgres_dsn=dsn, live_dsn=dsn).postgres_dsn.get_secret_value() == dsn


SECRETS = [name for name, field in Settings.model_fields.items() if field.annotation is SecretStr]


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_shown_by_any_error_or_by_the_settings(name: str) -> None:
    secret = "0815-secret-0815-secret"
    given = {"postgres_dsn": f"password={secret}", "live_dsn": f"password={secret}"}.get(name, secret)
    for wrong in ({name: [given]}, {name: given, "trigger_ms": -1}, {name: given, "kafka_security_protocol": "SSL"}):
        with pytest.raises(ValidationError) as caught:
            Settings(**wrong)
        assert secret not in str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))
        with pytest.raises(SettingError) as told:
            load_settings(**wrong)
        assert secret not in "".join(traceback.format_exception(told.value))
    sasl = {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_bootstrap": "k:1",
        "kafka_user": "u",
        "kafka_password": secret,
    }
    fine = Settings(**({name: given} if name != "kafka_password" else sasl))
    assert secret not in repr(fine) + str(fine) + str(fine.model_dump())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other accounts")
def test_an_env_file_of_another_account_is_refused_and_one_of_roots_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LAKEHOUSE_TRIGGER_MS=5\n")
    os.chown(".env", 65534, 65534)
    with pytest.raises(SettingError, match=r"\.env belongs to another account \(user id 65534\)(.|\n)*chown"):
        load_settings()
    os.chown(".env", 0, 0)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert load_settings().trigger_ms == 5


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644, 0o604, 0o660, 0o666, 0o602, 0o620, 0o777])
@pytest.mark.parametrize("is_own_group", [True, False])
@pytest.mark.parametrize("line", ["LAKEHOUSE_BI_PASSWORD=x", "LAKEHOUSE_TRIGGER_MS=5", "export lakehouse_live_dsn=''"])
def test_an_env_file_that_others_may_write_is_refused_and_secrets_that_they_may_read_are_said(
    mode: int, is_own_group: bool, line: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Path(".env").write_text(f"{line}\n")
    Path(".env").chmod(mode)
    group = Path(".env").stat().st_gid
    monkeypatch.setattr("lakehouse.env_file._own_group", lambda: group if is_own_group else group + 1)
    others = 0o007 if is_own_group else 0o077
    if mode & others & 0o022:
        with pytest.raises(SettingError, match=r"can be written by other accounts(.|\n)*chmod 600 \.env"):
            load_settings()
        return
    load_settings()
    is_told = "TRIGGER" not in line and bool(mode & others & 0o044)
    assert ["chmod 600 .env" in record.getMessage() for record in caplog.records] == [True] * is_told


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://u:p%40ss@mlflow:5000/x@y", "http://mlflow:5000/x@y"),
        ("postgresql+psycopg://u:pass@h/mlflow", "postgresql+psycopg://h/mlflow"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("sqlite:////a@b/mlflow.db", "sqlite:////a@b/mlflow.db"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_login(uri: str, shown: str) -> None:
    assert without_login(uri) == shown
