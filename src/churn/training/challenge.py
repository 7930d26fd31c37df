"""Compare champion and challenger on the same test rows, overall and by segment."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Promotion
from churn.errors import ChurnError
from churn.metrics import Ranking
from churn.model import ChurnModel

NO_CATEGORY = "(missing)"


@dataclass(frozen=True)
class Challenge:
    """Input of the gates. All arrays have one entry per test row, in the same order.

    Attributes:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        challenger: Probabilities of the newly trained model, shape (n,).
        champion: Probabilities of the champion, shape (n,); None if there is none or it cannot score this table.
        value: Value of keeping each account, in currency, shape (n,), missing where not known; None if every account has
            the value `Profit.account_value`.
        segments: Categories of the rows by column, arrays of shape (n,), missing where an account has none.
        latency_ms: Time in which the challenger scores 1,000 accounts, in milliseconds; nan if not measured.
        leaks: Sentences of `churn.training.leakage.find_leaks`.
        champion_version: Version of the champion at the time of the comparison, whether it can score this table or not.

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
            raise ChurnError("test rows: there are none; raise feature_engineering.test_share")
        other = ~np.isin(self.labels, (0, 1))
        if other.any():
            at = int(np.argmax(other))
            raise ChurnError(f"test rows: the label {self.labels[at]} in row {at + 1} is neither 0 nor 1")
        for name in ("challenger", "champion"):
            values = np.asarray(arrays.get(name, ()), dtype=np.float64)
            wrong = int(np.sum(~((values >= 0) & (values <= 1))))
            if wrong:
                raise ChurnError(
                    f"test rows: {wrong:,} of {rows:,} probabilities of the {name} are missing or not between 0 and 1"
                )


class SegmentFigures(NamedTuple):
    """Metrics of both models within one category of a segment column.

    Attributes:
        segment: Name of the column.
        category: The category, or ``(missing)``.
        rows: Number of test rows of the category.
        churned: Number of churned ones among them.
        roc_auc: ROC AUC of the challenger; None if only one outcome occurs.
        champion_roc_auc: ROC AUC of the champion; None also without a champion.
        judged: Whether the gate uses the category: it has enough rows and both outcomes.
    """

    segment: str
    category: str
    rows: int
    churned: int
    roc_auc: float | None
    champion_roc_auc: float | None
    judged: bool


def segment_figures(challenge: Challenge, promotion: Promotion) -> list[SegmentFigures]:
    """Return the metrics of both models in every category of every segment, the largest category of each first."""
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
            roc_auc=Ranking.of(labels[inside], challenge.challenger[inside]).roc_auc() if both else None,
            champion_roc_auc=(
                Ranking.of(labels[inside], challenge.champion[inside]).roc_auc()
                if both and challenge.champion is not None
                else None
            ),
            judged=both and int(size) >= promotion.segment_rows,
        )


def latency_of(model: ChurnModel, accounts: pd.DataFrame) -> float:
    """Return the milliseconds to score 1,000 accounts: the fastest of a few runs, which other work disturbs least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.score(accounts)
        times.append(time.perf_counter() - start)
    return 1000 * min(times) * 1000 / len(accounts)
