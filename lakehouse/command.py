"""A command is a function of settings; its other arguments are its options. This makes a command line of it, the same
one in `lakehouse` and where its module is run alone.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import Abort, TyperException

from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import Settings, load_settings
from lakehouse.visible import in_one_line, print_traceback, print_visible

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

_UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
_UNUSABLE |= {errno.ENOSPC, errno.EDQUOT}
"""What a path is to blame for, and not we."""

_PROMISED_AFTER = ("\n:param", "\n:raises")
"""Where the part of a docstring begins that is for programmers."""

Work = Callable[..., int]


class Flag(NamedTuple):
    """A flag that changes a setting for one run: annotated to the argument `settings` of a command, or known to all."""

    setting: str
    name: str
    help: str
    type: type = str


EVERYWHERE = (
    Flag("home", "--home", "folder of all state (LAKEHOUSE_HOME; .lakehouse)", Path),
    Flag("lake", "--lake", "folder or URL of the tables (LAKEHOUSE_LAKE; `lake` in the home folder)"),
)


def command_of(
    work: Work,
    name: str = "",
    about: str = "",
    prepare: Callable[[Settings], Settings] = lambda settings: settings,
    tools: Mapping[str, Callable[[], object]] | None = None,
) -> TyperCommand:
    """The command line of a function.

    :param work: gets the settings as `settings`, if it asks for them; its other arguments are annotated for Typer, or
        in `tools`. Out: the exit code.
    :param about: its help in a line, before its docstring.
    :param prepare: what happens to the settings before that.
    :param tools: arguments that no option gives.
    """
    arguments = inspect.signature(work, eval_str=True).parameters
    asked = {each: make for each, make in (tools or {}).items() if each in arguments}
    own = get_args(arguments["settings"].annotation)[1:] if "settings" in arguments else ()
    flags = [*own, *EVERYWHERE]

    def run(context: typer.Context, **given: Any) -> int:
        above = context.find_root().params
        changes = {each.setting: given.pop(each.setting) for each in flags}
        changes |= {name: above.get(name) for name, value in changes.items() if value is None}
        settings = prepare(load_settings(**changes))
        made = {each: make() for each, make in asked.items()}
        return work(**given, **made, **({"settings": settings} if "settings" in arguments else {}))

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    options = [each for each in arguments.values() if each.name not in asked and each.name != "settings"]
    app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=CONTEXT)
    app.command(name, cls=_Command, help="\n\n".join(filter(None, (about, _told(work)))))(
        with_arguments(run, [context, *options, *flag_parameters(flags)])
    )
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def run_alone(work: Work, tools: Mapping[str, Callable[[], object]] | None = None) -> int:
    """For the end of a module that is run by `python -m`, or whose file is run. Out: the exit code."""
    spec = sys.modules["__main__"].__spec__
    about = (inspect.getdoc(inspect.getmodule(work)) or "").partition("\n")[0]
    return run_command(
        command_of(work, about=about, tools=tools), sys.argv[1:], f"python -m {spec.name}" if spec else sys.argv[0]
    )


def run_command(command: TyperCommand | TyperGroup, words: Sequence[str] | None, program: str) -> int:
    """Out: 0 on success, 1 when it failed or a promise is broken, 2 when it was asked wrongly, 130 after Ctrl-C."""
    sys.excepthook = print_traceback
    try:
        return int(command.main(words, program, standalone_mode=False) or 0)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else program
        found = in_one_line(error.format_message().replace("Value error, ", "")).rstrip(".")
        print_visible(f"{path}: {found} (`{path} --help` says what there is)", to_stderr=True)
        return 2
    except LakehouseError as error:
        print_visible(error, to_stderr=True)
        return 1
    except OSError as error:
        if error.errno not in _UNUSABLE or not error.filename:
            raise
        found = f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}."
        print_visible(
            InputError(found, "a path that this user may use", "choose a home with LAKEHOUSE_HOME"), to_stderr=True
        )
        return 1
    except Abort:  # the end of input, where something was asked
        return 1


def with_arguments(run: Callable[..., Any], arguments: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """The same function, of which Typer reads these arguments."""
    each_by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in arguments]
    run.__signature__ = inspect.Signature(each_by_name)  # type: ignore[attr-defined]
    return run


def flag_parameters(flags: Sequence[Flag]) -> list[inspect.Parameter]:
    """As arguments of a function for Typer."""
    return [
        inspect.Parameter(
            each.setting,
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(None, each.name, help=each.help),
            annotation=each.type | None,
        )
        for each in flags
    ]


class _Command(TyperCommand):
    """Takes `--files a b` as `--files a --files b`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        try:
            return super().parse_args(ctx, self._spread(args))
        except TyperException as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # type: ignore[attr-defined]
            raise

    def _spread(self, args: list[str]) -> list[str]:
        many = {name for each in self.params if isinstance(each, TyperOption) and each.multiple for name in each.opts}
        spread: list[str] = []
        option = ""  # whose value comes next
        for number, word in enumerate(args):
            if word == "--":
                return spread + args[number:]
            if word.startswith("-"):
                option = word if word in many else ""
                spread += [] if option and number + 1 < len(args) else [word]
            else:
                spread += [option, word] if option else [word]
        return spread


def _told(work: Work) -> str:
    told = f"\n{inspect.getdoc(work) or ''}"
    for end in _PROMISED_AFTER:
        told = told.partition(end)[0]
    return told.strip()
