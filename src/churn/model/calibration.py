"""Calibration: from the raw score of the model to a calibrated probability.

The raw score is the margin, the log-odds before calibration. A calibration is a strictly increasing function of it, so it
changes the probabilities but not the ranking. It is fitted on out-of-fold margins, and it consists of plain numbers:
applying it needs nothing but this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["none", "sigmoid", "isotonic"]


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing function from margins to probabilities.

    ``none`` uses the margin as the log-odds; ``sigmoid`` uses ``slope * margin + intercept`` (Platt 1999);
    ``isotonic`` interpolates linearly between knots and continues with slope 1 beyond the first and the last.

    Attributes:
        method: ``none``, ``sigmoid`` or ``isotonic``.
        slope: Slope of ``sigmoid``, above 0.
        intercept: Calibrated log-odds of ``sigmoid`` at margin 0.
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
            raise ValueError(f"{len(self.margins)} margins, but {len(self.log_odds)} log_odds")
        if self.method == "isotonic" and not self.margins:
            raise ValueError("an isotonic calibration needs knots")
        if any(np.any(np.diff(values) <= 0) for values in (self.margins, self.log_odds)):
            raise ValueError("margins and log_odds of the knots must rise")

    def log_odds_of(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Return the calibrated log-odds of margins, shape (n,)."""
        # A contiguous copy: numpy may round strided arrays differently in the last bit.
        given = np.ascontiguousarray(margin, dtype=np.float64)
        if self.method == "isotonic":
            beyond = np.minimum(given - self.margins[0], 0.0) + np.maximum(given - self.margins[-1], 0.0)
            return np.asarray(np.interp(given, self.margins, self.log_odds) + beyond, dtype=np.float64)
        if self.method == "sigmoid":
            return self.slope * given + self.intercept
        return given

    def apply(self, margin: ArrayLike) -> NDArray[np.float32]:
        """Return the calibrated probabilities of margins, shape (n,)."""
        return sigmoid(self.log_odds_of(margin)).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal calibration."""
        return {
            "method": self.method,
            "slope": self.slope,
            "intercept": self.intercept,
            "margins": list(self.margins),
            "log_odds": list(self.log_odds),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore a calibration from the result of `to_dict`."""
        return cls(
            method=stored["method"],
            slope=float(stored["slope"]),
            intercept=float(stored["intercept"]),
            margins=tuple(float(value) for value in stored["margins"]),
            log_odds=tuple(float(value) for value in stored["log_odds"]),
        )


def sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of log-odds, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))


def log_loss(calibration: Calibration, margin: ArrayLike, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the log loss of each row after calibration, shape (n,)."""
    log_odds = calibration.log_odds_of(margin)
    return np.asarray(np.logaddexp(0.0, log_odds) - labels * log_odds, dtype=np.float64)
