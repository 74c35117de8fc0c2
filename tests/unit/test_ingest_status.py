"""What `lakehouse ingest status` says of files, beside what lies in the folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.archive import Archive
from ingest.input_folder import input_folder, state_folder
from ingest.status import show_status, status
from lakehouse.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    return load_settings(file_settle_s=0.0)


def test_a_home_that_has_read_nothing_has_nothing_and_stays_so(settings: Settings) -> None:
    found = status(settings, 20)
    assert (found.waiting, found.taken, found.done, found.refused_files, found.archived_files) == (0, 0, 0, 0, 0)
    assert not settings.home.exists()


def test_it_says_where_everything_is(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    folder = input_folder(settings, print)
    names = ["bad\x1b]52;c\n.csv", "done.csv", "read.csv", "worse.csv"]
    for name in names:
        (settings.input_path / name).write_bytes(b"1234")
    folder.claim(above=0)
    bad, done, _, worse = folder.deliveries.claimed()
    folder.deliveries.fail(bad, "it is\nbad\x1b[2J")
    folder.deliveries.fail(worse, "worse")
    folder.deliveries.finish(done)
    (done,) = folder.deliveries.finished()
    Archive(settings.archive_path).take(done, folder.deliveries.source_id("source"))
    folder.deliveries.forget(done)
    (settings.input_path / "new.csv").write_bytes(b"")
    (settings.input_path / "link.csv").symlink_to("new.csv")
    capsys.readouterr()

    assert show_status(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found[name] for name in ("waiting", "taken", "done", "refused_files", "refused_bytes")] == [1, 1, 0, 2, 8]
    assert found["archived_files"] == 1 and found["archived_bytes"] > 0
    assert [each["name"] for each in found["refused"]] == ["worse.csv", names[0]]
    place = Path(found["refused"][1]["place"])
    assert place == state_folder(settings) / "failed" / "00000001" and (place / "file.csv").read_bytes() == b"1234"

    assert show_status(settings, limit=1) == 0
    assert "bad" not in capsys.readouterr().out
    assert show_status(settings) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "bad\\x1b]52;c\\n.csv: it is bad\\x1b[2J\n" in said


def test_files_that_the_source_of_another_folder_has_taken_are_named(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"input_folder": str(tmp_path / "before")})
    folder = input_folder(other, print)
    (tmp_path / "before" / "a.csv").write_bytes(b"x")
    folder.claim(above=0)
    assert status(settings, 20).left_elsewhere == {str(state_folder(other)): 1}
