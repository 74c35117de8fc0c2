"""As root: a program that has no right of root's, in a folder to which root's own lead."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from operate.services import other_account, public_copy

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no other account")


@pytest.fixture
def public_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As /var/cache is: everybody may enter it."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    monkeypatch.setattr(public_copy, "PLACE", folder / "copies")
    yield folder
    shutil.rmtree(folder)


def test_it_reads_what_is_its_own_and_nothing_of_roots(tmp_path: Path) -> None:
    own = tmp_path / "closed" / "own"
    own.mkdir(parents=True)
    (own / "its").write_text("its own")
    number = other_account.id_for(own)
    other_account.hand_over(own, number)
    (tmp_path / "secret").write_text("root's")
    script = (
        "PATH=/usr/bin:/bin; "  # ours may lead through root's folders
        f"cat {other_account.HERE}/its; cat {tmp_path}/secret; cat /etc/shadow; cat /proc/self/status; id -u; id -G"
    )
    done = subprocess.run(
        other_account.command_as(number, own, ["/bin/sh", "-c", script]), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("its own") and done.stdout.endswith(f"\n{number}\n{number}\n")
    assert done.stderr.count("Permission denied") == 2
    status = dict(line.split(":\t") for line in done.stdout.splitlines() if ":\t" in line)
    assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
    assert status["NoNewPrivs"] == "1"


def test_a_folder_keeps_its_account_and_another_gets_one_that_nobody_has(tmp_path: Path) -> None:
    first = other_account.id_for(tmp_path)
    os.chown(tmp_path, first, first)
    assert [other_account.id_for(tmp_path) for _ in range(5)] == [first] * 5
    with subprocess.Popen(
        other_account.command_as(first, tmp_path, ["/bin/cat"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdin and program.stdout
        program.stdin.write(b"it runs\n")
        program.stdin.flush()
        assert program.stdout.readline() == b"it runs\n"
        assert first in set(other_account._ids_of_processes())
        program.stdin.close()


def test_programs_that_others_cannot_reach_are_copied_with_what_lies_beside_them(
    tmp_path: Path, public_place: Path
) -> None:
    for folder, name, mode in (("package", "program", 0o700), ("package.libs", "lib.so", 0o600)):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / name).touch(mode)
    parts = [tmp_path / "package", tmp_path / "package.libs"]
    copy = public_copy.enterable(tmp_path / "package" / "bin", parts, "package-1")
    assert copy == public_place / "copies" / "package-1" / "package" / "bin"
    assert (copy / "program").stat().st_mode & 0o777 == 0o755
    assert (copy.parents[1] / "package.libs" / "bin" / "lib.so").stat().st_mode & 0o777 == 0o644
    assert public_copy.enterable(copy, parts, "package-1") == copy
    made_at = copy.stat().st_mtime_ns
    assert public_copy.enterable(tmp_path / "package" / "bin", parts, "package-1").stat().st_mtime_ns == made_at
