"""Bootstrap confidence intervals of metrics."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.config import Evaluation
from churn.metrics.classification import classification_metrics
from churn.metrics.ranking import roc_auc_of_counts
from churn.tables.parallel import one_thread

# Rows times samples whose weights are held at once, 8 bytes each: they fit into a processor's cache.
BLOCK = 250_000


class Interval(NamedTuple):
    """A metric with its confidence interval."""

    value: float
    low: float
    high: float


def bootstrap_weights(rows: int, samples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each row occurs in each bootstrap sample, in blocks of shape (some samples, rows)."""
    random = np.random.default_rng(seed)
    size = max(1, BLOCK // max(rows, 1))
    for start in range(0, samples, size):
        drawn = random.integers(0, rows, (min(size, samples - start), rows))
        yield np.stack([np.bincount(sample, minlength=rows) for sample in drawn]).astype(np.float64)


def bootstrap_intervals(
    labels: ArrayLike, probability: ArrayLike, threshold: float, evaluation: Evaluation
) -> dict[str, Interval]:
    """Percentile bootstrap intervals (Efron 1979, doi:10.1214/aos/1176344552) of the metrics of one set of rows.

    Args:
        labels: Outcomes, shape (n,), 0 or 1.
        probability: Predicted probabilities, shape (n,).
        threshold: Probability from which churn is predicted.
        evaluation: Number of samples, confidence and seed.

    Returns:
        Intervals of ``roc_auc``, ``average_precision``, ``accuracy``, ``precision``, ``recall``, ``brier``,
        ``log_loss`` and ``lift_at_10``; empty if ``evaluation.bootstrap_samples`` is 0.
    """
    if not evaluation.bootstrap_samples:
        return {}
    truth = np.asarray(labels, dtype=np.float64)
    scores = np.asarray(probability, dtype=np.float64)
    point = classification_metrics(truth, scores, threshold)
    blocks = bootstrap_weights(len(truth), evaluation.bootstrap_samples, evaluation.random_state)
    # Sorted once here; sorting sorted rows again in `weighted_metrics` is fast.
    order = np.argsort(-scores, kind="stable")
    truth, scores = truth[order], scores[order]
    with one_thread():
        drawn = [weighted_metrics(truth, scores, threshold, weights[:, order]) for weights in blocks]
    tail = (1 - evaluation.confidence) / 2
    intervals = {}
    for name in drawn[0]:
        values = np.concatenate([block[name] for block in drawn])
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.quantile(values, [tail, 1 - tail])
            intervals[name] = Interval(point[name], float(low), float(high))
    return intervals


def weighted_metrics(
    truth: NDArray[np.float64], scores: NDArray[np.float64], threshold: float, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Compute metrics of the same rows under many weightings at once.

    Args:
        truth: Outcomes, shape (n,).
        scores: Probabilities, shape (n,).
        threshold: Probability from which churn is predicted.
        weights: Weights of the rows, shape (k, n).

    Returns:
        Arrays of shape (k,) by metric; nan where a metric is not defined, for example without a churned row.
    """
    order = np.argsort(-scores, kind="stable")
    truth, scores, weights = truth[order], scores[order], weights[:, order]
    # Rows with equal scores make one step of the curves.
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    positive = np.cumsum(weights * truth, axis=1)[:, last]
    every = np.cumsum(weights, axis=1)[:, last]
    negative = every - positive
    churned, total = positive[:, -1:], every[:, -1:]
    new_positive = np.diff(positive, axis=1, prepend=0.0)
    new_negative = np.diff(negative, axis=1, prepend=0.0)
    flagged = weights @ (scores >= threshold)
    hits = weights @ ((scores >= threshold) & (truth == 1))
    right = weights @ ((scores >= threshold) == (truth == 1))
    clipped = np.clip(scores, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision_at = np.where(every > 0, positive / every, 0.0)
        tenth = 0.1 * total
        step = np.array([np.searchsorted(row, limit[0], side="left") for row, limit in zip(every, tenth, strict=True)])
        at = np.minimum(step, every.shape[1] - 1)
        rows = np.arange(len(weights))
        before = every[rows, at] - np.diff(every, axis=1, prepend=0.0)[rows, at]
        found = positive[rows, at] - new_positive[rows, at]
        share = (tenth[:, 0] - before) / np.diff(every, axis=1, prepend=0.0)[rows, at]
        top = found + share * new_positive[rows, at]
        return {
            "roc_auc": roc_auc_of_counts(new_positive[:, ::-1], new_negative[:, ::-1]),
            "average_precision": (precision_at * new_positive).sum(axis=1) / churned[:, 0],
            "accuracy": right / total[:, 0],
            "precision": np.where(flagged > 0, hits / flagged, 0.0),
            "recall": hits / churned[:, 0],
            "brier": weights @ (scores - truth) ** 2 / total[:, 0],
            "log_loss": -(weights @ np.log(np.where(truth == 1, clipped, 1 - clipped))) / total[:, 0],
            "lift_at_10": (top / tenth[:, 0]) / (churned[:, 0] / total[:, 0]),
        }
