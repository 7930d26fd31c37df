"""Calibration: predicted against observed churn rates."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.metrics.ranking import first_of_equals, pieces


class CalibrationCurve(NamedTuple):
    """Observed against predicted churn rate in bins of equal mass; each array has one value per bin."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    rows: NDArray[np.int64]


def calibration_curve(labels: ArrayLike, probability: ArrayLike, bins: int = 10) -> CalibrationCurve:
    """Compute mean prediction and observed churn rate in bins of equal mass.

    Rows are ordered by prediction, and equal predictions share a bin, so the order of the rows does not matter.
    """
    scores = np.asarray(probability, dtype=np.float64)
    bin_of = np.searchsorted(_first_of_bins(scores, bins), scores, side="right")
    bin_of -= 1
    count = np.bincount(bin_of)
    predicted = np.bincount(bin_of, weights=scores) / count
    observed = np.bincount(bin_of, weights=np.asarray(labels)) / count
    return CalibrationCurve(predicted, observed, count)


def _first_of_bins(scores: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return the lowest score of each non-empty bin of equal mass, in rising order."""
    ordered = np.sort(scores)
    found, last = [], -1
    for piece in pieces(ordered):
        first = first_of_equals(ordered[piece])
        after = np.append(first[1:], piece.stop - piece.start)
        middle = (first + after - 1) / 2 + piece.start
        bin_of = np.floor(middle * bins / len(ordered)).astype(np.int64)
        begins = np.diff(bin_of, prepend=last) > 0
        found.append(ordered[piece][first[begins]])
        last = bin_of[-1]
    return np.concatenate(found) if found else ordered


def calibration_error(labels: ArrayLike, probability: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error with bins of equal mass (Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602).

    Returns:
        Mean absolute difference of observed and predicted churn rate over the bins, weighted by rows, from 0 to 1.
    """
    return error_of_curve(calibration_curve(labels, probability, bins))


def error_of_curve(curve: CalibrationCurve) -> float:
    """Return the `calibration_error` that belongs to a calibration curve."""
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.rows))
