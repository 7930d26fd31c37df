"""Compare champion and challenger on the same test rows, overall and by segment."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Promotion
from churn.errors import ChurnError
from churn.metrics import Ranking
from churn.metrics.ranking import roc_auc_difference
from churn.model import ChurnModel
from churn.tables.split import Split

NO_CATEGORY = "(missing)"
# With fewer rows of an outcome, two models are not compared on them.
FEWEST_OF_A_CLASS = 20


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
        unseen: Which rows neither model was trained on, shape (n,); None if that is not known, or too few rows are left to
            compare the models on.
        doubt: Reason for which `unseen` is None, as a sentence without a full stop.
        champion_performance: Metrics of the champion at its own training, `ChurnModel.performance`.
        unchanged: Whether the challenger is the champion itself, trained again.

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
    unseen: NDArray[np.bool_] | None = None
    doubt: str = ""
    champion_performance: Mapping[str, float] = field(default_factory=dict)
    unchanged: bool = False

    def __post_init__(self) -> None:
        rows = len(self.labels)
        given = {
            "challenger": self.challenger,
            "champion": self.champion,
            "value": self.value,
            "unseen": self.unseen,
        }
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

    def of(self, rows: NDArray[np.bool_]) -> Self:
        """Return the challenge on some of the rows, given by a mask of shape (n,)."""

        def some(values: NDArray[Any] | None) -> Any:
            return None if values is None else np.asarray(values)[rows]

        return replace(
            self,
            labels=some(self.labels),
            challenger=some(self.challenger),
            champion=some(self.champion),
            value=some(self.value),
            segments={name: some(values) for name, values in self.segments.items()},
            unseen=some(self.unseen),
        )


def challenge(
    challenger: ChurnModel,
    champion: ChurnModel | None,
    champion_version: str | None,
    accounts: pd.DataFrame,
    split: Split,
    *,
    value: NDArray[Any],
    leaks: Sequence[str],
    latency_ms: float,
    promotion: Promotion,
) -> Challenge:
    """Score the test rows with both models, and find those that neither was trained on.

    Args:
        challenger: The newly trained model.
        champion: The model in use; None if there is none. It is left out if it cannot score these accounts.
        champion_version: Its version in the registry.
        accounts: Canonical test rows of the challenger with their label.
        split: Split of the challenger.
        value: Value of keeping each account, in currency, shape (n,).
        leaks: Sentences of `churn.training.leakage.find_leaks`.
        latency_ms: Time in which the challenger scores 1,000 accounts, in milliseconds.
        promotion: Segments to compare.
    """
    schema = challenger.schema
    labels = accounts[schema.label.column].to_numpy(np.int8)
    names = promotion.segments
    if names is None:
        names = automatic_segments(accounts, labels, schema.categorical, promotion.segment_rows)
    found = Challenge(
        labels=labels,
        challenger=challenger.probability(accounts),
        value=value,
        segments={name: accounts[name].to_numpy(object) for name in names if name in schema.categorical},
        latency_ms=latency_ms,
        leaks=leaks,
        champion_version=champion_version,
    )
    if champion is None or champion.misfits(schema):
        return found
    unseen = unseen_rows(champion, split, accounts[schema.id], labels)
    return replace(
        found,
        champion=champion.probability(accounts),
        unseen=unseen.rows,
        doubt=unseen.doubt,
        champion_performance=champion.performance,
        unchanged=champion.sha256 == challenger.sha256,
    )


class Unseen(NamedTuple):
    """Rows that neither model was trained on, see `Challenge`."""

    rows: NDArray[np.bool_] | None
    doubt: str


def unseen_rows(champion: ChurnModel, split: Split, ids: pd.Series, labels: NDArray[Any]) -> Unseen:
    """Find the test rows of a challenger that the champion was not trained on either.

    Neither was calibrated or stopped early on them: everything that is fitted is fitted on training rows.

    Args:
        champion: The model in use.
        split: Split of the challenger.
        ids: Ids of the challenger's test rows, shape (n,).
        labels: Their outcomes, shape (n,), 0 or 1.
    """
    if champion.split is None:
        return Unseen(None, "it is not known on which accounts the champion was trained, as it does not name its split")
    if not champion.split.shares_accounts(split):
        return Unseen(
            None,
            "none of the accounts of the champion's training is in this table, so it is not known whether it was trained on "
            "these accounts under other ids",
        )
    mask = champion.split.test_rows(ids)
    counts = np.bincount(np.asarray(labels, dtype=np.int64)[mask], minlength=2)
    if counts.min() < FEWEST_OF_A_CLASS:
        other = (
            "" if (champion.split.key, champion.split.share) == (split.key, split.share) else ", as the split differs"
        )
        return Unseen(
            None,
            f"only {counts[1]:,} churned and {counts[0]:,} other accounts are left on which neither model was trained{other} "
            f"(needed: {FEWEST_OF_A_CLASS} of each)",
        )
    return Unseen(mask, "")


def automatic_segments(
    accounts: pd.DataFrame, labels: NDArray[Any], names: Sequence[str], fewest: int
) -> tuple[str, ...]:
    """Return the categorical column with the most categories that the gate can judge; none if no column has two.

    Args:
        accounts: Canonical test rows.
        labels: Their outcomes, shape (n,), 0 or 1.
        names: Categorical columns.
        fewest: Least number of rows of a category.
    """
    judged = {}
    for name in names:
        rows = pd.Series(np.asarray(labels)).groupby(accounts[name].to_numpy(object)).agg(["size", "mean"])
        judged[name] = int(((rows["size"] >= fewest) & (rows["mean"] > 0) & (rows["mean"] < 1)).sum())
    best = max(judged, key=judged.__getitem__, default=None)
    return () if best is None or judged[best] < 2 else (best,)


class SegmentFigures(NamedTuple):
    """Metrics of both models within one category of a segment column.

    Attributes:
        segment: Name of the column.
        category: The category, or ``(missing)``.
        rows: Number of test rows of the category; with a champion, of those that neither model was trained on.
        churned: Number of churned ones among them.
        roc_auc: ROC AUC of the challenger; None if only one outcome occurs.
        champion_roc_auc: ROC AUC of the champion; None also without a champion, or if no such rows are known.
        judged: Whether the gate uses the category: it has enough rows and both outcomes.
        standard_error: Standard error of the difference of both; None where one of them is None.
    """

    segment: str
    category: str
    rows: int
    churned: int
    roc_auc: float | None
    champion_roc_auc: float | None
    judged: bool
    standard_error: float | None = None


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
    champion, compared = challenge.champion, challenge.unseen
    if champion is None or compared is None:
        # On rows that it was trained on, a champion looks better than it is.
        champion, compared = None, np.ones(len(labels), bool)
    codes, values = pd.factorize(np.asarray(categories, dtype=object), sort=False)
    codes = np.where(compared, codes, -2)
    sizes = np.bincount(codes + 2, minlength=len(values) + 2)[1:]
    found = [(sizes[at + 1], NO_CATEGORY if at < 0 else str(values[at]), at) for at in range(-1, len(values))]
    for size, category, at in sorted(found, key=lambda item: (-item[0], item[1])):
        if not size:
            continue
        inside = codes == at
        churned = int(labels[inside].sum())
        both = 0 < churned < size
        mine = Ranking.of(labels[inside], challenge.challenger[inside]).roc_auc() if both else None
        theirs, doubt = None, None
        if both and champion is not None:
            theirs = Ranking.of(labels[inside], champion[inside]).roc_auc()
            error = roc_auc_difference(labels[inside], challenge.challenger[inside], champion[inside]).standard_error
            doubt = error if math.isfinite(error) else None
        yield SegmentFigures(
            segment=name,
            category=category,
            rows=int(size),
            churned=churned,
            roc_auc=mine,
            champion_roc_auc=theirs,
            judged=both and int(size) >= promotion.segment_rows,
            standard_error=doubt,
        )


def latency_of(model: ChurnModel, accounts: pd.DataFrame) -> float:
    """Return the milliseconds to score 1,000 accounts: the fastest of a few runs, which other work disturbs least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.score(accounts)
        times.append(time.perf_counter() - start)
    return 1000 * min(times) * 1000 / len(accounts)
