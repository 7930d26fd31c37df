"""What acting on accounts costs and brings, and which accounts to act on.

Acting means: the account is contacted, and an offer is made to it. The model behind every figure here is that of
Neslin et al. (2006, doi:10.1509/jmkr.43.2.204) in the form of Verbraken, Verbeke and Baesens (2013,
doi:10.1109/TKDE.2012.50). With the value v of an account, the offer cost d, the contact cost f and the save rate g,
all amounts in one currency, acting on an account

- that would leave brings g (v - d) - f: the offer keeps it with chance g, and is paid only where it is taken;
- that would stay brings -d - f: it takes the offer and would have stayed without it.

Not acting brings 0. Profits are therefore differences to doing nothing, not revenues. The fixed cost of a campaign is left
out: it is the same whichever accounts are chosen.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.errors import ChurnError
from churn.parameters import Decision, Profit


class ProfitCurve(NamedTuple):
    """Profit against the share of accounts contacted, best prospects first; arrays have shape (cuts + 1,).

    Attributes:
        share_contacted: Share of the accounts contacted at each cut, rising from 0 to 1.
        profit: Profit per account (contacted or not) at each cut, in currency; 0 at the first.
        max: Largest profit per account, in currency, at least 0.
        best_share: Smallest share of the accounts with that profit.
    """

    share_contacted: NDArray[np.float64]
    profit: NDArray[np.float64]
    max: float
    best_share: float


class MaximumProfit(NamedTuple):
    """A maximum profit measure.

    Attributes:
        profit: Profit per account (contacted or not), in currency, at least 0.
        share: Share of the accounts to contact for it, highest scores first; an expected share for the expected
            measures.
    """

    profit: float
    share: float


# --- One account ------------------------------------------------------------------------------------------------


def account_values(accounts: pd.DataFrame, profit: Profit) -> NDArray[np.float64]:
    """What keeping each account is worth.

    Args:
        accounts: Account table, n rows.
        profit: Names the column of values, if there is one, and the value that counts where it is missing.

    Returns:
        Values in currency, shape (n,), finite and at least 0.

    Raises:
        ChurnError: The column does not exist, or holds a value that is negative, infinite or not a number.
    """
    column = profit.value_column
    if column is None:
        return np.full(len(accounts), profit.account_value)
    if column not in accounts.columns:
        raise ChurnError(
            f"profit.value_column = '{column}': no such column; the table has: {', '.join(map(str, accounts.columns))}. "
            "Name one of them, or leave it empty to count profit.account_value for every account"
        )
    given = accounts[column]
    values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    missing = given.isna().to_numpy(dtype=bool)
    wrong = ~missing & ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        raise ChurnError(
            f"{column}: {int(wrong.sum())} of {len(values)} accounts have a value that is not a finite number from 0 on, "
            f"for example {given.iloc[int(np.flatnonzero(wrong)[0])]!r}. Correct them, leave them empty to count "
            f"profit.account_value ({profit.account_value:g}), or name another column in profit.value_column"
        )
    return np.where(missing, profit.account_value, values)


def expected_profit(probability: ArrayLike, value: ArrayLike, profit: Profit) -> NDArray[np.float64]:
    """Expected profit of acting on each account, in currency: p g (v - d) - (1 - p) d - f.

    The mean of the two cases at the top of this module, weighted by the probability p of churn. It is the profit
    of Verbraken et al. (2013, doi:10.1109/TKDE.2012.50) for one account, with the account's own value.

    Args:
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.

    Returns:
        Profits, shape (n,), in currency; below 0 where acting costs more than it is expected to bring.
    """
    chance = np.asarray(probability, dtype=np.float64)
    worth = np.asarray(value, dtype=np.float64)
    saved = chance * profit.save_rate * (worth - profit.offer_cost)
    given_away = (1.0 - chance) * profit.offer_cost
    return np.asarray(saved - given_away - profit.contact_cost, dtype=np.float64)


def realised_profit(labels: ArrayLike, acted: ArrayLike, value: ArrayLike, profit: Profit) -> NDArray[np.float64]:
    """Profit of what was done to each account, given what became of it without acting.

    Whether an offer would have kept a churner is unknown, so the save rate stands for it: the profit is an
    expectation over the chance of saving, and over nothing else.

    Args:
        labels: Outcomes without acting, shape (n,), 1 for churned and 0 for stayed.
        acted: Whether the account is acted on, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.

    Returns:
        Profits, shape (n,), in currency; 0 where nothing is done. Their mean is the profit per account.
    """
    return np.where(np.asarray(acted, dtype=bool), expected_profit(labels, value, profit), 0.0)


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


# --- Many accounts ----------------------------------------------------------------------------------------------


def choose(
    probability: ArrayLike, value: ArrayLike, profit: Profit, decision: Decision, threshold: float
) -> NDArray[np.bool_]:
    """Which accounts to act on.

    ``profit`` takes the accounts with an expected profit above 0. ``threshold`` takes those whose probability is at
    or above the threshold, whatever they are worth. ``capacity`` takes, of those that ``profit`` takes, the
    ``decision.capacity`` with the highest expected profit; ties go to the higher probability, then to the earlier
    row, so that the same table gives the same choice.

    Args:
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.
        decision: The rule and its capacity.
        threshold: Probability from which churn is predicted (rule ``threshold`` only).

    Returns:
        Whether to act, shape (n,).
    """
    chance = np.asarray(probability, dtype=np.float64)
    if decision.rule == "threshold":
        return chance >= threshold
    expected = expected_profit(chance, value, profit)
    pays = expected > 0
    if decision.rule == "profit":
        return pays
    rows = np.flatnonzero(pays)
    best_first = rows[np.lexsort((rows, -chance[rows], -expected[rows]))]
    acted = np.zeros(chance.shape, dtype=np.bool_)
    acted[best_first[: decision.capacity]] = True
    return acted


def profit_curve(labels: ArrayLike, probability: ArrayLike, value: ArrayLike, profit: Profit) -> ProfitCurve:
    """Realised profit when ever more accounts are contacted, those with the highest expected profit first.

    The ranking is by ``expected_profit``, not by probability: a valuable account comes before a cheap one of the same
    risk. With one value for all accounts both rankings are the same. Accounts of equal expected profit are contacted
    together, so that the order of the rows does not matter.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.

    Returns:
        The curve with its maximum, which is what the best cut of this ranking would have made, known in hindsight.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, chance, worth = _same_length(labels, probability, value)
    share, gain = _cut(expected_profit(chance, worth, profit), expected_profit(truth, worth, profit))
    best = int(np.argmax(gain))
    return ProfitCurve(share, gain, float(gain[best]), float(share[best]))


def profit_policies(
    labels: ArrayLike, probability: ArrayLike, value: ArrayLike, profit: Profit, threshold: float
) -> dict[str, float]:
    """Realised profit per account of five ways to choose accounts.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.
        threshold: Probability from which churn is predicted.

    Returns:
        In currency per account: ``expected_profit`` of acting where the expected profit is above 0, ``profit_all``
        and ``profit_none`` of acting on all and on none (the latter is 0), ``profit_threshold`` of acting from the
        threshold on, and ``profit_best`` of the best cut of the ranking by expected profit, known in hindsight
        (the maximum of ``profit_curve``; but for rounding, it is never below the first three).

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, chance, worth = _same_length(labels, probability, value)
    acted = {
        "expected_profit": choose(chance, worth, profit, Decision(rule="profit"), threshold),
        "profit_all": np.ones(chance.shape, dtype=np.bool_),
        "profit_none": np.zeros(chance.shape, dtype=np.bool_),
        "profit_threshold": choose(chance, worth, profit, Decision(rule="threshold"), threshold),
    }
    made = {name: float(realised_profit(truth, rows, worth, profit).mean()) for name, rows in acted.items()}
    return made | {"profit_best": profit_curve(truth, chance, worth, profit).max}


# --- Maximum profit measures ------------------------------------------------------------------------------------


def save_rate_distribution(profit: Profit) -> tuple[float, float]:
    """Parameters alpha and beta of the beta distribution of the save rate.

    Its mean alpha / (alpha + beta) is ``save_rate``, and alpha + beta is ``save_rate_certainty``. One of the two is 0
    where the save rate is 0 or 1; the expected measures take this as certainty.
    """
    alpha = profit.save_rate * profit.save_rate_certainty
    return alpha, profit.save_rate_certainty - alpha


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
    truth, scores = _same_length(labels, probability)
    gain = truth * save_rate * (clv - offer) - (1.0 - truth) * offer - contact
    share, profit = _cut(scores, gain)
    best = int(np.argmax(profit))
    return MaximumProfit(float(profit[best]), float(share[best]))


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

    The expectation of ``maximum_profit`` over a save rate that is not known but beta distributed: for each save rate
    the best cut is taken. It is computed exactly, from the vertices of the convex hull, with the incomplete beta
    function; the defaults are those of the paper.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Scores, shape (n,); only their order counts. Equal scores are contacted together.
        alpha: First parameter of the beta distribution of the save rate.
        beta: Second parameter; the mean save rate is alpha / (alpha + beta). Where either is 0, the save rate is
            certain, 0 or 1.
        clv: Value of an account, in currency.
        offer: Cost of the offer where it is taken, in currency.
        contact: Cost of a contact, in currency.

    Returns:
        The expected profit per account and the expected share of the accounts to contact; both 0 where acting never
        pays.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, scores = _same_length(labels, probability)
    return _expected_maximum(scores, truth * (clv - offer), (1.0 - truth) * offer + contact, alpha, beta)


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
    truth, scores, worth = _same_length(labels, probability, value)
    cost = (1.0 - truth) * offer_share * worth + contact
    return _expected_maximum(scores, truth * (1.0 - offer_share) * worth, cost, alpha, beta)


def _expected_maximum(
    scores: NDArray[np.float64], gain: NDArray[np.float64], cost: NDArray[np.float64], alpha: float, beta: float
) -> MaximumProfit:
    """Expectation over g ~ Beta(alpha, beta) of the largest g * gain - cost over the cuts of the ranking.

    Each cut is a line in g, and the largest of them is convex and piecewise linear: the cuts that are the best for some
    g are the vertices of the hull of (gain, cost), and two neighbours change places at the slope between them.
    Between two changes g * density(alpha, beta) is the mean times density(alpha + 1, beta), so each piece is a
    difference of distribution functions. In units of the two rates this is the hull of the ROC curve.
    """
    share, gains, costs = _cut(scores, gain, cost)
    if alpha == 0 or beta == 0:
        # No density, but a save rate that is certain.
        profits = (gains if beta == 0 else 0.0) - costs
        best = int(np.argmax(profits))
        return MaximumProfit(float(profits[best]), float(share[best]))

    from scipy.special import betainc  # type: ignore[import-untyped]

    hull = _hull(gains, costs)
    share, gains, costs = share[hull], gains[hull], costs[hull]
    changes = np.clip(np.diff(costs) / np.diff(gains), 0.0, 1.0)
    borders = np.concatenate([[0.0], changes, [1.0]])
    chance = np.diff(betainc(alpha, beta, borders))
    mean_part = np.diff(betainc(alpha + 1.0, beta, borders)) * alpha / (alpha + beta)
    return MaximumProfit(float(mean_part @ gains - chance @ costs), float(chance @ share))


def _hull(gains: NDArray[np.float64], costs: NDArray[np.float64]) -> list[int]:
    """Positions of the cuts that are the best for some save rate, by rising gain and rising slope.

    The first cut contacts nobody, at no gain and no cost. A cut of no larger gain than an earlier one costs at least as
    much, and is never better.
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


def _cut(scores: NDArray[np.float64], *amounts: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Share of the rows and mean amounts above each cut of a ranking, highest scores first.

    A cut never parts equal scores. The first element is 0 rows.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    sums = [np.cumsum(amount[order])[last] for amount in amounts]
    return tuple(np.concatenate([[0.0], total]) / len(scores) for total in [last + 1.0, *sums])


def _same_length(*columns: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """The columns as float arrays, shape (n,); a single number stands for a column of it."""
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    rows = {array.shape for array in arrays if array.ndim}
    if len(rows) != 1 or len(shape := rows.pop()) != 1 or shape[0] == 0:
        sizes = ", ".join(str(array.shape) for array in arrays)
        raise ChurnError(f"profit needs labels, probabilities and values of the same accounts, but has shapes {sizes}")
    return tuple(np.broadcast_to(array, shape) for array in arrays)
