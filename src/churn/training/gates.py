"""Decide by five gates whether a newly trained model, the challenger, becomes the champion, and give the reason.

The models are compared on rows that neither was trained on. The comparison is a statistical test with a given error rate: of
challengers that are as good as the champion, the gate ``performance`` refuses at most a share of 1 - confidence.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from churn.config import Profit, Promotion
from churn.errors import ChurnError
from churn.metrics import Ranking, calibration_error
from churn.training.challenge import Challenge, SegmentFigures, segment_figures
from churn.training.comparison import (
    Gain,
    Metric,
    gain_of,
    gain_over_record,
    log_loss_gain,
    metric_of,
    value_of,
)
from churn.training.promotion import Gate, PromotionDecision

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
    if challenge.unchanged:
        reason = "The model is the same model as the champion, so nothing changes"
    elif not refused:
        reason = f"Promoted, all gates passed: {gates[0].sentence}"
    elif promotion.force:
        reason = f"Promoted by force although {len(refused)} of {len(gates)} gates refused it: {_said(refused)}"
    else:
        reason = f"Not promoted, {len(refused)} of {len(gates)} gates refused it: {_said(refused)}"
    forced = promotion.force and bool(refused) and not challenge.unchanged
    return PromotionDecision(
        promote=challenge.unchanged or promotion.force or not refused,
        forced=forced,
        reason=reason,
        gates=gates,
        gain=_gain(challenge, promotion, profit),
        compared_with=challenge.champion_version,
        unchanged=challenge.unchanged,
    )


def performance(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> Gate:
    """Gate: the challenger does not lose against the champion.

    Two metrics are compared: the configured one, with a margin, and the log loss, which also falls behind where the ranking is
    right and the probabilities are wrong. With a margin of at most 0, a challenger is refused if one of them is worse than
    tolerated with the wanted confidence; as there are two, each bound has half of the error. With a margin above 0, the
    gain in the configured metric must reach it with the wanted confidence. The value is the bound that is compared with the
    margin.
    """
    metric = metric_of(challenge, promotion, profit)
    if challenge.champion is None:
        mine = value_of(metric, challenge.challenger)
        figure = "cannot be measured" if math.isnan(mine) else f"is {mine:{metric.unit}}"
        figure += _without_skill(challenge, promotion.confidence)
        return Gate(
            "performance", True, None, promotion.margin, f"{NO_CHAMPION}; {metric.name} {figure}", checked=False
        )
    if challenge.unchanged:
        return Gate("performance", True, 0.0, promotion.margin, "it is the same model as the champion", checked=False)
    if len(np.unique(challenge.labels)) < 2:
        sentence = f"{metric.name} cannot be compared: the test rows have one outcome only"
        return Gate("performance", False, None, promotion.margin, sentence)
    if challenge.unseen is None:
        return _uncertain(challenge, promotion, metric)
    common = challenge.of(challenge.unseen)
    rows = f"on {len(common.labels):,} accounts that neither was trained on"
    return _compared(common, metric_of(common, promotion, profit), promotion, rows)


def _without_skill(challenge: Challenge, confidence: float) -> str:
    """Return words for a model whose ranking may be no better than chance; empty for others."""
    ranking = Ranking.of(challenge.labels, challenge.challenger)
    doubt = NormalDist().inv_cdf(confidence) * ranking.roc_auc_standard_error()
    return "" if ranking.roc_auc() - doubt > 0.5 else ", which may be no better than chance: do not act on its scores"


def _compared(challenge: Challenge, metric: Metric, promotion: Promotion, rows: str) -> Gate:
    """Compare both models on all rows of the challenge."""
    required = promotion.margin > 0
    confidence = promotion.confidence if required else (1 + promotion.confidence) / 2
    gain = gain_of(challenge, metric, confidence, promotion)
    bound = gain.low if required else gain.high
    passed = bound >= promotion.margin - ROUNDING
    sentence = (
        f"{metric.name} {gain.challenger:{metric.unit}}, the champion's {gain.champion:{metric.unit}} {rows}: "
        f"{_bounded(gain, metric, bound, required=required)} (needed: {promotion.margin:+g})"
    )
    if not required:
        fit = log_loss_gain(challenge, confidence)
        if fit.high < -promotion.log_loss_rise - ROUNDING:
            passed = False
            sentence += (
                f"; the log loss is {-fit.challenger:.4f}, the champion's {-fit.champion:.4f}, and with confidence higher by at "
                f"least {-fit.high:.4f} (tolerated: {promotion.log_loss_rise:g})"
            )
    return Gate("performance", passed, _finite(bound), promotion.margin, sentence)


def _bounded(gain: Gain, metric: Metric, bound: float, *, required: bool) -> str:
    side = "at least" if required else "at most"
    return f"the gain is {gain.value:+{metric.unit}}, with confidence {side} {bound:+{metric.unit}}"


def _uncertain(challenge: Challenge, promotion: Promotion, metric: Metric) -> Gate:
    """Compare without rows that the champion surely was not trained on.

    The champion may look better on these rows than it is. So a challenger also passes if it is not worse than the champion
    was at its own training.
    """
    gate = _compared(challenge, metric, promotion, "on accounts of which the champion may have been trained on some")
    reason = f"{challenge.doubt}. So " if challenge.doubt else ""
    confidence = promotion.confidence
    record = None if gate.passed else gain_over_record(challenge, confidence)
    if record is None:
        return gate._replace(sentence=f"{reason}both were compared on all test rows: {gate.sentence}")
    required = promotion.margin > 0
    margin = promotion.margin if promotion.metric == "roc_auc" else 0.0
    bound = record.low if required else record.high
    sentence = (
        f"{reason}the challenger was compared with the champion's ROC AUC at its own training, on other accounts: "
        f"{record.challenger:.4f}, the champion's {record.champion:.4f}, a gain of {record.value:+.4f}, with "
        f"{confidence:.0%} confidence {'at least' if required else 'at most'} {bound:+.4f} (needed: {margin:+g})"
    )
    return Gate("performance", bound >= margin - ROUNDING, _finite(bound), margin, sentence)


def _gain(challenge: Challenge, promotion: Promotion, profit: Profit | None) -> float | None:
    """Return the gain over the champion on the rows of the comparison; None without a champion, or if it is undefined."""
    common = challenge if challenge.unseen is None else challenge.of(challenge.unseen)
    if common.champion is None:
        return None
    metric = metric_of(common, promotion, profit)
    return _finite(value_of(metric, common.challenger) - value_of(metric, common.champion))


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
    """Gate: the ROC AUC of no large segment surely falls below that of the champion by more than the limit."""
    unknown = [name for name in promotion.segments or () if name not in challenge.segments]
    if unknown:
        known = ", ".join(challenge.segments) or "none"
        raise ChurnError(
            f"promotion.segments names {', '.join(unknown)}, which are not categorical columns of the test rows; "
            f"choose from: {known}"
        )
    limit = promotion.segment_drop
    names = tuple(challenge.segments) if promotion.segments is None else promotion.segments
    if not names:
        return Gate("segments", True, None, limit, "there are no segments to compare", checked=False)
    if challenge.champion is None:
        return Gate("segments", True, None, limit, NO_CHAMPION, checked=False)
    if challenge.unchanged:
        return Gate("segments", True, 0.0, limit, "it is the same model as the champion", checked=False)
    if challenge.unseen is None:
        return Gate("segments", True, None, limit, challenge.doubt, checked=False)
    drops = [
        (figures.champion_roc_auc - figures.roc_auc, figures)
        for figures in segment_figures(challenge, promotion)
        if figures.segment in names
        and figures.judged
        and figures.roc_auc is not None
        and figures.champion_roc_auc is not None
    ]
    if not drops:
        sentence = (
            f"no category of {', '.join(names)} has {promotion.segment_rows:,} rows and both outcomes, so none is "
            "judged"
        )
        return Gate("segments", True, None, limit, sentence, checked=False)
    # Sort by the drop alone: the tuples behind it cannot be compared.
    drops.sort(key=lambda item: item[0], reverse=True)
    # All categories together must not refuse an equal model more often than the confidence allows (Bonferroni).
    quantile = NormalDist().inv_cdf(1 - (1 - promotion.confidence) / len(drops))
    failed = [
        figures for drop, figures in drops if drop - quantile * (figures.standard_error or 0.0) > limit + ROUNDING
    ]
    worst, figures = drops[0]
    if failed:
        sentence = "; ".join(map(_in_segment, failed)) + f" (limit: a fall of {limit:g}, surely exceeded)"
    else:
        sentence = f"{len(drops)} judged, the least favourable is {_in_segment(figures)} (limit: a fall of {limit:g})"
    return Gate("segments", not failed, worst, limit, sentence)


def _in_segment(figures: SegmentFigures) -> str:
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
