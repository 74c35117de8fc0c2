"""A model trained on the cluster's silver, and customers scored by it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_SCORES
from ml.lifetime_value.registry import NAME
from ml.tracking.promotion import CHAMPION
from ml.tracking.runs import Runs
from operate.lake import query
from operate.served import served_counts
from operate.supervisor import tail
from tests.chaos.checks import Check, check
from tests.cluster.mlflow_server import MlflowWithLogin
from tests.cluster.stage import Stage

_JOB_S = 600.0


def scoring_checks(stage: Stage, server: MlflowWithLogin) -> Iterator[Check]:
    """Once all is read: trains by `spark-submit ml/train.py`, scores by `spark-submit ml/score.py --once`."""
    # MLflow's client reads this, here and in the jobs.
    os.environ.update(server.environment())
    stage.spark.environment.update(server.environment())
    settings = stage.settings.model_copy(update={"mlflow_tracking_uri": server.url})
    _submitted(stage, settings, "ml/train.py", "--model", NAME)
    versions = Runs(settings).client.search_model_versions(f"name = '{NAME}'")
    yield check("model: trained, and registered in MLflow", len(versions) == 1, versions=len(versions))
    # Whether a month of made-up customers passes the gate is not what this is about.
    Runs(settings).client.set_registered_model_alias(NAME, CHAMPION, versions[0].version)
    _submitted(stage, settings, "ml/score.py", "--once")
    ((customers,),) = query("SELECT count(*) FROM gold.customer_value WHERE orders > 0", settings).fetchall()
    ((scored,),) = query(f"SELECT count(DISTINCT user_id) FROM {GOLD_CUSTOMER_SCORES.name}", settings).fetchall()
    same = scored == customers > 0
    yield check("scores: one for each customer who has ordered", same, expected=customers, found=scored)
    counts = served_counts(settings)
    broken = {name: count for name, count in counts.items() if name.startswith("broken_") and count}
    yield check("scores: served", not broken, rows=counts["rows"], **broken)


def _submitted(stage: Stage, settings: Settings, script: str, *arguments: str) -> None:
    job = stage.spark.submit(script, settings, *arguments)
    stage.wait_for(lambda: not job.is_there(), f"{script} ends", _JOB_S)
    assert job.exit_code == 0, f"{script} ended with {job.exit_code}:\n{tail(job.log, 40)}"
    stage.say(f"{script} ended")
