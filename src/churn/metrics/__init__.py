"""Metrics of scores, with confidence intervals."""

from churn.metrics.bootstrap import Interval, bootstrap_intervals
from churn.metrics.calibration import CalibrationCurve, calibration_curve, calibration_error
from churn.metrics.classification import classification_metrics
from churn.metrics.ranking import Ranking

__all__ = [
    "CalibrationCurve",
    "Interval",
    "Ranking",
    "bootstrap_intervals",
    "calibration_curve",
    "calibration_error",
    "classification_metrics",
]
