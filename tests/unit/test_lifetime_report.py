"""A time split of customers whose laws are known: what the report says of good and of bad predictions."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lakehouse.errors import InputError
from ml.lifetime_value.calibration import cohort_totals, purchases_pit
from ml.lifetime_value.holdout import Holdout
from ml.lifetime_value.model import LifetimeValue, fit_lifetime_value, predicted
from ml.lifetime_value.plots import deciles_figure, gains_figure, pit_figure, residuals_figure
from ml.lifetime_value.report import Report, deciles, gains, report, score
from ml.lifetime_value.summary import Summary
from tests.lifetime_by_hand import Laws, holdout_at, store_of, summary_at

CUTOFF, HORIZON = 152.0, 90.0


class Split:
    """A store up to a cut-off and after it."""

    def __init__(self, customers: int, seed: int) -> None:
        store = store_of(Laws(), customers, (0.0, 150.0), CUTOFF + HORIZON, seed)
        self.summary: Summary = summary_at(store, CUTOFF)
        self.holdout: Holdout = holdout_at(store, CUTOFF, HORIZON)
        self.model: LifetimeValue = fit_lifetime_value(self.summary)
        self.predictions: pd.DataFrame = predicted(self.model, self.summary, HORIZON)

    def report(self, seed: int = 1) -> Report:
        rng = np.random.default_rng(seed)
        return report(self.model, self.summary, self.predictions, self.holdout, HORIZON, rng)


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(15_000, seed=31)


@pytest.fixture(scope="module")
def found(split: Split) -> Report:
    return split.report()


def test_totals_of_the_holdout_are_within_ten_percent_and_nearer_than_the_baselines(found: Report) -> None:
    for target in ("purchases", "value"):
        assert abs(found.metrics[f"{target}_relative_error"]) < 0.1
        for baseline in ("last_period", "mean_rate"):
            assert abs(found.metrics[f"{baseline}_{target}_relative_error"]) > 0.1
            assert found.metrics[f"{baseline}_{target}_mae"] > found.metrics[f"{target}_mae"]
        assert found.metrics[f"{target}_spearman"] > found.metrics[f"last_period_{target}_spearman"] > 0
        assert f"mean_rate_{target}_spearman" not in found.metrics


def test_the_pit_is_uniform_and_intervals_hold_what_they_say(found: Report) -> None:
    """Kolmogorov-Smirnov at the 1 % level; parameters are fitted to the same customers' earlier orders."""
    for target in ("purchases", "value"):
        assert found.metrics[f"{target}_pit_p"] > 0.01
        assert found.metrics[f"{target}_interval_expected_share"] >= 0.8
        assert found.metrics[f"{target}_interval_share"] == pytest.approx(
            found.metrics[f"{target}_interval_expected_share"], abs=0.01
        )
        assert found.pit.query("target == @target")["customers"].sum() == 15_000


def test_wrong_laws_are_seen(split: Split) -> None:
    """Twice as many orders as the laws give: the PIT is not uniform, the intervals hold too few, the total is off."""
    doubled = replace(split.holdout, purchases=split.holdout.purchases * 2, value=split.holdout.value * 2)
    rng = np.random.default_rng(1)
    metrics = report(split.model, split.summary, split.predictions, doubled, HORIZON, rng).metrics
    assert metrics["purchases_relative_error"] < -0.4
    assert metrics["purchases_pit_p"] < 1e-6 and metrics["value_pit_p"] < 1e-6
    assert metrics["purchases_cohorts_within"] == metrics["value_cohorts_within"] == 0.0


def test_totals_of_cohorts_are_within_their_intervals_as_often_as_stated() -> None:
    """12 stores of 5 cohorts, whose errors go together: 80 %, give or take 15 points."""
    within: list[float] = []
    for seed in range(12):
        split = Split(1_000, seed=100 + seed)
        rng = np.random.default_rng(seed)
        _, metrics = cohort_totals(split.model, split.summary, split.predictions, split.holdout, HORIZON, rng)
        within.append(metrics["purchases_cohorts_within"])
    assert np.mean(within) == pytest.approx(0.8, abs=0.15)


def test_the_error_of_the_fit_is_in_the_interval_of_a_total(split: Split) -> None:
    """With parameters that are taken for true, the interval of all purchases is less than four fifths as wide."""
    sure = replace(
        split.model,
        bg_nbd=replace(split.model.bg_nbd, log_covariance=None),
        gamma_gamma=None,
    )
    widths = []
    for model in (split.model, sure):
        rng = np.random.default_rng(1)
        table, _ = cohort_totals(model, split.summary, split.predictions, split.holdout, HORIZON, rng)
        everybody = table.query("target == 'purchases' and cohort == 'all'").iloc[0]
        widths.append(everybody["high"] - everybody["low"])
    assert widths[1] < 0.8 * widths[0]


def test_cohorts_add_up(split: Split, found: Report) -> None:
    for target in ("purchases", "value"):
        table = found.cohorts.query("target == @target")
        everybody = table[table["cohort"] == "all"].iloc[0]
        assert list(table["cohort"]) == [*(f"month {month}" for month in range(5)), "all"]
        for column in ("customers", "predicted", "observed"):
            assert table[column].iloc[:-1].sum() == pytest.approx(everybody[column])
        assert everybody["observed"] == pytest.approx(split.holdout.observed(target).sum())
        assert table["low"].lt(table["predicted"]).all() and table["predicted"].lt(table["high"]).all()


def test_the_same_generator_gives_the_same_report(split: Split, found: Report) -> None:
    again, other = split.report(), split.report(seed=2)
    assert again.metrics == found.metrics and again.cohorts.equals(found.cohorts)
    assert other.metrics["purchases_pit_ks"] != found.metrics["purchases_pit_ks"]
    assert other.scores.equals(found.scores)


def test_scores_by_hand() -> None:
    predicted_, observed = np.array([1.0, 2.0, 3.0, 6.0]), np.array([0.0, 4.0, 2.0, 4.0])
    assert score(predicted_, observed) == {
        "predicted_total": 12.0,
        "observed_total": 10.0,
        "error": 2.0,
        "relative_error": 0.2,
        "relative_standard_error": pytest.approx(0.346410, abs=1e-6),
        "mae": 1.5,
        "spearman": pytest.approx(0.632456, abs=1e-6),
    }
    nothing = score(np.ones(2), np.zeros(2))
    assert np.isnan([nothing["relative_error"], nothing["spearman"]]).all()


def test_deciles_by_hand() -> None:
    table = deciles("value", np.arange(20.0)[::-1], np.ones(20))
    assert table["customers"].tolist() == [2] * 10
    assert table["predicted"].tolist() == [0.5 + 2 * tenth for tenth in range(10)]
    assert len(deciles("value", np.arange(3.0), np.ones(3))) == 3


def test_gains_by_hand() -> None:
    """Half of the customers, ranked right, have three quarters; one prediction for all is a straight line."""
    observed = np.array([3.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    ranked = gains("model", np.array([9.0, 0, 8, 0, 7, 6, 0, 0]), observed)
    assert ranked["observed"].iloc[[0, 50, 100]].tolist() == [0.0, 0.75, 1.0]
    flat = gains("mean_rate", np.full(8, 2.0), observed)
    assert flat["observed"].to_numpy() == pytest.approx(flat["customers"].to_numpy())


def test_residuals_are_of_customers_with_as_many_repeats(split: Split, found: Report) -> None:
    table = found.residuals.query("target == 'purchases'").set_index("frequency")
    assert list(table.index) == list(range(8))
    assert table["customers"].sum() == len(split.summary)
    assert table.loc[7, "customers"] == (split.summary.frequency >= 7).sum()
    once = split.summary.frequency == 1
    assert table.loc[1, "observed"] == pytest.approx(split.holdout.purchases[once].mean())
    assert (table["residual"].abs() < 4 * table["standard_error"]).all()


def test_few_buyers_get_a_report_with_its_warnings() -> None:
    few = Split(392, seed=9)
    found = few.report()
    assert "customers have bought again" in found.warnings[0]
    assert np.isfinite(list(found.metrics.values())).all()


def test_intervals_that_cannot_know_the_error_of_the_fit_say_so() -> None:
    few = Split(392, seed=9)
    few.model = replace(few.model, bg_nbd=replace(few.model.bg_nbd, log_covariance=None))
    assert "too narrow" in few.report().warnings[-1]


def test_without_values_purchases_alone_are_reported(split: Split) -> None:
    known = split.summary
    split_ = Split(2_000, seed=3)
    split_.summary = Summary(known.frequency[:2_000], known.recency[:2_000], known.age[:2_000])
    split_.model = fit_lifetime_value(split_.summary)
    split_.predictions = predicted(split_.model, split_.summary, HORIZON)
    found = split_.report()
    assert set(found.scores["target"]) == set(found.pit["target"]) == set(found.cohorts["target"]) == {"purchases"}
    assert not any("value" in name for name in found.metrics)
    assert gains_figure(found.gains).axes


def test_a_holdout_of_other_customers_is_refused(split: Split) -> None:
    with pytest.raises(InputError, match=r"of unequal length: \{'purchases': 15000, 'value': 1"):
        replace(split.holdout, value=np.zeros(1))
    with pytest.raises(InputError, match="15,000 customers, 10 predictions, 15,000 in the holdout"):
        rng = np.random.default_rng(1)
        report(split.model, split.summary, split.predictions.head(10), split.holdout, HORIZON, rng)


def test_the_pit_of_counts_is_between_its_two_probabilities(split: Split) -> None:
    purchases, _ = split.model.laws(split.summary, HORIZON)
    observed = split.holdout.purchases
    pit = purchases_pit(purchases, observed, np.random.default_rng(1))
    assert (pit >= 1 - purchases.at_least(observed)).all() and (pit <= 1 - purchases.at_least(observed + 1)).all()


def test_figures_show_what_is_in_the_tables(found: Report) -> None:
    figures = [
        deciles_figure(found.deciles),
        pit_figure(found.pit),
        gains_figure(found.gains),
        residuals_figure(found.residuals),
    ]
    assert [len(figure.axes) for figure in figures] == [2, 2, 1, 2]
    points = figures[0].axes[1].lines[1]
    value = found.deciles.query("target == 'value'")
    assert points.get_xdata().tolist() == value["predicted"].tolist()
    assert points.get_ydata().tolist() == value["observed"].tolist()
    bars = [bar.get_height() for bar in figures[1].axes[0].patches if bar.get_width() < 1]
    assert bars[:20] == found.pit.query("target == 'purchases'")["customers"].tolist()
    assert [text.get_text() for text in figures[2].axes[0].get_legend().get_texts()] == [
        "model",
        "last period again",
        "everybody the same",
    ]
    assert all(len(_png(figure)) > 5_000 for figure in figures)


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
