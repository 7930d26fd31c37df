"""How far chance alone moves a figure of a table that has not changed.

All figures of a report together raise something other than ``ok`` for such a table with at most a given probability, the rate
of false alarms. It is divided among the figures (Bonferroni): the more columns there are, the further one of them is beyond
its limit by chance.
"""

import math
from typing import NamedTuple, Self

import numpy as np

from churn.metrics import CalibrationCurve

# Parts of the rate of false alarms. Columns share theirs. The ROC AUC has the largest, as outcomes are few.
SCORES, CALIBRATION, RANKING, DISTRIBUTIONS, MISSING, UNSEEN = 0.1, 0.1, 0.6, 0.15, 0.025, 0.025


class FalseAlarms(NamedTuple):
    """Probability of a false alarm for each figure.

    Attributes:
        scores: Distribution of the scores.
        calibration: Calibration error of the outcomes.
        ranking: ROC AUC of the outcomes.
        distribution: Distribution of one column.
        missing: Missing values of one column.
        unseen: Unseen categories of one column.
    """

    scores: float
    calibration: float
    ranking: float
    distribution: float
    missing: float
    unseen: float

    @classmethod
    def of(cls, rate: float, columns: int, categorical: int) -> Self:
        """Divide a rate among the figures of a table with so many columns."""
        return cls(
            scores=rate * SCORES,
            calibration=rate * CALIBRATION,
            ranking=rate * RANKING,
            distribution=rate * DISTRIBUTIONS / max(1, columns),
            missing=rate * MISSING / max(1, columns),
            unseen=rate * UNSEEN / max(1, categorical),
        )


def psi_by_chance(bins: int, reference: int, analysis: int, probability: float) -> float:
    """Return the stability index that two samples of one distribution exceed with a probability.

    It is about chi-squared with bins - 1 degrees of freedom, times 1/rows + 1/rows (Yurdakul and Naranjo 2020,
    doi:10.21314/JRMV.2020.227).

    Args:
        bins: Number of bins that are not empty in both.
        reference: Rows of the reference.
        analysis: Rows of the analysis.
        probability: The probability.
    """
    from scipy.special import chdtri

    return float(chdtri(bins - 1, probability)) * (1 / reference + 1 / analysis) if bins > 1 else 0.0


def missing_by_chance(reference: tuple[int, int], analysis: tuple[int, int]) -> float:
    """Return the probability that so many missing values, or more, of both tables are in the analysis.

    Fisher's exact test, one-sided: given the missing values of both, the number in the analysis is hypergeometric.

    Args:
        reference: Missing values and rows of the reference.
        analysis: Missing values and rows of the analysis.
    """
    from scipy.special import gammaln

    (before, rows_before), (now, rows_now) = reference, analysis
    missing, rows = before + now, rows_before + rows_now
    counts = np.arange(now, min(missing, rows_now) + 1, dtype=np.float64)

    def log_choose(of: float, some: np.ndarray | float) -> np.ndarray:
        return np.asarray(gammaln(of + 1) - gammaln(some + 1) - gammaln(of - some + 1))

    logs = (
        log_choose(missing, counts) + log_choose(rows - missing, rows_now - counts) - log_choose(rows, float(rows_now))
    )
    return min(1.0, float(np.exp(logs).sum()))


def unseen_by_chance(once: int, reference: int, unseen: int, analysis: int) -> float:
    """Return the probability that so many rows, or more, have a category that the reference does not have.

    The expected share is that of the categories that occur once in the reference (Good 1953, doi:10.1093/biomet/40.3-4.237);
    one more is counted, as none may occur once by chance. A category of the size 1/rows that the reference missed has about
    analysis/reference rows, so the number of rows varies more than a Poisson variable; it is taken as negative binomial.

    Args:
        once: Number of categories that occur once in the reference.
        reference: Rows of the reference.
        unseen: Rows of the analysis with a category that the reference does not have.
        analysis: Rows of the analysis.
    """
    from scipy.special import betainc

    if not unseen:
        return 1.0
    mean = (once + 1) * analysis / reference
    variance = mean * (1 + 2 * analysis / reference)
    share = mean / variance
    return float(betainc(unseen, mean * share / (1 - share), 1 - share))


def calibration_by_chance(curve: CalibrationCurve, fitted: float, probability: float) -> float:
    """Return the calibration error, from 0 to 1, that the scores of a table that has not moved exceed with a probability.

    In a bin the difference of observed and predicted rate is about half-normal with s = sqrt(p (1 - p) / n), mean
    s sqrt(2 / pi) and variance s^2 (1 - 2 / pi); the bins are independent. The predicted rate was itself learned, on as
    large a part of the training rows, which adds as much to the variance as so many outcomes.

    Args:
        curve: Calibration curve of the outcomes.
        fitted: Number of rows that the model was fitted on.
        probability: The probability.
    """
    from scipy.special import ndtri

    rows = curve.rows.sum()
    weight = curve.rows / rows
    spread = np.sqrt(curve.predicted * (1 - curve.predicted) / curve.rows * (1 + rows / fitted))
    mean = np.sum(weight * spread) * math.sqrt(2 / math.pi)
    deviation = math.sqrt(float(np.sum((weight * spread) ** 2)) * (1 - 2 / math.pi))
    return float(mean - ndtri(probability) * deviation)


def fall_by_chance(standard_errors: tuple[float, float], probability: float) -> float:
    """Return the fall from one estimate to another that chance exceeds with a probability if both estimate the same."""
    from scipy.special import ndtri

    return float(-ndtri(probability)) * math.hypot(*standard_errors)
