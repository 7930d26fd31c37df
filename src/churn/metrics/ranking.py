"""Metrics of the ranking of accounts by score: ROC AUC, average precision, lift."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Rows of sorted scores that are processed in one piece. An array of 30 million numbers takes 240 MB; no metric allocates
# more than two beside its arguments.
PIECE_ROWS = 1 << 20


class Ranking(NamedTuple):
    """Cumulative counts of each outcome at each different score, from the highest score to the lowest."""

    churned: NDArray[np.int32]
    stayed: NDArray[np.int32]

    @classmethod
    def of(cls, labels: ArrayLike, probability: ArrayLike) -> "Ranking":
        """Return the ranking of rows.

        Args:
            labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
            probability: Predicted probabilities, shape (n,).
        """
        scores = np.asarray(probability, dtype=np.float64)
        ordered, of_churned = np.sort(scores), np.sort(scores[np.asarray(labels).astype(bool)])
        churned, rows = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        for piece in pieces(ordered):
            first = first_of_equals(ordered[piece])
            churned.append(len(of_churned) - np.searchsorted(of_churned, ordered[piece][first]).astype(np.int32))
            rows.append((len(ordered) - piece.start - first).astype(np.int32))
        del ordered, of_churned
        found = np.concatenate(churned)[::-1]
        del churned
        return cls(found, np.concatenate(rows)[::-1] - found)

    def roc_auc(self) -> float:
        """Return the area under the ROC curve; nan if only one outcome occurs."""
        churned, stayed = self
        if not len(churned) or not churned[-1] or not stayed[-1]:
            return float("nan")
        # The area of `roc_auc_of_counts`, rounded as scikit-learn rounds it: it is stored in models, whose hash must stay.
        # Points in the middle of a straight line add rounding errors and nothing else.
        inner = (np.diff(stayed, 2) != 0) | (np.diff(churned, 2) != 0)
        corner = np.concatenate(([True], inner, [True]))[: len(churned)]
        x, y = (np.append(np.int32(0), counts[corner]) / counts[-1] for counts in (stayed, churned))
        areas = np.diff(x)
        del x
        areas *= y[1:] + y[:-1]
        areas /= 2.0
        return float(areas.sum())

    def roc_auc_standard_error(self) -> float:
        """Return the standard error of the ROC AUC; nan if an outcome occurs less than twice.

        Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595. The placement of a row is the share of the rows of
        the other outcome that it wins against, and ties count half.
        """
        churned, stayed = self
        if not len(churned) or min(churned[-1], stayed[-1]) < 2:
            return float("nan")
        count, rest = int(churned[-1]), int(stayed[-1])
        # Sums of the placements of the churned rows and of the others, and of their squares.
        sums = np.zeros(4)
        before: tuple[int, int] = (0, 0)
        for start in range(0, len(churned), PIECE_ROWS):
            piece = slice(start, start + PIECE_ROWS)
            of_churned = np.append(np.int32(before[0]), churned[piece])
            of_stayed = np.append(np.int32(before[1]), stayed[piece])
            new_churned, new_stayed = np.diff(of_churned), np.diff(of_stayed)
            won = (rest - of_stayed[1:] + new_stayed / 2) / rest
            lost = (of_churned[:-1] + new_churned / 2) / count
            sums += (new_churned @ won, new_churned @ won**2, new_stayed @ lost, new_stayed @ lost**2)
            before = int(of_churned[-1]), int(of_stayed[-1])
        variances = (
            (sums[1] - sums[0] ** 2 / count) / (count - 1) / count,
            (sums[3] - sums[2] ** 2 / rest) / (rest - 1) / rest,
        )
        return math.sqrt(max(0.0, sum(variances)))

    def average_precision(self) -> float:
        """Return the mean of the precision at each churned account; nan if none churned."""
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


def lift(labels: ArrayLike, probability: ArrayLike, share: float) -> float:
    """Return the churn rate of the accounts with the highest scores divided by the churn rate of all.

    Ties at the border count by their expected share, so the order of the rows does not matter.

    Args:
        labels: Outcomes, shape (n,).
        probability: Predicted probabilities, shape (n,).
        share: Share of the accounts that counts as the highest, above 0 and at most 1.
    """
    truth = np.asarray(labels)
    scores = np.asarray(probability, dtype=np.float64)
    taken = max(1, round(share * len(scores)))
    border = np.partition(scores, len(scores) - taken)[len(scores) - taken]
    above, at = scores > border, scores == border
    churned = truth[above].sum() + truth[at].mean() * (taken - above.sum())
    return float(churned / taken / truth.mean())


def pieces(ordered: NDArray[np.float64]) -> Iterator[slice]:
    """Yield slices of sorted values; equal values are in the same slice."""
    start = 0
    while start < len(ordered):
        end = min(start + PIECE_ROWS, len(ordered))
        end = start + int(np.searchsorted(ordered[start:], ordered[end - 1], side="right"))
        yield slice(start, end)
        start = end


def first_of_equals(ordered: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the position of the first of each different value in sorted values."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def roc_auc_of_counts(churned: NDArray[Any], stayed: NDArray[Any]) -> Any:
    """ROC AUC of rows that are counted by score: of weighted, resampled and expected outcomes.

    The Mann-Whitney form: the share of pairs of a churned row and one that stayed in which the churned one has the higher
    score; a tie counts half (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747).

    Args:
        churned: Number, or weight, of the churned rows at each different score, in rising order, shape (..., m).
        stayed: The same for the rows that stayed.

    Returns:
        Array of shape (...); nan where one of the outcomes has no weight.
    """
    won: Any = 0.0
    below: Any = np.zeros((*stayed.shape[:-1], 1))
    for start in range(0, stayed.shape[-1], PIECE_ROWS):
        here = stayed[..., start : start + PIECE_ROWS]
        until = np.cumsum(np.concatenate([below, here], axis=-1), axis=-1)[..., 1:]
        won = won + (churned[..., start : start + PIECE_ROWS] * (until - here + here / 2)).sum(axis=-1)
        below = until[..., -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / (churned.sum(axis=-1, dtype=np.float64) * stayed.sum(axis=-1, dtype=np.float64))


def weighted_roc_auc(labels: ArrayLike, scores: ArrayLike) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a function that computes the ROC AUC of the same rows under many weightings; the rows are sorted once.

    Args:
        labels: Outcomes, shape (n,), 0 or 1.
        scores: Scores, shape (n,).

    Returns:
        A function from weights, shape (k, n), to the ROC AUC of each weighting, shape (k,).
    """
    given = np.asarray(scores)
    order = np.argsort(given, kind="stable")
    truth = np.asarray(labels)[order] == 1
    first = first_of_equals(given[order])

    def measured(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        weighting = weights[:, order]
        counted = (np.add.reduceat(weighting * of_outcome, first, axis=1) for of_outcome in (truth, ~truth))
        return np.asarray(roc_auc_of_counts(*counted), dtype=np.float64)

    return measured


class PairedDifference(NamedTuple):
    """A difference of two metrics of the same rows, and its standard error; both nan if only one outcome occurs."""

    value: float
    standard_error: float


def roc_auc_difference(labels: ArrayLike, one: ArrayLike, other: ArrayLike) -> PairedDifference:
    """Return the ROC AUC of one score minus that of another on the same rows, with the standard error of the difference.

    Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595, with ranks as in Sun and Xu 2014,
    doi:10.1109/LSP.2014.2337313.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        one: Scores, shape (n,).
        other: Scores of another model, shape (n,).
    """
    from scipy.stats import rankdata

    churned = np.asarray(labels).astype(bool)
    count, rest = int(churned.sum()), int((~churned).sum())
    if min(count, rest) < 2:
        return PairedDifference(float("nan"), float("nan"))

    def placements(scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = np.asarray(scores, dtype=np.float64)
        ranks = rankdata(values)
        return (
            (ranks[churned] - rankdata(values[churned])) / rest,
            1 - (ranks[~churned] - rankdata(values[~churned])) / count,
        )

    above, below = (mine - theirs for mine, theirs in zip(placements(one), placements(other), strict=True))
    variance = float(np.var(above, ddof=1) / count + np.var(below, ddof=1) / rest)
    return PairedDifference(float(above.mean()), float(np.sqrt(variance)))


def roc_auc_standard_error(area: float, churned: float, stayed: float) -> float:
    """Standard error of a ROC AUC of so many rows (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747)."""
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (churned - 1) * (first - area**2) + (stayed - 1) * (second - area**2)
    return math.sqrt(max(0.0, variance) / (churned * stayed))


def estimated_roc_auc(probability: ArrayLike) -> float:
    """Estimate the ROC AUC without outcomes, assuming calibrated probabilities (confidence-based estimation).

    Each row counts as churned with its own probability. Pairs are of two different rows: a row has one outcome, so it is
    never compared with itself.

    Args:
        probability: Probabilities of churn, shape (n,).

    Returns:
        Expected weight of the pairs of a churned row and one that stayed in which the churned one has the higher
        probability (a tie counts half), divided by the expected weight of all such pairs. nan if there are none: with
        fewer than two rows, or if all probabilities are 0 or all are 1.
    """
    scores = np.sort(np.asarray(probability, dtype=np.float64))
    stayed = np.empty_like(scores)
    different = 0
    itself = 0.0  # weight of the pairs of a row with itself, which are ties
    for piece in pieces(scores):
        itself += float(np.dot(scores[piece], 1.0 - scores[piece]))
        first = first_of_equals(scores[piece])
        to = slice(different, different + len(first))
        stayed[to] = np.add.reduceat(1.0 - scores[piece], first)
        # There are at most as many different scores as rows so far.
        scores[to] = np.add.reduceat(scores[piece], first)
        different = to.stop
    weight = float(scores[:different].sum() * stayed[:different].sum())
    if weight <= itself:
        return float("nan")
    won = float(roc_auc_of_counts(scores[:different], stayed[:different])) * weight
    return (won - itself / 2) / (weight - itself)
