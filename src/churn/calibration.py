"""Calibration: from the booster's margin to a probability that means what it says.

The margin is the log-odds that the trees add up to. A calibration is a strictly increasing function of it, so that it
changes what the probabilities mean and never who ranks above whom. It is fitted on margins of rows that the trees were
not grown on, and it is plain numbers: nothing but this file is needed to apply it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["none", "sigmoid", "isotonic"]

# Knots of the curve before pooling, and the fewest rows of one; smaller ones follow chance.
KNOTS = 50
KNOT_ROWS = 20
# How many standard errors better the curve must be than the line to be taken.
STANDARD_ERRORS = 1.0
# The pull of the line's slope towards 1, as a number of rows that agree with the margins already.
SLOPE_PRIOR_ROWS = 50.0

_STEPS = 100
_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing function from margins to probabilities.

    ``none`` takes the margin for the log-odds; ``sigmoid`` takes ``slope * margin + intercept`` (Platt 1999);
    ``isotonic`` joins knots by straight lines and goes on with slope 1 beyond the first and the last.

    Attributes:
        method: Which of the three.
        slope: Slope of the line, above 0.
        intercept: Log-odds at margin 0.
        margins: Margins of the knots, ascending.
        log_odds: Calibrated log-odds at the knots, ascending.
    """

    method: Method = "none"
    slope: float = 1.0
    intercept: float = 0.0
    margins: tuple[float, ...] = ()
    log_odds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.slope > 0:
            raise ValueError(f"slope must be above 0, but is {self.slope}")
        if len(self.margins) != len(self.log_odds):
            raise ValueError(f"{len(self.margins)} margins but {len(self.log_odds)} log_odds")
        if self.method == "isotonic" and not self.margins:
            raise ValueError("an isotonic calibration needs knots")
        if any(np.any(np.diff(values) <= 0) for values in (self.margins, self.log_odds)):
            raise ValueError("margins and log_odds of the knots must rise")

    def log_odds_of(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Calibrated log-odds of margins, shape (n,)."""
        # A contiguous copy: numpy may round strided arrays differently in the last bit.
        given = np.ascontiguousarray(margin, dtype=np.float64)
        if self.method == "isotonic":
            beyond = np.minimum(given - self.margins[0], 0.0) + np.maximum(given - self.margins[-1], 0.0)
            return np.asarray(np.interp(given, self.margins, self.log_odds) + beyond, dtype=np.float64)
        if self.method == "sigmoid":
            return self.slope * given + self.intercept
        return given

    def apply(self, margin: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of margins, shape (n,)."""
        return sigmoid(self.log_odds_of(margin)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` gives the equal calibration back."""
        return {
            "method": self.method,
            "slope": self.slope,
            "intercept": self.intercept,
            "margins": list(self.margins),
            "log_odds": list(self.log_odds),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The calibration that `to_dict` described."""
        return cls(
            method=stored["method"],
            slope=float(stored["slope"]),
            intercept=float(stored["intercept"]),
            margins=tuple(float(value) for value in stored["margins"]),
            log_odds=tuple(float(value) for value in stored["log_odds"]),
        )


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


def sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of log-odds, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))


def log_loss(calibration: Calibration, margin: ArrayLike, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Log loss of each row, shape (n,)."""
    log_odds = calibration.log_odds_of(margin)
    return np.asarray(np.logaddexp(0.0, log_odds) - labels * log_odds, dtype=np.float64)


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
