"""Figures of a report against scikit-learn's and by hand; pictures have what the tables have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, precision_recall_curve, roc_auc_score

from ml.purchase_intent.plots import calibration_plot, gains_plot, precision_recall_plot, roc_plot
from ml.purchase_intent.report import METRICS, IntentReport, Ranking, calibration, intent_report


def told(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether bought, by whom, and what was said: in steps, so that many carts have one score."""
    rng = np.random.default_rng(seed)
    said = np.round(rng.beta(2, 8, count), 2)
    return rng.random(count) < said, rng.integers(0, max(count // 3, 1), count), said


def value(report: IntentReport, model: str, metric: str) -> pd.Series:
    rows = report.metrics
    return rows[(rows["model"] == model) & (rows["metric"] == metric)].iloc[0]


def test_figures_are_those_of_scikit_learn_whatever_the_weights() -> None:
    bought, _, said = told(2000)
    for weights in (np.ones(2000), np.random.default_rng(2).integers(0, 4, 2000).astype(float)):
        found = dict(zip(METRICS, Ranking.of(bought, said).metrics(weights), strict=True))
        assert found["roc_auc"] == pytest.approx(roc_auc_score(bought, said, sample_weight=weights))
        assert found["pr_auc"] == pytest.approx(average_precision_score(bought, said, sample_weight=weights))
        assert found["log_loss"] == pytest.approx(log_loss(bought, said, sample_weight=weights))
        assert found["brier"] == pytest.approx(brier_score_loss(bought, said, sample_weight=weights))


def test_lift_is_the_share_bought_in_the_likeliest_tenth_against_all() -> None:
    bought = np.arange(100) % 2 == 0
    said = np.where(np.arange(100) < 5, 0.9, 0.1)
    # Five carts, three of them bought; the other five are any of the 95, of which 47 were bought.
    expected = (3 + 5 * 47 / 95) / 10 / 0.5
    assert Ranking.of(bought, said).metrics(np.ones(100))[METRICS.index("top_decile_lift")] == pytest.approx(expected)
    constant = Ranking.of(bought, np.full(100, 0.5)).metrics(np.ones(100))
    assert dict(zip(METRICS, constant, strict=True)) == pytest.approx(
        {"roc_auc": 0.5, "pr_auc": 0.5, "log_loss": np.log(2), "brier": 0.25, "top_decile_lift": 1.0}
    )


def test_intervals_hold_the_value_and_are_the_same_for_the_same_draws() -> None:
    bought, users, said = told(600)
    report, again = (intent_report(bought, users, {"m": said}, np.random.default_rng(3), 200) for _ in range(2))
    pd.testing.assert_frame_equal(report.metrics, again.metrics)
    assert (report.metrics["low"] < report.metrics["value"]).all()
    assert (report.metrics["value"] < report.metrics["high"]).all()
    assert (report.carts, report.users, report.bought_share) == (600, len(np.unique(users)), bought.mean())


def test_carts_of_one_user_are_drawn_together() -> None:
    """Each user's carts twice over say no more than once: by carts the interval would shrink by a third."""
    bought, users, said = told(400)
    once = intent_report(bought, users, {"m": said}, np.random.default_rng(3), 400)
    twice = intent_report(
        *(np.tile(each, 2) for each in (bought, users)), {"m": np.tile(said, 2)}, np.random.default_rng(3), 400
    )
    np.testing.assert_allclose(twice.metrics[["value", "low", "high"]], once.metrics[["value", "low", "high"]])


def test_calibration_has_bins_of_equal_size_and_keeps_equal_scores_together() -> None:
    bought, _, _ = told(100)
    table = calibration(bought, np.linspace(0, 0.99, 100), 10)
    assert list(table["carts"]) == [10] * 10
    assert table["predicted"].iloc[0] == pytest.approx(0.045)
    assert list(table["observed"]) == [bought[ten : ten + 10].mean() for ten in range(0, 100, 10)]
    assert list(calibration(bought, np.full(100, 0.3), 10)["carts"]) == [100]


def test_the_curve_is_that_of_scikit_learn() -> None:
    bought, users, said = told(500)
    curve = intent_report(bought, users, {"m": said}, np.random.default_rng(3), 5).curves
    precision, recall, _ = precision_recall_curve(bought, said)
    np.testing.assert_allclose(curve["precision"].iloc[:0:-1], precision[:-1])
    np.testing.assert_allclose(curve["recall"].iloc[:0:-1], recall[:-1])
    area = np.trapezoid(curve["recall"], curve["false_positive_rate"])
    assert area == pytest.approx(roc_auc_score(bought, said))
    assert tuple(curve.iloc[-1][["flagged", "recall", "false_positive_rate"]]) == (1, 1, 1)


def test_too_good_a_model_is_pointed_at() -> None:
    bought, users, said = told(300)
    scores = {"leaking": np.where(bought, 0.9, 0.1), "honest": said}
    report = intent_report(bought, users, scores, np.random.default_rng(3), 20)
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("leaking: ROC AUC 1.000 is above 0.85")
    assert intent_report(bought, users, scores, np.random.default_rng(3), 20, auc_limit=1.0).warnings == ()


@pytest.mark.parametrize("bought", [[], [True, True], [False, False, False]])
def test_where_there_is_nothing_to_tell_apart_the_report_says_so(bought: list[bool]) -> None:
    said = np.full(len(bought), 0.5)
    report = intent_report(np.array(bought, bool), np.arange(len(bought)), {"m": said}, np.random.default_rng(3), 10)
    assert report.metrics[["value", "low", "high"]].isna().all().all() and len(report.metrics) == len(METRICS)
    assert "nothing to tell apart" in report.warnings[0]
    assert all(isinstance(each, Figure) for each in pictures(report))


def pictures(report: IntentReport) -> list[Figure]:
    curves = [plot(report.curves) for plot in (gains_plot, roc_plot)]
    return [calibration_plot(report.calibration), *curves, precision_recall_plot(report.curves, report.bought_share)]


def test_pictures_show_each_model() -> None:
    bought, users, said = told(300)
    report = intent_report(bought, users, {"one": said, "other": said / 2}, np.random.default_rng(3), 5)
    for picture in pictures(report):
        axes = picture.axes[0]
        assert {text.get_text() for text in axes.get_legend().get_texts()} == {"one", "other"}
        picture.canvas.draw()
    mine = report.calibration[report.calibration["model"] == "one"]
    np.testing.assert_allclose(pictures(report)[0].axes[0].lines[0].get_ydata(), mine["observed"])
