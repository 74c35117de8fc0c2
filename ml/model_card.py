"""`lakehouse ml card`: a model on one page of Markdown, made from its run. No number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from mlflow.entities import Run

from lakehouse.errors import InputError
from lakehouse.settings import Settings
from lakehouse.visible import print_visible
from ml.lifetime_value import registry as lifetime_registry
from ml.model_card_values import Logged, cart_values, customer_values
from ml.models import MODELS, OneModel, run_of
from ml.purchase_intent import registry as intent_registry
from ml.tracking.runs import Runs

_VALUES: Mapping[str, tuple[Callable[[Logged], dict[str, str]], str]] = {
    lifetime_registry.NAME: (customer_values, "cohorts"),
    intent_registry.NAME: (cart_values, "metrics"),
}
"""What fills the template of a model, and the table of its run that this needs."""


def card_of(runs: Runs, model: str, run: Run, remark: str = "") -> str:
    """The card of a run, in Markdown.

    :param remark: a paragraph for the reader.
    :raises InputError: the run is of a training that did not come to its end.
    """
    if "decision" not in run.data.tags:  # the last that a training leaves
        raise InputError(
            f"Run {run.info.run_id} has made no model.", "a training that came to its end", "choose another with --run"
        )
    run_id, champion = run.info.run_id, runs.champion(model)
    (version,) = runs.client.search_model_versions(f"run_id = '{run_id}'")
    is_champion = champion is not None and champion.run_id == run_id
    values, table = _VALUES[model]
    logged = Logged(run_id, run.data.tags, run.data.params, run.data.metrics, runs.table(run_id, table))
    places = values(logged) | {
        "version": str(version.version),
        "standing": "the champion" if is_champion else "not in force",
        "remark": f"\n{remark}\n" if remark else "",
    }
    template = files("ml").joinpath("cards", f"{model}.md").read_text(encoding="utf-8")
    return Template(template).substitute(places)


def chosen_run(runs: Runs, model: str) -> Run:
    """The champion's; where there is none the newest that has a version.

    :raises InputError: the model was never trained.
    """
    champion = runs.champion(model)
    versions = [champion] if champion else runs.client.search_model_versions(f"name = '{model}'")
    if not versions:
        raise InputError(
            f"There is no run of {model} in {runs.named}.",
            "a model that was trained",
            "`lakehouse ml train`",
        )
    return runs.client.get_run(max(versions, key=lambda version: int(version.version)).run_id)


def show_cards(
    settings: Settings,
    model: OneModel = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run", metavar="RUN_ID", help="of this run, not of the champion's (or, without one, the newest)"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="write MODEL.md there; else the card is printed")
    ] = None,
    remark: Annotated[str, typer.Option(help="a paragraph for the reader, such as whose data this is")] = "",
) -> int:
    """In Markdown, made from its run."""
    runs = Runs(settings)
    if run_id:
        chosen = dict([run_of(runs, run_id)])
    else:
        chosen = {each: chosen_run(runs, each) for each in ([model] if model else MODELS)}
    for name, run in chosen.items():
        text = card_of(runs, name, run, remark)
        if out:
            (out / f"{name}.md").write_text(text, encoding="utf-8")
        else:
            print_visible(text)
    return 0
