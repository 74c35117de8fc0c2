"""What the command prints of others' text: it is shown as it is, and nothing in it acts."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table as Grid

from ingest.console import Progress
from lakehouse.errors import InputError
from lakehouse.visible import in_one_line, visible
from operate.cli import main
from operate.show import print_rows
from operate.terminal import Terminal

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
