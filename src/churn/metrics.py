"""Measures of a binary classifier that gives probabilities."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class CalibrationCurve(NamedTuple):
    """Observed against predicted churn in bins of equal mass; each array has one value a bin."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    rows: NDArray[np.int64]


def classification_metrics(labels: ArrayLike, probability: ArrayLike, threshold: float) -> dict[str, float]:
    """All measures of one set of rows.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed; both must occur.
        probability: Predicted probabilities of churn, shape (n,).
        threshold: Probability from which churn is predicted.

    Returns:
        ``roc_auc``, ``average_precision``, ``brier`` and ``log_loss`` from the probabilities; ``accuracy``,
        ``precision``, ``recall`` and ``f1`` at the threshold (0 where nothing is predicted to churn);
        ``lift_at_10`` and ``calibration_error`` as below.
    """
    from sklearn import metrics

    truth = np.asarray(labels).astype(np.int8)
    scores = np.asarray(probability, dtype=np.float64)
    predicted = scores >= threshold
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, average="binary", zero_division=0.0
    )
    return {
        "roc_auc": float(metrics.roc_auc_score(truth, scores)),
        "average_precision": float(metrics.average_precision_score(truth, scores)),
        "accuracy": float(np.mean(truth == predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "brier": float(np.mean((scores - truth) ** 2)),
        "log_loss": float(metrics.log_loss(truth, scores, labels=[0, 1])),
        "lift_at_10": lift(truth, scores, 0.1),
        "calibration_error": calibration_error(truth, scores),
    }


def lift(labels: ArrayLike, probability: ArrayLike, share: float) -> float:
    """Churn rate among the accounts with the highest scores over the churn rate of all.

    Ties at the border count by their expected share, so that the order of the rows does not matter.

    Args:
        labels: Outcomes, shape (n,).
        probability: Predicted probabilities, shape (n,).
        share: Share of the accounts that is looked at, above 0 and at most 1.
    """
    truth = np.asarray(labels, dtype=np.float64)
    scores = np.asarray(probability, dtype=np.float64)
    taken = max(1, round(share * len(scores)))
    border = np.partition(scores, len(scores) - taken)[len(scores) - taken]
    above, at = scores > border, scores == border
    churned = truth[above].sum() + truth[at].mean() * (taken - above.sum())
    return float(churned / taken / truth.mean())


def calibration_curve(labels: ArrayLike, probability: ArrayLike, bins: int = 10) -> CalibrationCurve:
    """Mean prediction and observed churn rate in bins of equal mass.

    Rows are ordered by prediction, and equal predictions share a bin, so that the order of the rows does not matter.
    """
    truth = np.asarray(labels, dtype=np.float64)
    scores = np.asarray(probability, dtype=np.float64)
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    bin_of = np.floor(middle * bins / len(scores)).astype(np.int64)[inverse]
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    predicted = np.bincount(bin_of, weights=scores, minlength=bins)[filled] / count[filled]
    observed = np.bincount(bin_of, weights=truth, minlength=bins)[filled] / count[filled]
    return CalibrationCurve(predicted, observed, count[filled])


def calibration_error(labels: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error with bins of equal mass (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602).

    Returns:
        Mean distance of observed and predicted churn rate over the bins, weighted by rows, as a probability.
    """
    curve = calibration_curve(labels, probability, bins)
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.rows))


def estimated_roc_auc(probability: ArrayLike) -> float:
    """ROC AUC to be expected if the probabilities are right, without outcomes (confidence-based estimation).

    Each row counts as churned with its own probability. Nan where all probabilities are 0 or all are 1.
    """
    scores = np.sort(np.asarray(probability, dtype=np.float64))
    _, start = np.unique(scores, return_index=True)
    churned = np.add.reduceat(scores, start)
    stayed = np.add.reduceat(1.0 - scores, start)
    below = np.cumsum(stayed) - stayed
    pairs = churned.sum() * stayed.sum()
    return float(np.sum(churned * (below + stayed / 2)) / pairs) if pairs > 0 else float("nan")
