"""The role of a column of an unknown table, by what its cells show and what its name says.

A word in a name decides nothing by itself: an index numbers the rows only if all its values differ, a code returns, and an owner
is somebody with a name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from churn.config import Label
from churn.survey import words
from churn.survey.answers import Role, Sure
from churn.survey.columns import ROWS_OF_CATEGORY, ROWS_OF_RATE, ColumnFacts
from churn.survey.label import LabelGuess
from churn.survey.words import has_word, parts_of

# Different numbers up to which those of a place or branch are codes.
MOST_PLACES = 50
# Texts that are in a column of names: none of few values is one.
MOST_FEW = 20
# The least share of rows without a repetition from which a column of ids or of numbers of rows is one with faults.
NEARLY_UNIQUE = 0.9
# ROC AUC of a column with two or three values from which it may be the outcome in other words, as its name says.
FOLLOWS = 0.75
# Share of the rows with a repeated value below which hardly two rows have the same.
HARDLY = 0.1


@dataclass(frozen=True)
class ColumnProposal:
    """The proposed role of a column.

    Attributes:
        facts: What its cells show.
        role: The role.
        sure: How sure that is.
        why: The reason, as the end of a sentence.
        suspected: Whether it is left out because it seems to know the outcome.
    """

    facts: ColumnFacts
    role: Role
    sure: Sure
    why: str
    suspected: bool = False

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.facts.name


def role_of(facts: ColumnFacts, label: LabelGuess | None, alone: float | None = None) -> ColumnProposal:
    """Return the proposed role of a column that is neither id nor label.

    Args:
        facts: What its cells show.
        label: The label, if one is known.
        alone: ROC AUC of the churn rates of its values; None if it is not known.
    """

    def is_(role: Role, sure: Sure, why: str, *, suspected: bool = False) -> ColumnProposal:
        return ColumnProposal(facts, role, sure, why, suspected)

    name = facts.name
    if facts.kind == "unreadable":
        return is_("left_out", "sure", "lists, records or bytes, which are not single values")
    if facts.kind == "empty":
        return is_("left_out", "sure", "has no value at all")
    if facts.kind == "constant" and min(facts.present, facts.missing) < ROWS_OF_CATEGORY:
        return is_("left_out", "sure", f"has the same value everywhere, {_first(facts)!r}")
    if suspected := _suspected(facts, label, alone, is_):
        return suspected
    if facts.kind == "constant" and not has_word(name, words.LEAKS):
        return is_("categorical", "likely", f"has {_first(facts)!r} or no value")
    if facts.has_emails:
        return is_("carry", "sure", "addresses of e-mail, for those who call")
    if facts.kind == "dates":
        return _date(facts, is_)
    if facts.kind == "numbers":
        return _number(facts, is_)
    if words.is_owner(name) and _are_names(facts):
        return is_("carry", "likely", "says who looks after the account")
    if has_word(name, words.PEOPLE) and facts.different > MOST_FEW:
        of_account = {"name"} & {*parts_of(name)} and has_word(name, words.OF_ACCOUNTS)
        if facts.in_categories < 0.5 or of_account or has_word(name, words.NAMES):
            return is_("carry", "likely", "names or ways to reach the account, for those who call")
    if has_word(name, words.PLACES) and facts.in_categories < 0.5:
        return is_("left_out", "likely", f"addresses; {_rare(facts)}")
    if facts.kind == "categories":
        return _category(facts, is_)
    if facts.mixed:
        return is_(
            "left_out",
            "unsure",
            f"numbers mostly, but {facts.mixed!r} is none; accounts.missing can say that it is missing",
        )
    if facts.all_differ:
        return is_("left_out", "sure", "all values differ")
    if facts.length >= 40:
        return is_("left_out", "sure", "free text")
    return is_("left_out", "likely", _rare(facts))


def _suspected(
    facts: ColumnFacts, label: LabelGuess | None, alone: float | None, is_: Callable[..., ColumnProposal]
) -> ColumnProposal | None:
    """Return the role of a column whose name says that it knows the outcome; None if it does not."""
    name, leak = facts.name, has_word(facts.name, words.LEAKS)
    if has_word(name, ("naive", "bayes", "propensity", "predicted", "prediction")) or (
        leak and has_word(name, words.SCORES)
    ):
        return is_("left_out", "likely", "its name says that it is the score of another model", suspected=True)
    if leak and (has_word(name, words.REASONS) or facts.kind == "dates"):
        why = "its name says that it is known only after an account has left"
        return is_("left_out", "likely", why, suspected=True)
    if leak and facts.different <= 3 and (alone is None or alone >= FOLLOWS):
        return is_("left_out", "likely", "its name says that it is the outcome in other words", suspected=True)
    if facts.kind == "dates":
        shared = _shared_word(name, label.column) if label is not None else None
        if shared or has_word(name, words.DECIDED):
            of = f"that of the label, {label.column}" if shared and label is not None else "the day of an outcome"
            why = f"a date named like {of}: perhaps written when the outcome was known; --date if it was known before"
            return is_("left_out", "unsure", why, suspected=True)
    return None


def _shared_word(name: str, other: str) -> str | None:
    """Return a word that two names share, apart from words for accounts and things."""
    common = (*words.OF_ACCOUNTS, *words.THINGS, *words.ID, "date", "flag", "last", "first", "data")
    both = set(parts_of(name)) & set(parts_of(other)) - set(common)
    return next((word for word in sorted(both) if len(word) >= 4), None)


def _date(facts: ColumnFacts, is_: Callable[..., ColumnProposal]) -> ColumnProposal:
    about = f"dates from {facts.lowest} to {facts.highest}"
    order = "; day or month first is not certain" if facts.is_order_open else ""
    if has_word(facts.name, words.ENDS):
        return is_("dates", "likely", f"{about}, which may lie ahead{order}{_read_as_missing(facts)}")
    return is_("dates", "unsure" if order else "sure", f"{about}{order}{_read_as_missing(facts)}")


def _number(facts: ColumnFacts, is_: Callable[..., ColumnProposal]) -> ColumnProposal:
    name = facts.name
    different = f"{facts.different:,} different ones"
    if facts.counts_up and not facts.missing:
        return is_("left_out", "sure", "numbers the rows")
    if facts.are_whole and facts.different >= NEARLY_UNIQUE * facts.present and has_word(name, words.INDEX):
        return is_("left_out", "sure", f"numbers the rows: {facts.different:,} different values")
    if facts.are_whole and facts.all_differ and facts.present > 50:
        if has_word(name, words.PHONES):
            return is_("carry", "likely", "numbers to reach the account, for those who call")
        if has_word(name, (*words.ID, *words.OF_ACCOUNTS)):
            return is_("left_out", "likely", "another identifier: all values differ")
    coded = ""
    if facts.are_whole and (words.is_code(name) or (words.is_place(name) and facts.different <= MOST_PLACES)):
        coded = "codes"
    elif facts.are_whole and words.is_id(name):
        coded = "numbers that name something"
    elif facts.has_leading_zeros:
        coded = "numbers with leading zeros, which are codes"
    if coded and facts.in_categories >= 0.5:
        return is_("categorical", "likely", f"{coded}, {different}{_read_as_missing(facts)}")
    if coded:
        return is_("left_out", "likely", f"{coded}; {_rare(facts)}")
    about = f"numbers from {facts.lowest} to {facts.highest}"
    if facts.different == 2 and facts.are_whole:
        about = f"two numbers, {facts.lowest} and {facts.highest}"
    return is_("numeric", "sure", about + _read_as_missing(facts))


def _category(facts: ColumnFacts, is_: Callable[..., ColumnProposal]) -> ColumnProposal:
    missing = _read_as_missing(facts)
    if facts.different > 300:
        why = f"{facts.different:,} different values; those of one row share a churn rate{missing}"
        return is_("categorical", "unsure", why)
    shown = ", ".join(map(repr, facts.examples)) + (", ..." if facts.different > len(facts.examples) else "")
    sure: Sure = "sure" if facts.different <= 50 else "likely"
    return is_("categorical", sure, f"{facts.different:,} values: {shown}{missing}")


def _are_names(facts: ColumnFacts) -> bool:
    """Return whether a column may hold the names of people: several texts, none of which is a yes or no."""
    known = {Label.key(value) for value, _ in facts.values}
    return facts.different > 2 and not known & {*words.YES, *words.NO, *words.OPEN, "known", "none"}


def _rare(facts: ColumnFacts) -> str:
    """Say how seldom the values of a column return."""
    about = f"{facts.different:,} different values"
    if facts.repeated < HARDLY:
        return f"{about}, hardly two rows with the same"
    return f"{about}, most rows with one that fewer than {ROWS_OF_RATE} rows have"


def _read_as_missing(facts: ColumnFacts) -> str:
    return f"; {', '.join(map(repr, facts.words))} read as missing" if facts.words else ""


def _first(facts: ColumnFacts) -> str:
    return next((each for each in facts.examples if each not in facts.words), facts.examples[0])
