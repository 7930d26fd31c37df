"""Propose what each column of an unknown table is, and say how sure that is and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config.published import is_published
from churn.errors import FaultsError, closest
from churn.survey import words
from churn.survey.answers import Answers, Role, Sure
from churn.survey.columns import MOST_VALUES, ColumnFacts
from churn.survey.label import LabelGuess, label_of
from churn.survey.roles import NEARLY_UNIQUE, ColumnProposal, role_of
from churn.survey.words import has_word, parts_of
from churn.tables.cells import text_of

# Name of the id where the table has none and the number of the row is one.
ROW_NUMBER = "row_number"
# Rows of churned accounts from which a column that only they have says something.
ONLY_CHURNED = 20


@dataclass(frozen=True)
class Proposal:
    """The proposed schema of a table.

    Attributes:
        columns: The columns in the order of the table.
        id: Column of the id; `ROW_NUMBER` if the table has none.
        label: The label; None if no column can be it.
        as_of: Date of the snapshot, or a column with it; None without dates.
        as_of_why: How that was found.
        value: Column with the value of an account, if there is one.
        value_sure: How sure that is.
        currency: Code of the currency, if it shows.
    """

    columns: tuple[ColumnProposal, ...]
    id: str
    label: LabelGuess | None
    as_of: date | str | None = None
    as_of_why: str = ""
    value: str | None = None
    value_sure: Sure = "unsure"
    currency: str | None = None

    def of(self, role: Role) -> list[ColumnProposal]:
        """Return the columns of a role."""
        return [each for each in self.columns if each.role == role]

    def left_out(self, name: str, sure: Sure, why: str) -> "Proposal":
        """Return the proposal with another column left out because it seems to know the outcome."""
        moved = [
            replace(each, role="left_out", sure=sure, why=why, suspected=True) if each.name == name else each
            for each in self.columns
        ]
        value = None if self.value == name else self.value
        return replace(self, columns=tuple(moved), value=value)


def propose(frame: pd.DataFrame, facts: Sequence[ColumnFacts], answers: Answers) -> Proposal:
    """Propose the schema of a table.

    Args:
        frame: A sample of the rows as they were read.
        facts: What the cells of each column show.
        answers: What a person has said.

    Raises:
        FaultsError: Lists the columns of the answers that the table does not have, and ids that cannot be one.
    """
    names = [each.name for each in facts]
    _check_names(answers, names)
    label = label_of(facts, answers)
    id_column, id_sure, id_why = _id(facts, answers, label)
    end = _snapshot_column(facts, answers)
    facts = _with_marks_of_all(facts, label)
    columns = []
    for each in facts:
        if each.name == id_column:
            columns.append(ColumnProposal(each, "id", id_sure, id_why))
        elif label is not None and each.name == label.column:
            columns.append(ColumnProposal(each, "label", label.sure, label.why))
        elif each.name in answers.roles:
            columns.append(ColumnProposal(each, answers.roles[each.name], "given", "as you said"))
        elif each.name == end:
            columns.append(ColumnProposal(each, "as_of", "likely", "its name says that it is the date of the row"))
        else:
            broken = _broken_id(each) if id_column is None else None
            columns.append(broken or role_of(each, label, _alone(frame, each, label)))
    columns = _only_of_churned(frame, columns, label)
    as_of, why = _as_of(columns, answers, end)
    if as_of is None:
        columns = [
            replace(each, role="left_out", why="a date, but no date of the snapshot is known")
            if each.role == "dates"
            else each
            for each in columns
        ]
    proposal = Proposal(tuple(columns), id_column or ROW_NUMBER, label, as_of, why)
    value, sure = _value(proposal, answers)
    return replace(proposal, value=value, value_sure=sure, currency=answers.currency or _currency(facts))


def _with_marks_of_all(facts: Sequence[ColumnFacts], label: LabelGuess | None) -> list[ColumnFacts]:
    """Return the facts without the marks for missing categories that are values elsewhere: spellings hold for all columns."""
    meant = set() if label is None else {*label.positive, *label.negative, *label.drop, *label.open}
    for each in facts:
        if each.kind in ("categories", "texts", "constant"):
            meant |= {*each.examples, *(value for value, _ in each.values)} - {*each.words}  # noqa: PD011, no pandas
    return [
        replace(each, words=tuple(word for word in each.words if word not in meant))
        if each.kind in ("categories", "texts")
        else each
        for each in facts
    ]


def _check_names(answers: Answers, names: Sequence[str]) -> None:
    id_column = None if answers.id == ROW_NUMBER else answers.id
    given = {"--id": id_column, "--label": answers.label, "--value": answers.value}
    pairs = [(flag, name) for flag, name in given.items() if name]
    pairs += [(f"--{role.replace('_', '-').replace('dates', 'date')}", name) for name, role in answers.roles.items()]
    faults = []
    for flag, name in pairs:
        if name not in names:
            close = closest(name, names)
            hint = f"did you mean {close}?" if close else f"it has {', '.join(names[:30])}"
            faults.append(f"{flag} {name}: the table has no such column; {hint}")
    if faults:
        raise FaultsError("options", faults)


def _id(facts: Sequence[ColumnFacts], answers: Answers, label: LabelGuess | None) -> tuple[str | None, Sure, str]:
    if answers.id:
        return (None if answers.id == ROW_NUMBER else answers.id), "given", "as you said"
    possible = [
        each
        for each in facts
        if each.kind in ("numbers", "texts", "categories")
        and not each.missing
        and each.different >= NEARLY_UNIQUE * each.rows
        and (each.kind != "numbers" or each.are_whole)
        and (label is None or each.name != label.column)
        and not is_published(each.name)
        and each.name not in answers.roles
    ]

    def rank(each: ColumnFacts) -> int:
        of_accounts, ending = has_word(each.name, words.OF_ACCOUNTS), has_word(each.name, words.ID)
        if parts_of(each.name)[0] in words.INDEX or has_word(each.name, words.INDEX) or each.length > 2 * 20:
            return 0
        score = 4 * (of_accounts and ending) + 3 * ending + 2 * of_accounts + (each.kind == "texts") + each.all_differ
        return score - 3 * has_word(each.name, (*words.PEOPLE, *words.PLACES)) * (not of_accounts)

    ordered = sorted(possible, key=rank, reverse=True)
    named = [each for each in ordered if rank(each) >= 3]
    if named:
        best = named[0]
        if not best.all_differ:
            return (
                best.name,
                "unsure",
                f"named like an id, but {best.present - best.different:,} rows repeat an earlier one",
            )
        return best.name, "sure" if rank(best) >= 7 else "likely", "named like an id; all values differ"
    texts = [each for each in ordered if each.all_differ and each.kind == "texts" and not each.has_emails]
    texts = [each for each in texts if each.length < 40 and not has_word(each.name, (*words.PEOPLE, *words.PLACES))]
    if texts:
        return texts[0].name, "unsure", "the first column of short texts that all differ"
    reached = [each for each in ordered if each.all_differ and (each.has_emails or has_word(each.name, words.PHONES))]
    if reached:
        return reached[0].name, "unsure", "all values differ, and there is no better id"
    unique = [each for each in ordered if each.all_differ and has_word(each.name, words.INDEX)]
    if unique:
        return unique[0].name, "unsure", "numbers the rows: another table has other accounts under these numbers"
    return None, "unsure", ""


def _broken_id(facts: ColumnFacts) -> ColumnProposal | None:
    """Return the role of a column of a table without an id that is named like one and names most accounts."""
    named = has_word(facts.name, words.OF_ACCOUNTS) and has_word(facts.name, words.ID)
    named = named and not has_word(facts.name, words.INDEX)
    if named and facts.kind in ("numbers", "texts") and facts.different >= NEARLY_UNIQUE * facts.rows:
        again = facts.present - facts.different
        why = f"names the account, but {facts.missing:,} rows have none and {again:,} repeat an earlier one"
        return ColumnProposal(facts, "carry", "unsure", why)
    return None


def _alone(frame: pd.DataFrame, facts: ColumnFacts, label: LabelGuess | None) -> float | None:
    """Return the ROC AUC of the churn rates of a column with a few values that is named like a leak; None for others."""
    if label is None or facts.different > MOST_VALUES or not has_word(facts.name, words.LEAKS):
        return None
    churned = label.is_positive(frame[label.column])
    known = churned.notna()
    texts = text_of(frame[facts.name])[0].fillna("")[known]
    rates = churned[known].groupby(texts).agg(["sum", "count"])
    return _area(rates["sum"].to_numpy(np.float64), rates["count"].to_numpy(np.float64))


def _area(churned: NDArray[np.float64], rows: NDArray[np.float64]) -> float | None:
    """Return the ROC AUC of the churn rates of groups of rows; None if all rows are in one class."""
    order = np.argsort(churned / rows)
    churned, stayed = churned[order], (rows - churned)[order]
    pairs = churned.sum() * stayed.sum()
    below = np.concatenate([[0.0], np.cumsum(stayed)[:-1]])
    return float((churned * (below + stayed / 2)).sum() / pairs) if pairs else None


def _snapshot_column(facts: Sequence[ColumnFacts], answers: Answers) -> str | None:
    names = [each.name for each in facts]
    if answers.as_of in names:
        return answers.as_of
    if answers.as_of:
        return None
    found = [
        each.name
        for each in facts
        if each.lowest
        and (each.kind == "dates" or _is_one_date(each))
        and not each.missing
        and has_word(each.name, words.SNAPSHOT)
    ]
    return next((name for name in found if name not in answers.roles), None)


def _is_one_date(facts: ColumnFacts) -> bool:
    return facts.kind == "constant" and len(facts.lowest) == len("2024-01-01") and "-" in facts.lowest


def _only_of_churned(
    frame: pd.DataFrame, columns: list[ColumnProposal], label: LabelGuess | None
) -> list[ColumnProposal]:
    """Leave out columns that only churned accounts have: they are written when an account leaves."""
    if label is None or not label.positive:
        return columns
    churned = label.is_positive(frame[label.column])
    known = churned.notna()
    base = float(churned[known].mean()) if known.any() else 1.0
    if base > 0.9:
        return columns
    result = []
    for each in columns:
        if each.role in ("numeric", "categorical", "dates", "carry") and each.sure != "given" and each.facts.missing:
            present = text_of(frame[each.name])[0].notna() & known
            if present.sum() >= ONLY_CHURNED and churned[present].mean() >= 0.99:
                why = "only churned accounts have a value: it is written when an account leaves"
                each = replace(each, role="left_out", sure="sure", why=why, suspected=True)
        result.append(each)
    return result


def _as_of(columns: Sequence[ColumnProposal], answers: Answers, end: str | None) -> tuple[date | str | None, str]:
    if answers.as_of is not None:
        try:
            return date.fromisoformat(answers.as_of), "as you said"
        except ValueError:
            if answers.as_of == end:
                return end, "as you said"
            raise FaultsError(
                "options", [f"--as-of {answers.as_of}: neither a date (YYYY-MM-DD) nor a column of dates of the table"]
            ) from None
    dates = [each for each in columns if each.role == "dates"]
    if not dates:
        return None, ""
    if end is not None:
        return end, "the column with the date of each row"
    past = [each for each in dates if not has_word(each.name, words.ENDS) and each.facts.highest]
    if not past:
        return None, ""
    last = max(past, key=lambda each: each.facts.highest)
    return date.fromisoformat(last.facts.highest), f"the latest date of the table, in {last.name}"


def _value(proposal: Proposal, answers: Answers) -> tuple[str | None, Sure]:
    if answers.value:
        return answers.value, "given"
    found = [each for each in proposal.of("numeric") if words.is_value(each.name)]
    found = [each for each in found if each.facts.lowest and float(each.facts.lowest) >= 0]
    return (found[0].name, "likely") if found else (None, "unsure")


def _currency(facts: Sequence[ColumnFacts]) -> str | None:
    signs = [words.CURRENCIES.get(each.currency.lower()) for each in facts if each.currency]
    signs += [words.CURRENCIES.get(part) for each in facts for part in (*parts_of(each.name), *_signs(each.name))]
    return next((sign for sign in signs if sign), None)


def _signs(name: str) -> list[str]:
    """Return the signs of currencies in a name, which are in no word of it."""
    return [sign for sign in words.CURRENCIES if not sign[0].isalnum() and sign in name]
