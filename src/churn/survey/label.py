"""Find the label of an unknown table, and what its values mean."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from churn.config import Label
from churn.survey import words
from churn.survey.answers import Answers, Sure
from churn.survey.columns import MOST_VALUES, ColumnFacts
from churn.survey.words import has_word, parts_of
from churn.tables.cells import as_text


@dataclass(frozen=True)
class LabelGuess:
    """A label and the meaning of its values.

    Attributes:
        column: Its column.
        positive: Values that mean churned, as the table has them.
        negative: Values that mean stayed.
        drop: Values of rows in neither class.
        unknown: Values that mean not known yet.
        open: Values whose meaning nobody knows.
        sure: How sure all of that is.
        why: The reason, as the end of a sentence.
    """

    column: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    drop: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    sure: Sure = "unsure"
    why: str = ""

    def is_positive(self, column: pd.Series) -> pd.Series:
        """Return 1.0 for churned and 0.0 for stayed; nan for other values."""
        keys = as_text(column).fillna("").map(Label.key)
        known = {Label.key(value): 1.0 for value in self.positive} | {Label.key(value): 0.0 for value in self.negative}
        return keys.map(known).astype(np.float64)


def label_of(facts: Sequence[ColumnFacts], answers: Answers) -> LabelGuess | None:
    """Return the most likely label; None if no column has two values or a few."""
    possible = [each for each in facts if 2 <= each.different <= MOST_VALUES and each.name not in answers.roles]
    if answers.label is not None:
        chosen = next(each for each in facts if each.name == answers.label)
        return _guess(chosen, answers, given=True)
    possible = [each for each in possible if each.name != answers.id]
    guesses = [_guess(each, answers, given=False) for each in possible]
    ranks = {"given": 0, "sure": 0, "likely": 1, "unsure": 2}
    named = (*words.OUTCOME, *words.CHURN)
    guesses = [
        guess
        for guess in guesses
        if guess.sure != "unsure"
        or (has_word(guess.column, named) and _rank(guess.column) > 0 and not _is_of_something_else(guess))
    ]
    guesses.sort(key=lambda guess: (ranks[guess.sure], len(guess.open), -_rank(guess.column)))
    return guesses[0] if guesses else None


def _says_nothing_else(name: str) -> bool:
    """Return whether a name consists of words for an outcome and for accounts: ``Customer Status``, not ``marital-status``."""
    parts = [part for part in parts_of(name) if part not in ("is", "has", "flag", "current") and not part.isdigit()]
    outcome = (*words.OUTCOME, *words.CHURN, *words.STAYED, *words.OF_ACCOUNTS, *words.SUBSCRIBED)
    return all(part in outcome for part in parts)


def _is_of_something_else(guess: LabelGuess) -> bool:
    """Return whether a column has the state of something else: neither a value nor all of its name is known."""
    is_named = has_word(guess.column, words.CHURN) or _says_nothing_else(guess.column)
    return not guess.positive and not guess.negative and not is_named


def _rank(name: str) -> int:
    # The label itself rather than something about it.
    about = has_word(name, (*words.REASONS, *words.SCORES))
    named = 4 * has_word(name, words.CHURN) + 2 * has_word(name, words.STAYED) + has_word(name, words.OUTCOME)
    return named + (named > 0 and _says_nothing_else(name)) - 4 * about


def _guess(facts: ColumnFacts, answers: Answers, *, given: bool) -> LabelGuess:
    values = [value for value, _ in facts.values]  # noqa: PD011, no pandas
    values += [word for word in facts.words if values and word not in values]
    churn_like, stayed_like = has_word(facts.name, words.CHURN), has_word(facts.name, words.STAYED)
    meant: dict[str, list[str]] = {"positive": [], "negative": [], "drop": [], "unknown": [], "open": []}
    told = False
    for value in values:
        key = value.strip().lower()
        if given_as := _as_given(value, answers):
            meant[given_as].append(value)
        elif any(key == word or key.startswith(f"{word} ") for word in words.POSITIVE):
            meant["positive"].append(value)
            told = True
        elif any(key == word or key.startswith(f"{word} ") for word in words.NEGATIVE):
            meant["negative"].append(value)
            told = True
        elif key in words.NEW:
            meant["drop"].append(value)
        elif key in words.OPEN:
            meant["unknown"].append(value)
        elif (short := Label.key(value)) in (*words.YES, *words.NO):
            is_yes = short in words.YES
            meant["positive" if is_yes != (stayed_like and not churn_like) else "negative"].append(value)
        else:
            meant["open"].append(value)
    if answers.positive:
        # Who says which values mean churned has said that no other one does.
        meant["open"] += [value for value in meant["positive"] if _as_given(value, answers) is None]
        meant["positive"] = [value for value in meant["positive"] if _as_given(value, answers) is not None]
    if facts.missing and "" in answers.unknown:
        meant["unknown"].append("")
    # With one side known, and one other value, that is the other side.
    if len(meant["open"]) == 1 and not given_all(answers) and bool(meant["positive"]) != bool(meant["negative"]):
        meant["negative" if meant["positive"] else "positive"].append(meant["open"].pop())
    complete = bool(meant["positive"] and meant["negative"]) and not meant["open"]
    about = has_word(facts.name, (*words.REASONS, *words.SCORES))
    two = {Label.key(value) for value in values} <= {*words.YES, *words.NO}
    sure: Sure = "unsure"
    if complete and not about:
        if (churn_like and (two or told)) or (told and len(meant["positive"]) == 1):
            sure = "sure"
        elif stayed_like or has_word(facts.name, words.OUTCOME):
            sure = "likely"
    if given and complete:
        sure = "given" if two or told or answers.positive else "likely"
    shown = ", ".join(f"{value!r} {count:,}" for value, count in facts.values)  # noqa: PD011, no pandas
    return LabelGuess(
        facts.name,
        positive=tuple(meant["positive"]),
        negative=tuple(meant["negative"]),
        drop=tuple(meant["drop"]),
        unknown=tuple(meant["unknown"]),
        open=tuple(meant["open"]),
        sure=sure,
        why=f"values: {shown}",
    )


def label_faults(label: LabelGuess, answers: Answers, missing: int) -> Iterator[str]:
    """Yield what is not known about a label, each with the options that say it.

    Args:
        label: The label.
        answers: What a person has said.
        missing: Number of rows without a value of it.
    """
    known = [*label.positive, *label.negative, *label.drop, *label.unknown, *label.open]
    values = ", ".join(map(repr, known))
    never = [value for value in answers.positive if Label.key(value) not in map(Label.key, label.positive)]
    if not known:
        yield f"{label.column}: has one value or more than {MOST_VALUES}, and a label two or a few; name another with --label"
    elif never:
        yield f"{label.column}: {', '.join(map(repr, never))} of --positive never occurs; its values are {values}"
    elif not label.positive or not (label.negative or label.open):
        yield f"{label.column}: which values mean churned is not clear ({values}); say it with --positive and --negative"
    elif label.open:
        shown = ", ".join(map(repr, label.open))
        yield f"{label.column}: what {shown} mean is not clear; say it with --positive, --negative, --drop or --unknown"
    if known and missing and "" not in label.unknown:
        yield f"{label.column}: {missing:,} rows have no value; --unknown '' leaves them out, as their outcome is not known yet"


def given_all(answers: Answers) -> bool:
    """Return whether both sides of the label were given."""
    return bool(answers.positive and answers.negative)


def _as_given(value: str, answers: Answers) -> str | None:
    for meaning in ("positive", "negative", "drop", "unknown"):
        if Label.key(value) in {Label.key(each) for each in getattr(answers, meaning)}:
            return meaning
    return None
