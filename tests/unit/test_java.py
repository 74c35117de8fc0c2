"""Which Java is taken, which is refused and why, and the wrapper that is called in its place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lakehouse.errors import JavaError
from operate import java


def runtime(home: Path, version: str, *, release: bool = True) -> Path:
    """A JAVA_HOME whose `java` prints its version and its arguments."""
    (home / "bin").mkdir(parents=True)
    script = home / "bin" / "java"
    script.write_text(f'#!/bin/sh\necho \'openjdk version "{version}"\' >&2\necho "$JAVA_TOOL_OPTIONS|$*"\n')
    script.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\nOS_NAME="Linux"\n')
    return home


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.8", "25.0.3", "25.1.0", "25.0.10"])
def test_suitable_versions(version: str) -> None:
    assert java.refusal(version) == ""


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "22.0.1", "25", "25.0.0", "25.0.1", "25.0.2", "26", ""])
def test_refused_versions(version: str) -> None:
    assert java.refusal(version)


def test_java_home_is_taken_when_it_fits(tmp_path: Path) -> None:
    home = runtime(tmp_path / "jdk", "21.0.8")
    assert java.java_home({"JAVA_HOME": str(home)}, tmp_path / "venv") == home


def test_a_runtime_without_release_file_is_asked(tmp_path: Path) -> None:
    home = runtime(tmp_path / "jdk", "17.0.9", release=False)
    assert java.version_of(home) == "17.0.9"


def test_a_java_home_that_does_not_fit_gives_way_to_the_installed_one(tmp_path: Path) -> None:
    old = runtime(tmp_path / "old", "11.0.2")
    real = runtime(tmp_path / "jdk", "21.0.8")
    wrapper = java.installed_home(tmp_path / "venv")
    java.write_wrapper(wrapper, real, trust_store=None)
    assert java.java_home({"JAVA_HOME": str(old)}, tmp_path / "venv") == wrapper
    assert java.real_home(wrapper) == real


@pytest.mark.parametrize("version", ["11.0.2", "25.0.1"])
def test_the_error_says_what_was_found_and_what_to_do(tmp_path: Path, version: str) -> None:
    old = runtime(tmp_path / "old", version)
    with pytest.raises(JavaError) as caught:
        java.java_home({"JAVA_HOME": str(old)}, tmp_path / "venv")
    assert str(old) in caught.value.found
    assert "make setup" in caught.value.next_step


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(JavaError, match="JAVA_HOME is not set"):
        java.java_home({}, tmp_path / "venv")
    with pytest.raises(JavaError, match="no Java runtime is there"):
        java.java_home({"JAVA_HOME": str(tmp_path / "nowhere")}, tmp_path / "venv")


def test_a_wrapper_whose_runtime_is_gone_is_not_kept(tmp_path: Path) -> None:
    real = runtime(tmp_path / "jdk", "21.0.8")
    wrapper = tmp_path / "wrapper"
    java.write_wrapper(wrapper, real, trust_store=None)
    (real / "bin" / "java").unlink()
    assert java.real_home(wrapper) is None
    ended = subprocess.run([wrapper / "bin" / "java", "-version"], capture_output=True, text=True, check=False)
    assert ended.returncode == 127
    assert "make setup" in ended.stderr


def test_the_wrapper_drops_the_incubating_module_and_keeps_every_other_argument(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    java.write_wrapper(wrapper, runtime(tmp_path / "jdk", "21.0.8"), trust_store=tmp_path / "trust.p12")
    command = [wrapper / "bin" / "java", "--add-modules=jdk.incubator.vector", "-cp", "a/*:b c", "Main", ""]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/bin:/usr/bin", "JAVA_TOOL_OPTIONS": "-Da=*"}
    ).stdout
    assert said.startswith(f"|-Djavax.net.ssl.trustStore={tmp_path / 'trust.p12'} ")
    assert said.endswith(" -Da=* -cp a/*:b c Main \n")


def test_the_environments_runtime_goes_before_the_wrapped_one(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    java.write_wrapper(wrapper, runtime(tmp_path / "jdk", "21.0.8"), trust_store=None)
    other = runtime(tmp_path / "other", "17.0.9")
    said = subprocess.run(
        [wrapper / "bin" / "java"], capture_output=True, text=True, check=True, env={"REAL_JAVA": f"{other}/bin/java"}
    )
    assert "17.0.9" in said.stderr
