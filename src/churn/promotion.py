"""Whether a newly trained model, the challenger, becomes the champion: five gates, and a reason that people understand.

Both models are measured on the same test rows, which neither has been fitted on if the split has not changed.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.errors import ChurnError
from churn.evaluation import bootstrap_weights
from churn.metrics import calibration_error
from churn.parameters import Profit, Promotion
from churn.profit import expected_profit, realised_profit

NO_CHAMPION = "there is no champion yet that scores these accounts"
NO_CATEGORY = "(missing)"
# Outcomes drawn from the challenger's own probabilities, to see what calibration error chance alone makes.
CHANCE_SAMPLES = 50
# Figures that meet a limit to within rounding meet it.
ROUNDING = 1e-12

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
        leaks: What `churn.leakage.find_leaks` found.
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


class Gate(NamedTuple):
    """One condition of a promotion.

    Attributes:
        name: ``performance``, ``calibration``, ``leakage``, ``latency`` or ``segments``.
        passed: Whether it is met.
        figure: What was measured, in the unit of the limit; None where nothing could be.
        limit: What it is held against: at least for ``performance``, at most for the others. None where nothing is.
        sentence: The same in words, without a full stop.
    """

    name: str
    passed: bool
    figure: float | None
    limit: float | None
    sentence: str


@dataclass(frozen=True)
class PromotionDecision:
    """Whether the challenger becomes the champion.

    Attributes:
        promote: Whether it does.
        forced: Whether it does although a gate refused it, by ``promotion.force``.
        reason: Why, in one sentence without a full stop.
        gates: All gates, whatever they say.
        gain: Gain over the champion on the test rows, of ROC AUC or of expected profit per account in currency; None
            without a champion.
        compared_with: Version that was the champion then.
    """

    promote: bool
    forced: bool
    reason: str
    gates: tuple[Gate, ...]
    gain: float | None = None
    compared_with: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The decision as plain JSON types without nan or infinity."""
        return {**asdict(self), "gates": [gate._asdict() for gate in self.gates]}


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


def decide(challenge: Challenge, promotion: Promotion, profit: Profit | None = None) -> PromotionDecision:
    """Hold the challenger against the gates.

    Args:
        challenge: What the models say on the test rows.
        promotion: The limits.
        profit: What acting costs and brings; needed for the metric ``expected_profit`` only.

    Returns:
        The decision. Equal input gives an equal decision.

    Raises:
        ChurnError: A segment is not among the challenge's, or the metric is ``expected_profit`` without a ``profit``.
    """
    performance, gain = _performance(challenge, promotion, profit)
    gates = (
        performance,
        _calibration(challenge, promotion),
        _leakage(challenge),
        _latency(challenge, promotion),
        _segments(challenge, promotion),
    )
    refused = [gate for gate in gates if not gate.passed]
    if not refused:
        reason = f"Promoted, all gates passed: {performance.sentence}"
    elif promotion.force:
        reason = f"Promoted by force although {len(refused)} of {len(gates)} gates refused it: {_said(refused)}"
    else:
        reason = f"Not promoted, {len(refused)} of {len(gates)} gates refused it: {_said(refused)}"
    return PromotionDecision(
        promote=promotion.force or not refused,
        forced=promotion.force and bool(refused),
        reason=reason,
        gates=gates,
        gain=gain,
        compared_with=challenge.champion_version,
    )


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
    found = _roc_auc_of(np.asarray(labels), scores)(np.ones((1, len(scores))) if weights is None else weights)
    return float(found[0]) if weights is None else found


def _roc_auc_of(labels: NDArray[Any], scores: NDArray[Any]) -> Measured:
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


# --- the gates --------------------------------------------------------------------------------------------------


def _performance(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> tuple[Gate, float | None]:
    """Paired bootstrap: both models are measured on the same resampled rows (Efron and Tibshirani 1993, chapter 16).

    The figure is the gain that the wanted share of the samples reaches, so that it is at or above the margin exactly
    where the share of the samples at or above the margin is at or above the confidence.
    """
    measure, name, unit = _measure(challenge, promotion, profit)
    one = np.ones((1, len(challenge.labels)))
    challenger = measure(challenge.challenger)
    mine = float(challenger(one)[0])
    if challenge.champion is None:
        figure = "cannot be measured" if math.isnan(mine) else f"is {mine:{unit}}"
        return Gate("performance", True, None, promotion.margin, f"{NO_CHAMPION}; {name} {figure}"), None
    champion = measure(challenge.champion)
    theirs = float(champion(one)[0])
    if math.isnan(mine):
        sentence = f"{name} cannot be compared: the test rows hold one outcome only"
        return Gate("performance", False, None, promotion.margin, sentence), None
    blocks = bootstrap_weights(len(challenge.labels), promotion.bootstrap_samples, promotion.random_state)
    gains = np.concatenate([challenger(weights) - champion(weights) for weights in blocks])
    gains = np.sort(gains[np.isfinite(gains)])[::-1]
    needed = max(1, math.ceil(promotion.confidence * len(gains) - ROUNDING * len(gains)))
    sure = float(gains[needed - 1]) if len(gains) else math.nan
    passed = sure >= promotion.margin - ROUNDING
    sentence = (
        f"{name} {mine:{unit}}, the champion's {theirs:{unit}}: the gain is {mine - theirs:+{unit}}, and at least "
        f"{sure:+{unit}} in {promotion.confidence:.0%} of {len(gains):,} resamples (needed: {promotion.margin:+g})"
    )
    return Gate("performance", passed, _finite(sure), promotion.margin, sentence), mine - theirs


def _measure(
    challenge: Challenge, promotion: Promotion, profit: Profit | None
) -> tuple[Callable[[NDArray[Any]], Measured], str, str]:
    """What measures probabilities, the name of the measure and the format of its figures."""
    labels = np.asarray(challenge.labels)
    if promotion.metric == "roc_auc":
        return lambda scores: _roc_auc_of(labels, scores), "ROC AUC", "z.4f"
    if profit is None:
        raise ChurnError("promotion.metric = 'expected_profit' needs the parameters of profit; give them, or 'roc_auc'")
    worth = np.full(len(labels), profit.account_value) if challenge.value is None else np.asarray(challenge.value)
    worth = np.where(pd.isna(worth), profit.account_value, worth).astype(np.float64)

    def profit_per_account(scores: NDArray[Any]) -> Measured:
        acted = expected_profit(scores, worth, profit) > 0
        earned = realised_profit(labels, acted, worth, profit)
        return lambda weights: np.asarray(weights @ earned / weights.sum(axis=1), dtype=np.float64)

    return profit_per_account, "expected profit per account", "z.3f"


def _calibration(challenge: Challenge, promotion: Promotion) -> Gate:
    figure, limit = calibration_error(challenge.labels, challenge.challenger), promotion.calibration_limit
    sentence = f"the probabilities are off by {figure:.4f} on average (limit {limit:g})"
    passed = figure <= limit
    if not passed:
        # On few rows even probabilities that are exactly right look wrong; only what goes beyond that counts.
        chance = _chance(challenge, promotion)
        passed = figure - chance <= limit
        sentence += f"; with {len(challenge.labels):,} test rows, chance alone makes about {chance:.4f}"
    return Gate("calibration", passed, figure, limit, sentence)


def _chance(challenge: Challenge, promotion: Promotion) -> float:
    """Mean calibration error of the challenger if its probabilities are exactly right."""
    random = np.random.default_rng(promotion.random_state)
    scores = np.asarray(challenge.challenger, dtype=np.float64)
    drawn = [calibration_error(random.random(len(scores)) < scores, scores) for _ in range(CHANCE_SAMPLES)]
    return float(np.mean(drawn))


def _leakage(challenge: Challenge) -> Gate:
    leaks = list(challenge.leaks)
    sentence = "; ".join(leaks) if leaks else "no column gives the answer away"
    return Gate("leakage", not leaks, float(len(leaks)), 0.0, sentence)


def _latency(challenge: Challenge, promotion: Promotion) -> Gate:
    figure, limit = float(challenge.latency_ms), promotion.latency_limit
    if not math.isfinite(figure):
        return Gate(
            "latency", False, None, limit, f"the time to score 1,000 accounts is not known (limit {limit:g} ms)"
        )
    sentence = f"1,000 accounts are scored in {figure:,.0f} ms (limit {limit:,.0f} ms)"
    return Gate("latency", figure <= limit, figure, limit, sentence)


def _segments(challenge: Challenge, promotion: Promotion) -> Gate:
    unknown = [name for name in promotion.segments if name not in challenge.segments]
    if unknown:
        known = ", ".join(challenge.segments) or "none"
        raise ChurnError(
            f"promotion.segments names {', '.join(unknown)}, which are not segments of the test rows; known here: {known}"
        )
    limit = promotion.segment_drop
    if not promotion.segments:
        return Gate("segments", True, None, limit, "no segments are configured")
    if challenge.champion is None:
        return Gate("segments", True, None, limit, NO_CHAMPION)
    drops = [
        (figures.champion_roc_auc - figures.roc_auc, figures)
        for figures in segment_figures(challenge, promotion)
        if figures.segment in promotion.segments
        and figures.judged
        and figures.roc_auc is not None
        and figures.champion_roc_auc is not None
    ]
    if not drops:
        sentence = f"no segment has {promotion.segment_rows:,} test rows and both outcomes, so none is judged"
        return Gate("segments", True, None, limit, sentence)
    # Only the drop is compared: figures of equal drop need no order among themselves.
    drops.sort(key=lambda item: item[0], reverse=True)
    failed = [figures for drop, figures in drops if drop > limit + ROUNDING]
    worst, figures = drops[0]
    if failed:
        sentence = "; ".join(map(_compared, failed)) + f" (limit: a fall of {limit:g})"
    else:
        sentence = f"{len(drops)} judged, the least favourable is {_compared(figures)} (limit: a fall of {limit:g})"
    return Gate("segments", not failed, worst, limit, sentence)


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


def _compared(figures: SegmentFigures) -> str:
    return (
        f"{figures.segment} '{figures.category}' ({figures.rows:,} rows): ROC AUC {figures.roc_auc:.4f}, "
        f"the champion's {figures.champion_roc_auc:.4f}"
    )


def _said(gates: Sequence[Gate]) -> str:
    return "; ".join(f"{gate.name}: {gate.sentence}" for gate in gates)


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
