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


def sigmoid(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of log-odds, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))


def log_loss(calibration: Calibration, margin: ArrayLike, labels: NDArray[Any]) -> NDArray[np.float64]:
    """Log loss of each row, shape (n,)."""
    log_odds = calibration.log_odds_of(margin)
    return np.asarray(np.logaddexp(0.0, log_odds) - labels * log_odds, dtype=np.float64)
