"""What the command prints of others' text: it is shown as it is, and nothing in it acts."""

from __future__ import annotations

import ast
import io
import logging
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from ingest.console import Progress, printable
from lakehouse.errors import InputError
from lakehouse.visible import in_one_line, log_visibly, print_traceback, print_visible, visible
from operate import show
from operate.cli import main
from operate.progress import tail
from operate.show import print_rows
from operate.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
ACTING = ["\x1b[2J", "\x1b]0;owned\x07", "a\rb", "\x9b31m", "\x00", "a\u202eb", "a\u2066b", "a\u2028b", "\ud83d"]


def printed(*values: object, width: int | None = None, is_terminal: bool = False) -> str:
    out = io.StringIO()
    options = {} if width is None else {"width": width}
    terminal = Terminal(file=out, force_terminal=is_terminal, color_system=None, **options)
    print_rows([{"brand": value} for value in values], False, terminal)
    return out.getvalue()


@pytest.mark.parametrize(
    "brand", ["[/b]", "[limited] mascara", "[red]x[/red]", ":smile:", "[link=http://x]y[/link]", "\\[b]"]
)
def test_brackets_and_colons_are_no_markup(brand: str) -> None:
    assert printed(brand).splitlines() == ["brand".ljust(max(5, len(brand))), brand.ljust(5)]


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("text", ACTING)
def test_what_acts_on_a_terminal_is_shown(text: str, is_terminal: bool) -> None:
    found = printed(text, is_terminal=is_terminal)
    assert visible(text) in found and not set(found) & (set(text) - set("ab[]0;ownedJ31m2"))


def test_a_row_is_a_line() -> None:
    assert printed("a\nb\tc").splitlines()[1:] == ["a\\nb\\tc"]


def test_a_pipe_gets_each_row_in_one_line_and_a_terminal_what_fits() -> None:
    out = io.StringIO()
    grid = Grid(box=None, pad_edge=False)
    for number in range(20):
        grid.add_column(f"column_{number}")
    grid.add_row(*["x" * 30] * 20)
    Terminal(file=out, force_terminal=False).print(grid)
    assert len(out.getvalue().splitlines()) == 2
    assert all(len(line) <= 40 for line in printed("x" * 60, width=40, is_terminal=True).splitlines())


def test_columns_decide_where_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert all(len(line) <= 40 for line in printed("x" * 60).splitlines())


@pytest.mark.parametrize("text", ACTING)
def test_errors_and_progress_of_others_files_act_neither(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(InputError(text, text, text)).count(visible(text)) == 3
    Progress().say(text)
    assert capsys.readouterr().err == f"{visible(text)}\n"


ALL_ACTING = "".join(
    each
    for each in map(chr, range(0x10000))
    if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")
    or unicodedata.bidirectional(each) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    or each in "\u061c\u200e\u200f\u206a\u206f"
).replace("\t", "")
OTHERS = f"[/b]:smile:{ALL_ACTING}[bold]"


def log(record: str) -> None:
    logger, handler = logging.Logger("of a test"), logging.StreamHandler()
    handler.setFormatter(logging.getLogger().handlers[-1].formatter)
    logger.addHandler(handler)
    try:
        raise ValueError(record)
    except ValueError:
        logger.warning("sink: %s", record, exc_info=True)


def to_terminal(*printed: object, is_terminal: bool = True) -> None:
    terminal = Terminal(file=sys.stdout, force_terminal=is_terminal, color_system=None, width=10_000_000)
    for each in printed:
        terminal.print(each, soft_wrap=True)


def in_grid(*cells: object) -> Grid:
    grid = Grid(title=OTHERS, box=None)
    grid.add_column(OTHERS)
    grid.add_row(*cells)
    return grid


def fail() -> None:
    try:
        raise ValueError(OTHERS)
    except ValueError as error:
        print_traceback(ValueError, error, error.__traceback__)


def a_table(*, is_terminal: bool) -> None:
    terminal = Terminal(file=sys.stdout, force_terminal=is_terminal, color_system=None, width=10_000_000)
    for start in range(0, len(ALL_ACTING), 50):  # a cell is short
        print_rows([{OTHERS: f"{ALL_ACTING[start : start + 50]}"}], False, terminal)


FORMATTERS: dict[str, Callable[[], object]] = {
    "a table's name of a column (sql, history, quarantine list, connect status)": lambda: a_table(is_terminal=True),
    "the same in a pipe": lambda: a_table(is_terminal=False),
    "JSON (sql --json and the like)": lambda: print_rows([{"brand": OTHERS}], True, Terminal()),
    "a line": lambda: to_terminal(OTHERS),
    "a line in a pipe": lambda: to_terminal(OTHERS, is_terminal=False),
    "a styled text (audit)": lambda: to_terminal(Text(OTHERS), Text.assemble((OTHERS, "bold red"))),
    "a grid's title and cells (demo)": lambda: to_terminal(in_grid(OTHERS), in_grid(Text(OTHERS, "red"))),
    "a group (the demo's page)": lambda: to_terminal(Group(Text(OTHERS), in_grid(OTHERS))),
    "a line of status": lambda: show._print_line(OTHERS, OTHERS, Terminal()),
    "an error": lambda: print_visible(InputError(OTHERS, OTHERS, OTHERS), to_stderr=True),
    "a text (ml card, ml train)": lambda: print_visible(OTHERS),
    "an error that nobody expected": fail,
    "progress": lambda: Progress().say(OTHERS),
    "an error of ingest": lambda: Progress().fail(InputError(OTHERS)),
    "a file's name": lambda: print_visible(printable(OTHERS)),
    "the log of a program": lambda: log(OTHERS),
    "the log of setup": lambda: print(tail(Path("log"))),
}


@pytest.mark.parametrize("formatter", FORMATTERS)
def test_no_formatter_lets_through_what_acts(
    formatter: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("log").write_text(OTHERS, encoding="utf-8", errors="surrogatepass")
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    log_visibly()
    capsys.readouterr()
    FORMATTERS[formatter]()
    said = "".join(capsys.readouterr())
    assert set(said) & set(ALL_ACTING) <= {"\n"}
    assert "\\x1b" in said or "\\u001b" in said


def test_a_message_of_the_log_has_one_line_that_begins_as_lines_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    log_visibly()
    logging.getLogger("of a test").warning("brand %s", "x\n2026-11-30 12:00:00,000 INFO pipeline: all is well")
    assert [line[:2] for line in capsys.readouterr().err.splitlines()] == ["20", "  "]


@pytest.mark.parametrize("width", [20, 80])
def test_the_name_of_a_file_is_in_one_line(width: int) -> None:
    assert printable("a\nb\tc\x1b[2J\udcff.csv" * width) == "a\\nb\\tc\\x1b[2J\\udcff.csv" * width


_OF_SETUP = {"operate/install.py", "operate/setup_steps.py", "operate/packages.py", "operate/progress.py"}
_OF_SETUP |= {"operate/class_archives.py", "operate/trust.py", "operate/sbom.py"}
"""They print what they have made, and the log by `tail`."""

_EXAMPLE = "serving/example_consumer.py"
_HERE = {"lakehouse/visible.py", "ingest/console.py"}


def test_nothing_is_printed_but_through_these_functions_or_as_json() -> None:
    bare = set()
    for package in ("lakehouse", "bronze", "silver", "gold", "ml", "ingest", "serving", "dashboards", "operate"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if name in {*_OF_SETUP, *_HERE, _EXAMPLE}:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                is_json = node.args and ast.unparse(node.args[0]).startswith("json.dumps(")
                if (called == "print" and not is_json) or called in (
                    "logging.basicConfig",
                    "Console",
                    "sys.stdout.write",
                ):
                    bare.add(f"{name}:{node.lineno}: {called}")
    assert bare == set()


@given(st.text(st.characters()))
def test_all_text_can_be_written_and_what_is_harmless_is_left_alone(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not {unicodedata.category(each) for each in set(shown) - {"\n", "\t"}} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(each) for each in shown} & {"LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI"}
    assert not set(in_one_line(text)) & {"\n", "\t"}
    if text.isprintable():
        assert shown == text


def test_the_command_prints_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    brands = "SELECT brand FROM (VALUES ('[/b]'), ('[limited] mascara'), (chr(27) || '[2J')) AS t(brand)"
    assert main(["sql", brands, "--home", str(tmp_path)]) == 0
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "brand",
        "[/b]",
        "[limited] mascara",
        "\\x1b[2J",
    ]
