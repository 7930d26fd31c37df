"""Reasons for the score of an account, in words.

A reason is a column that raises the account's score: its contribution to the log-odds (before calibration, which keeps the
order), as computed by `ChurnModel.explain`, is above zero. The columns with the largest contributions are described in
sentences, with the account's value and the typical one. A reason describes the model, not the cause of the churn.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.config import Reasons, ReasonText
from churn.errors import ParametersError
from churn.model import Encoder, Profile, RowScore
from churn.model.churn_model import BASELINE
from churn.tables import as_numbers, as_text, humanize

UNKNOWN = "unknown"
DECIMALS = 4
PLACEHOLDERS = ("value", "typical")

Case = Literal["high", "low", "category", "missing"]
CASES: tuple[Case, ...] = ("high", "low", "category", "missing")


class _Wording(NamedTuple):
    """Codes and sentences of the values of one column at some places, one of each for every different value."""

    places: NDArray[np.intp]
    kinds: NDArray[np.intp]  # position in codes and sentences for each place
    codes: list[str]
    sentences: list[str]


def typical_values(encoder: Encoder, reference: Profile) -> dict[str, float | str]:
    """Return the typical value of each column that a model uses.

    Args:
        encoder: The model's encoder; its medians are the typical values of numeric columns.
        reference: Profile of the training rows; the typical value of a categorical column is its most frequent category
            that the encoder knows, of equally frequent ones the first in alphabetical order.

    Returns:
        Typical values by column, in the order of the encoder's columns: a median, in the column's unit, or a category;
        ``unknown`` for a categorical column without a known category.
    """
    typical: dict[str, float | str] = {name: float(encoder.medians[name]) for name in encoder.numeric}
    for name, vocabulary in encoder.vocabularies.items():
        profile = reference.categorical[name]
        counts = dict(zip(profile.values, profile.counts, strict=True))
        known = [(-counts.get(value, 0), value) for value in vocabulary]
        typical[name] = min(known)[1] if known else UNKNOWN
    return typical


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


def check_texts(reasons: Reasons, columns: Sequence[str]) -> None:
    """Check the configured sentences.

    Args:
        reasons: The sentences, in ``texts``.
        columns: Columns that can be a reason.

    Raises:
        ParametersError: Lists every sentence with a placeholder other than ``{value}`` and ``{typical}``, with broken
            braces or without text, and every column that is not in the table or occurs twice.
    """
    faults = list(_text_faults(reasons, columns))
    if faults:
        raise ParametersError("parameters", faults)


def explain_accounts(
    explain: Callable[[pd.DataFrame], pd.DataFrame],
    accounts: pd.DataFrame,
    probability: ArrayLike,
    typical: Mapping[str, float | str],
    reasons: Reasons,
) -> pd.DataFrame:
    """Return the reasons of the accounts that get some; contributions are computed for these alone.

    Args:
        explain: Function from account rows to contributions, for example `ChurnModel.explain`.
        accounts: Canonical account rows, shape (n, any).
        probability: Their probabilities of churn, shape (n,).
        typical: Typical value of each column, see `typical_values`.
        reasons: Number of reasons, minimum probability, and sentences.

    Returns:
        Columns of `explain_in_words`, n rows; missing for accounts below the minimum probability.

    Raises:
        ParametersError: See `check_texts`; raised before any contribution is computed.
    """
    check_texts(reasons, list(typical))
    rows = rows_to_explain(probability, reasons)
    names = reason_columns(reasons.count)
    if not len(rows):
        return pd.DataFrame(dict.fromkeys(names, None), index=accounts.index, columns=names, dtype="str")
    explained = accounts.iloc[rows]
    words = explain_in_words(explain(explained), explained, typical, reasons)
    if len(rows) == len(accounts):
        return words
    return words.set_axis(rows).reindex(range(len(accounts))).set_axis(accounts.index)


def explain_in_words(
    contributions: pd.DataFrame, accounts: pd.DataFrame, typical: Mapping[str, float | str], reasons: Reasons
) -> pd.DataFrame:
    """Describe the columns that raise the score of each account most.

    The largest positive contributions come first; of equal ones the column that comes first in ``contributions``.

    Args:
        contributions: Contribution of each column in log-odds, shape (n, k); ``(baseline)`` is never a reason.
        accounts: The same accounts in the same order, canonical, with those columns, shape (n, any).
        typical: Typical value of each column, a number for numeric columns, see `typical_values`.
        reasons: Number of reasons, and sentences.

    Returns:
        One row per account with the index of ``accounts`` and the columns ``reason_1_code``, ``reason_1``,
        ``reason_2_code``, ... of type str, missing where fewer columns raise the risk. Codes are the column's name in
        capitals and ``HIGH`` (above the typical value), ``LOW`` (at or below it), ``CATEGORY`` or ``MISSING``.

    Raises:
        ParametersError: See `check_texts`.
        ValueError: The two tables have different numbers of rows.
    """
    if len(contributions) != len(accounts):
        raise ValueError(f"contributions have {len(contributions)} rows, but there are {len(accounts)} accounts")
    columns = [str(name) for name in contributions.columns if name != BASELINE]
    check_texts(reasons, columns)
    drivers = _largest(contributions[columns].to_numpy(np.float64), reasons.count)
    texts = {text.column: text for text in reasons.texts}
    all_codes: list[str | None] = [None]
    all_sentences: list[str | None] = [None]
    picked = np.zeros(drivers.shape, dtype=np.intp)  # 0 is the missing reason above
    for position, (name, stem) in enumerate(zip(columns, _stems(columns), strict=True)):
        places = np.flatnonzero(drivers == position)
        if not len(places):
            continue
        values = accounts[name].iloc[places // drivers.shape[1]]
        worded = _word(name, stem, values, places, typical[name], _templates(texts.get(name)))
        picked.ravel()[worded.places] = worded.kinds + len(all_codes)
        all_codes += worded.codes
        all_sentences += worded.sentences
    codes, sentences = np.array(all_codes, dtype=object), np.array(all_sentences, dtype=object)
    parts = [texts_of[picked[:, rank]] for rank in range(reasons.count) for texts_of in (codes, sentences)]
    named = dict(zip(reason_columns(reasons.count), parts, strict=True))
    return pd.DataFrame({name: pd.array(part, dtype="str") for name, part in named.items()}, index=accounts.index)


def _largest(contributions: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the largest positive values of each row, shape (n, count); -1 where there are no more."""
    drivers = np.full((len(contributions), count), -1, dtype=np.int64)
    left = np.where(contributions > 0, contributions, -np.inf)
    # For a few reasons, taking the maximum repeatedly is faster than sorting every row.
    for rank in range(min(count, contributions.shape[1])):
        best = left.argmax(axis=1)
        found = np.flatnonzero(left[np.arange(len(left)), best] > 0)
        drivers[found, rank] = best[found]
        left[found, best[found]] = -np.inf
    return drivers


def _word(
    name: str,
    stem: str,
    values: pd.Series,
    places: NDArray[np.intp],
    typical: float | str,
    templates: Mapping[Case, str | None],
) -> _Wording:
    """Group places by case and value, and write one sentence for each group."""
    is_number = not isinstance(typical, str)
    if not isinstance(typical, str):
        numbers = as_numbers(values)[0].to_numpy()
        above = numbers > typical  # before rounding; the rounded values may be equal
        kinds, levels = pd.factorize(np.round(numbers, DECIMALS) + 0.0)
        shown, usual = [number_text(value) for value in levels], number_text(typical)
    else:
        above = np.zeros(len(values), dtype=bool)
        kinds, categories = pd.factorize(as_text(values))
        shown, usual = [str(value) for value in categories], typical

    # A group is a value (the last one stands for missing) on one side of the typical value.
    groups = np.where(kinds < 0, len(shown), kinds) * 2 + above
    groups, kinds = np.unique(groups, return_inverse=True)
    codes, sentences = [], []
    for group in groups.tolist():
        case: Case = "missing" if group // 2 == len(shown) else "category" if not is_number else "low"
        if group % 2:
            case = "high"
        value = UNKNOWN if case == "missing" else shown[group // 2]
        codes.append(f"{stem}_{case.upper()}")
        sentences.append(_sentence(name, case, value, usual, templates))
    return _Wording(places, kinds, codes, sentences)


class Reason(NamedTuple):
    """A reason of one row.

    Attributes:
        column: The column that raises the score.
        code: The column's name in capitals and its case, see `explain_in_words`.
        text: The sentence.
    """

    column: str
    code: str
    text: str


class RowReasons:
    """Reasons of single rows: the sentences of `explain_accounts`, without a table."""

    def __init__(self, typical: Mapping[str, float | str], reasons: Reasons) -> None:
        """Prepare the sentences.

        Args:
            typical: Typical value of each column, see `typical_values`.
            reasons: Number of reasons, minimum probability, and sentences.

        Raises:
            ParametersError: See `check_texts`.
        """
        columns = list(typical)
        check_texts(reasons, columns)
        texts = {text.column: text for text in reasons.texts}
        self.count, self._least = reasons.count, reasons.minimum_probability
        self._columns = {
            name: (stem, typical[name], _templates(texts.get(name)))
            for name, stem in zip(columns, _stems(columns), strict=True)
        }

    def __call__(self, score: RowScore) -> list[Reason]:
        """Return the reasons of a score of `ChurnModel.score_rows`, as many as it has drivers, at most ``count``."""
        if np.float32(score.probability) < self._least:
            return []
        return [self._reason(name, score.account[name]) for name, _ in score.drivers[: self.count]]

    def _reason(self, name: str, value: float | str | None) -> Reason:
        stem, typical, templates = self._columns[name]
        case: Case = "category"
        if value is None or value != value:
            case, shown = "missing", UNKNOWN
        elif isinstance(value, str) or isinstance(typical, str):
            shown = str(value)
        else:
            case, shown = "high" if value > typical else "low", number_text(float(np.round(value, DECIMALS)) + 0.0)
        usual = typical if isinstance(typical, str) else number_text(typical)
        return Reason(name, f"{stem}_{case.upper()}", _sentence(name, case, shown, usual, templates))


def _templates(text: ReasonText | None) -> dict[Case, str | None]:
    return {case: getattr(text, case) if text else None for case in CASES}


def _sentence(name: str, case: Case, value: str, typical: str, templates: Mapping[Case, str | None]) -> str:
    """Return the configured sentence of a column, or the general one."""
    template = templates[case]
    if template is None:
        return _general(humanize(name) or name, case, value, typical)
    return template.format(value=value, typical=typical)


def _general(name: str, case: Case, value: str, typical: str) -> str:
    """Return the general sentence, for a column without a configured one."""
    if case == "missing":
        return f"{name} is not known"
    if value == typical:
        return f"{name} is {value}, as is typical"
    if case == "category":
        return f"{name} is {value}, typical {typical}"
    return f"{name} is {case}: {value}, typical {typical}"


def number_text(number: float) -> str:
    """Format a number for sentences: ``1,200``, ``0.25``, with at most 4 decimals and no trailing zeros."""
    text = f"{number:,.{DECIMALS}f}"
    text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _stems(columns: Sequence[str]) -> list[str]:
    """Return for each column the unique prefix of its codes, in capitals."""
    stems: list[str] = []
    for name in columns:
        stem = re.sub(r"\W+", "_", name).strip("_").upper() or "COLUMN"
        again = 2
        unique = stem
        while unique in stems:
            unique, again = f"{stem}_{again}", again + 1
        stems.append(unique)
    return stems


def _text_faults(reasons: Reasons, columns: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for position, text in enumerate(reasons.texts):
        at = f"reasons.texts[{position}]"
        if text.column not in columns:
            yield f"{at}.column = {text.column!r}: not a column that can be a reason; choose from {', '.join(columns)}"
        if text.column in seen:
            yield f"{at}.column = {text.column!r}: occurs more than once; give all sentences of a column in one entry"
        seen.add(text.column)
        for case in CASES:
            template: str | None = getattr(text, case)
            if template is not None:
                yield from (f"{at}.{case} = {_short(template)}: {fault}" for fault in _template_faults(template))


def _template_faults(template: str) -> Iterator[str]:
    """Yield the faults of a sentence.

    Only the bare placeholders are allowed, so that `str.format` can neither access attributes nor pad its output to any
    length.
    """
    if not template.strip():
        yield "the text is empty; leave it out to use the general sentence"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        yield f"broken braces ({error}); write {{value}} or {{typical}}, and {{{{ or }}}} for a brace"
        return
    for _, name, form, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or form or conversion):
            written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            yield f"{{{_short(written, quote=False)}}} is not a placeholder; use {{value}} or {{typical}}"


def _short(text: str, *, quote: bool = True) -> str:
    text = text if len(text) <= 60 else text[:60] + "..."
    return repr(text) if quote else text
