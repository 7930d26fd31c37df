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

_STEPS = 100
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

    Newton's method in the logarithm of the slope, which cannot go below 0 that way.
    """
    bend, intercept = 0.0, 0.0

    def loss(bend: float, intercept: float) -> float:
        z = np.exp(bend) * margin + intercept
        return float(np.sum(np.logaddexp(0.0, z) - labels * z) + SLOPE_PRIOR_ROWS / 2 * bend**2)

    current = loss(bend, intercept)
    for _ in range(_STEPS):
        x = np.exp(bend) * margin
        probability = sigmoid(x + intercept)
        residual, weight = probability - labels, probability * (1.0 - probability)
        gradient = np.array([residual @ x + SLOPE_PRIOR_ROWS * bend, residual.sum()])
        cross = weight @ x
        # Gauss-Newton: the exact second derivative may point uphill far from the solution.
        hessian = np.array([[weight @ (x * x) + SLOPE_PRIOR_ROWS, cross], [cross, weight.sum() + 1e-12]])
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-6 and (tried := loss(bend - scale * step[0], intercept - scale * step[1])) > current:
            scale /= 2
        if scale <= 1e-6:
            break
        bend, intercept = bend - scale * step[0], intercept - scale * step[1]
        done, current = current - tried < 1e-10 * (1.0 + abs(current)), tried
        if done:
            break
    return float(np.exp(bend)), float(intercept)


def _curve(margin: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots of a centred isotonic regression (Oron and Flournoy 2017, doi:10.1080/19466315.2017.1286256).

    The steps of an isotonic regression would make equal probabilities of unequal margins. Here each step is a point
    in its middle, joined with the next by a line, so that the ranking stays as it is.
    """
    order = np.argsort(margin, kind="stable")
    margin, labels = margin[order], labels[order]
    groups = np.array_split(np.arange(len(margin)), min(KNOTS, max(1, len(margin) // KNOT_ROWS)))
    blocks: list[list[float]] = []  # rows, churned rows, sum of margins
    for rows in groups:
        blocks.append([float(len(rows)), float(labels[rows].sum()), float(margin[rows].sum())])
        # Pool while the churn rate does not rise (pool adjacent violators); equal margins belong together.
        while len(blocks) > 1 and (
            _log_odds(blocks[-2]) >= _log_odds(blocks[-1]) or _centre(blocks[-2]) >= _centre(blocks[-1])
        ):
            last = blocks.pop()
            blocks[-1] = [mine + theirs for mine, theirs in zip(blocks[-1], last, strict=True)]
    return tuple(_centre(block) for block in blocks), tuple(_log_odds(block) for block in blocks)


def _centre(block: list[float]) -> float:
    return block[2] / block[0]


def _log_odds(block: list[float]) -> float:
    # Half a row of each class keeps a block of one class finite.
    return float(np.log((block[1] + 0.5) / (block[0] - block[1] + 0.5)))
