"""Expected and realised profit of acting on accounts, and the choice of accounts to act on.

Acting on an account means to contact it and make it an offer. The model is that of Neslin et al. (2006,
doi:10.1509/jmkr.43.2.204) in the form of Verbraken, Verbeke and Baesens (2013, doi:10.1109/TKDE.2012.50). With the value v
of an account, the offer cost d, the contact cost f and the save rate g, all amounts in one currency, the profit of acting
on an account

- that would leave is g (v - d) - f: the offer keeps it with probability g, and costs d only if it is accepted;
- that would stay is -d - f: it accepts the offer and would have stayed without it.

The profit of not acting is 0. Profits are therefore differences to doing nothing, not revenues. The fixed cost of a
campaign is left out: it is the same whichever accounts are chosen.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.config import Decision, Profit
from churn.errors import ChurnError
from churn.retention.order import best_first, in_cents, ranks_within


def account_values(accounts: pd.DataFrame, profit: Profit) -> NDArray[np.float64]:
    """Return the value of keeping each account.

    Args:
        accounts: Account table, n rows.
        profit: Name of the column of values, if there is one, and the value that replaces missing ones.

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
            "Name one of them, or leave it empty to use profit.account_value for every account"
        )
    given = accounts[column]
    values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    missing = given.isna().to_numpy(dtype=bool)
    wrong = ~missing & ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        raise ChurnError(
            f"{column}: {int(wrong.sum())} of {len(values)} accounts have a value that is not a finite number from 0 on, "
            f"for example {given.iloc[int(np.flatnonzero(wrong)[0])]!r}. Correct them, leave them empty to use "
            f"profit.account_value ({profit.account_value:g}), or name another column in profit.value_column"
        )
    return np.where(missing, profit.account_value, values)


def expected_profit(
    probability: ArrayLike,
    value: ArrayLike,
    profit: Profit,
    offer_cost: ArrayLike | None = None,
    saved: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return the expected profit of acting on each account, in currency: p g (v - d) - (1 - p) d - f.

    It is the mean of the two cases at the top of this module, weighted by the probability p of churn: the profit of
    Verbraken et al. (2013, doi:10.1109/TKDE.2012.50) for one account, with the account's own value.

    Args:
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.
        offer_cost: Costs of the offers in currency, shape (n,), where actions have their own; `profit.offer_cost` by default.
        saved: Probability that acting keeps each account, shape (n,), in place of p g; negative where acting drives
            accounts away.

    Returns:
        Profits, shape (n,), in currency; negative where acting is expected to cost more than it saves.
    """
    chance = np.asarray(probability, dtype=np.float64)
    worth = np.asarray(value, dtype=np.float64)
    offer = profit.offer_cost if offer_cost is None else np.asarray(offer_cost, dtype=np.float64)
    kept = chance * profit.save_rate if saved is None else np.asarray(saved, dtype=np.float64)
    gained = kept * (worth - offer)
    given_away = (1.0 - chance) * offer
    return np.asarray(gained - given_away - profit.contact_cost, dtype=np.float64)


def expected_cost(
    probability: ArrayLike, profit: Profit, offer_cost: ArrayLike | None = None, saved: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the expected cost of acting on each account, in currency: f + d ((1 - p) + p g).

    The contact is always paid; the offer by those that would stay, and by those of the others that it keeps. With the
    expected profit it adds up to what acting is expected to bring: p g v.

    Args:
        probability: Probabilities of churn, shape (n,).
        profit: Costs and save rate.
        offer_cost: Costs of the offers in currency, shape (n,), where actions have their own; `profit.offer_cost` by default.
        saved: Probability that acting keeps each account, shape (n,), see `expected_profit`.
    """
    chance = np.asarray(probability, dtype=np.float64)
    offer = profit.offer_cost if offer_cost is None else np.asarray(offer_cost, dtype=np.float64)
    kept = chance * profit.save_rate if saved is None else np.asarray(saved, dtype=np.float64)
    return np.asarray(profit.contact_cost + offer * ((1.0 - chance) + kept), dtype=np.float64)


def realised_profit(labels: ArrayLike, acted: ArrayLike, value: ArrayLike, profit: Profit) -> NDArray[np.float64]:
    """Return the profit of acting on the chosen accounts, given their outcomes without acting.

    Whether an offer would have kept a churner is unknown, so the save rate replaces it: the profit is an expectation over
    the save rate alone.

    Args:
        labels: Outcomes without acting, shape (n,), 1 for churned and 0 for stayed.
        acted: Whether the account is acted on, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.

    Returns:
        Profits, shape (n,), in currency; 0 for accounts that are not acted on. Their mean is the profit per account.
    """
    return np.where(np.asarray(acted, dtype=bool), expected_profit(labels, value, profit), 0.0)


def choose(
    probability: ArrayLike,
    value: ArrayLike,
    profit: Profit,
    decision: Decision,
    threshold: float,
    ids: ArrayLike | None = None,
    *,
    offer_cost: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    saved: ArrayLike | None = None,
) -> NDArray[np.bool_]:
    """Choose the accounts to act on.

    The rule ``profit`` chooses the accounts with an expected profit of a cent or more; ``threshold`` those whose probability
    is at or above the threshold, whatever their value; ``capacity`` the first ``decision.capacity`` of those that ``profit``
    chooses, in the order of `churn.retention.order.best_first`, of all or of each group. No rule chooses an account whose
    expected profit, to the cent, is below ``decision.minimum_gain``, if that is above 0.

    Args:
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.
        decision: The rule and its capacity.
        threshold: Probability from which churn is predicted (rule ``threshold`` only).
        ids: Ids of the accounts, shape (n,), to break ties (rule ``capacity`` only); the row numbers by default.
        offer_cost: Costs of the offers in currency, shape (n,), see `expected_profit`.
        groups: Values of ``decision.capacity_by``, shape (n,), missing ones are a group too; None for one group.
        saved: Probability that acting keeps each account, shape (n,), see `expected_profit`.

    Returns:
        Whether to act, shape (n,).
    """
    chance = np.asarray(probability, dtype=np.float64)
    expected = in_cents(expected_profit(chance, value, profit, offer_cost, saved))
    if decision.rule == "threshold":
        reached = chance >= threshold
        return reached & (expected >= decision.minimum_gain) if decision.minimum_gain > 0 else reached
    pays = (expected > 0) & (expected >= decision.minimum_gain)
    if decision.rule == "profit":
        return pays
    rows = np.flatnonzero(pays)
    names = rows if ids is None else np.asarray(ids)[rows]
    first = rows[best_first(expected[rows], chance[rows], names)]
    if groups is not None:
        first = first[ranks_within(np.asarray(groups, dtype=object)[first]) < decision.capacity]
    acted = np.zeros(chance.shape, dtype=np.bool_)
    acted[first if groups is not None else first[: decision.capacity]] = True
    return acted


def profit_policies(
    labels: ArrayLike, probability: ArrayLike, value: ArrayLike, profit: Profit, threshold: float
) -> dict[str, float]:
    """Return the realised profit per account of five policies, that is, ways to choose accounts.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.
        threshold: Probability from which churn is predicted.

    Returns:
        In currency per account: ``expected_profit`` of acting where the expected profit is above 0, ``profit_all``
        and ``profit_none`` of acting on all and on none (the latter is 0), ``profit_threshold`` of acting where the
        probability is at or above the threshold, and ``profit_best`` of the best cut of the ranking by expected profit,
        known in hindsight (the maximum of ``profit_curve``; except for rounding never below the first three).

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, chance, worth = same_length(labels, probability, value)
    acted = {
        "expected_profit": choose(chance, worth, profit, Decision(rule="profit"), threshold),
        "profit_all": np.ones(chance.shape, dtype=np.bool_),
        "profit_none": np.zeros(chance.shape, dtype=np.bool_),
        "profit_threshold": choose(chance, worth, profit, Decision(rule="threshold"), threshold),
    }
    made = {name: float(realised_profit(truth, rows, worth, profit).mean()) for name, rows in acted.items()}
    return made | {"profit_best": profit_curve(truth, chance, worth, profit).max}


class ProfitCurve(NamedTuple):
    """Profit against the share of accounts contacted, highest expected profit first; arrays have shape (cuts + 1,).

    Attributes:
        share_contacted: Share of the accounts contacted at each cut, rising from 0 to 1.
        profit: Profit per account (contacted or not) at each cut, in currency; 0 at the first.
        max: Largest profit per account, in currency, at least 0.
        best_share: Smallest share of the accounts that reaches this profit.
    """

    share_contacted: NDArray[np.float64]
    profit: NDArray[np.float64]
    max: float
    best_share: float


def profit_curve(labels: ArrayLike, probability: ArrayLike, value: ArrayLike, profit: Profit) -> ProfitCurve:
    """Compute the realised profit at each cut of the ranking by expected profit, highest first.

    The ranking is by ``expected_profit``, not by probability: of two accounts with the same risk, the one of higher value
    comes first. If all accounts have the same value, both rankings are equal. Accounts of equal expected profit are
    contacted together, so the order of the rows does not matter.

    Args:
        labels: Outcomes, shape (n,), 1 for churned and 0 for stayed.
        probability: Probabilities of churn, shape (n,).
        value: Values of the accounts in currency, shape (n,) or one number.
        profit: Costs and save rate.

    Returns:
        The curve with its maximum, the profit of the best cut of this ranking, known in hindsight.

    Raises:
        ChurnError: There is no account, or the lengths differ.
    """
    truth, chance, worth = same_length(labels, probability, value)
    share, gain = cut_ranking(expected_profit(chance, worth, profit), expected_profit(truth, worth, profit))
    best = int(np.argmax(gain))
    return ProfitCurve(share, gain, float(gain[best]), float(share[best]))


def cut_ranking(scores: NDArray[np.float64], *amounts: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the share of the rows and the mean amounts above each cut of a ranking, highest scores first.

    A cut never separates equal scores. The first cut has no rows above it.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    sums = [np.cumsum(amount[order])[last] for amount in amounts]
    return tuple(np.concatenate([[0.0], total]) / len(scores) for total in [last + 1.0, *sums])


def same_length(*columns: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Return the columns as float arrays, shape (n,); a single number is repeated."""
    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    rows = {array.shape for array in arrays if array.ndim}
    if len(rows) != 1 or len(shape := rows.pop()) != 1 or shape[0] == 0:
        sizes = ", ".join(str(array.shape) for array in arrays)
        raise ChurnError(f"profit needs labels, probabilities and values of the same accounts, but has shapes {sizes}")
    return tuple(np.broadcast_to(array, shape) for array in arrays)
