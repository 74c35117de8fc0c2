"""Maximum likelihood for models whose parameters are all above zero: the search, its checks, how sure the result is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, minimize

from lakehouse.errors import LakehouseError
from ml.lifetime_value.summary import Floats

LIMIT = 1e4
"""Parameters are sought between 1 / LIMIT and LIMIT, in units of the mean T and the mean value. One that runs to an
end has left the model: a and b without end are one p for all, r and alpha without end one rate for all."""

VAGUE = 1.0
"""Of the standard error of a parameter's logarithm. Beyond it, the 80 % interval spans a factor of 13."""

FARTHEST = 20.0

_STEP = 1e-4
_GRADIENT = 1e-5
_AT_END = 1e-6


class FitError(LakehouseError):
    """No parameters can be had from this summary."""


@dataclass(frozen=True)
class Fit:
    """Where the likelihood is greatest.

    :param log_parameters: natural logarithms of the parameters, in the order of `names`.
    :param log_covariance: of these, by the observed information; None where that is singular.
    :param warnings: what a reader of the numbers should know, in sentences.
    """

    names: tuple[str, ...]
    log_parameters: Floats
    log_covariance: Floats | None
    log_likelihood: float
    warnings: tuple[str, ...]

    def values(self) -> dict[str, float]:
        return dict(zip(self.names, np.exp(self.log_parameters).tolist(), strict=True))

    def standard_errors(self) -> dict[str, float]:
        """By the delta method; NaN where the likelihood says nothing."""
        if self.log_covariance is None:
            return dict.fromkeys(self.names, float("nan"))
        errors = np.exp(self.log_parameters) * np.sqrt(np.diag(self.log_covariance))
        return dict(zip(self.names, errors.tolist(), strict=True))

    def redrawn(self, rng: np.random.Generator) -> Fit:
        """The fit with parameters drawn from their law, normal on the log scale; as it is where that is not known.

        A step on which some parameter would change more than `FARTHEST`-fold is shortened, in its direction: where the
        likelihood is a flat ridge the normal law does not end, and along the ridge the predictions are the same.
        """
        if self.log_covariance is None:
            return self
        step = rng.multivariate_normal(np.zeros(len(self.names)), self.log_covariance)
        step *= min(1.0, np.log(FARTHEST) / np.abs(step).max())
        return replace(self, log_parameters=self.log_parameters + step)


def maximise(
    names: tuple[str, ...],
    mean_log_likelihood: Callable[[Floats], tuple[float, Floats]],
    starts: Sequence[Sequence[float]],
    customers: float,
) -> Fit:
    """The best of the maxima that L-BFGS-B finds from each start. Its `log_likelihood` is of all customers.

    :param mean_log_likelihood: logarithms of the parameters -> mean over customers, and its gradient by these.
    :param starts: parameters, not their logarithms.
    :raises FitError: no search ended where the gradient is zero.
    """

    def loss(log_parameters: Floats) -> tuple[float, Floats]:
        value, gradient = mean_log_likelihood(log_parameters)
        return -value, -gradient

    end = float(np.log(LIMIT))
    bounds = [(-end, end)] * len(names)
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2_000, "maxfun": 4_000, "maxcor": 20}
    found = [
        minimize(loss, np.log(start), jac=True, method="L-BFGS-B", bounds=bounds, options=options) for start in starts
    ]
    settled = [each for each in found if _slope(each, end) < _GRADIENT]
    if not settled:
        raise FitError(
            f"the search for {', '.join(names)} did not settle: {found[0].message}",
            "a gradient of zero",
            "look for customers whose numbers are out of all proportion, or give more customers",
        )
    best = min(settled, key=lambda each: float(each.fun))
    at = np.asarray(best.x, dtype=np.float64)
    at_end = np.abs(at) > end - _AT_END
    covariance = _covariance(lambda where: loss(where)[1] * customers, at, at_end)
    warnings = tuple(_warnings(names, at, at_end, covariance))
    return Fit(names, at, covariance, float(-best.fun * customers), warnings)


def _slope(found: OptimizeResult, end: float) -> float:
    """The steepest slope, but of parameters that are at an end."""
    inside = np.abs(found.x) < end - _AT_END
    return float(np.abs(found.jac[inside]).max(initial=0.0)) if np.isfinite(found.fun) else np.inf


def _covariance(gradient: Callable[[Floats], Floats], at: Floats, at_end: npt.NDArray[np.bool_]) -> Floats | None:
    if at_end.any():
        return None
    steps = np.eye(len(at)) * _STEP
    information = np.array([(gradient(at + step) - gradient(at - step)) / (2 * _STEP) for step in steps])
    information = (information + information.T) / 2
    if np.linalg.eigvalsh(information)[0] <= 0:
        return None
    return np.linalg.inv(information)


def _warnings(
    names: tuple[str, ...], at: Floats, at_end: npt.NDArray[np.bool_], covariance: Floats | None
) -> list[str]:
    if at_end.any():
        ran = ", ".join(f"{name} to {'infinity' if at[i] > 0 else 'zero'}" for i, name in enumerate(names) if at_end[i])
        return [f"The search ran {ran}: predictions may hold, the parameters themselves say nothing."]
    if covariance is None:
        return [f"{', '.join(names)} cannot be told apart: the likelihood is flat where it is greatest."]
    errors = np.sqrt(np.diag(covariance))
    vague = [f"{name} (to a factor of {np.exp(errors[i]):.3g})" for i, name in enumerate(names) if errors[i] > VAGUE]
    return [f"Weakly identified, one standard error: {', '.join(vague)}."] if vague else []
