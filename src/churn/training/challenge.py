"""Champion and challenger on the same test rows, in all and by segment."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Promotion
from churn.errors import ChurnError

NO_CATEGORY = "(missing)"

# A figure of the same rows under each of many weightings: weights of shape (k, n), result of shape (k,).
Measured = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Challenge:
    """What the gates look at. All arrays have one entry a test row, in the same order.

    Attributes:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        challenger: Probabilities of the newly trained model, shape (n,).
        champion: Probabilities of the model in use, shape (n,); None where there is none or it can't score this table.
        value: What keeping each account is worth, in currency, shape (n,), missing where not known; None where all are
            worth `Profit.account_value`.
        segments: Categories of the rows by column, arrays of shape (n,), missing where an account has none.
        latency_ms: Time that the challenger takes to score 1,000 accounts, in milliseconds; nan where not measured.
        leaks: What `churn.training.leakage.find_leaks` found.
        champion_version: Version that was the champion when it was measured, whether it can score this table or not.

    Raises:
        ChurnError: The arrays differ in length, hold no rows, a label is neither 0 nor 1, or a probability is missing
            or not between 0 and 1.
    """

    labels: NDArray[Any]
    challenger: NDArray[Any]
    champion: NDArray[Any] | None = None
    value: NDArray[Any] | None = None
    segments: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    latency_ms: float = math.nan
    leaks: Sequence[str] = ()
    champion_version: str | None = None

    def __post_init__(self) -> None:
        rows = len(self.labels)
        given = {"challenger": self.challenger, "champion": self.champion, "value": self.value}
        arrays = {name: values for name, values in {**given, **self.segments}.items() if values is not None}
        for name, values in arrays.items():
            if np.shape(values) != (rows,):
                raise ChurnError(f"test rows: {name} has the shape {np.shape(values)}, the labels have ({rows},)")
        if not rows:
            raise ChurnError("test rows: there are none; give feature_engineering.test_share more of the accounts")
        if not np.isin(self.labels, (0, 1)).all():
            raise ChurnError("test rows: a label is neither 0 nor 1")
        for name in ("challenger", "champion"):
            values = np.asarray(arrays.get(name, ()), dtype=np.float64)
            wrong = int(np.sum(~((values >= 0) & (values <= 1))))
            if wrong:
                raise ChurnError(
                    f"test rows: {wrong:,} of {rows:,} probabilities of the {name} are missing or not between 0 and 1"
                )


class SegmentFigures(NamedTuple):
    """How both models do within one category of a segment column.

    Attributes:
        segment: The column.
        category: The category, or ``(missing)``.
        rows: Test rows of the category.
        churned: Churned ones of these.
        roc_auc: ROC AUC of the challenger; None where only one outcome occurs.
        champion_roc_auc: The same of the champion; also None without one.
        judged: Whether the rows are enough for the gate, and both outcomes occur.
    """

    segment: str
    category: str
    rows: int
    churned: int
    roc_auc: float | None
    champion_roc_auc: float | None
    judged: bool


def roc_auc(labels: NDArray[Any], scores: NDArray[Any], weights: NDArray[np.float64] | None = None) -> Any:
    """ROC AUC, of many weightings of the same rows at once; a tie counts half.

    The Mann-Whitney form: the share of pairs of a churned row and one that stayed in which the churned one has the
    higher score (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747).

    Args:
        labels: Outcomes, shape (n,), 0 or 1.
        scores: Scores, shape (n,).
        weights: Weights of the rows, shape (k, n); one weighting with all 1 by default.

    Returns:
        Array of shape (k,); without weights a number. Nan where only one outcome has weight.
    """
    found = roc_auc_of(np.asarray(labels), scores)(np.ones((1, len(scores))) if weights is None else weights)
    return float(found[0]) if weights is None else found


def roc_auc_of(labels: NDArray[Any], scores: NDArray[Any]) -> Measured:
    """What measures the ROC AUC of scores, shape (n,), under weightings of their rows, see `roc_auc`."""
    order = np.argsort(scores, kind="stable")
    ranked, truth = np.asarray(scores)[order], labels[order] == 1
    start = np.append(0, np.flatnonzero(np.diff(ranked)) + 1)

    def measured(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        weighting = weights[:, order]
        churned = np.add.reduceat(weighting * truth, start, axis=1)
        stayed = np.add.reduceat(weighting * ~truth, start, axis=1)
        below = np.cumsum(stayed, axis=1) - stayed / 2
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = (churned * below).sum(axis=1) / (churned.sum(axis=1) * stayed.sum(axis=1))
        return found

    return measured


def segment_figures(challenge: Challenge, promotion: Promotion) -> list[SegmentFigures]:
    """How both models do in every category of every segment that the challenge holds, the largest category first."""
    return [
        figures
        for name, categories in challenge.segments.items()
        for figures in _segment(name, categories, challenge, promotion)
    ]


def _segment(
    name: str, categories: NDArray[Any], challenge: Challenge, promotion: Promotion
) -> Iterator[SegmentFigures]:
    labels = np.asarray(challenge.labels)
    codes, values = pd.factorize(np.asarray(categories, dtype=object), sort=False)
    sizes = np.bincount(codes + 1, minlength=len(values) + 1)
    found = [(sizes[at + 1], NO_CATEGORY if at < 0 else str(values[at]), at) for at in range(-1, len(values))]
    for size, category, at in sorted(found, key=lambda item: (-item[0], item[1])):
        if not size:
            continue
        inside = codes == at
        churned = int(labels[inside].sum())
        both = 0 < churned < size
        yield SegmentFigures(
            segment=name,
            category=category,
            rows=int(size),
            churned=churned,
            roc_auc=roc_auc(labels[inside], challenge.challenger[inside]) if both else None,
            champion_roc_auc=(
                roc_auc(labels[inside], challenge.champion[inside]) if both and challenge.champion is not None else None
            ),
            judged=both and int(size) >= promotion.segment_rows,
        )
