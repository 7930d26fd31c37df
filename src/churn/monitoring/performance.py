"""Performance of scores: estimated without outcomes, realised with them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn.config import Monitoring
from churn.config.health import Status
from churn.metrics import Ranking, calibration_curve
from churn.metrics.calibration import error_of_curve
from churn.metrics.classification import brier, log_loss
from churn.metrics.ranking import estimated_roc_auc, lift, roc_auc_standard_error
from churn.monitoring.chance import FalseAlarms, calibration_by_chance, fall_by_chance
from churn.monitoring.findings import Finding, mean_of, percent, reaches


def estimated_performance(probability: NDArray[np.float64], flagged: NDArray[np.bool_]) -> dict[str, float | None]:
    """Estimate the metrics without outcomes, assuming calibrated probabilities (confidence-based estimation).

    Args:
        probability: Predicted probabilities of churn, shape (n,).
        flagged: Whether each account is predicted to churn, shape (n,).

    Returns:
        ``roc_auc``, ``churn_rate``, ``churners`` (their expected number), ``precision`` and ``recall``; None if undefined.
    """
    churners = float(probability.sum())
    caught = float(probability[flagged].sum())
    return {
        "roc_auc": estimated_roc_auc(probability) if len(probability) else None,
        "churn_rate": mean_of(probability),
        "churners": churners,
        "precision": mean_of(probability[flagged]),
        "recall": caught / churners if churners > 0 else None,
    }


def realised_performance(
    truth: NDArray[np.int8],
    probability: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    reference_performance: Mapping[str, float],
    reference_rows: int,
    limits: Monitoring,
) -> tuple[dict[str, Any], list[Finding], list[str]]:
    """Compute the metrics of scores with known outcomes, and compare them with the limits.

    Args:
        truth: Outcomes, shape (n,): 1 churned, 0 stayed, -1 not known.
        probability: Predicted probabilities of churn, shape (n,).
        flagged: Whether each account was predicted to churn, shape (n,).
        reference_performance: Metrics at training, on rows that the model was not fitted on.
        reference_rows: Number of rows that the model was fitted on.
        limits: Limits of the metrics.

    Returns:
        The metrics, None if undefined; findings; and notes on the outcomes that the metrics are based on.
    """
    known = truth >= 0
    # If all outcomes are known, no copy is needed.
    labels, scores, called = (
        (truth, probability, flagged) if known.all() else (truth[known], probability[known], flagged[known])
    )
    churned, caught = int(labels.sum()), int(labels[called].sum())
    performance: dict[str, Any] = {
        "outcomes": len(labels),
        "coverage": mean_of(known),
        "churned": churned,
        "churn_rate": mean_of(labels),
        "expected_churn_rate": mean_of(scores),
        "flagged": int(called.sum()),
        "flagged_churned": caught,
        "precision": caught / int(called.sum()) if called.any() else None,
        "recall": caught / churned if churned else None,
        "accuracy": mean_of(called == labels),
        **dict.fromkeys(("roc_auc", "roc_auc_standard_error", "average_precision", "log_loss", "lift_at_10")),
        **dict.fromkeys(("brier", "calibration_error", "calibration_error_chance")),
        "roc_auc_status": "ok",
        "calibration_status": "ok",
        "calibration_curve": [],
    }
    findings: list[Finding] = []
    notes: list[str] = []
    if len(labels) == 0:
        return performance, findings, ["No outcome of a scored account is known yet"]
    if len(labels) < len(truth):
        notes.append(
            f"Outcomes are known for {percent(len(labels) / len(truth))} of the accounts; where those that left are "
            "known sooner than those that stayed, the realised churn rate and precision look higher than they are"
        )

    curve = calibration_curve(labels, scores)
    performance["brier"] = brier(labels, scores)
    performance["calibration_error"] = error = error_of_curve(curve)
    levels = FalseAlarms.of(limits.false_alarm_rate, 0, 0)
    performance["calibration_error_chance"] = chance = calibration_by_chance(
        curve, max(1, reference_rows), levels.calibration
    )
    performance["calibration_curve"] = [
        {"predicted": float(predicted), "observed": float(observed), "count": int(count)}
        for predicted, observed, count in zip(*curve, strict=True)
    ]
    if error > 0 and reaches(error, limits.calibration_error):
        text = f"Scores are off by {100 * error:.1f} percentage points on average (limit {100 * limits.calibration_error:g})"
        if error > chance:
            findings.append(Finding("alarm", text))
            performance["calibration_status"] = "alarm"
        else:
            notes.append(f"{text}; with {len(labels):,} outcomes it may be chance, so it raises no alarm")

    if not 0 < churned < len(labels):
        only = "churned" if churned else "stayed"
        notes.append(f"All accounts with a known outcome {only}: ROC AUC and average precision need both outcomes")
        return performance, findings, notes
    ranking = Ranking.of(labels, scores)
    performance["roc_auc"] = now = ranking.roc_auc()
    performance["average_precision"] = ranking.average_precision()
    performance["log_loss"] = log_loss(labels, scores)
    performance["lift_at_10"] = lift(labels, scores, 0.1)
    then, rows_then = reference_performance.get("roc_auc"), reference_performance.get("rows", reference_rows)
    doubt = ranking.roc_auc_standard_error()
    performance["roc_auc_standard_error"] = doubt if math.isfinite(doubt) else None
    if then is None or now >= then or not math.isfinite(doubt):
        return performance, findings, notes
    rate = reference_performance.get("churn_rate", churned / len(labels))
    # Models that were stored without it.
    doubt_then = reference_performance.get(
        "roc_auc_standard_error", roc_auc_standard_error(then, max(2, rows_then * rate), max(2, rows_then * (1 - rate)))
    )
    # Chance is what moves an area that is as it was, and the closer an area is to a half, the more it varies.
    stayed = len(labels) - churned
    if varies := roc_auc_standard_error(now, churned, stayed):
        doubt *= roc_auc_standard_error(then, churned, stayed) / varies
    # Half of the limit is watched: a fall of exactly the limit is measured as less half of the time.
    text = f"ROC AUC is {now:.3f}, {then:.3f} at training (limit: a fall of {limits.roc_auc_drop:g})"
    if reaches(then - now, limits.roc_auc_drop / 2):
        if then - now > fall_by_chance((doubt, doubt_then), levels.ranking):
            status: Status = "alarm" if reaches(then - now, limits.roc_auc_drop) else "watch"
            findings.append(Finding(status, text))
            performance["roc_auc_status"] = status
        elif reaches(then - now, limits.roc_auc_drop):
            notes.append(f"{text}; with {len(labels):,} outcomes it may be chance, so it raises no alarm")
    return performance, findings, notes
