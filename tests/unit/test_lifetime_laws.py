"""What is said of each customer, given the parameters: against published numbers, other formulas and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import hyp2f1
from scipy.stats import kstest

from ml.lifetime_value.bg_nbd import BgNbd
from ml.lifetime_value.calibration import purchases_pit, spending_pit
from ml.lifetime_value.gamma_gamma import GammaGamma
from ml.lifetime_value.purchases import Purchases
from ml.lifetime_value.spending import Spending
from ml.lifetime_value.summary import Floats, Summary
from tests.lifetime_by_hand import Laws, Store, holdout_at, store_of, summary_at

CUTOFF, HORIZON = 100.0, 90.0
LAWS = Laws()
TRUE_BUYING = BgNbd(LAWS.r, LAWS.alpha, LAWS.a, LAWS.b)
TRUE_WORTH = GammaGamma(LAWS.p, LAWS.q, LAWS.v)
CDNOW = BgNbd(0.243, 4.414, 0.793, 2.426)
"""In weeks: table 2 of Fader, Hardie and Lee (2005)."""


@pytest.fixture(scope="module")
def store() -> Store:
    return store_of(LAWS, 80_000, (0.0, 60.0), CUTOFF + HORIZON, seed=11)


@pytest.fixture(scope="module")
def summary(store: Store) -> Summary:
    return summary_at(store, CUTOFF)


def one(x: int, t_x: float, age: float, value: float = 0.0) -> Summary:
    return Summary(np.array([x]), np.array([t_x]), np.array([age]), np.array([value]))


def expected(law: Purchases) -> Floats:
    return law.summed(())[0]


def spending_of(summary: Summary) -> Spending:
    return Spending(TRUE_BUYING.purchases(summary, HORIZON), LAWS.p, *TRUE_WORTH.posterior(summary))


def by_closed_form(model: BgNbd, summary: Summary, horizon: float) -> Floats:
    """Equation 10 of the paper as it is printed."""
    x, t_x, age = summary.frequency, summary.recency, summary.age
    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    series = hyp2f1(r + x, b + x, a + b + x - 1, horizon / (alpha + age + horizon))
    several = (a + b + x - 1) / (a - 1) * (1 - ((alpha + age) / (alpha + age + horizon)) ** (r + x) * series)
    gone = np.where(x > 0, a / (b + x - 1) * ((alpha + age) / (alpha + t_x)) ** (r + x), 0.0)
    return np.asarray(several / (1 + gone))


def test_a_cdnow_customer_is_expected_to_buy_as_often_as_published() -> None:
    """'Implementing the BG/NBD Model for Customer Base Analysis in Excel' (2005): 1.226 in the next 39 weeks."""
    assert expected(CDNOW.purchases(one(2, 30.43, 38.86), 39.0))[0] == pytest.approx(1.226, abs=5e-4)


def test_the_sum_of_tails_is_the_closed_form() -> None:
    summary = Summary(
        np.array([0, 0, 1, 2, 7, 26]), np.array([0, 0, 3, 30, 20, 30.9]), np.array([0, 39, 39, 39, 39, 31.0])
    )
    for model in (CDNOW, TRUE_BUYING, BgNbd(2.0, 10.0, 3.0, 5.0)):
        assert expected(model.purchases(summary, 39.0)) == pytest.approx(by_closed_form(model, summary, 39.0), rel=1e-9)


def test_expectations_hold_where_the_closed_form_does_not() -> None:
    """At a = 1 it is 0 / 0; with 5,000 orders in 1,000 days it is not a number."""
    at_one = expected(BgNbd(0.25, 50.0, 1.0, 2.4).purchases(one(3, 60.0, 90.0), 90.0))
    near = by_closed_form(BgNbd(0.25, 50.0, 1.0 + 1e-6, 2.4), one(3, 60.0, 90.0), 90.0)
    assert at_one == pytest.approx(near, rel=1e-5)
    keen = expected(BgNbd(0.25, 50.0, 0.8, 1e9).purchases(one(5_000, 999.9, 1_000.0), 90.0))
    assert keen[0] == pytest.approx(5_000.25 / 1_050 * 90, rel=1e-4), "who never leaves buys at the mean rate"


def test_nobody_buys_in_no_time() -> None:
    summary = one(3, 60.0, 90.0, 20.0)
    spending = Spending(TRUE_BUYING.purchases(summary, 0.0), LAWS.p, *TRUE_WORTH.posterior(summary))
    mean, (low, high) = spending.purchases.summed((0.1, 0.9))
    assert (mean[0], low[0], high[0]) == (0.0, 0, 0)
    assert spending.quantile(0.9)[0] == 0.0 and spending.at_most(np.zeros(1))[0] == 1.0
    assert spending.purchases.drawn(np.random.default_rng(1))[0] == 0


def test_no_customers_have_no_predictions() -> None:
    nobody = Summary(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
    spending = spending_of(nobody)
    assert len(expected(spending.purchases)) == len(spending.quantile(0.9)) == len(spending.at_most(np.zeros(0))) == 0


def test_as_many_are_alive_as_is_said(store: Store, summary: Summary) -> None:
    said, alive = TRUE_BUYING.probability_alive(summary), store.left_day > CUTOFF
    assert said[summary.frequency == 0] == pytest.approx(1.0)
    silence = summary.age - summary.recency
    for group in (summary.frequency == 1, summary.frequency == 2, summary.frequency > 2):
        for quiet in (silence < 20, silence > 40):
            rows = group & quiet
            error = np.sqrt((said[rows] * (1 - said[rows])).sum()) / rows.sum()
            assert rows.sum() > 200
            assert alive[rows].mean() == pytest.approx(said[rows].mean(), abs=3.5 * error)


def test_as_much_is_bought_and_spent_as_is_expected(store: Store, summary: Summary) -> None:
    came = holdout_at(store, CUTOFF, HORIZON)
    spending = spending_of(summary)
    mean = expected(spending.purchases)
    worth = spending.expected(mean)
    for rows in (summary.frequency == 0, summary.frequency == 1, summary.frequency == 2, summary.frequency > 4):
        for said, observed in ((mean, came.purchases), (worth, came.value)):
            error = 3.5 * observed[rows].std() / np.sqrt(rows.sum())
            assert observed[rows].mean() == pytest.approx(said[rows].mean(), abs=error)


def test_the_pit_of_true_laws_is_uniform(store: Store, summary: Summary) -> None:
    """Kolmogorov-Smirnov, at the 0.1 % level, of 80,000 customers, and of those alone who had bought again."""
    came, rng, spending = holdout_at(store, CUTOFF, HORIZON), np.random.default_rng(1), spending_of(summary)
    for pit in (purchases_pit(spending.purchases, came.purchases, rng), spending_pit(spending, came.value, rng)):
        assert kstest(pit, "uniform").pvalue > 0.001
        assert kstest(pit[summary.frequency > 0], "uniform").pvalue > 0.001
        assert kstest(pit[summary.frequency > 3], "uniform").pvalue > 0.001


def test_draws_follow_the_laws() -> None:
    customers = 15_000
    like = Summary(*(np.full(customers, value) for value in (5, 80.0, 100.0, 30.0)))
    spending, rng = spending_of(like), np.random.default_rng(2)
    counts = spending.purchases.drawn(rng)
    for count in (1, 2, 4, 8):
        assert (counts >= count).mean() == pytest.approx(spending.purchases.at_least(np.array([count]))[0], abs=0.015)
    amounts = spending.drawn(counts, rng)
    assert kstest(spending_pit(spending, amounts, rng), "uniform").pvalue > 0.001


def test_an_expected_order_is_between_the_customers_own_mean_and_everybodys() -> None:
    """Equation 5 of Fader and Hardie (2013), written as they do: a weighted mean of the two."""
    summary = Summary(np.array([0, 1, 4]), np.array([0, 5, 9.0]), np.full(3, 10.0), np.array([0.0, 50.0, 12.0]))
    own = LAWS.p * summary.frequency / (LAWS.p * summary.frequency + LAWS.q - 1)
    everybody = LAWS.p * LAWS.v / (LAWS.q - 1)
    assert TRUE_WORTH.expected_value(summary) == pytest.approx((1 - own) * everybody + own * summary.monetary_value)


def test_a_value_that_is_not_known_is_everybodys_and_one_of_nothing_is_not() -> None:
    summary = Summary(np.array([0, 3, 3]), np.array([0, 5, 5.0]), np.full(3, 10.0), np.array([7.0, np.nan, 0.0]))
    first, unknown, worthless = TRUE_WORTH.expected_value(summary)
    assert first == unknown == pytest.approx(LAWS.p * LAWS.v / (LAWS.q - 1))
    assert 0 < worthless < first


def test_an_infinite_mean_is_not_a_number() -> None:
    assert np.isnan(GammaGamma(2.0, 0.9, 10.0).expected_value(one(0, 0.0, 5.0))[0])
    assert GammaGamma(2.0, 0.9, 10.0).expected_value(one(1, 1.0, 5.0, 20.0))[0] == pytest.approx(2 * 30 / 1.9)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.99])
def test_a_quantile_is_the_least_amount_that_is_reached_with_its_probability(summary: Summary, level: float) -> None:
    some = Summary(*(getattr(summary, name)[:3_000] for name in ("frequency", "recency", "age", "monetary_value")))
    spending = spending_of(some)
    amount = spending.quantile(level)
    nothing = 1 - spending.purchases.at_least(np.ones(len(some), dtype=np.int64))
    assert ((amount > 0) == (nothing < level)).all()
    assert spending.at_most(amount) == pytest.approx(np.maximum(level, nothing), abs=1e-6)
    _, (count,) = spending.purchases.summed((level,))
    assert (spending.purchases.at_least(count + 1) <= 1 - level).all()
    assert (spending.purchases.at_least(count) > 1 - level).all()
