"""The `lakehouse` command: what there is, how it is asked wrongly, what it does not import."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperArgument, TyperOption

from lakehouse.command import AsJson, Flag, command_of, run_command
from lakehouse.errors import InputError
from lakehouse.settings import Settings
from ml.models import MODELS, Name
from operate import cli, commands_page
from operate.cli import COMMANDS, GROUPS, main

ROOT = Path(__file__).resolve().parents[2]
LAKEHOUSE = str(Path(sys.executable).with_name("lakehouse"))
HEAVY = ("pyspark", "mlflow", "duckdb", "deltalake", "numpy", "pandas", "pyarrow", "sklearn", "kafka", "psycopg")

PROMISED = """
demo: --minutes=3.0 --rate=100.0 --seed=1 --files
up:
down: --wipe --yes
init-env: path?=.env
topics: --connect-user --accept --json
status: --json --check
tables: --json
history: name --limit=20 --json
sql: text --as-of --json
audit: --json
live:
export tableau: --out! --host --port=0 --json
export hyper: --out! --json
quarantine list: --rule --samples=5 --json
quarantine replay: --rule --dry-run --json
rebuild: layer --dry-run --json
ingest split: files --out! --replace
ingest drop: folder --speed=1.0 --into --interval-s
ingest source: --once --rate=0.0 --folder --bootstrap
ingest status: --limit=20 --json
ingest replay: names? --list --json
ingest produce: files? --rate --speed --live --seconds=inf --seed --bootstrap
ingest generate: --out! --days=31.0 --start=2019-10-01 --seed=1 --rate --per=month
connect apply: files? --json --url
connect status: --json --url
ml train: --model --json
ml champion: model version
ml reproduce: run_id --json
ml card: --model --run --out --remark
ml drift: --days=7 --json
ml fit-summary: file --most-left-out=0.05 --json
bench latency: --rate=300.0 --seconds=120.0 --warm-up=60.0 --kill-at --json
bench carts: --rate=500.0 --seconds=300.0 --warm-up=330.0 --abandon-after=300 --json
bench scores: --rate=500.0 --seconds=300.0 --warm-up=180.0 --json --keep
bench live: --rate=500.0 --seconds=120.0 --warm-up=60.0 --browsers=20 --json
bench queries: --rows=1000000 --rate=500.0 --seconds=60.0 --json
bench throughput: --events=300000 --json
bench ingest: --rows=300000 --json
bench compare: --short --rate=300.0 --rounds=2 --seconds=120.0 --warm-up=60.0 --json --keep
bench late: --rows=[1000000, 10000000] --repeats=5 --json --keep
bench backlog: --events=1000000 --json --keep
bench lifetime-value: --buyers=110000 --keep
"""
"""What scripts rely on: each command's arguments in their order (`?`: may be left out), options (`!`: must be given),
with their defaults."""


def of(path: str) -> str:
    parts = []
    for each in cli.command(path).params:
        default = "" if str(each.default) in ("None", "False", "") else f"={each.default}"
        if isinstance(each, TyperArgument):
            parts.append(f"{each.name}{'' if each.required else '?'}{default}")
        elif isinstance(each, TyperOption) and each.opts[0] not in ("--home", "--lake", "-h"):
            assert not each.secondary_opts, "a flag has no opposite"
            parts.append(f"{each.opts[0]}{'!' if each.required else ''}{default}")
    return f"{path}: {' '.join(parts)}".rstrip(": ") + ("" if parts else ":")


def test_no_command_and_no_option_is_lost() -> None:
    assert sorted(map(of, COMMANDS)) == sorted(PROMISED.strip().splitlines())


def test_every_command_takes_the_places_of_its_state() -> None:
    for path in COMMANDS:
        assert {"home", "lake"} <= {each.name for each in cli.command(path).params}, path


def test_every_command_and_option_says_what_it_is() -> None:
    for path, (_, about) in COMMANDS.items():
        assert about, path
        for each in cli.command(path).params:
            assert each.name == "context" or each.help, f"{path} {each.name}"


def test_the_models_that_can_be_named_are_those_there_are() -> None:
    assert set(Name.__args__) == set(MODELS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["", *GROUPS, *COMMANDS])
def test_help_says_what_was_typed(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].startswith(f"Usage: lakehouse {path}".rstrip() + " ")


def test_help_of_all_lists_all_with_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["bench", "-h"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for path, (_, about) in COMMANDS.items():
        if " " not in path or path.startswith("bench"):
            assert f" {path.split()[-1]} {about}" in said
    for group, about in GROUPS.items():
        assert f" {group} {about}" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "lakehouse: Missing command ("),
        ("ingest", "lakehouse ingest: Missing command ("),
        ("stauts", "lakehouse: No such command 'stauts'. Did you mean 'status'? ("),
        ("status --foo", "lakehouse status: No such option: --foo ("),
        ("--foo", "lakehouse: No such option: --foo ("),
        ("tables more", "lakehouse tables: Got unexpected extra argument(s) (more) ("),
        ("history", "lakehouse history: Missing argument 'TABLE' ("),
        ("history silver.events --limit x", "lakehouse history: Invalid value for '--limit'"),
        ("rebuild bronze", "lakehouse rebuild: Invalid value for 'layer': 'bronze' is not one of 'silver', 'gold' ("),
        ("demo --files", "lakehouse demo: Option '--files' requires an argument ("),
        ("ingest generate", "lakehouse ingest generate: Missing option '--out' ("),
    ],
)
def test_what_is_asked_wrongly_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith(said) and line.endswith("--help` says what there is)")


def run(work: Any, *words: str) -> int:
    return run_command(command_of(work), words, "it")


def test_words_of_others_do_not_act_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["tables", "\x1b[2J\n[/b]"],
        ["\x1b[2J"],
        ["history", "x", "--limit", "\x1b[2J"],
        ["status", "--\x1b["],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "\x1b" not in said and len(said.splitlines()) == 1

    def work() -> int:
        raise typer.BadParameter("\x1b[2J\n[/b]")

    assert run(work, "--home", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("it: Invalid value: \\x1b[2J\\n[/b] (")


def test_each_end_has_its_code_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ends(error: BaseException | None = None, code: int = 0) -> Any:
        def work() -> int:
            if error:
                raise error
            return code

        return run(work, "--home", str(tmp_path))

    assert [ends(), ends(code=1), ends(KeyboardInterrupt()), ends(InputError("Found [/b]\x1b."))] == [0, 1, 130, 1]
    assert capsys.readouterr().err == "Found [/b]\\x1b.\n"
    assert ends(PermissionError(13, "Permission denied", str(tmp_path))) == 1
    assert "LAKEHOUSE_HOME" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        ends(ZeroDivisionError())
    with pytest.raises(OSError, match="no file is to blame"):
        ends(OSError("no file is to blame"))


def test_a_flag_changes_a_setting_for_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_KAFKA_BOOTSTRAP", "environment:1")
    found = []

    def work(settings: Annotated[Settings, Flag("kafka_bootstrap", "--bootstrap", "where Kafka is")]) -> int:
        found.append(settings.kafka_bootstrap)
        return 0

    home = ["--home", str(tmp_path)]
    assert run(work, *home) == run(work, *home, "--bootstrap", "flag:2") == 0
    assert found == ["environment:1", "flag:2"]
    assert os.environ["LAKEHOUSE_KAFKA_BOOTSTRAP"] == "environment:1"


def test_our_login_is_for_our_broker_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from operate import stack

    ours = {"kafka_bootstrap": "ours:1", "kafka_user": "lakehouse", "kafka_security_protocol": "SASL_PLAINTEXT"}
    monkeypatch.setattr(stack.KafkaBroker, "access", property(lambda _self: ours))
    found: list[Settings] = []

    def produce(settings: Settings, *_: object) -> None:
        found.append(settings)
        raise InputError("enough")

    monkeypatch.setattr("ingest.produce.produce", produce)
    words = ["ingest", "produce", "--home", str(tmp_path)]
    assert main(words) == main([*words, "--bootstrap", "theirs:2"]) == main([*words, "--bootstrap=theirs:3"]) == 1
    assert [(each.kafka_bootstrap, each.kafka_user) for each in found] == [
        ("ours:1", "lakehouse"),
        ("theirs:2", ""),
        ("theirs:3", ""),
    ]


def test_an_option_takes_several_values_at_once(tmp_path: Path) -> None:
    found: list[Any] = []

    def work(
        word: Annotated[str, typer.Argument()] = "",
        files: Annotated[list[Path] | None, typer.Option()] = None,
        rate: Annotated[float, typer.Option()] = 1.0,
        as_json: AsJson = False,
    ) -> int:
        found.append((word, [each.name for each in files or []], rate, as_json))
        return 0

    home = ["--home", str(tmp_path)]
    assert run(work, *home, "--files", "a", "b", "c", "--rate", "-2") == 0
    assert run(work, "--files", "a", "--files=b", "--json", "word", *home) == 0
    assert run(work, *home, "--files", "a", "--", "--files") == 0
    assert run(work, *home, "word", "--rate", "3") == 0
    assert found == [
        ("", ["a", "b", "c"], -2.0, False),
        ("word", ["a", "b"], 1.0, True),
        ("--files", ["a"], 1.0, False),
        ("word", [], 3.0, False),
    ]
    assert run(work, *home, "--files") == 2


def test_the_home_is_named_before_or_after_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").touch()
    home, other = ["--home", str(tmp_path / "full" / "x")], ["--home", str(tmp_path / "other")]
    assert main([*home, "ingest", "status"]) == main(["ingest", "status", *home]) == 1
    assert main([*home, "ingest", "status", *other]) == main(["ingest", "status", "--json", *other]) == 0
    assert json.loads(capsys.readouterr().out.partition("{")[2].join("{ ").strip() or "{}") is not None


def imported_by(*words: str, **environment: str) -> set[str]:
    """Which of the heavy modules a run of the command has imported."""
    command = [sys.executable, "-X", "importtime", "-m", "operate.cli", *words]
    ran = subprocess.run(
        command, env=os.environ | environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "operate.cli" in ran.stderr or ran.returncode in (0, 2), ran.stderr[-500:]
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("words", [["--help"], ["ingest", "--help"], ["ml", "--help"], ["bench", "-h"], ["stauts"], []])
def test_lists_of_commands_import_nothing_heavy(words: list[str]) -> None:
    found = imported_by(*words)
    assert "typer" in found and not found & set(HEAVY)


def test_status_imports_no_mlflow_and_nothing_of_another_command(tmp_path: Path) -> None:
    found = imported_by("status", "--home", str(tmp_path))
    assert "operate.stack" in found
    assert not found & {"mlflow", "sklearn", "ml.train", "operate.demo", "operate.rebuild", "bench.latency"}


def completed(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        "_LAKEHOUSE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    ran = subprocess.run(
        [LAKEHOUSE], env=os.environ | environment, capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout.split()


def test_the_shell_completes_commands_and_options() -> None:
    assert completed("lakehouse in") == ["init-env", "ingest"]
    assert completed("lakehouse quarantine ") == ["list", "replay"]
    assert {"--out", "--per", "--home"} <= set(completed("lakehouse ingest generate --"))
    assert completed("lakehouse ingest generate --per m") == ["month"]


def test_completion_of_a_command_imports_none_of_the_others() -> None:
    environment = {"_LAKEHOUSE_COMPLETE": "complete_bash", "COMP_WORDS": "operate.cli ml ", "COMP_CWORD": "2"}
    assert not imported_by(**environment) & set(HEAVY)


def test_the_shell_gets_a_script(tmp_path: Path) -> None:
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ran = subprocess.run(
        [LAKEHOUSE, "--show-completion", "bash"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "_LAKEHOUSE_COMPLETE=complete_bash" in ran.stdout


@pytest.mark.parametrize(
    ("module", "path"),
    [("bench.compare", "bench compare"), ("ingest.produce", "ingest produce"), ("ingest.file_source", "ingest source")],
)
def test_a_module_that_is_run_alone_has_the_same_options(module: str, path: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.startswith(f"Usage: python -m {module} [OPTIONS]")
    for each in cli.command(path).params:
        if isinstance(each, TyperOption):
            assert f"  {each.opts[0]}" in ran.stdout


def test_a_package_that_is_missing_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name == "ml.train"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ml.models", None)
    assert main(["ml", "train"]) == 1
    assert "is not installed" in capsys.readouterr().err


def test_the_page_of_commands_is_what_they_are() -> None:
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.page(), "python -m operate.commands_page"


def test_json_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for words in ("tables", "ingest status", "ingest replay --list"):
        assert main([*words.split(), "--json", "--home", str(tmp_path)]) == 0
        json.loads(capsys.readouterr().out)
