"""Measures of a binary classifier that gives probabilities."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Rows of sorted scores that are looked at in one piece. Of 30 million rows, an array of numbers takes 240 MB; no measure makes
# more than two beside those it is given.
PIECE_ROWS = 1 << 20


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


class Ranking(NamedTuple):
    """How many accounts of each outcome have at least a score, at each different score from the highest to the lowest."""

    churned: NDArray[np.int32]
    stayed: NDArray[np.int32]

    @classmethod
    def of(cls, labels: ArrayLike, probability: ArrayLike) -> "Ranking":
        """The ranking of rows.

        Args:
            labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
            probability: Predicted probabilities, shape (n,).
        """
        scores = np.asarray(probability, dtype=np.float64)
        ordered, of_churned = np.sort(scores), np.sort(scores[np.asarray(labels).astype(bool)])
        churned, rows = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for piece in _pieces(ordered):
            first = _first_of_equals(ordered[piece])
            churned.append(len(of_churned) - np.searchsorted(of_churned, ordered[piece][first]).astype(np.int32))
            rows.append((len(ordered) - piece.start - first).astype(np.int32))
        del ordered, of_churned
        found = np.concatenate(churned)[::-1]
        del churned
        return cls(found, np.concatenate(rows)[::-1] - found)

    def roc_auc(self) -> float:
        """Area under the ROC curve; nan where only one outcome occurs."""
        churned, stayed = self
        if not len(churned) or not churned[-1] or not stayed[-1]:
            return float("nan")
        # Points in the middle of a straight line add rounding errors and nothing else.
        inner = (np.diff(stayed, 2) != 0) | (np.diff(churned, 2) != 0)
        corner = np.concatenate(([True], inner, [True]))[: len(churned)]
        x, y = (np.append(np.int32(0), counts[corner]) / counts[-1] for counts in (stayed, churned))
        areas = np.diff(x)
        del x
        areas *= y[1:] + y[:-1]
        areas /= 2.0
        return float(areas.sum())

    def average_precision(self) -> float:
        """Mean of the precision at each churned account; nan where none churned."""
        churned, stayed = self
        if not len(churned) or not churned[-1]:
            return float("nan")
        # From the lowest score to the highest: the order in which the sum is rounded.
        upwards, rest = churned[::-1], stayed[::-1]
        terms = np.empty(len(churned))
        for start in range(0, len(terms), PIECE_ROWS):
            piece = slice(start, start + PIECE_ROWS)
            recall = np.append(upwards[start : start + PIECE_ROWS + 1], np.int32(0)) / churned[-1]
            terms[piece] = np.diff(recall)[: len(terms[piece])]
            terms[piece] *= upwards[piece] / (upwards[piece] + rest[piece])
        return max(0.0, -float(terms.sum()))


def brier(labels: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared distance of outcome and probability; both of shape (n,)."""
    distance = np.asarray(probability, dtype=np.float64) - np.asarray(labels, dtype=np.int8)
    distance *= distance
    return float(np.mean(distance))


def log_loss(labels: ArrayLike, probability: ArrayLike) -> float:
    """Mean of -ln of the probability given to what happened, which counts as at least 2.2e-16; both of shape (n,)."""
    scores = np.asarray(probability, dtype=np.float64)
    given = np.subtract(1.0, scores)
    np.copyto(given, scores, where=np.asarray(labels).astype(bool))
    least = np.finfo(np.float64).eps
    np.clip(given, least, 1 - least, out=given)
    np.log(given, out=given)
    return -float(np.mean(given))


def lift(labels: ArrayLike, probability: ArrayLike, share: float) -> float:
    """Churn rate among the accounts with the highest scores over the churn rate of all.

    Ties at the border count by their expected share, so that the order of the rows does not matter.

    Args:
        labels: Outcomes, shape (n,).
        probability: Predicted probabilities, shape (n,).
        share: Share of the accounts that is looked at, above 0 and at most 1.
    """
    truth = np.asarray(labels)
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
    scores = np.asarray(probability, dtype=np.float64)
    bin_of = np.searchsorted(_first_of_bins(scores, bins), scores, side="right")
    bin_of -= 1
    count = np.bincount(bin_of)
    predicted = np.bincount(bin_of, weights=scores) / count
    observed = np.bincount(bin_of, weights=np.asarray(labels)) / count
    return CalibrationCurve(predicted, observed, count)


def _first_of_bins(scores: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Lowest score of each bin of equal mass that is not empty, rising."""
    ordered = np.sort(scores)
    found, last = [], -1
    for piece in _pieces(ordered):
        first = _first_of_equals(ordered[piece])
        after = np.append(first[1:], piece.stop - piece.start)
        middle = (first + after - 1) / 2 + piece.start
        bin_of = np.floor(middle * bins / len(ordered)).astype(np.int64)
        begins = np.diff(bin_of, prepend=last) > 0
        found.append(ordered[piece][first[begins]])
        last = bin_of[-1]
    return np.concatenate(found) if found else ordered


def _pieces(ordered: NDArray[np.float64]) -> Iterator[slice]:
    """Pieces of sorted values; equal values are in one."""
    start = 0
    while start < len(ordered):
        end = min(start + PIECE_ROWS, len(ordered))
        end = start + int(np.searchsorted(ordered[start:], ordered[end - 1], side="right"))
        yield slice(start, end)
        start = end


def _first_of_equals(ordered: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each different value begins among sorted ones."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def calibration_error(labels: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error with bins of equal mass (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602).

    Returns:
        Mean distance of observed and predicted churn rate over the bins, weighted by rows, as a probability.
    """
    return error_of_curve(calibration_curve(labels, probability, bins))


def error_of_curve(curve: CalibrationCurve) -> float:
    """The `calibration_error` of rows whose curve is known."""
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.rows))


def estimated_roc_auc(probability: ArrayLike) -> float:
    """ROC AUC to be expected if the probabilities are right, without outcomes (confidence-based estimation).

    Each row counts as churned with its own probability. Nan where all probabilities are 0 or all are 1.
    """
    scores = np.sort(np.asarray(probability, dtype=np.float64))
    stayed = np.empty_like(scores)
    different = 0
    for piece in _pieces(scores):
        first = _first_of_equals(scores[piece])
        to = slice(different, different + len(first))
        stayed[to] = np.add.reduceat(1.0 - scores[piece], first)
        # There are no more different scores than scores that have been looked at.
        scores[to] = np.add.reduceat(scores[piece], first)
        different = to.stop
    churned, stayed = scores[:different], stayed[:different]
    pairs = churned.sum() * stayed.sum()
    if not pairs > 0:
        return float("nan")
    below = 0.0
    for start in range(0, different, PIECE_ROWS):
        of_piece = stayed[start : start + PIECE_ROWS]
        until = np.cumsum(np.append(below, of_piece))[1:]
        churned[start : start + PIECE_ROWS] *= until - of_piece + of_piece / 2
        below = until[-1]
    return float(np.sum(churned) / pairs)
