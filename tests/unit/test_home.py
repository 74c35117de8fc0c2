"""What programs of ours write is for their own account; a home that is not ours alone is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import InputError
from lakehouse.home import keep_to_ourselves, temporary_folder
from lakehouse.settings import PREFIX, load_settings
from operate.cli import main

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
STRANGER, OTHER_GROUP = 61_111, os.getegid() + 1


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o775, 0o711, 0o700])
def test_a_home_of_ours_is_closed_to_others(home: Path, mode: int) -> None:
    home.chmod(mode)
    keep_to_ourselves(home)
    assert mode_of(home) == "0700"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_a_home_in_which_others_may_write_is_refused_and_stays(home: Path, mode: int) -> None:
    home.chmod(mode)
    with pytest.raises(InputError, match=f"Others may write in the home {home} "):
        keep_to_ourselves(home)
    assert mode_of(home) == f"{mode:04o}"


@pytest.mark.skipif(not IS_ROOT, reason="folders of other accounts can be made by root alone")
def test_a_home_of_another_account_is_refused_in_a_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chown(home, STRANGER, -1)
    assert main(["status", "--home", str(home)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"The home {home} belongs to the account {STRANGER}") and "Traceback" not in said
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="likewise")
def test_a_home_of_a_shared_group_is_refused_to_others_than_root(home: Path) -> None:
    """A group that each account has for itself is not shared: many systems make folders with its rights."""
    os.chown(home, STRANGER, OTHER_GROUP)
    home.chmod(0o770)
    home.parent.chmod(0o711)
    assert not is_accepted_from(STRANGER, OTHER_GROUP + 1)
    assert is_accepted_from(STRANGER, OTHER_GROUP)
    assert mode_of(home) == "0700"


def is_accepted_from(user: int, group: int) -> bool:
    """Is `home` in the working folder a home for this account?"""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            keep_to_ourselves(Path("home"))
            os._exit(0)
        except InputError:
            os._exit(1)
        finally:
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    return code == 0


def test_what_is_written_after_the_settings_are_loaded_is_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path / "new" / "home"))
    before = os.umask(0o000)
    try:
        settings = load_settings()
        settings.logs.mkdir(parents=True)
        (settings.logs / "a.log").touch()
        subprocess.run([sys.executable, "-c", "open('b.log', 'w')"], cwd=settings.logs, check=True)
    finally:
        os.umask(before)
    assert not settings.home.stat().st_mode & 0o077
    assert {mode_of(path) for path in settings.logs.iterdir()} == {"0600"}


@pytest.mark.parametrize(
    "program",
    ["bronze.job", "serving.sink", "serving.live", "ingest.file_source", "operate.rounds", "operate.pipeline"],
)
def test_each_program_of_a_run_refuses_such_a_home(home: Path, program: str) -> None:
    """All of them pass through the loading of settings before they do anything."""
    home.chmod(0o777)
    arguments = ["carts"] if program == "operate.rounds" else []
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        env=os.environ | {f"{PREFIX}HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "Others may write in the home" in done.stderr, done.stderr
    assert list(home.iterdir()) == []


def test_spark_submit_begins_with_it_too(tmp_path: Path) -> None:
    """Its JVM is there before any Python of ours."""
    script = f". '{ROOT}/deploy/spark/spark-env.sh'; umask"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0077"


def test_temporary_files_are_in_the_home_and_go(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    gone = next(pid for pid in range(2**22 - 1, 1, -1) if not psutil.pid_exists(pid))
    for left in ("blockmgr-1", str(gone), str(os.getppid())):
        (tmp_path / "tmp" / left).mkdir(parents=True)
    with temporary_folder(tmp_path) as folder, temporary_folder(tmp_path) as inner:
        assert folder == inner == Path(tempfile.gettempdir()) == Path(os.environ["TMPDIR"])
        assert {path.name for path in (tmp_path / "tmp").iterdir()} == {str(os.getpid()), str(os.getppid())}
        assert mode_of(folder) == "0700"
    assert tempfile.gettempdir() == before
    assert {path.name for path in (tmp_path / "tmp").iterdir()} == {str(os.getppid())}
