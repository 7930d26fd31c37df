"""The effect of the calls in one look: differences between accounts that were called and accounts that were kept back.

By intention to treat: an account belongs to the group that it was drawn into, whether it was reached or not. That is the
comparison that the draw makes fair, and the one that the money of a campaign follows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Difference(NamedTuple):
    """A difference between called accounts and accounts that were kept back, with a confidence interval.

    Attributes:
        value: Mean of the called ones minus mean of the others; nan if a group is empty.
        low: Lower end of the interval; nan if it cannot be computed.
        high: Upper end.
        p_value: Probability of a difference at least as large without an effect (two-sided); nan if unknown.
        called: Number of called accounts.
        held_out: Number of accounts that were kept back.
    """

    value: float
    low: float
    high: float
    p_value: float
    called: int
    held_out: int


NAN = float("nan")


def difference_of_shares(outcome: ArrayLike, called: ArrayLike, confidence: float = 0.95) -> Difference:
    """Return the difference of the churn rates, with Newcombe's hybrid score interval.

    Newcombe (1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I), method 10: the interval has its
    confidence also with few accounts and rates near 0 and 1. The p-value is that of the chi-squared test.

    Args:
        outcome: 1 for churned and 0 for stayed, shape (n,).
        called: Whether each account was drawn to be called, shape (n,).
        confidence: Confidence of the interval.
    """
    churned, group = np.asarray(outcome, dtype=np.float64), np.asarray(called, dtype=bool)
    sizes = int(group.sum()), int((~group).sum())
    if not all(sizes):
        return Difference(NAN, NAN, NAN, NAN, *sizes)
    rates = float(churned[group].mean()), float(churned[~group].mean())
    (low_1, high_1), (low_0, high_0) = (wilson(rate, size, confidence) for rate, size in zip(rates, sizes, strict=True))
    value = rates[0] - rates[1]
    low = value - float(np.hypot(rates[0] - low_1, high_0 - rates[1]))
    high = value + float(np.hypot(high_1 - rates[0], rates[1] - low_0))
    pooled = float(churned.mean())
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1])))
    return Difference(value, low, high, _two_sided(value, error), *sizes)


def wilson(share: float, count: int, confidence: float) -> tuple[float, float]:
    """Return the score interval of a share of `count` accounts (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    limit = normal_quantile(confidence)
    scale = 1 + limit**2 / count
    middle = (share + limit**2 / (2 * count)) / scale
    half = limit / scale * float(np.sqrt(share * (1 - share) / count + limit**2 / (4 * count**2)))
    return max(0.0, middle - half), min(1.0, middle + half)


def adjusted_difference(
    outcome: ArrayLike, called: ArrayLike, covariate: ArrayLike, confidence: float = 0.95
) -> Difference:
    """Return the difference of the means of an outcome, adjusted for a covariate that was known before the draw.

    The regression of Lin (2013, doi:10.1214/12-AOAS583): a slope of its own in each group, the covariate centred over all,
    and errors that are robust to unequal variances (HC2). It is never less precise than the plain difference in large
    samples, and unbiased by the draw whether the covariate is right or not. With one slope for both it would be CUPED.

    Args:
        outcome: A number for each account, for example 1 for churned, or money, shape (n,).
        called: Whether each account was drawn to be called, shape (n,).
        covariate: What was expected of the outcome, for example the score, shape (n,).
        confidence: Confidence of the interval.
    """
    values, group = np.asarray(outcome, dtype=np.float64), np.asarray(called, dtype=bool)
    known = np.asarray(covariate, dtype=np.float64)
    sizes = int(group.sum()), int((~group).sum())
    if min(sizes) < 2:
        return Difference(NAN, NAN, NAN, NAN, *sizes)
    centred = known - known.mean()
    means, squares = [], []
    for rows in (group, ~group):
        mean, square, slope = _intercept(values[rows], centred[rows])
        means.append(mean)
        squares.append((square, slope))
    value = means[0] - means[1]
    # The covariate's mean over all accounts is itself a sample's: with unequal slopes that adds to the error.
    apart = (squares[0][1] - squares[1][1]) ** 2 * float(centred.var()) / len(values)
    error = float(np.sqrt(squares[0][0] + squares[1][0] + apart))
    half = normal_quantile(confidence) * error
    return Difference(value, value - half, value + half, _two_sided(value, error), *sizes)


def _intercept(values: Floats, centred: Floats) -> tuple[float, float, float]:
    """Return the fitted mean at the centre, its robust squared error, and the slope."""
    rows = len(values)
    at, spread = float(centred.mean()), centred - centred.mean()
    moment = float(spread @ spread)
    # Relative to the covariate's size, whose rounding is no spread.
    if moment <= 1e-18 * max(1.0, float(centred @ centred)):
        return float(values.mean()), float(values.var(ddof=1)) / rows, 0.0
    slope = float(spread @ values) / moment
    residual = values - values.mean() - slope * spread
    leverage = 1.0 / rows + spread**2 / moment
    influence = 1.0 / rows - at * spread / moment
    square = float((influence**2 * residual**2 / np.maximum(1.0 - leverage, 1e-9)).sum())
    return float(values.mean()) - slope * at, square, slope


class CompliersEffect(NamedTuple):
    """Effect of a conversation on the accounts that a call reaches (complier average causal effect).

    Attributes:
        value: Effect on the churn rate of the accounts that are reached if and only if they are called; nan if unknown.
        low: Lower end of the interval; nan if unknown.
        high: Upper end.
        reached: Share of the called accounts that were reached.
        reached_anyway: Share of the accounts kept back that were reached all the same.
    """

    value: float
    low: float
    high: float
    reached: float
    reached_anyway: float


def compliers_effect(
    outcome: ArrayLike, called: ArrayLike, reached: ArrayLike, confidence: float = 0.95
) -> CompliersEffect:
    """Return the effect on the accounts that were reached because they were called.

    The effect of the draw on churn divided by its effect on being reached (Imbens and Angrist 1994, doi:10.2307/2951620),
    with Fieller's interval, which holds for any share that is reached. It assumes that a call that reaches nobody changes
    nothing.

    Args:
        outcome: 1 for churned and 0 for stayed, shape (n,).
        called: Whether each account was drawn to be called, shape (n,).
        reached: Whether each account was reached, shape (n,).
        confidence: Confidence of the interval.
    """
    churned, group = np.asarray(outcome, dtype=np.float64), np.asarray(called, dtype=bool)
    talked = np.asarray(reached, dtype=np.float64)
    if min(group.sum(), (~group).sum()) < 2:
        return CompliersEffect(NAN, NAN, NAN, NAN, NAN)
    shares = float(talked[group].mean()), float(talked[~group].mean())
    change = float(churned[group].mean() - churned[~group].mean())
    more = shares[0] - shares[1]
    squares = np.zeros((2, 2))
    for rows in (group, ~group):
        squares += np.cov(churned[rows], talked[rows]) / rows.sum()
    limit = normal_quantile(confidence) ** 2
    # Fieller: all ratios r for which change - r * more is not told from 0.
    a = more**2 - limit * squares[1, 1]
    b = -2 * (change * more - limit * squares[0, 1])
    c = change**2 - limit * squares[0, 0]
    root = b**2 - 4 * a * c
    if a <= 0 or root < 0:
        return CompliersEffect(NAN, NAN, NAN, *shares)
    low, high = sorted(((-b - np.sqrt(root)) / (2 * a), (-b + np.sqrt(root)) / (2 * a)))
    return CompliersEffect(change / more, float(low), float(high), *shares)


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values corrected for their number (Holm 1979, jstor.org/stable/4615733), shape (n,); nan stays nan.

    The probability that any of them is below a level without an effect is at most the level, however they depend on each
    other.
    """
    given = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(given.shape, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    times = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * times)) if len(order) else given[order]
    return corrected


def normal_quantile(confidence: float) -> float:
    """Return how many standard errors an interval with a confidence reaches to each side."""
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2))


def _two_sided(value: float, error: float) -> float:
    from scipy.special import ndtr

    if not error > 0:
        return 1.0 if value == 0 else NAN
    return float(2 * ndtr(-abs(value) / error))
