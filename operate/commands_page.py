"""docs/commands.md, from the commands themselves: `python -m operate.commands_page`."""

from __future__ import annotations

from pathlib import Path

from typer.core import TyperArgument, TyperOption

from lakehouse.command import EVERYWHERE
from operate.cli import COMMANDS, GROUPS, command

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

_HEAD = """\
# Commands
Made by `python -m operate.commands_page` from the commands themselves; the `--help` of each says the same.

- Exit codes: 0 on success, 1 when it failed or a promise is broken, 2 when it was asked wrongly, 130 after Ctrl-C.
- Answers are on stdout, how it goes on stderr. With `--json` the answer is for programs.
- `lakehouse --install-completion` has bash, zsh or fish complete commands and options.
"""


def page() -> str:
    """The text of the page."""
    everywhere = "".join(f"| `{flag.name}` | {flag.help} |\n" for flag in EVERYWHERE)
    parts = [_HEAD, f"Before the command, or after it:\n\n| option | what it is |\n|---|---|\n{everywhere}"]
    for group, about in {"": "", **GROUPS}.items():
        title = f"## lakehouse {group}\n{about}\n\n" if group else "## lakehouse\n"
        of_group = [path for path in COMMANDS if path.rpartition(" ")[0] == group]
        parts.append(f"{title}| command | what it does | default |\n|---|---|---|\n{''.join(map(_rows, of_group))}")
    return "\n".join(parts)


def _rows(path: str) -> str:
    rows = [f"| **`{path}`** | **{COMMANDS[path][1]}** | |\n"]
    usual = {flag.setting for flag in EVERYWHERE} | {"help"}
    for each in command(path).params:
        if isinstance(each, TyperArgument):
            name = (each.metavar or each.name.upper()).strip("[].")
        elif isinstance(each, TyperOption) and each.name not in usual:
            name = each.opts[0]
        else:
            continue
        has_default = each.show_default and str(each.default) not in ("None", "False", "")
        default = "must be given " if each.required else f"`{each.default}` " if has_default else ""
        rows.append(f"| `{name}` | {each.help} | {default}|\n")
    return "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
