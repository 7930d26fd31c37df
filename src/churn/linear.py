"""The linear part of the model: a logistic regression whose log-odds are mixed with those of the trees.

Trees need many rows to follow a slope that a straight line follows with few, and a line misses what only trees see. How
much each of the two counts is learned on rows that neither was fitted on (stacking: Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1, with weights that are not negative: Breiman 1996, doi:10.1007/BF00117832).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from churn.parallel import one_thread

# Inverse strength of the L2 penalty on standardised features, as scikit-learn counts it.
INVERSE_PENALTY = 0.1
# A feature counts as no farther from its mean than this many standard deviations: lines do not bend back.
REACH = 5.0
# More cells than these do not make a line any better; rows are drawn evenly from larger tables.
FIT_CELLS = 20_000_000
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


class FittedLinear(NamedTuple):
    """A line and what it was measured on.

    Attributes:
        linear: The mean of the lines of all folds.
        margin: Log-odds of each training row by the line that was not fitted on it, shape (n,).
    """

    linear: Linear
    margin: NDArray[np.float64]


@one_thread()
def fit_linear(features: NDArray[np.float32], labels: NDArray[np.int8], folds: NDArray[np.int8]) -> FittedLinear:
    """Fit a logistic regression for each fold on the rows of the others, and take their mean.

    Args:
        features: Encoded training rows, shape (n, k), without nan.
        labels: Their outcomes, shape (n,), 0 or 1.
        folds: Their folds, shape (n,), from 0.
    """
    from sklearn.linear_model import LogisticRegression

    drawn = slice(None, None, math.ceil(features.size / FIT_CELLS))
    # Row by row in memory, whatever the order of the table: sums then round the same way.
    rows, truth, fold_of = np.ascontiguousarray(features[drawn], dtype=np.float64), labels[drawn], folds[drawn]
    means, spread = rows.mean(axis=0), rows.std(axis=0)
    spread[spread == 0] = 1.0
    low, high = means - REACH * spread, means + REACH * spread
    standardised = (np.clip(rows, low, high) - means) / spread
    lines: list[Linear] = []
    for fold in range(int(folds.max()) + 1):
        others = fold_of != fold
        fitted = LogisticRegression(C=INVERSE_PENALTY, solver="newton-cholesky", max_iter=100)
        fitted.fit(standardised[others], truth[others])
        weights = fitted.coef_[0] / spread
        intercept = float(fitted.intercept_[0] - weights @ means)
        lines.append(Linear(intercept, *(tuple(map(float, values)) for values in (weights, low, high, means))))
    margin = np.empty(len(labels))
    for fold, line in enumerate(lines):
        margin[folds == fold] = line.margin(features[folds == fold])
    mean_weights = tuple(float(weight) for weight in np.mean([line.weights for line in lines], axis=0))
    mean = replace(lines[0], intercept=float(np.mean([line.intercept for line in lines])), weights=mean_weights)
    return FittedLinear(mean, margin)


def learn_weight(
    tree_margin: NDArray[np.floating], linear_margin: NDArray[np.floating], labels: NDArray[np.int8]
) -> float:
    """How much the line should count beside the trees, from 0 to 1.

    Args:
        tree_margin: Log-odds of rows by trees that were not grown on them, shape (n,).
        linear_margin: Log-odds of the same rows by lines that were not fitted on them, shape (n,).
        labels: Their outcomes, shape (n,), 0 or 1.
    """
    from sklearn.linear_model import LogisticRegression

    margins = np.column_stack([tree_margin, linear_margin]).astype(np.float64)
    stacked = LogisticRegression(C=np.inf, solver="newton-cholesky", max_iter=100).fit(margins, labels)
    # A weight that would be negative is 0.
    trees, line = np.maximum(stacked.coef_[0], 0.0)
    return float(line / (trees + line)) if trees + line > 0 else 0.0
