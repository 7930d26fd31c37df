"""Reasons for the score of an account, in words.

A reason is a term of the model, or a ratio with its columns (`churn.retention.terms`), that raises the account's score: its
contribution to the log-odds (before calibration, which keeps the order), as computed by `ChurnModel.explain_terms`, is above
zero, and its value is not close to the typical one. The reasons with the largest contributions are described in sentences.
The contributions of the reasons, those of all others together (*other*) and the baseline add up to the raw score. A reason
describes the model, not the cause of the churn.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.config import Profit, Reasons
from churn.config.retention import Case
from churn.retention.terms import Term, Terms
from churn.retention.wording import Sentences, check_sentences, suggested
from churn.tables import as_numbers, as_text

NO_ACTION = -1


class Explanation(NamedTuple):
    """Reasons of n accounts.

    Attributes:
        words: One row per account: ``reason_1_code``, ``reason_1``, ``reason_2_code``, ... of type str, missing where there
            are fewer reasons. Codes are the name of the column or ratio in capitals and ``HIGH`` (above the typical value),
            ``LOW`` (at or below it), ``CATEGORY`` or ``MISSING``.
        contributions: Contribution of each reason in log-odds, shape (n, count); 0 where there are fewer.
        other: Contribution of everything else but the baseline, shape (n,); nan for accounts that were not explained.
        actions: Position of the suggested action in ``reasons.actions``, shape (n,); -1 for none.
    """

    words: pd.DataFrame
    contributions: NDArray[np.float64]
    other: NDArray[np.float64]
    actions: NDArray[np.intp]

    def suggestions(self, reasons: Reasons) -> "pd.Series[str]":
        """Return the suggested action of each account in words, missing for none."""
        texts = np.array([*(reasons.text(each.action) for _, each in reasons.actions), None], dtype=object)
        return pd.Series(pd.array(texts[self.actions], dtype="str"), index=self.words.index)


def offer_costs(actions: NDArray[np.intp], reasons: Reasons, profit: Profit) -> NDArray[np.float64]:
    """Return the cost of the offer to each account, in currency: that of its action, or else `profit.offer_cost`.

    Args:
        actions: Positions of the suggested actions, shape (n,); -1 for none.
        reasons: The actions.
        profit: The cost of an offer without an action of its own cost.
    """
    costs = [profit.offer_cost if each.cost is None else each.cost for _, each in reasons.actions]
    return np.array([*costs, profit.offer_cost], dtype=np.float64)[actions]


def rows_to_explain(probability: ArrayLike, reasons: Reasons) -> NDArray[np.intp]:
    """Return the positions, ascending, of the accounts that get reasons: those with at least the minimum probability.

    Args:
        probability: Probability of churn of each account, shape (n,).
        reasons: Settings, of which ``minimum_probability`` is used.
    """
    return np.flatnonzero(np.asarray(probability) >= reasons.minimum_probability)


def reason_columns(count: int) -> list[str]:
    """Return the names of the columns for `count` reasons: ``reason_1_code``, ``reason_1``, ``reason_2_code``, ..."""
    return [name for rank in range(1, count + 1) for name in (f"reason_{rank}_code", f"reason_{rank}")]


def explain_accounts(
    explain: Callable[[pd.DataFrame], pd.DataFrame],
    accounts: pd.DataFrame,
    probability: ArrayLike,
    terms: Terms,
    reasons: Reasons,
    currency: str | None = None,
) -> Explanation:
    """Return the reasons of the accounts that get some; contributions are computed for these alone.

    Args:
        explain: Function from account rows to contributions of terms, for example `ChurnModel.explain_terms`.
        accounts: Canonical account rows, shape (n, any).
        probability: Their probabilities of churn, shape (n,).
        terms: Terms of the model.
        reasons: Number of reasons, minimum probability, sentences and actions.
        currency: Currency of amounts, if it is known.

    Returns:
        Result of `explanation` with n rows; nothing for accounts below the minimum probability.

    Raises:
        ParametersError: See `churn.retention.wording.check_texts`; raised before any contribution is computed.
    """
    check_sentences(reasons, terms)
    rows = rows_to_explain(probability, reasons)
    if len(rows) == len(accounts) and len(rows):
        return explanation(explain(accounts), accounts, terms, reasons, currency)
    names = reason_columns(reasons.count)
    words = pd.DataFrame(dict.fromkeys(names, None), index=accounts.index, columns=names, dtype="str")
    whole = Explanation(
        words,
        np.zeros((len(accounts), reasons.count)),
        np.full(len(accounts), np.nan),
        np.full(len(accounts), NO_ACTION, dtype=np.intp),
    )
    if not len(rows):
        return whole
    part = explanation(explain(accounts.iloc[rows]), accounts.iloc[rows], terms, reasons, currency)
    whole.contributions[rows], whole.other[rows], whole.actions[rows] = part[1:]
    return whole._replace(
        words=part.words.set_axis(rows).reindex(range(len(accounts))).set_axis(accounts.index),
    )


def explain_in_words(
    contributions: pd.DataFrame, accounts: pd.DataFrame, terms: Terms, reasons: Reasons, currency: str | None = None
) -> pd.DataFrame:
    """Return the words of `explanation`."""
    return explanation(contributions, accounts, terms, reasons, currency).words


def explanation(
    contributions: pd.DataFrame, accounts: pd.DataFrame, terms: Terms, reasons: Reasons, currency: str | None = None
) -> Explanation:
    """Describe what raises the score of each account most.

    The largest contributions come first; of equal ones the one whose first column comes first. Of a ratio and its columns the
    one that raises the score most is described, if its value is not close to the typical one.

    Args:
        contributions: Contribution of each term in log-odds, shape (n, k); ``(baseline)`` is never a reason.
        accounts: The same accounts in the same order, canonical, shape (n, any).
        terms: The terms of the model, in the order of the contributions.
        reasons: Number of reasons, sentences and actions.
        currency: Currency of amounts, if it is known.

    Raises:
        ParametersError: See `churn.retention.wording.check_texts`.
        ValueError: The two tables have different numbers of rows.
    """
    if len(contributions) != len(accounts):
        raise ValueError(f"contributions have {len(contributions)} rows, but there are {len(accounts)} accounts")
    check_sentences(reasons, terms)
    parts = np.ascontiguousarray(contributions[terms.names].to_numpy(np.float64).T)
    raising = parts > 0
    for position, term in enumerate(terms.items):
        if not isinstance(term.typical, str) and raising[position].any():
            raising[position] &= ~term.close(reasons.close_to_typical).of(term.values(accounts))
    totals, speakers = _of_groups(parts, raising, terms.groups)
    drivers = _largest(totals, reasons.count)
    rows = np.arange(len(accounts))[:, None]
    spoken = np.where(drivers < 0, -1, speakers[rows, drivers])
    shown = np.where(drivers < 0, 0.0, totals[rows, drivers])

    all_codes: list[str | None] = [None]
    all_sentences: list[str | None] = [None]
    all_actions = [NO_ACTION]
    picked = np.zeros(drivers.shape, dtype=np.intp)  # 0 is the missing reason above
    for position, term in enumerate(terms.items):
        places = np.flatnonzero(spoken == position)
        if len(places):
            columns = list(term.columns or (term.name,))
            worded = _word(term, accounts[columns].iloc[places // drivers.shape[1]], reasons, currency)
            picked.ravel()[places] = worded.kinds + len(all_codes)
            all_codes += worded.codes
            all_sentences += worded.sentences
            all_actions += worded.actions
    codes, sentences = np.array(all_codes, dtype=object), np.array(all_sentences, dtype=object)
    texts = [texts_of[picked[:, rank]] for rank in range(reasons.count) for texts_of in (codes, sentences)]
    named = dict(zip(reason_columns(reasons.count), texts, strict=True))
    actions = np.array(all_actions, dtype=np.intp)[picked]
    first = (actions >= 0).argmax(axis=1)
    other = np.zeros(len(accounts))
    for part in parts:  # one after the other, as for a single row
        other = other + part
    for rank in range(reasons.count):
        other = other - shown[:, rank]
    return Explanation(
        pd.DataFrame({name: pd.array(part, dtype="str") for name, part in named.items()}, index=accounts.index),
        shown,
        other,
        actions[np.arange(len(accounts)), first],
    )


def _of_groups(
    parts: NDArray[np.float64], raising: NDArray[np.bool_], groups: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the contribution of each reason, shape (n, groups), -inf for none, and the position of the term it is about."""
    count = parts.shape[1]
    totals = np.full((count, len(groups)), -np.inf)
    speakers = np.zeros((count, len(groups)), dtype=np.intp)
    for at, members in enumerate(groups):
        total, speaks, best = parts[members[0]], raising[members[0]], np.full(count, members[0])
        most = np.where(speaks, total, -np.inf)
        for member in members[1:]:
            total = total + parts[member]
            more = raising[member] & (parts[member] > most)
            best, most, speaks = np.where(more, member, best), np.where(more, parts[member], most), speaks | more
        speakers[:, at] = best
        totals[:, at] = np.where(speaks & (total > 0), total, -np.inf)
    return totals, speakers


def _largest(totals: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the largest positive values of each row, shape (n, count); -1 where there are no more."""
    drivers = np.full((len(totals), count), -1, dtype=np.int64)
    left = totals.copy()
    # For a few reasons, taking the maximum repeatedly is faster than sorting every row.
    for rank in range(min(count, totals.shape[1])):
        best = left.argmax(axis=1)
        found = np.flatnonzero(left[np.arange(len(left)), best] > 0)
        drivers[found, rank] = best[found]
        left[found, best[found]] = -np.inf
    return drivers


class _Wording(NamedTuple):
    """Codes, sentences and actions of the values of one term, one of each for every different value."""

    kinds: NDArray[np.intp]  # position in codes, sentences and actions for each row
    codes: list[str]
    sentences: list[str]
    actions: list[int]


def _word(term: Term, accounts: pd.DataFrame, reasons: Reasons, currency: str | None) -> _Wording:
    """Group rows by value, and write one sentence for each group."""
    writer = Writer(term, reasons, currency)
    if isinstance(term.typical, str):
        kinds, categories = pd.factorize(as_text(accounts[term.name]))
        told = [writer.of_category(str(value)) for value in categories]
    elif term.columns is None:
        kinds, numbers = pd.factorize(term.values(accounts))
        told = [writer.of_number(value) for value in numbers.tolist()]
    else:
        columns = [as_numbers(accounts[name])[0].to_numpy(np.float64) for name in term.columns]
        values = term.values(accounts)
        kinds, first = _pairs(values, *columns)
        pairs = zip(*(column[first].tolist() for column in columns), strict=True)
        told = [writer.of_number(value, pair) for value, pair in zip(values[first].tolist(), pairs, strict=True)]
    told.append(writer.of_missing())  # the last group
    codes, sentences, actions = zip(*told, strict=True)
    return _Wording(np.where(kinds < 0, len(told) - 1, kinds), list(codes), list(sentences), list(actions))


def _pairs(
    values: NDArray[np.float64], over: NDArray[np.float64], under: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the group of each row by numerator and denominator, -1 where the ratio is missing, and a row of each group."""
    upper, (lower, levels) = pd.factorize(over)[0], pd.factorize(under)
    kinds, _ = pd.factorize(np.where(np.isnan(values), -1, upper * max(1, len(levels)) + lower), use_na_sentinel=False)
    _, first, again = np.unique(kinds, return_index=True, return_inverse=True)
    known = ~np.isnan(values[first])
    places = np.where(known, np.cumsum(known) - 1, -1)
    return places[again], first[known]


class Writer:
    """Writes code, sentence and action of the values of one term."""

    def __init__(self, term: Term, reasons: Reasons, currency: str | None) -> None:
        self._term, self._actions = term, reasons.actions
        self._sentences = Sentences(term, reasons, currency)

    def of_number(self, value: float, parts: tuple[float, float] | None = None) -> tuple[str, str, int]:
        """Return code, sentence and action of a number, or of a ratio of two."""
        case: Case = "high" if value > float(self._term.typical) else "low"
        told, sentence = self._sentences.number(case, value + 0.0, parts)
        return self._coded(case, sentence, (case, told))

    def of_category(self, value: str) -> tuple[str, str, int]:
        """Return code, sentence and action of a category."""
        return self._coded("category", self._sentences.category(value), ("category",), value)

    def of_missing(self) -> tuple[str, str, int]:
        """Return code, sentence and action of a missing value."""
        return self._coded("missing", self._sentences.missing(), ("missing",))

    def _coded(
        self, case: Case, sentence: str, cases: tuple[Case, ...], value: str | None = None
    ) -> tuple[str, str, int]:
        action = suggested(self._actions, self._term.name, cases, value) if self._actions else NO_ACTION
        return f"{self._term.stem}_{case.upper()}", sentence, action
