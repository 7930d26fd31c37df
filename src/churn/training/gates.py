"""Decide by five gates whether a newly trained model, the challenger, becomes the champion, and give the reason.

Both models are compared on the same test rows; neither was fitted on them unless the split has changed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Profit, Promotion
from churn.errors import ChurnError
from churn.metrics import calibration_error
from churn.metrics.bootstrap import bootstrap_weights
from churn.metrics.ranking import weighted_roc_auc
from churn.retention import expected_profit
from churn.retention.profit import realised_profit
from churn.training.challenge import Challenge, SegmentFigures, segment_figures
from churn.training.promotion import Gate, PromotionDecision

# A function that computes a metric of the same rows under many weightings: weights of shape (k, n), result of shape (k,).
Measured = Callable[[NDArray[np.float64]], NDArray[np.float64]]

NO_CHAMPION = "there is no champion yet that scores these accounts"
# Number of simulated sets of outcomes, drawn from the challenger's probabilities to estimate the error due to chance.
CHANCE_SAMPLES = 50
# Tolerance: a value that meets a limit to within rounding passes.
ROUNDING = 1e-12


def decide(challenge: Challenge, promotion: Promotion, profit: Profit | None = None) -> PromotionDecision:
    """Apply the gates to a challenger.

    Args:
        challenge: Predictions of both models on the test rows.
        promotion: Metric and limits.
        profit: Values and costs of acting; required for the metric ``expected_profit`` only.

    Returns:
        The decision. Equal input leads to an equal decision.

    Raises:
        ChurnError: A segment is not among the challenge's, or the metric is ``expected_profit`` without a ``profit``.
    """
    gates = tuple(gate(challenge, promotion, profit) for gate in GATES)
    refused = [gate for gate in gates if not gate.passed]
    if not refused:
        reason = f"Promoted, all gates passed: {gates[0].sentence}"
    elif promotion.force:
        reason = f"Promoted by force although {len(refused)} of {len(gates)} gates refused it: {_said(refused)}"
    else:
        reason = f"Not promoted, {len(refused)} of {len(gates)} gates refused it: {_said(refused)}"
    return PromotionDecision(
        promote=promotion.force or not refused,
        forced=promotion.force and bool(refused),
        reason=reason,
        gates=gates,
        gain=_gain(challenge, promotion, profit),
        compared_with=challenge.champion_version,
    )


def performance(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Gate:
    """Gate: the gain of the challenger over the champion is at least the margin, with the wanted confidence.

    Paired bootstrap: both models are compared on the same resampled rows (Efron and Tibshirani 1993, chapter 16). The
    value is the gain that a share of ``promotion.confidence`` of the resamples reaches: it is at or above the margin if and
    only if at least that share of the resamples is.
    """
    metric = _metric(challenge, promotion, profit)
    challenger = metric.measure(challenge.challenger)
    mine = challenger.whole
    if challenge.champion is None:
        figure = "cannot be measured" if math.isnan(mine) else f"is {mine:{metric.unit}}"
        return Gate("performance", True, None, promotion.margin, f"{NO_CHAMPION}; {metric.name} {figure}")
    if math.isnan(mine):
        sentence = f"{metric.name} cannot be compared: the test rows have one outcome only"
        return Gate("performance", False, None, promotion.margin, sentence)
    champion = metric.measure(challenge.champion)
    blocks = bootstrap_weights(len(challenge.labels), promotion.bootstrap_samples, promotion.random_state)
    gains = np.concatenate([challenger.of(weights) - champion.of(weights) for weights in blocks])
    gains = np.sort(gains[np.isfinite(gains)])[::-1]
    needed = max(1, math.ceil(promotion.confidence * len(gains) - ROUNDING * len(gains)))
    sure = float(gains[needed - 1]) if len(gains) else math.nan
    passed = sure >= promotion.margin - ROUNDING
    unit, theirs = metric.unit, champion.whole
    sentence = (
        f"{metric.name} {mine:{unit}}, the champion's {theirs:{unit}}: the gain is {mine - theirs:+{unit}}, and at least "
        f"{sure:+{unit}} in {promotion.confidence:.0%} of {len(gains):,} resamples (needed: {promotion.margin:+g})"
    )
    return Gate("performance", passed, _finite(sure), promotion.margin, sentence)


def _gain(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> float | None:
    """Return the gain over the champion on the test rows; None without a champion, or if the metric is undefined."""
    if challenge.champion is None:
        return None
    metric = _metric(challenge, promotion, profit)
    gain = metric.measure(challenge.challenger).whole - metric.measure(challenge.champion).whole
    return _finite(gain)


class _Measured(NamedTuple):
    """A metric of some scores: its value on all test rows, and a function for many weightings of them."""

    whole: float
    of: Measured


class _Metric(NamedTuple):
    """The metric by which models are compared: its function, its name, and the format of its values."""

    measure: Callable[[NDArray[Any]], _Measured]
    name: str
    unit: str


def _metric(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> _Metric:
    labels = np.asarray(challenge.labels)
    one = np.ones((1, len(labels)))

    def measured(of: Measured) -> _Measured:
        return _Measured(float(of(one)[0]), of)

    if promotion.metric == "roc_auc":
        return _Metric(lambda scores: measured(weighted_roc_auc(labels, scores)), "ROC AUC", "z.4f")
    if profit is None:
        raise ChurnError(
            "promotion.metric = 'expected_profit' needs the parameters of profit; set them, or use 'roc_auc'"
        )
    worth = np.full(len(labels), profit.account_value) if challenge.value is None else np.asarray(challenge.value)
    worth = np.where(pd.isna(worth), profit.account_value, worth).astype(np.float64)

    def profit_per_account(scores: NDArray[Any]) -> _Measured:
        acted = expected_profit(scores, worth, profit) > 0
        earned = realised_profit(labels, acted, worth, profit)
        return measured(lambda weights: np.asarray(weights @ earned / weights.sum(axis=1), dtype=np.float64))

    return _Metric(profit_per_account, "expected profit per account", "z.3f")


def calibration(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Gate:
    """Gate: the calibration error is within the limit, after subtracting the error that is due to chance."""
    figure, limit = calibration_error(challenge.labels, challenge.challenger), promotion.calibration_limit
    sentence = f"the probabilities are off by {figure:.4f} on average (limit {limit:g})"
    passed = figure <= limit
    if not passed:
        # On few rows even perfectly calibrated probabilities have an error above 0; only the excess counts.
        chance = _chance(challenge, promotion)
        passed = figure - chance <= limit
        sentence += f"; with {len(challenge.labels):,} test rows, chance alone accounts for about {chance:.4f}"
    return Gate("calibration", passed, figure, limit, sentence)


def _chance(challenge: Challenge, promotion: Promotion) -> float:
    """Return the mean calibration error of the challenger if its probabilities are perfectly calibrated."""
    random = np.random.default_rng(promotion.random_state)
    scores = np.asarray(challenge.challenger, dtype=np.float64)
    drawn = [calibration_error(random.random(len(scores)) < scores, scores) for _ in range(CHANCE_SAMPLES)]
    return float(np.mean(drawn))


def leakage(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Gate:
    """Gate: no column leaks the outcome."""
    leaks = list(challenge.leaks)
    sentence = "; ".join(leaks) if leaks else "no column gives the answer away"
    return Gate("leakage", not leaks, float(len(leaks)), 0.0, sentence)


def latency(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Gate:
    """Gate: the time to score 1,000 accounts is within the limit."""
    figure, limit = float(challenge.latency_ms), promotion.latency_limit
    if not math.isfinite(figure):
        return Gate(
            "latency", False, None, limit, f"the time to score 1,000 accounts is not known (limit {limit:g} ms)"
        )
    sentence = f"1,000 accounts are scored in {figure:,.0f} ms (limit {limit:,.0f} ms)"
    return Gate("latency", figure <= limit, figure, limit, sentence)


def segments(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Gate:
    """Gate: the ROC AUC of no large segment falls below that of the champion by more than the limit."""
    unknown = [name for name in promotion.segments if name not in challenge.segments]
    if unknown:
        known = ", ".join(challenge.segments) or "none"
        raise ChurnError(
            f"promotion.segments names {', '.join(unknown)}, which are not categorical columns of the test rows; "
            f"choose from: {known}"
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
    # Sort by the drop alone: the tuples behind it cannot be compared.
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


# All must pass. To add a condition, add a function here.
GATES: tuple[Callable[[Challenge, Promotion, Profit | None], Gate], ...] = (
    performance,
    calibration,
    leakage,
    latency,
    segments,
)
