"""Which Java is taken, which is refused and why, and the wrapper that is called in its place."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path

import pytest

from lakehouse.errors import JavaError
from operate import java
from operate.cli import main
from tests.java_runtime import runtime


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


TODAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("released", "is_told"),
    [("2026-10-20", False), ("2026-08-02", False), ("2026-08-01", True), ("2025-07-15", True), ("", False)],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_runtime_without_the_newest_security_releases_is_told(
    tmp_path: Path, released: str, is_told: bool, wrapped: bool
) -> None:
    home = runtime(tmp_path / "jdk", "21.0.8", released=released)
    environment = {} if wrapped else {"JAVA_HOME": str(home)}
    java.write_wrapper(java.installed_home(tmp_path / "venv"), home, trust_store=None, pyspark=tmp_path / "pyspark")
    told = java.outdated(TODAY, environment, tmp_path / "venv")
    assert bool(told) == is_told
    if is_told:
        assert f"Java 21.0.8 is of {released}" in told and "JAVA_HOME" in told and "\n" not in told


def test_a_newer_java_home_ends_the_warning_about_setups_own(tmp_path: Path) -> None:
    old = runtime(tmp_path / "old", "21.0.8", released="2025-07-15")
    java.write_wrapper(java.installed_home(tmp_path / "venv"), old, trust_store=None, pyspark=tmp_path / "pyspark")
    newer = runtime(tmp_path / "newer", "21.0.12")
    assert java.outdated(TODAY, {}, tmp_path / "venv")
    assert java.outdated(TODAY, {"JAVA_HOME": str(newer)}, tmp_path / "venv") == ""
    assert java.outdated(TODAY, {}, tmp_path / "nowhere") == "", "what is not there is said by others"


def test_status_tells_it_to_people_and_to_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for released, expected in (("2020-01-14", 1), ("2999-01-14", 0)):
        monkeypatch.setenv("JAVA_HOME", str(runtime(tmp_path / released, "21.0.8", released=released)))
        assert main(["status", "--home", str(tmp_path / "home")]) == 0
        assert capsys.readouterr().out.count("java             Java 21.0.8 is of 2020-01-14") == expected
        assert main(["status", "--json", "--home", str(tmp_path / "home")]) == 0
        assert ("java" in json.loads(capsys.readouterr().out)) == bool(expected)


def test_the_day_in_the_file_release_goes_before_a_start_of_java(tmp_path: Path) -> None:
    home = runtime(tmp_path / "jdk", "25.0.3", released="2020-01-01")
    with (home / "release").open("a") as file:
        file.write('JAVA_VERSION_DATE="2026-04-21"\n')
    assert java.released_on(home) == date(2026, 4, 21)
    assert java.released_on(tmp_path / "nowhere") is None


def test_a_java_home_that_does_not_fit_gives_way_to_the_installed_one(tmp_path: Path) -> None:
    old = runtime(tmp_path / "old", "11.0.2")
    real = runtime(tmp_path / "jdk", "21.0.8")
    wrapper = java.installed_home(tmp_path / "venv")
    java.write_wrapper(wrapper, real, trust_store=None, pyspark=tmp_path / "pyspark")
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
    java.write_wrapper(wrapper, real, trust_store=None, pyspark=tmp_path / "pyspark")
    (real / "bin" / "java").unlink()
    assert java.real_home(wrapper) is None
    ended = subprocess.run([wrapper / "bin" / "java", "-version"], capture_output=True, text=True, check=False)
    assert ended.returncode == 127
    assert "make setup" in ended.stderr


def test_the_wrapper_drops_the_incubating_module_and_keeps_every_other_argument(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    java.write_wrapper(
        wrapper, runtime(tmp_path / "jdk", "21.0.8"), trust_store=tmp_path / "trust.p12", pyspark=tmp_path / "pyspark"
    )
    command = [wrapper / "bin" / "java", "--add-modules=jdk.incubator.vector", "-cp", "a/*:b c", "Main", ""]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": "/bin:/usr/bin", "JAVA_TOOL_OPTIONS": "-Da=*"}
    ).stdout
    assert said.startswith(f"|-Djavax.net.ssl.trustStore={tmp_path / 'trust.p12'} ")
    assert said.endswith(" -Da=* -cp a/*:b c Main \n")


def test_the_environments_runtime_goes_before_the_wrapped_one(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    java.write_wrapper(wrapper, runtime(tmp_path / "jdk", "21.0.8"), trust_store=None, pyspark=tmp_path / "pyspark")
    other = runtime(tmp_path / "other", "17.0.9")
    said = subprocess.run(
        [wrapper / "bin" / "java"], capture_output=True, text=True, check=True, env={"REAL_JAVA": f"{other}/bin/java"}
    )
    assert "17.0.9" in said.stderr


class Installed:
    """A wrapper with jars of Spark and Kafka beside it, and class paths as their launchers give them."""

    def __init__(self, folder: Path) -> None:
        self.pyspark, self.share = folder / "pyspark", folder / "share"
        for jar in (
            self.pyspark / "jars" / "a.jar",
            self.pyspark / "jars" / "slf4j-api-2.0.17.jar",
            self.share / "jars" / "spark" / "delta.jar",
            self.pyspark / "conf" / "log4j2.properties",
        ):
            jar.parent.mkdir(parents=True, exist_ok=True)
            jar.touch()
        (self.share / "classes").mkdir()
        self.wrapper = self.share / "java"
        java.write_wrapper(self.wrapper, runtime(folder / "jdk", "21.0.8"), trust_store=None, pyspark=self.pyspark)
        jars = f"{self.pyspark}/jars"
        self.of_spark = f"{self.share}/jars/spark/*:{self.pyspark}/conf/:{jars}/slf4j-api-2.0.17.jar:{jars}/*"
        self.of_kafka = f"{self.share}/jars/kafka/*"
        self.archived_spark = f"{self.share}/jars/spark/delta.jar:{jars}/a.jar:{jars}/slf4j-api-2.0.17.jar"

    def archive(self, name: str) -> None:
        (self.share / "classes" / f"{name}.jsa").touch()

    def started(self, class_path: str, **environment: str) -> list[str]:
        command = [self.wrapper / "bin" / "java", "-cp", class_path, "Main"]
        env = {"PATH": "/bin:/usr/bin"} | environment
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.strip("|\n ").split()


QUIET = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def test_archived_classes_are_used_with_the_class_path_that_they_were_archived_with(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.archive("spark")
    installed.archive("kafka")
    log4j = f"-Dlog4j2.configurationFile={installed.pyspark}/conf/log4j2.properties"
    use = f"-XX:SharedArchiveFile={installed.share}/classes"
    spark = [log4j, f"{use}/spark.jsa", *QUIET, "-cp", installed.archived_spark, "Main"]
    assert installed.started(installed.of_spark) == spark
    assert installed.started(installed.of_kafka) == [f"{use}/kafka.jsa", *QUIET, "-cp", installed.of_kafka, "Main"]
    assert installed.started("other/*") == ["-cp", "other/*", "Main"]


def test_without_an_archive_nothing_changes(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    for class_path in (installed.of_spark, installed.of_kafka):
        assert installed.started(class_path) == ["-cp", class_path, "Main"]


def test_hadoops_configuration_beside_sparks_stays_on_the_class_path(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.archive("spark")
    (installed.pyspark / "conf" / "core-site.xml").touch()
    assert installed.started(installed.of_spark) == ["-cp", installed.of_spark, "Main"]


def test_setup_has_classes_archived_with_the_class_path_that_they_are_used_with(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    anew = installed.started(installed.of_spark, **{java.ARCHIVE_ANEW: "1"})
    assert f"-XX:ArchiveClassesAtExit={installed.share}/classes/spark.jsa" in anew
    assert installed.archived_spark in anew
