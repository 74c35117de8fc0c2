"""One writer at a time: the second is refused and told who the first is; a dead one holds nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lakehouse.errors import LockedError
from lakehouse.locks import hold, writer_of
from lakehouse.settings import Settings
from tests.programs import another_process_holding


def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "bronze.lock"
    with (
        another_process_holding(lock) as first,
        pytest.raises(LockedError, match=f"Process {first.pid} is the writer already"),
        hold(lock, "the writer"),
    ):
        pytest.fail("two processes held one lock")


def test_a_link_is_no_lock_and_what_it_leads_to_stays_as_it_is(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("thesis")
    (tmp_path / "bronze.lock").symlink_to(thesis)
    with pytest.raises(LockedError, match="is a link"), hold(tmp_path / "bronze.lock", "the writer"):
        pass
    assert thesis.read_text() == "thesis"


def test_a_refused_process_leaves_the_name_of_the_holder_in_place(tmp_path: Path) -> None:
    lock = tmp_path / "bronze.lock"
    with another_process_holding(lock) as first:
        for _ in range(2):
            with pytest.raises(LockedError, match=f"Process {first.pid} "), hold(lock, "the writer"):
                pass


def test_a_lock_is_free_again_after_its_holder_was_killed(tmp_path: Path) -> None:
    lock = tmp_path / "bronze.lock"
    with another_process_holding(lock) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
        with hold(lock, "the writer"):
            assert lock.read_text() == str(os.getpid())


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "bronze.lock"
    with pytest.raises(RuntimeError, match="on purpose"), hold(lock, "the writer"):
        raise RuntimeError("on purpose")
    with hold(lock, "the writer"):
        pass


def test_the_writer_of_several_layers_holds_each_of_them_and_no_other(settings: Settings) -> None:
    with writer_of(("bronze", "silver"), settings):
        for layer in ("bronze", "silver"):
            with (
                pytest.raises(LockedError, match=f"the writer of {layer} in {settings.lake_url}"),
                writer_of((layer,), settings),
            ):
                pass
        with writer_of(("gold",), settings):
            pass
    with writer_of(("silver",), settings):
        pass


def test_a_writer_that_is_refused_one_layer_holds_none(settings: Settings) -> None:
    with writer_of(("silver",), settings):
        with pytest.raises(LockedError, match="silver"), writer_of(("bronze", "silver"), settings):
            pass
        with writer_of(("bronze",), settings):
            pass


def test_writers_of_two_lakes_do_not_meet(tmp_path: Path) -> None:
    one, other = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "other")
    with writer_of(("gold",), one), writer_of(("gold",), other):
        pass


def test_one_lake_named_in_two_ways_has_one_lock(tmp_path: Path) -> None:
    folder, url = Settings(lake=str(tmp_path / "lake")), Settings(lake=f"file://{tmp_path}/lake/")
    with writer_of(("gold",), folder), pytest.raises(LockedError), writer_of(("gold",), url):
        pass


def test_a_lake_that_is_no_local_folder_takes_no_lock(tmp_path: Path) -> None:
    remote = Settings(home=tmp_path / "home", lake="s3a://bucket/lake")
    with writer_of(("gold",), remote), writer_of(("gold",), remote):
        pass
    assert list(tmp_path.rglob("*.lock")) == []
