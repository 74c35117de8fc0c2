"""Options that several measurements have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Rate = Annotated[float, typer.Option("--rate", metavar="R", help="events per second")]
Seconds = Annotated[float, typer.Option("--seconds", metavar="S", help="measured, after the warm-up")]
WarmUp = Annotated[float, typer.Option("--warm-up", metavar="S", help="seconds before it")]
Keep = Annotated[Path | None, typer.Option("--keep", metavar="FILE", help="write the JSON there, as in bench/results")]
