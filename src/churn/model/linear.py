"""The linear part of the model: a logistic regression whose log-odds are mixed with those of the trees.

Trees need many rows to follow a slope that a straight line follows with few, and a line misses what only trees see. How
much each of the two counts is learned on rows that neither was fitted on (stacking: Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1, with weights that are not negative: Breiman 1996, doi:10.1007/BF00117832).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# Rows are taken a few at a time, so that they stay in the processor's cache.
CHUNK_ROWS = 8_192


@dataclass(frozen=True)
class Linear:
    """Log-odds that are a sum over features. All tuples have one entry a feature.

    Attributes:
        intercept: Log-odds where all features are 0.
        weights: Log-odds for each unit of a feature.
        low: Value below which a feature counts as this.
        high: Value above which a feature counts as this.
        means: Mean of each feature over the training rows, to which contributions refer.
    """

    intercept: float
    weights: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    means: tuple[float, ...]

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log-odds of encoded rows: features of shape (n, k), result of shape (n,)."""
        result = np.full(len(features), self.intercept)
        for start in range(0, len(features), CHUNK_ROWS):
            part = result[start : start + CHUNK_ROWS]
            # Feature by feature, not as a product of matrices: that would round a row differently in other company.
            for values, weight, low, high in zip(
                np.ascontiguousarray(features[start : start + CHUNK_ROWS].T),
                self.weights,
                self.low,
                self.high,
                strict=True,
            ):
                if weight:
                    part += weight * np.clip(values, low, high, dtype=np.float64)
        return result

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each feature adds to `baseline`: features of shape (n, k), result of shape (n, k), in log-odds.

        These are the Shapley values of a linear model with independent features (Lundberg and Lee 2017).
        """
        held = np.clip(features, np.asarray(self.low), np.asarray(self.high), dtype=np.float64)
        return np.asarray((held - self.means) * self.weights, dtype=np.float64)

    @property
    def baseline(self) -> float:
        """Log-odds of a row whose features have their means."""
        return self.intercept + math.fsum(w * mean for w, mean in zip(self.weights, self.means, strict=True))

    def weighted(self, weight: float, base: float) -> Self:
        """The part that this line adds where it counts `weight` beside trees that start from the log-odds `base`."""
        weights = tuple(weight * each for each in self.weights)
        return replace(self, intercept=weight * (self.intercept - base), weights=weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` gives the equal part back."""
        return {
            "intercept": self.intercept,
            "weights": list(self.weights),
            "low": list(self.low),
            "high": list(self.high),
            "means": list(self.means),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The part that `to_dict` described."""
        return cls(
            float(stored["intercept"]),
            *(tuple(map(float, stored[name])) for name in ("weights", "low", "high", "means")),
        )
