"""Settings: where they come from, which wins, and what is refused."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

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
