"""The linear part fitted: a logistic regression a fold, and its weight beside the trees."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model.linear import Linear
from churn.tables.parallel import one_thread

# Inverse strength of the L2 penalty on standardised features, as scikit-learn counts it.
INVERSE_PENALTY = 0.1
# A feature counts as no farther from its mean than this many standard deviations: lines do not bend back.
REACH = 5.0
# More cells than these do not make a line any better; rows are drawn evenly from larger tables.
FIT_CELLS = 20_000_000


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
