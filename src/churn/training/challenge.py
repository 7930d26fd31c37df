"""Champion and challenger on the same test rows, in all and by segment."""

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
            roc_auc=Ranking.of(labels[inside], challenge.challenger[inside]).roc_auc() if both else None,
            champion_roc_auc=(
                Ranking.of(labels[inside], challenge.champion[inside]).roc_auc()
                if both and challenge.champion is not None
                else None
            ),
            judged=both and int(size) >= promotion.segment_rows,
        )


def latency_of(model: ChurnModel, accounts: pd.DataFrame) -> float:
    """Milliseconds to score 1,000 accounts, from some: the fastest of a few times, which other work disturbs least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.score(accounts)
        times.append(time.perf_counter() - start)
    return 1000 * min(times) * 1000 / len(accounts)
