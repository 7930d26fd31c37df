"""The expected maximum profit measure (EMPC): profit at the best cut of a ranking."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.config import Profit
from churn.retention.profit import cut_ranking, same_length


class MaximumProfit(NamedTuple):
    """Value of a maximum profit measure.

    Attributes:
        profit: Profit per account (contacted or not), in currency, at least 0.
        share: Share of the accounts to contact for this profit, highest scores first; an expected share for the
            expected measure.
    """

    profit: float
    share: float


def save_rate_distribution(profit: Profit) -> tuple[float, float]:
    """Return the parameters alpha and beta of the beta distribution of the save rate.

    Its mean alpha / (alpha + beta) is ``save_rate``, and alpha + beta is ``save_rate_certainty``. If the save rate is 0
    or 1, alpha or beta is 0; the expected measure then uses the save rate as a certain value.
    """
    alpha = profit.save_rate * profit.save_rate_certainty
    return alpha, profit.save_rate_certainty - alpha


def expected_maximum_profit(
    labels: ArrayLike,
    probability: ArrayLike,
    *,
    alpha: float = 6.0,
    beta: float = 14.0,
    clv: float = 200.0,
    offer: float = 10.0,
    contact: float = 1.0,
) -> MaximumProfit:
    """Expected maximum profit measure for customer churn, EMPC (Verbraken et al. 2013, doi:10.1109/TKDE.2012.50).

    It is the expectation, over a beta distributed save rate, of the profit at the best cut of the ranking for that save
    rate (Verbeke et al. 2012, doi:10.1016/j.ejor.2011.09.031). It is computed exactly, from the vertices of the convex
    hull and the incomplete beta function; the defaults are those of the paper.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Scores, shape (n,); only their order counts. Equal scores are contacted together.
        alpha: First parameter of the beta distribution of the save rate.
        beta: Second parameter; the mean save rate is alpha / (alpha + beta). If alpha or beta is 0, the save rate is
            certain: 0 or 1.
        clv: Value of an account, in currency.
        offer: Cost of the offer if it is accepted, in currency.
        contact: Cost of a contact, in currency.

    Returns:
        The expected profit per account and the expected share of the accounts to contact; both are 0 if acting never
        pays.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, scores = same_length(labels, probability)
    return _expected_maximum(scores, truth * (clv - offer), (1.0 - truth) * offer + contact, alpha, beta)


def _expected_maximum(
    scores: NDArray[np.float64], gain: NDArray[np.float64], cost: NDArray[np.float64], alpha: float, beta: float
) -> MaximumProfit:
    """Expectation over g ~ Beta(alpha, beta) of the largest g * gain - cost over the cuts of the ranking.

    Each cut is a line in g, and their maximum is convex and piecewise linear: the cuts that are the best for some g are
    the vertices of the hull of (gain, cost), and the best one changes from a vertex to the next at the slope between them.
    Between two changes g * density(alpha, beta) is the mean times density(alpha + 1, beta), so each piece is a
    difference of distribution functions. In units of the two rates this is the hull of the ROC curve.
    """
    share, gains, costs = cut_ranking(scores, gain, cost)
    if alpha == 0 or beta == 0:
        # The save rate is certain: 1 if beta is 0, else 0.
        profits = (gains if beta == 0 else 0.0) - costs
        best = int(np.argmax(profits))
        return MaximumProfit(float(profits[best]), float(share[best]))

    from scipy.special import betainc

    hull = _hull(gains, costs)
    share, gains, costs = share[hull], gains[hull], costs[hull]
    changes = np.clip(np.diff(costs) / np.diff(gains), 0.0, 1.0)
    borders = np.concatenate([[0.0], changes, [1.0]])
    chance = np.diff(betainc(alpha, beta, borders))
    mean_part = np.diff(betainc(alpha + 1.0, beta, borders)) * alpha / (alpha + beta)
    return MaximumProfit(float(mean_part @ gains - chance @ costs), float(chance @ share))


def _hull(gains: NDArray[np.float64], costs: NDArray[np.float64]) -> list[int]:
    """Return the positions of the cuts that are the best for some save rate, by rising gain and rising slope.

    The first cut contacts nobody, with gain and cost 0. A cut whose gain is not larger than that of an earlier one costs
    at least as much and is never better.
    """
    hull = [0]
    new_highs = np.flatnonzero(np.diff(np.maximum.accumulate(gains)) > 0) + 1
    for new in new_highs.tolist():
        while len(hull) > 1:
            before, last = hull[-2], hull[-1]
            to_last = (costs[last] - costs[before]) * (gains[new] - gains[before])
            to_new = (costs[new] - costs[before]) * (gains[last] - gains[before])
            if to_last < to_new:
                break
            hull.pop()
        hull.append(new)
    return hull
