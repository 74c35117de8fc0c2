"""`make setup`: what it holds for done, what it shows, how its commands end."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from operate import jars
from operate.progress import Step, StepError, grown, started
from operate.setup_steps import Setup

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with all that the fingerprint is made of, and no Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    shutil.copytree(ROOT / "operate", tmp_path / "operate", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def done(checkout: Path, purpose: str) -> None:
    """Make a setup look complete."""
    setup = Setup(checkout, purpose)
    spark = setup.venv / "lib" / "python3.12" / "site-packages" / "pyspark" / "conf" / "spark-env.sh"
    jars_there = [setup.jars / name for name in jars.files(jars.SETUP)]
    for path in [setup.python, setup.wrapper / "bin" / "java", spark, *jars_there, setup.stamp]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    setup.stamp.write_text(f"{setup.fingerprint()} {purpose}\n")


def test_a_fresh_checkout_is_not_done(checkout: Path) -> None:
    assert not Setup(checkout).is_done()


def test_what_is_set_up_to_run_is_not_enough_for_tests(checkout: Path) -> None:
    done(checkout, "run")
    assert Setup(checkout, "run").is_done()
    assert not Setup(checkout, "test").is_done()


def test_what_is_set_up_for_tests_is_enough_to_run_and_stays_so(checkout: Path) -> None:
    done(checkout, "test")
    assert Setup(checkout, "test").is_done()
    assert Setup(checkout, "run").is_done()
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    again = Setup(checkout, "run")
    assert not again.is_done()
    assert again.purpose == "test"


@pytest.mark.parametrize("gone", ["bin/python", "share/lakehouse/jars/spark/delta-storage-4.4.0.jar"])
def test_something_gone_is_noticed(checkout: Path, gone: str) -> None:
    done(checkout, "run")
    (checkout / ".venv" / gone).unlink()
    assert not Setup(checkout).is_done()


def run_in(folder: Path, *command: str, after: float = 0.0) -> None:
    with (
        (folder / "lock").open("w") as lock,
        started(list(command), folder / "log", folder, lock.fileno(), dict(os.environ)) as wait,
    ):
        time.sleep(after)
        wait()


def test_a_command_that_fails_says_where_its_output_is(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"python.* ended with code 3") as caught:
        run_in(tmp_path, sys.executable, "-c", "print('why'); raise SystemExit(3)")
    assert "why" in caught.value.log.read_text()
    with pytest.raises(StepError, match="cannot be started"):
        run_in(tmp_path, str(tmp_path / "nothing"))


def test_a_command_beside_others_ends_with_them(tmp_path: Path) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        (tmp_path / "lock").open("w") as lock,
        started(["sleep", "60"], tmp_path / "log", tmp_path, lock.fileno(), dict(os.environ)),
    ):
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 30


def test_only_what_is_new_counts_as_grown(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "file").write_bytes(bytes(1000))
    time.sleep(0.05)
    since = time.time()
    time.sleep(0.05)
    new = tmp_path / "new" / "deeper"
    new.mkdir(parents=True)
    (new / "file").write_bytes(bytes(70))
    (tmp_path / "top").write_bytes(bytes(5))
    assert grown(tmp_path, since) == 75
    assert grown(tmp_path / "nowhere", since) == 0


def test_the_line_of_a_step_says_what_came_and_how_it_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Step("Python packages", [tmp_path]):
        (tmp_path / "wheel").write_bytes(bytes(3 << 20))
    with pytest.raises(ValueError), Step("Java"):
        raise ValueError
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["Python", "packages", "done", "3", "MB", "on", "disk", "0", "s"]
    assert second.split() == ["Java", "failed", "0", "s"]
