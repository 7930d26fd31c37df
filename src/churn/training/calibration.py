"""Fit calibrations to out-of-fold margins."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.model.calibration import Calibration, log_loss, sigmoid

# Number of knots of the isotonic curve before pooling, and the fewest rows of a knot, which limits its noise.
KNOTS = 50
KNOT_ROWS = 20
# The isotonic calibration is chosen if its log loss is lower than that of the sigmoid by this many standard errors.
STANDARD_ERRORS = 1.0
# Strength of the prior that draws the slope of the sigmoid towards 1, as a number of rows that agree with the margins.
SLOPE_PRIOR_ROWS = 50.0

_FOLDS = 5


def fit_calibration(
    margin: ArrayLike, labels: ArrayLike, method: Literal["auto", "isotonic", "sigmoid", "none"] = "auto"
) -> Calibration:
    """Fit a calibration.

    Args:
        margin: Out-of-fold margins, shape (n,), finite.
        labels: Outcomes of the same rows, shape (n,), 0 or 1.
        method: ``auto`` chooses ``isotonic`` if its log loss in cross-validation is lower than that of ``sigmoid`` by more
            than a standard error, else ``sigmoid``.

    Returns:
        The calibration; its method is ``none`` if there is only one class or one margin, as nothing can be learned then.
    """
    given = np.asarray(margin, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.float64)
    if method == "none" or not 0 < truth.sum() < len(truth) or np.ptp(given) == 0:
        return Calibration()
    if method == "auto":
        method = "isotonic" if _curve_is_better(given, truth) else "sigmoid"
    return _sigmoid(given, truth) if method == "sigmoid" else _isotonic(given, truth)


def _curve_is_better(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> bool:
    """Return whether the isotonic calibration beats the sigmoid in cross-validation."""
    # Each fold takes every fifth row in the order of the margins, so that it covers their whole range.
    fold = np.empty(len(margin), dtype=np.int64)
    fold[np.lexsort((labels, margin))] = np.arange(len(margin)) % _FOLDS
    gain = np.empty(len(margin))
    for held_out in (fold == number for number in range(_FOLDS)):
        given, truth = margin[~held_out], labels[~held_out]
        if not 0 < truth.sum() < len(truth) or np.ptp(given) == 0:
            return False
        line, curve = _sigmoid(given, truth), _isotonic(given, truth)
        rest = margin[held_out], labels[held_out]
        gain[held_out] = log_loss(line, *rest) - log_loss(curve, *rest)
    return bool(gain.mean() > STANDARD_ERRORS * gain.std() / np.sqrt(len(gain)))


def _sigmoid(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> Calibration:
    slope, intercept = _line(margin, labels)
    return Calibration("sigmoid", slope, intercept)


def _isotonic(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> Calibration:
    margins, log_odds = _curve(margin, labels)
    return Calibration("isotonic", margins=margins, log_odds=log_odds)


def _line(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of a logistic regression on the margin, the slope drawn a little towards 1.

    The parameters are the logarithm of the slope, which cannot go below 0 that way, and the intercept.
    """
    from scipy.optimize import minimize

    def loss(point: NDArray[np.float64]) -> float:
        z = np.exp(point[0]) * margin + point[1]
        return float(np.sum(np.logaddexp(0.0, z) - labels * z) + SLOPE_PRIOR_ROWS / 2 * point[0] ** 2)

    def gradient(point: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.exp(point[0]) * margin
        residual = sigmoid(x + point[1]) - labels
        return np.array([residual @ x + SLOPE_PRIOR_ROWS * point[0], residual.sum()])

    def hessian(point: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.exp(point[0]) * margin
        probability = sigmoid(x + point[1])
        weight = probability * (1.0 - probability)
        cross = weight @ x
        bend = weight @ (x * x) + (probability - labels) @ x + SLOPE_PRIOR_ROWS
        return np.array([[bend, cross], [cross, weight.sum()]])

    # Hardly any step is needed to reach this precision; the loss is a sum over the rows.
    precision = {"gtol": 1e-8 * len(margin)}
    found = minimize(loss, np.zeros(2), jac=gradient, hess=hessian, method="trust-exact", options=precision)
    return float(np.exp(found.x[0])), float(found.x[1])


def _curve(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the knots of a centred isotonic regression (Oron and Flournoy 2017, doi:10.1080/19466315.2017.1286256).

    An isotonic regression is a step function, which would give unequal margins equal probabilities. Here each step is
    replaced by a point in its middle and the points are joined linearly, so that the ranking does not change.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(margin, kind="stable")
    starts = [rows[0] for rows in np.array_split(np.arange(len(margin)), min(KNOTS, max(1, len(margin) // KNOT_ROWS)))]
    # Number of rows, number of churned rows and sum of margins of each group.
    groups = np.add.reduceat(np.stack([np.ones(len(margin)), labels[order], margin[order]]), starts, axis=1)
    while True:
        rows, churned, summed = groups
        # Half a row of each class keeps the log-odds of a group of one class finite.
        log_odds, centres = np.log((churned + 0.5) / (rows - churned + 0.5)), summed / rows
        steps = isotonic_regression(churned / rows, weights=rows).x
        # Groups on one step are pooled, and so are those of equal margins; the result may have to be pooled again.
        rises = np.append(True, np.all([np.diff(values) > 0 for values in (steps, centres, log_odds)], axis=0))
        if rises.all():
            return tuple(centres.tolist()), tuple(log_odds.tolist())
        groups = np.add.reduceat(groups, np.flatnonzero(rises), axis=1)
