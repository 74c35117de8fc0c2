"""Fits to customers whose laws are known, and to customers from whom little or nothing can be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

import ml.lifetime_value.bg_nbd as bg_nbd
import ml.lifetime_value.gamma_gamma as gamma_gamma
from ml.lifetime_value.bg_nbd import BgNbd, fit_bg_nbd
from ml.lifetime_value.gamma_gamma import fit_gamma_gamma
from ml.lifetime_value.max_likelihood import FitError, maximise
from ml.lifetime_value.model import LifetimeValue, fit_lifetime_value, predicted
from ml.lifetime_value.summary import Floats, Summary, SummaryError
from tests.lifetime_by_hand import Laws, store_of, summary_at

LAWS = Laws()
CUTOFF = 152.0


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summary_at(store_of(LAWS, 60_000, (0.0, 150.0), CUTOFF, seed=21), CUTOFF)


@pytest.fixture(scope="module")
def model(summary: Summary) -> LifetimeValue:
    return fit_lifetime_value(summary)


def first(summary: Summary, customers: int) -> Summary:
    return part(summary, np.arange(customers))


def part(summary: Summary, rows: np.ndarray) -> Summary:
    assert summary.monetary_value is not None
    return Summary(summary.frequency[rows], summary.recency[rows], summary.age[rows], summary.monetary_value[rows])


def test_the_laws_of_the_customers_are_found_again(model: LifetimeValue) -> None:
    """Within 4 standard errors, and these are small: 2 % of r and alpha, 15 % of a and b, 5 % of p, q and v."""
    assert model.gamma_gamma
    assert model.warnings == ()
    for fit, tolerances in ((model.bg_nbd, (0.03, 0.04, 0.2, 0.22)), (model.gamma_gamma, (0.03, 0.05, 0.08))):
        errors = fit.standard_errors()
        for (name, found), tolerance in zip(fit.values().items(), tolerances, strict=True):
            assert abs(found - getattr(LAWS, name)) < 4 * errors[name], name
            assert errors[name] < tolerance * found, name


def test_a_cohort_of_one_day_is_fitted_too() -> None:
    """T is the same for everybody, as with customers of one campaign."""
    together = summary_at(store_of(LAWS, 40_000, (0.0, 0.0), 200.0, seed=5), 200.0)
    assert np.ptp(together.age) == 0
    fit = fit_bg_nbd(together)
    assert fit.values()["r"] == pytest.approx(LAWS.r, rel=0.1)
    assert fit.values()["alpha"] == pytest.approx(LAWS.alpha, rel=0.15)


def test_the_gradients_are_those_of_the_likelihoods(summary: Summary) -> None:
    some = first(summary, 300)
    orders, mean = some.valued_repeats()
    again = orders > 0
    ones = np.ones(len(some))
    x, t_x, age = some.frequency.astype(float), some.recency, some.age

    def of_purchases(at: Floats) -> tuple[float, Floats]:
        return bg_nbd._log_likelihood(at, x, t_x, age, ones)

    def of_values(at: Floats) -> tuple[float, Floats]:
        return gamma_gamma._log_likelihood(at, orders[again].astype(float), mean[again], ones[again])

    for likelihood, places in (
        (of_purchases, ([0.25, 50.0, 0.8, 2.4], [2.0, 7.0, 3.0, 0.4])),
        (of_values, ([2.5, 6.0, 76.5], [0.7, 1.5, 9.0])),
    ):
        for place in places:
            by_differences = approx_fprime(np.array(place), lambda at, of=likelihood: of(at)[0], 1e-7 * np.array(place))
            assert likelihood(np.array(place))[1] == pytest.approx(by_differences, rel=1e-3, abs=1e-2)


def test_the_likelihood_is_the_integral_of_the_single_customers(summary: Summary) -> None:
    """Against numerical integration over lambda and p of the likelihood of a customer whose lambda and p are known."""
    law = BgNbd(1.5, 20.0, 1.2, 2.5)
    rng = np.random.default_rng(3)
    rates, leaves = rng.gamma(law.r, 1 / law.alpha, 400_000), rng.beta(law.a, law.b, 400_000)
    for x, t_x, age in ((0, 0.0, 30.0), (1, 12.0, 30.0), (3, 25.0, 30.0)):
        alive = (1 - leaves) ** x * rates**x * np.exp(-rates * age)
        gone = leaves * (1 - leaves) ** max(x - 1, 0) * rates**x * np.exp(-rates * t_x) if x else 0.0
        likelihood = np.exp(law.log_likelihood(Summary(np.array([x]), np.array([t_x]), np.array([age]))))
        assert likelihood == pytest.approx((alive + gone).mean(), rel=0.01)


def test_rows_that_are_there_twice_count_twice(summary: Summary) -> None:
    some = first(summary, 3_000)
    once, twice = fit_bg_nbd(some), fit_bg_nbd(part(some, np.repeat(np.arange(3_000), 2)))
    assert twice.values() == pytest.approx(once.values(), rel=1e-4)
    assert twice.log_likelihood == pytest.approx(2 * once.log_likelihood, rel=1e-9)
    assert twice.standard_errors()["r"] == pytest.approx(once.standard_errors()["r"] / 2**0.5, rel=1e-3)


def test_the_same_customers_give_the_same_numbers_in_any_order(summary: Summary) -> None:
    some = first(summary, 3_000)
    shuffled = np.random.default_rng(4).permutation(3_000)
    one, again, other = (fit_lifetime_value(each) for each in (some, some, part(some, shuffled)))
    assert one.bg_nbd.values() == again.bg_nbd.values() == other.bg_nbd.values()
    assert predicted(one, some).equals(predicted(again, some))
    assert predicted(other, part(some, shuffled)).to_numpy() == pytest.approx(predicted(one, some).to_numpy()[shuffled])


def test_another_unit_of_time_and_money_changes_alpha_and_v_alone(summary: Summary) -> None:
    some = first(summary, 3_000)
    assert some.monetary_value is not None
    in_other = Summary(some.frequency, some.recency * 24, some.age * 24, some.monetary_value * 100)
    one, other = fit_lifetime_value(some), fit_lifetime_value(in_other)
    assert one.gamma_gamma and other.gamma_gamma
    expected = one.bg_nbd.values() | {"alpha": one.bg_nbd.values()["alpha"] * 24}
    assert other.bg_nbd.values() == pytest.approx(expected, rel=1e-3)
    assert other.gamma_gamma.values() == pytest.approx(
        one.gamma_gamma.values() | {"v": one.gamma_gamma.values()["v"] * 100}, rel=1e-3
    )
    assert other.bg_nbd.log_likelihood == pytest.approx(BgNbd(**other.bg_nbd.values()).log_likelihood(in_other))


def test_seconds_rounded_to_hours_do_not_move_the_estimates(summary: Summary) -> None:
    some = first(summary, 20_000)
    rounded = Summary(some.frequency, (some.recency * 24).round() / 24, (some.age * 24).round() / 24)
    exact, coarse = fit_bg_nbd(some), fit_bg_nbd(rounded)
    for name, error in exact.standard_errors().items():
        assert abs(exact.values()[name] - coarse.values()[name]) < 0.05 * error


def test_redrawn_parameters_are_as_far_off_as_the_standard_errors_say(model: LifetimeValue) -> None:
    rng = np.random.default_rng(8)
    drawn = np.array([list(model.bg_nbd.redrawn(rng).values().values()) for _ in range(2_000)])
    errors = list(model.bg_nbd.standard_errors().values())
    assert np.log(drawn).mean(axis=0) == pytest.approx(model.bg_nbd.log_parameters, abs=0.02)
    assert np.log(drawn).std(axis=0) * np.exp(model.bg_nbd.log_parameters) == pytest.approx(errors, rel=0.07)


def test_redrawn_parameters_of_a_flat_likelihood_stay_within_reach(model: LifetimeValue) -> None:
    flat = replace(model.bg_nbd, log_covariance=np.diag([1e6, 1e-6, 1e-6, 1e-6]))
    rng = np.random.default_rng(9)
    for _ in range(50):
        change = np.exp(flat.redrawn(rng).log_parameters - flat.log_parameters)
        assert change.min() > 0.049 and change.max() < 20.01


def test_a_few_hundred_buyers_are_fitted_reported_and_warned_of() -> None:
    """Like a sample of a store: 392 buyers, of whom few have come back."""
    shy = replace(LAWS, r=0.02)
    few = summary_at(store_of(shy, 392, (0.0, 90.0), 92.0, seed=6), 92.0)
    assert 5 < few.repeat_buyers < 20
    model = fit_lifetime_value(few)
    assert f"{few.repeat_buyers} of 392 customers have bought again." in model.warnings[0]
    assert any("BG/NBD: " in warning for warning in model.warnings)
    table = predicted(model, few)
    assert np.isfinite(table.to_numpy()).all()
    assert 0 < table["expected_purchases"].sum() < 40


def test_a_parameter_without_end_is_warned_of() -> None:
    """Customers who all buy at one rate and never leave: no gamma and no beta law has that."""
    rng = np.random.default_rng(7)
    counts = rng.poisson(3.0, 4_000)
    last = np.where(counts > 0, 30.0 * rng.random(4_000) ** (1 / np.maximum(counts, 1)), 0.0)
    fit = fit_bg_nbd(Summary(counts, last, np.full(4_000, 30.0)))
    assert fit.warnings and "a to zero" in fit.warnings[0]
    assert fit.values()["r"] / fit.values()["alpha"] == pytest.approx(0.1, rel=0.03)
    assert np.isnan(list(fit.standard_errors().values())).all()


def test_a_search_that_does_not_settle_is_an_error() -> None:
    with pytest.raises(FitError, match="did not settle"):
        maximise(("up",), lambda at: (float(at[0] ** 3 % 1.0), np.array([1.0])), [[1.0]], 10)


def test_one_purchase_each_is_an_error_that_says_so() -> None:
    nobody = Summary(np.zeros(50, dtype=np.int64), np.zeros(50), np.full(50, 30.0))
    with pytest.raises(FitError, match="none of 50 customers has bought again"):
        fit_lifetime_value(nobody)


@pytest.mark.parametrize("customers", [0, 4])
def test_too_few_customers_are_an_error(summary: Summary, customers: int) -> None:
    with pytest.raises(FitError, match=f"{customers} customers\n  Expected: at least 5"):
        fit_lifetime_value(first(summary, customers))


def test_no_time_is_an_error() -> None:
    with pytest.raises(FitError, match="T is 0 for everybody"):
        fit_bg_nbd(Summary(np.ones(9, dtype=np.int64), np.zeros(9), np.zeros(9)))


def test_without_values_purchases_alone_are_predicted(summary: Summary) -> None:
    some = first(summary, 3_000)
    for values in (None, np.zeros(3_000), np.full(3_000, np.nan)):
        model = fit_lifetime_value(Summary(some.frequency, some.recency, some.age, values))
        assert model.gamma_gamma is None
        assert "No value is predicted: 0 repeat buyers with a value above 0." in model.warnings
        table = predicted(model, some)
        assert table["expected_value"].isna().all() and table["expected_purchases"].gt(0).all()


def test_values_of_nothing_are_left_out_with_a_warning(summary: Summary) -> None:
    some = first(summary, 3_000)
    orders, mean = some.valued_repeats()
    free = np.flatnonzero(orders)[:7]
    changed = mean.copy()
    changed[free] = 0.0
    fit = fit_gamma_gamma(Summary(some.frequency, some.recency, some.age, changed))
    assert "7 repeat buyers with a value of 0 are left out" in fit.warnings[-1]
    others = np.setdiff1d(np.arange(3_000), free)
    assert fit.values() == pytest.approx(fit_gamma_gamma(part(some, others)).values(), rel=1e-6)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("frequency", -1, "frequency -1"),
        ("recency", -0.5, "recency -0.5"),
        ("recency", 21.0, "recency 21 > T 20"),
        ("recency", np.nan, "recency nan, T 20"),
        ("age", np.inf, "recency 10, T inf"),
        ("monetary_value", -3.0, "monetary_value -3"),
    ],
)
def test_numbers_that_cannot_be_true_are_refused_with_their_customer(column: str, value: float, message: str) -> None:
    columns = {
        "frequency": np.array([1, 2, 1]),
        "recency": np.array([5.0, 10.0, 5.0]),
        "age": np.full(3, 20.0),
        "monetary_value": np.full(3, 9.0),
    }
    columns[column][1] = value
    with pytest.raises(SummaryError, match=f"customer 1: {message}\n"):
        Summary(**columns)


def test_a_first_order_alone_has_no_recency() -> None:
    with pytest.raises(SummaryError, match="customer 0: frequency 0 with recency 3"):
        Summary(np.array([0]), np.array([3.0]), np.array([9.0]))
