"""Fit the linear part: a logistic regression per fold, and its weight beside the trees."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.model.linear import Linear
from churn.tables.parallel import one_thread
from churn.training.rows import TrainingRows

# Inverse strength of the L2 penalty on standardised features, the parameter C of scikit-learn.
INVERSE_PENALTY = 0.1
# Features are clipped to this many standard deviations from their mean, which limits extrapolation.
REACH = 5.0
# Largest number of cells (rows times features) to fit on; of larger tables, evenly spaced rows are enough.
FIT_CELLS = 20_000_000


class FittedLinear(NamedTuple):
    """A logistic regression and its out-of-fold margins.

    Attributes:
        linear: The mean of the logistic regressions of all folds.
        margin: Out-of-fold log-odds of each training row: by the regression that was not fitted on it, shape (n,).
    """

    linear: Linear
    margin: NDArray[np.float64]


@one_thread()
def fit_linear(rows: TrainingRows, directions: Sequence[int] = ()) -> FittedLinear:
    """Fit a logistic regression for each fold on the rows of the others, and take their mean.

    Args:
        rows: Encoded training rows, without nan.
        directions: Sign that the weight of each feature may have, 1, -1 or 0 for any; empty for any.
    """
    some = rows.drawn(math.ceil(rows.features.size / FIT_CELLS))
    # Row-major copy, whatever the memory layout of the table, so that sums round the same way.
    whole = np.ascontiguousarray(some.known(), dtype=np.float64)
    means, spread = whole.mean(axis=0), whole.std(axis=0)
    spread[spread == 0] = 1.0
    low, high = means - REACH * spread, means + REACH * spread
    models: list[Linear] = []
    for fold in range(rows.fold_count):
        others = (np.clip(some.others(fold).astype(np.float64), low, high) - means) / spread
        coefficients, start = _regression(others, some.labels[some.folds != fold], directions)
        weights = coefficients / spread
        intercept = float(start - weights @ means)
        models.append(Linear(intercept, *(tuple(map(float, values)) for values in (weights, low, high, means))))
    margin = np.empty(len(rows))
    for fold, model in enumerate(models):
        margin[rows.folds == fold] = model.margin(rows.held_out(fold))
    mean_weights = tuple(float(weight) for weight in np.mean([model.weights for model in models], axis=0))
    mean = replace(models[0], intercept=float(np.mean([model.intercept for model in models])), weights=mean_weights)
    return FittedLinear(mean, margin)


def _regression(
    rows: NDArray[np.float64], labels: NDArray[np.int8], directions: Sequence[int]
) -> tuple[NDArray[np.float64], float]:
    """Return weights and intercept; features whose weight would have the wrong sign are left out, one round after the other."""
    from sklearn.linear_model import LogisticRegression

    used = np.ones(rows.shape[1], bool)
    signs = np.asarray(directions) if len(directions) else np.zeros(rows.shape[1], int)
    while True:
        weights = np.zeros(rows.shape[1])
        if not used.any():
            return weights, math.log(labels.mean() / (1 - labels.mean()))
        fitted = LogisticRegression(C=INVERSE_PENALTY, solver="newton-cholesky", max_iter=100)
        fitted.fit(rows if used.all() else rows[:, used], labels)
        weights[used] = fitted.coef_[0]
        wrong = weights * signs < 0
        if not wrong.any():
            return weights, float(fitted.intercept_[0])
        used &= ~wrong


def learn_weight(
    tree_margin: NDArray[np.floating], linear_margin: NDArray[np.floating], labels: NDArray[np.int8]
) -> float:
    """Learn the weight of the linear part, from 0 to 1; the trees have the rest.

    Args:
        tree_margin: Out-of-fold log-odds by the trees, shape (n,).
        linear_margin: Out-of-fold log-odds of the same rows by the linear part, shape (n,).
        labels: Their outcomes, shape (n,), 0 or 1.
    """
    from sklearn.linear_model import LogisticRegression

    margins = np.column_stack([tree_margin, linear_margin]).astype(np.float64)
    stacked = LogisticRegression(C=np.inf, solver="newton-cholesky", max_iter=100).fit(margins, labels)
    # Negative weights are set to 0.
    trees, linear = np.maximum(stacked.coef_[0], 0.0)
    return float(linear / (trees + linear)) if trees + linear > 0 else 0.0
