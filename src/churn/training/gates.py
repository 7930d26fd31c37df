"""Whether a newly trained model, the challenger, becomes the champion: five gates, and a reason that people understand.

Both models are measured on the same test rows, which neither has been fitted on if the split has not changed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Profit, Promotion
from churn.errors import ChurnError
from churn.metrics import calibration_error
from churn.metrics.bootstrap import bootstrap_weights
from churn.retention import expected_profit
from churn.retention.profit import realised_profit
from churn.training.challenge import Challenge, Measured, SegmentFigures, roc_auc_of, segment_figures

NO_CHAMPION = "there is no champion yet that scores these accounts"
# Outcomes drawn from the challenger's own probabilities, to see what calibration error chance alone makes.
CHANCE_SAMPLES = 50
# Figures that meet a limit to within rounding meet it.
ROUNDING = 1e-12


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
        return lambda scores: roc_auc_of(labels, scores), "ROC AUC", "z.4f"
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


def _compared(figures: SegmentFigures) -> str:
    return (
        f"{figures.segment} '{figures.category}' ({figures.rows:,} rows): ROC AUC {figures.roc_auc:.4f}, "
        f"the champion's {figures.champion_roc_auc:.4f}"
    )


def _said(gates: Sequence[Gate]) -> str:
    return "; ".join(f"{gate.name}: {gate.sentence}" for gate in gates)


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
