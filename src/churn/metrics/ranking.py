"""How well scores rank accounts: ROC AUC, average precision, lift."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Rows of sorted scores that are looked at in one piece. Of 30 million rows, an array of numbers takes 240 MB; no measure makes
# more than two beside those it is given.
PIECE_ROWS = 1 << 20


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
        for piece in pieces(ordered):
            first = first_of_equals(ordered[piece])
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


def pieces(ordered: NDArray[np.float64]) -> Iterator[slice]:
    """Pieces of sorted values; equal values are in one."""
    start = 0
    while start < len(ordered):
        end = min(start + PIECE_ROWS, len(ordered))
        end = start + int(np.searchsorted(ordered[start:], ordered[end - 1], side="right"))
        yield slice(start, end)
        start = end


def first_of_equals(ordered: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each different value begins among sorted ones."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def estimated_roc_auc(probability: ArrayLike) -> float:
    """ROC AUC to be expected if the probabilities are right, without outcomes (confidence-based estimation).

    Each row counts as churned with its own probability. Nan where all probabilities are 0 or all are 1.
    """
    scores = np.sort(np.asarray(probability, dtype=np.float64))
    stayed = np.empty_like(scores)
    different = 0
    for piece in pieces(scores):
        first = first_of_equals(scores[piece])
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
