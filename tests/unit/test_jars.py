"""Jars: what is pinned is what lies there, whatever happens on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.errors import DownloadError
from operate import jars

A, B = "org.a:a:jar:1", "org.b:b:tar.gz:all:2"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for jars, a cache of its own, and three files pinned: A in two configurations, B in one."""
    pins = tmp_path / "jars.sha256"
    lines = [f"{hashed(name)}  {conf}/{name}\n" for conf, name in (("spark", A), ("kafka", A), ("kafka", B))]
    pins.write_text("".join(lines))
    monkeypatch.setattr(jars, "PINS", pins)
    monkeypatch.setattr(jars, "PAUSE_S", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "jars"


def hashed(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def server(asked: list[str], content: Callable[[str], str] = str) -> jars.Download:
    """Serves files whose content is their coordinate."""

    def download(coordinate: str, folder: Path) -> Path:
        asked.append(coordinate)
        file = folder / "file"
        file.write_text(content(coordinate))
        return file

    return download


def lying(place: Path) -> set[str]:
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_files_have_mavens_names_and_each_is_asked_for_once(place: Path) -> None:
    asked: list[str] = []
    jars.fetch(place, ["spark", "kafka"], server(asked))
    assert lying(place) == {"spark/a-1.jar", "kafka/a-1.jar", "kafka/b-2-all.tar.gz"}
    assert sorted(asked) == [A, B]
    jars.fetch(place, ["spark", "kafka"], server(asked))
    assert sorted(asked) == [A, B]


def test_a_file_that_is_damaged_gone_or_too_much_is_put_right_from_the_cache(place: Path) -> None:
    jars.fetch(place, ["kafka"], server([]))
    (place / "kafka" / "a-1.jar").write_text("damaged")
    (place / "kafka" / "b-2-all.tar.gz").unlink()
    (place / "kafka" / "older.jar").touch()
    asked: list[str] = []
    jars.fetch(place, ["kafka"], server(asked))
    assert jars.sums(place, ["kafka"]) == {"kafka/a-1.jar": hashed(A), "kafka/b-2-all.tar.gz": hashed(B)}
    assert asked == []


def test_other_configurations_stay_as_they_are(place: Path) -> None:
    jars.fetch(place, ["spark"], server([]))
    jars.fetch(place, ["kafka"], server([]))
    assert lying(place) == {"spark/a-1.jar", "kafka/a-1.jar", "kafka/b-2-all.tar.gz"}


def test_a_wrong_file_is_refused_and_what_was_there_stays(place: Path) -> None:
    jars.fetch(place, ["spark"], server([]))
    (place / "kafka").mkdir()
    (place / "kafka" / "older.jar").touch()
    with pytest.raises(DownloadError) as caught:
        jars.fetch(place, ["kafka"], server([], lambda name: "forged" if name == B else name))
    assert B in caught.value.found and hashed("forged") in caught.value.found
    assert hashed(B) in caught.value.expected
    assert caught.value.next_step
    assert lying(place) == {"spark/a-1.jar", "kafka/older.jar"}


def test_after_a_failure_only_what_lacks_is_downloaded(place: Path) -> None:
    def no_b(coordinate: str, folder: Path) -> Path:
        if coordinate == B:
            (folder / "half").write_text("half of it")
            raise ConnectionError("reset")
        return server([])(coordinate, folder)

    with pytest.raises(DownloadError, match=f"{re.escape(B)}: reset"):
        jars.fetch(place, ["kafka"], no_b)
    killed = jars.cache() / "new.killed"  # what a killed one leaves
    killed.mkdir()
    asked: list[str] = []
    jars.fetch(place, ["kafka"], server(asked))
    assert asked == [B]
    assert {path.name for path in jars.cache().iterdir()} == {"lock", hashed(A), hashed(B)}


def test_a_download_that_fails_once_is_tried_again(place: Path) -> None:
    asked: list[str] = []

    def at_first_torn(coordinate: str) -> str:
        return coordinate if asked.count(coordinate) > 1 else coordinate[:3]

    jars.fetch(place, ["spark"], server(asked, at_first_torn))
    assert asked == [A, A]


def test_a_missing_jar_is_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"2 jars are missing, kafka/a-1\.jar first"):
        jars.class_path("kafka", tmp_path / "venv")


def test_what_is_pinned_is_what_ivy_xml_asks_for() -> None:
    text = (Path(jars.__file__).with_name("ivy.xml")).read_text(encoding="utf-8")
    asked = set(re.findall(r'<dependency org="(\S+)" name="(\S+)" rev="(\S+)" conf="(\w+)->', text))
    pinned = set()
    for name in jars.PINS.read_text(encoding="utf-8").split()[1::2]:
        conf, coordinate = name.split("/")
        group, artifact, *_, version = coordinate.split(":")
        pinned.add((group, artifact, version, conf))
    assert asked and asked <= pinned
