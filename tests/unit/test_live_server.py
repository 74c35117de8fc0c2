"""What the live page's server is told, and what it makes of that: role, host names, health."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from lakehouse.errors import SettingError
from lakehouse.pulse import pulse_file
from lakehouse.settings import Settings
from serving.live.__main__ import allowed_hosts, reader_dsn
from serving.live.health import health
from serving.state import state_file

NOW_S = 1_800_000_000.0
GONE = 2**22 + 1
"""No process has such a number."""


def test_it_reads_as_bi_unless_told_otherwise(settings: Settings) -> None:
    server = {"postgres_dsn": SecretStr("host=db user=lakehouse password=secret"), "bi_password": SecretStr("see")}
    found = conninfo_to_dict(reader_dsn(settings.model_copy(update=server)))
    assert found == {"host": "db", "user": "bi", "password": "see"}
    given = {"live_dsn": SecretStr("host=other user=viewer")}
    assert reader_dsn(settings.model_copy(update=server | given)) == "host=other user=viewer"


def test_without_a_role_to_read_with_it_refuses_and_names_the_settings(settings: Settings) -> None:
    owner_only = settings.model_copy(update={"postgres_dsn": SecretStr("host=db user=lakehouse password=secret")})
    for incomplete in (settings, owner_only):
        with pytest.raises(SettingError, match="LAKEHOUSE_LIVE_DSN") as refused:
            reader_dsn(incomplete)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_where_it_listens_on_this_machine_alone_no_other_name_leads_to_it(host: str) -> None:
    assert allowed_hosts(host, "") == ["127.0.0.1", "localhost", "[::1]"]
    assert allowed_hosts(host, "shop.example, wall") == ["127.0.0.1", "localhost", "[::1]", "shop.example", "wall"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "shop.example", ""])
def test_elsewhere_it_answers_to_the_names_that_are_given_and_without_any_it_does_not_listen(host: str) -> None:
    assert allowed_hosts(host, "shop.example") == ["shop.example"]
    for none in ("", " , "):
        with pytest.raises(SettingError, match="LAKEHOUSE_LIVE_HOSTS"):
            allowed_hosts(host, none)


def said(settings: Settings, pulse: dict[str, Any] | None = None, sink: dict[str, Any] | None = None) -> list[str]:
    for path, told in ((pulse_file(settings), pulse), (state_file(settings), sink)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if told is not None:
            path.write_text(json.dumps({"pid": os.getpid(), "written_at_s": NOW_S} | told), encoding="utf-8")
    return [f"{each['part']} {each['says']}" for each in health(settings, NOW_S)]


def test_nothing_is_said_of_what_is_well_or_was_never_here(settings: Settings) -> None:
    assert said(settings) == []
    assert said(settings, {"running": True}, {"state": "serving"}) == []


def test_what_is_wrong_is_said_in_the_order_of_the_flow(settings: Settings) -> None:
    assert said(settings, {"running": False}, {"state": "waiting for Kafka"}) == [
        "pipeline is starting",
        "sink is waiting for Kafka",
    ]
    gone = {"pid": GONE, "running": True, "state": "serving"}
    assert said(settings, gone, gone) == ["pipeline is not running", "sink is not running"]
    assert said(settings, sink={"state": "serving", "written_at_s": NOW_S - 31}) == ["sink has been silent for 31 s"]
