"""Formulas of the literature that the measures of profit are checked against; nothing in the project uses them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn.config import Profit
from churn.retention.maximum_profit import MaximumProfit, _expected_maximum
from churn.retention.profit import cut_ranking, same_length


def break_even_probability(value: ArrayLike, profit: Profit) -> NDArray[np.float64]:
    """Probability of churn above which acting on an account pays: (d + f) / (g (v - d) + d).

    The root of ``expected_profit``, which rises with the probability by g (v - d) + d = g v + (1 - g) d >= 0.

    Args:
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.

    Returns:
        Probabilities, shape (n,); infinite where acting does not pay even if churn is certain.
    """
    worth = np.asarray(value, dtype=np.float64)
    cost = profit.offer_cost + profit.contact_cost
    slope = profit.save_rate * worth + (1.0 - profit.save_rate) * profit.offer_cost
    root = np.divide(cost, slope, out=np.full(worth.shape, np.inf), where=slope > 0)
    return np.where(root > 1.0, np.inf, root)


def maximum_profit(
    labels: ArrayLike,
    probability: ArrayLike,
    *,
    save_rate: float = 0.3,
    clv: float = 200.0,
    offer: float = 10.0,
    contact: float = 1.0,
) -> MaximumProfit:
    """Maximum profit measure for customer churn, MPC (Verbeke et al. 2012, doi:10.1016/j.ejor.2011.09.031).

    The largest value over all cuts of the ranking by score of (g (v - d) - f) TP / n - (d + f) FP / n, where TP and FP
    are the churners and stayers contacted. Verbraken et al. (2013) write the same as
    v (g (1 - delta) - phi) pi0 F0 - v (delta + phi) pi1 F1 with delta = d / v and phi = f / v.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Scores, shape (n,); only their order counts. Equal scores are contacted together.
        save_rate: Chance that the offer keeps a churner.
        clv: Value of an account, in currency.
        offer: Cost of the offer where it is taken, in currency.
        contact: Cost of a contact, in currency.

    Returns:
        The profit per account and the smallest share of the accounts with it; both 0 where acting never pays.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, scores = same_length(labels, probability)
    gain = truth * save_rate * (clv - offer) - (1.0 - truth) * offer - contact
    share, profit = cut_ranking(scores, gain)
    best = int(np.argmax(profit))
    return MaximumProfit(float(profit[best]), float(share[best]))


def expected_maximum_profit_b2b(
    labels: ArrayLike,
    probability: ArrayLike,
    value: ArrayLike,
    *,
    alpha: float = 6.0,
    beta: float = 14.0,
    offer_share: float = 0.05,
    contact: float = 15.0,
) -> MaximumProfit:
    """Expected maximum profit with a value for each account, as among businesses (EMPB).

    The profit of acting on an account is that of B2Boost (Janssens et al. 2022, doi:10.1007/s10479-022-04631-5): the
    offer is a share s of the account's own value v, so a churner brings g (1 - s) v - f and a stayer -s v - f. The
    contact is always paid.

    What is implemented is the expectation, over the beta distributed save rate, of the profit at the best cut for that
    save rate, as in ``expected_maximum_profit``. Some programs give the profit at the best cut for the mean save rate
    instead. That is the limit of a certain save rate (alpha and beta large) and never larger than the figure here.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Scores, shape (n,); only their order counts, and equal scores are contacted together. Give the
            expected profit to measure a ranking by it.
        value: Values of the accounts in currency, shape (n,) or one number, at least 0.
        alpha: First parameter of the beta distribution of the save rate.
        beta: Second parameter; the mean save rate is alpha / (alpha + beta).
        offer_share: Cost of the offer as a share of the value, from 0 to 1.
        contact: Cost of a contact, in currency.

    Returns:
        The expected profit per account and the expected share of the accounts to contact.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, scores, worth = same_length(labels, probability, value)
    cost = (1.0 - truth) * offer_share * worth + contact
    return _expected_maximum(scores, truth * (1.0 - offer_share) * worth, cost, alpha, beta)
