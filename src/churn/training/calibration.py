"""Calibrations learned from margins of rows that the trees were not grown on."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.model.calibration import Calibration, log_loss, sigmoid

# Knots of the curve before pooling, and the fewest rows of one; smaller ones follow chance.
KNOTS = 50
KNOT_ROWS = 20
# How many standard errors better the curve must be than the line to be taken.
STANDARD_ERRORS = 1.0
# The pull of the line's slope towards 1, as a number of rows that agree with the margins already.
SLOPE_PRIOR_ROWS = 50.0
# Largest gradient of the log loss of a row at which a solution counts as found.
GRADIENT = 1e-12

_FOLDS = 5


def fit_calibration(
    margin: ArrayLike, labels: ArrayLike, method: Literal["auto", "isotonic", "sigmoid", "none"] = "auto"
) -> Calibration:
    """Learn a calibration.

    Args:
        margin: Margins of rows that the trees were not grown on, shape (n,), finite.
        labels: Outcomes of those rows, shape (n,), 0 or 1.
        method: ``auto`` takes ``isotonic`` where the log loss in cross-validation is lower than that of ``sigmoid`` by
            more than a standard error, else ``sigmoid``.

    Returns:
        The calibration; ``none`` where there is only one class or one margin, from which nothing can be learned.
    """
    given = np.asarray(margin, dtype=np.float64)
    truth = np.asarray(labels, dtype=np.float64)
    if method == "none" or not 0 < truth.sum() < len(truth) or np.ptp(given) == 0:
        return Calibration()
    if method == "auto":
        method = "isotonic" if _curve_is_better(given, truth) else "sigmoid"
    return _sigmoid(given, truth) if method == "sigmoid" else _isotonic(given, truth)


def _curve_is_better(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> bool:
    """Whether the curve beats the line on rows that neither was fitted on."""
    # Folds of every fifth row in the order of the margins: each fold spans them all.
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

    Solved for the logarithm of the slope, so that the slope cannot go below 0.
    """
    from scipy.optimize import minimize

    def loss(bend: float, intercept: float) -> tuple[float, NDArray[np.float64]]:
        x = np.exp(bend) * margin
        z = x + intercept
        residual = sigmoid(z) - labels
        gradient = np.array([residual @ x + SLOPE_PRIOR_ROWS * bend, residual.sum()])
        return float(np.sum(np.logaddexp(0.0, z) - labels * z) + SLOPE_PRIOR_ROWS / 2 * bend**2), gradient

    def curvature(bend: float, intercept: float) -> NDArray[np.float64]:
        x = np.exp(bend) * margin
        probability = sigmoid(x + intercept)
        weight = probability * (1.0 - probability)
        cross = weight @ x
        # Gauss-Newton: the exact second derivative may point uphill far from the solution.
        return np.array([[weight @ (x * x) + SLOPE_PRIOR_ROWS, cross], [cross, weight.sum()]])

    found = minimize(
        lambda at: loss(*at),
        np.zeros(2),
        jac=True,
        hess=lambda at: curvature(*at),
        method="trust-exact",
        options={"gtol": GRADIENT * len(margin)},
    )
    bend, intercept = found.x
    return float(np.exp(bend)), float(intercept)


def _curve(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of a centred isotonic regression (Oron and Flournoy 2017, doi:10.1080/19466315.2017.1286256).

    The steps of an isotonic regression would make equal probabilities of unequal margins. Here each step is a point
    in its middle, joined with the next by a line, so that the ranking stays as it is.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(margin, kind="stable")
    starts = [rows[0] for rows in np.array_split(np.arange(len(margin)), min(KNOTS, max(1, len(margin) // KNOT_ROWS)))]
    # Rows, churned rows and sum of margins of each group.
    groups = np.add.reduceat(np.stack([np.ones(len(margin)), labels[order], margin[order]]), starts, axis=1)
    while True:
        rows, churned, summed = groups
        # Half a row of each class keeps a group of one class finite.
        log_odds, centres = np.log((churned + 0.5) / (rows - churned + 0.5)), summed / rows
        steps = isotonic_regression(churned / rows, weights=rows).x
        # Groups on one step are pooled, and so are those of equal margins; together they may have to be pooled again.
        rises = np.append(True, np.all([np.diff(values) > 0 for values in (steps, centres, log_odds)], axis=0))
        if rises.all():
            return tuple(centres.tolist()), tuple(log_odds.tolist())
        groups = np.add.reduceat(groups, np.flatnonzero(rises), axis=1)
