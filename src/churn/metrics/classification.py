"""Metrics of a binary classifier that predicts probabilities."""

import numpy as np
from numpy.typing import ArrayLike

from churn.metrics.calibration import calibration_error
from churn.metrics.ranking import Ranking, lift


def classification_metrics(labels: ArrayLike, probability: ArrayLike, threshold: float) -> dict[str, float]:
    """Compute all metrics of one set of rows.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed; both must occur.
        probability: Predicted probabilities of churn, shape (n,).
        threshold: Probability from which churn is predicted.

    Returns:
        ``roc_auc``, ``average_precision``, ``brier`` and ``log_loss`` of the probabilities; ``accuracy``,
        ``precision``, ``recall`` and ``f1`` at the threshold (the last three are 0 if no row is predicted to churn);
        ``lift_at_10``, see `churn.metrics.ranking.lift`, and ``calibration_error``, see `churn.metrics.calibration`.
    """
    from sklearn import metrics

    truth = np.asarray(labels).astype(np.int8)
    scores = np.asarray(probability, dtype=np.float64)
    predicted = scores >= threshold
    ranking = Ranking.of(truth, scores)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, average="binary", zero_division=0.0
    )
    return {
        "roc_auc": ranking.roc_auc(),
        "average_precision": ranking.average_precision(),
        "accuracy": float(np.mean(truth == predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "brier": brier(truth, scores),
        "log_loss": log_loss(truth, scores),
        "lift_at_10": lift(truth, scores, 0.1),
        "calibration_error": calibration_error(truth, scores),
    }


def brier(labels: ArrayLike, probability: ArrayLike) -> float:
    """Brier score: mean squared difference of outcome and probability; both of shape (n,)."""
    distance = np.asarray(probability, dtype=np.float64) - np.asarray(labels, dtype=np.int8)
    distance *= distance
    return float(np.mean(distance))


def log_loss(labels: ArrayLike, probability: ArrayLike) -> float:
    """Log loss: mean of -ln of the probability of the observed outcome, at least 2.2e-16; both of shape (n,)."""
    scores = np.asarray(probability, dtype=np.float64)
    given = np.subtract(1.0, scores)
    np.copyto(given, scores, where=np.asarray(labels).astype(bool))
    least = np.finfo(np.float64).eps
    np.clip(given, least, 1 - least, out=given)
    np.log(given, out=given)
    return -float(np.mean(given))
