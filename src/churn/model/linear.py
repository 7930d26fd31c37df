"""The linear part of the model: a logistic regression whose log-odds are averaged with those of the trees.

A logistic regression learns a linear effect from fewer rows than trees do, and trees learn interactions and steps that it
cannot represent. The weight of each is learned on out-of-fold rows (stacking: Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1, with non-negative weights: Breiman 1996, doi:10.1007/BF00117832).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# Rows processed at a time, few enough to stay in the processor's cache.
CHUNK_ROWS = 8_192


@dataclass(frozen=True)
class Linear:
    """Log-odds as a weighted sum of clipped features. All tuples have one entry per feature.

    Attributes:
        intercept: Log-odds if all features are 0.
        weights: Coefficients, in log-odds per unit of the feature.
        low: Lower bound to which a feature is clipped.
        high: Upper bound to which a feature is clipped.
        means: Mean of each feature over the training rows, the reference of contributions.
    """

    intercept: float
    weights: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    means: tuple[float, ...]

    def margin(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log-odds of encoded rows: features of shape (n, k), result of shape (n,)."""
        result = np.full(len(features), self.intercept)
        for start in range(0, len(features), CHUNK_ROWS):
            part = result[start : start + CHUNK_ROWS]
            # Feature by feature: a matrix product would round a row differently depending on the other rows.
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

    def few_margins(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute `margin` for a few rows: the parts of all features at once, then added in the same order."""
        used, weights, low, high = self._used
        parts = np.empty((len(used) + 1, len(features)))
        parts[0] = self.intercept
        np.multiply(np.clip(features.T[used], low, high, dtype=np.float64), weights, out=parts[1:])
        return np.asarray(np.add.accumulate(parts)[-1], dtype=np.float64)

    @cached_property
    def _used(self) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Features with a weight, and their weights and bounds, shape (features, 1)."""
        used = np.flatnonzero(self.weights)
        weights, low, high = (
            np.array(each, dtype=np.float64)[used, None] for each in (self.weights, self.low, self.high)
        )
        return used, weights, low, high

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what each feature adds to `baseline`: features of shape (n, k), result of shape (n, k), in log-odds.

        These are the Shapley values of a linear model with independent features (Lundberg and Lee 2017).
        """
        held = np.clip(features, np.asarray(self.low), np.asarray(self.high), dtype=np.float64)
        return np.asarray((held - self.means) * self.weights, dtype=np.float64)

    @property
    def baseline(self) -> float:
        """Log-odds of a row whose features have their means."""
        return self.intercept + math.fsum(w * mean for w, mean in zip(self.weights, self.means, strict=True))

    def weighted(self, weight: float, base: float) -> Self:
        """Return the part to add to trees that start from the log-odds `base`, if this one has the weight `weight`."""
        weights = tuple(weight * each for each in self.weights)
        return replace(self, intercept=weight * (self.intercept - base), weights=weights)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal part."""
        return {
            "intercept": self.intercept,
            "weights": list(self.weights),
            "low": list(self.low),
            "high": list(self.high),
            "means": list(self.means),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore a linear part from the result of `to_dict`."""
        return cls(
            float(stored["intercept"]),
            *(tuple(map(float, stored[name])) for name in ("weights", "low", "high", "means")),
        )
