"""The effect of the calls at every look: an interval that holds for all weeks at once.

A confidence interval of 95 % that is computed every week misses the truth in one of the weeks far more often than in 5 % of
all campaigns. A confidence *sequence* does not: with the stated probability, the truth is inside at all looks together, so a
campaign may be looked at every week, stopped at any, and continued at any.

The sequence is the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, doi:10.1214/24-AOS2408,
arXiv:2103.06476), with Robbins' normal mixture for its boundary (Howard, Ramdas, McAuliffe and Sekhon 2021,
doi:10.1214/20-AOS1991). Its terms are the doubly robust ones: the score says what to expect of each account, which only takes
away variance, and the known probability of the draw makes their mean right.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Fewest accounts, and fewest churned and stayed ones, in each group: below that the normal boundary is not believed.
LEAST_ROWS, LEAST_EVENTS = 50, 5


class AlwaysValid(NamedTuple):
    """A mean with an interval that holds at all looks together.

    Attributes:
        value: The mean; nan without accounts.
        low: Lower end; -inf while there are too few accounts.
        high: Upper end; inf while there are too few accounts.
        rows: Number of accounts.
    """

    value: float
    low: float
    high: float
    rows: int


class Terms(NamedTuple):
    """One term for each account, whose means are what is estimated, shape (n,).

    Attributes:
        effect: Mean: the effect of the draw on the outcome.
        baseline: Mean: the outcome without calls.
    """

    effect: Floats
    baseline: Floats


def doubly_robust(
    outcome: ArrayLike,
    called: ArrayLike,
    share_called: ArrayLike,
    expected: ArrayLike,
    expected_called: ArrayLike,
) -> Terms:
    """Return the doubly robust terms of the effect (Robins, Rotnitzky and Zhao 1994, doi:10.1080/01621459.1994.10476818).

    Their means are right whatever is expected, because the probability of the draw is known; the better the expectation, the
    smaller their variance.

    Args:
        outcome: A number for each account, for example 1 for churned, shape (n,).
        called: Whether each account was drawn to be called, shape (n,).
        share_called: Probability with which it was drawn to be called, shape (n,) or one number.
        expected: What was expected of the outcome without a call, before it was known, shape (n,).
        expected_called: What was expected with a call, shape (n,).
    """
    values, group = np.asarray(outcome, dtype=np.float64), np.asarray(called, dtype=bool)
    chance = np.asarray(share_called, dtype=np.float64)
    without, with_call = np.asarray(expected, dtype=np.float64), np.asarray(expected_called, dtype=np.float64)
    baseline = without + np.where(group, 0.0, (values - without) / (1 - chance))
    treated = with_call + np.where(group, (values - with_call) / chance, 0.0)
    return Terms(treated - baseline, baseline)


def always_valid_mean(terms: ArrayLike, horizon: int, confidence: float = 0.95) -> AlwaysValid:
    """Return the mean of the terms with an interval that holds at all looks together.

    Args:
        terms: Independent terms that came in so far, in any order of their arrival, shape (n,).
        horizon: Number of terms at which the interval is narrowest; it must not depend on the terms.
        confidence: Probability that the mean is inside at all looks, in large samples.

    Returns:
        The mean, with mean ± s sqrt((2 (n r² + 1) / (n² r²)) ln(sqrt(n r² + 1) / alpha)), s their standard deviation, and
        r² = (-2 ln alpha + ln(1 - 2 ln alpha)) / horizon, as in the paper.
    """
    values = np.asarray(terms, dtype=np.float64)
    rows = len(values)
    if rows < 2:
        return AlwaysValid(float(values.mean()) if rows else float("nan"), -np.inf, np.inf, rows)
    half = float(values.std(ddof=1)) * boundary(rows, horizon, confidence)
    value = float(values.mean())
    return AlwaysValid(value, value - half, value + half, rows)


def boundary(rows: int, horizon: int, confidence: float) -> float:
    """Return half the width of the interval for terms with a standard deviation of 1."""
    alpha = 1 - confidence
    squared = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / horizon
    scaled = rows * squared + 1
    return float(np.sqrt(2 * scaled / (rows**2 * squared) * np.log(np.sqrt(scaled) / alpha)))


def enough(outcome: ArrayLike, called: ArrayLike) -> bool:
    """Return whether both groups have enough accounts, churned and stayed ones, for an interval to be believed."""
    churned, group = np.asarray(outcome, dtype=bool), np.asarray(called, dtype=bool)
    return all(
        rows.sum() >= LEAST_ROWS and min((churned & rows).sum(), (~churned & rows).sum()) >= LEAST_EVENTS
        for rows in (group, ~group)
    )
