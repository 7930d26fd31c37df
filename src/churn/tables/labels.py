"""Check labels: those of training rows, and the outcomes of scored accounts."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, Label
from churn.errors import AccountsError
from churn.tables.cells import as_text, quoted, text_of
from churn.tables.faults import HIDDEN, MAX_EXAMPLES, NOT_A_NUMBER, NOT_ONE_VALUE, Fault, merged, sentences

OUTCOMES = "outcomes of the scored accounts"
# Codes of labels beside 1 and 0: an outcome that is not known yet, and a training row that is in neither class.
UNKNOWN = LEFT_OUT = -1
# Largest number of different labels that are kept; a label column has two.
MAX_LABELS = 100

# Values of which one is the usual opposite of the other, as `Label.key` returns them.
_OPPOSITES = (
    {"1", "0"},
    {"yes", "no"},
    {"y", "n"},
    {"t", "f"},
    {"ja", "nein"},
    {"j", "n"},
    {"oui", "non"},
    {"si", "no"},
    {"sí", "no"},
    {"sim", "não"},
    {"churned", "stayed"},
    {"churned", "retained"},
    {"churned", "not churned"},
    {"churned", "active"},
    {"churn", "no churn"},
    {"lost", "kept"},
    {"left", "stayed"},
)

logger = logging.getLogger(__name__)


class _Meanings(NamedTuple):
    """Meanings of label values: canonical keys, see `Label.key`.

    Attributes:
        positive: Values that mean churned.
        stayed: Values that mean stayed; if none are given, the usual opposites of the positive ones.
        unknown: Values that mean not known yet, as written, by key.
        drop: Values of rows in neither class, as written, by key.
    """

    positive: frozenset[str]
    stayed: frozenset[str]
    unknown: Mapping[str, str]
    drop: Mapping[str, str]


@lru_cache
def _meanings(label: Label) -> _Meanings:
    def keys(values: Iterable[str]) -> dict[str, str]:
        written = list(values)
        texts = as_text(pd.Series(written, dtype="str")).fillna("")
        return {Label.key(text): value for text, value in zip(texts, written, strict=True)}

    positive = frozenset(keys(label.positives))
    pairs = [pair for pair in _OPPOSITES if len(pair & positive) == 1]
    return _Meanings(
        positive,
        frozenset().union(*pairs) - positive if label.negatives is None else frozenset(keys(label.negatives)),
        keys(label.unknown),
        keys(label.drop),
    )


class _Labels(NamedTuple):
    """Labels of some rows.

    Attributes:
        texts: Canonical text in lower case, missing where a cell is blank, shape (n,).
        unreadable: Whether a cell holds no single value, shape (n,).
        churned: Whether the value means churned, shape (n,).
        other: Whether the value is another one that means none of unknown, drop and blank, shape (n,).
        undecided: Whether such another value is not known to mean stayed, shape (n,).
        unknown: Whether the value means not known yet; a blank only if it is configured, shape (n,).
        drop: Whether the value is that of rows in neither class, shape (n,).
    """

    texts: pd.Series
    unreadable: NDArray[np.bool_]
    churned: NDArray[np.bool_]
    other: NDArray[np.bool_]
    undecided: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    drop: NDArray[np.bool_]


def _read(labels: pd.Series, schema: AccountSchema) -> _Labels:
    meant = _meanings(schema.label)
    texts, unreadable = text_of(labels, schema.missing_text)
    texts = texts.str.lower()
    codes, values = pd.factorize(texts)
    # The last value is the blank one, which missing cells have as code -1.
    keys = [*(Label.key(str(value)) for value in values), ""]
    churned = np.array([key in meant.positive for key in keys])
    unknown = np.array([key in meant.unknown for key in keys])
    drop = np.array([key in meant.drop for key in keys])
    other = ~(churned | unknown | drop)
    other[-1] = False
    undecided = other & np.array([key not in meant.stayed for key in keys])
    return _Labels(
        texts, unreadable, churned[codes], other[codes], undecided[codes], unknown[codes], drop[codes] & ~unreadable
    )


def _with_labels(known: frozenset[str], more: Iterable[str]) -> frozenset[str]:
    # Bounds the memory for a column whose values are all different.
    return frozenset(sorted({*known, *more})[:MAX_LABELS])


def _counted(labels: _Labels) -> dict[str, int]:
    """Count the rows of each configured value of unknown and drop."""
    named = labels.texts[labels.unknown | labels.drop].fillna("").value_counts()
    return {str(text): int(count) for text, count in named.items()}


def _added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(counts) + Counter(more))


@dataclass
class LabelledRows:
    """Labels of training rows, and which columns have values; `extend` joins those of the parts of a table.

    Attributes:
        rows: Number of rows checked.
        labels: The different labels of the rows to train on; at most a few more than the expected two are kept.
        left_out: Number of rows that are not trained on, by their label in lower case.
        found: Faults of labels that are missing or not a single value.
        undecided: The fault of labels that the schema gives no meaning, if any.
        with_values: Columns that have a value in some row to train on.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    left_out: dict[str, int] = field(default_factory=dict)
    found: list[Fault] = field(default_factory=list)
    undecided: list[Fault] = field(default_factory=list)
    with_values: frozenset[str] = frozenset()

    def check_batch(self, accounts: pd.DataFrame, labels: pd.Series, schema: AccountSchema) -> pd.Series:
        """Check the labels of the next rows, which are canonical otherwise.

        Returns:
            The labels: 1 churned, 0 stayed, and `LEFT_OUT` for rows that are in neither class.
        """
        read = _read(labels, schema)
        left_out = read.unknown | read.drop
        missing = read.texts.isna().to_numpy(bool) & ~read.unreadable & ~left_out
        found = _unreadable(read, schema, self.rows + 1)
        if missing.any():
            found.append(Fault.of(schema.label.column, "missing", missing, None, self.rows + 1, _EVERY_ROW))
        self.found = merged(self.found, found)
        self.undecided = merged(self.undecided, _undecided(read, schema, self.rows + 1))
        self.labels = _with_labels(self.labels, read.texts[~left_out].dropna().unique())
        self.left_out = _added(self.left_out, _counted(read))
        names = [name for name in (*schema.numeric_names, *schema.categorical) if name not in self.with_values]
        used = accounts[~left_out] if left_out.any() else accounts
        self.with_values |= {name for name in names if used[name].notna().any()}
        self.rows += len(accounts)
        return pd.Series(np.where(left_out, LEFT_OUT, read.churned).astype(np.int8), index=labels.index)

    def extend(self, later: "LabelledRows") -> None:
        """Add the rows that follow these ones."""
        self.found = merged(self.found, [fault.after(self.rows) for fault in later.found])
        self.undecided = merged(self.undecided, [fault.after(self.rows) for fault in later.undecided])
        self.labels = _with_labels(self.labels, later.labels)
        self.left_out = _added(self.left_out, later.left_out)
        self.with_values |= later.with_values
        self.rows += later.rows

    def faults(self, found: Iterable[Fault], schema: AccountSchema) -> list[str]:
        """Return the faults that show in the table as a whole, given those of its rows."""
        if self.rows == sum(self.left_out.values()):
            return [f"{schema.label.column}: no row is left, as accounts.label.unknown and drop have all its values"]
        not_numbers = {fault.column for fault in found if fault.reason in (HIDDEN, NOT_A_NUMBER, NOT_ONE_VALUE)}
        faults = [
            f"{name}: has no value at all; take it out of accounts.{role}"
            for role, names in (("numeric", schema.numeric_names), ("categorical", schema.categorical))
            for name in names
            if name not in self.with_values and name not in not_numbers
        ]
        return [*faults, *(fault.sentence for fault in self.found), *self._class_faults(schema)]

    def _class_faults(self, schema: AccountSchema) -> Iterator[str]:
        """Yield the faults of a label column that has not two classes."""
        name, values, label, meant = schema.label.column, sorted(self.labels), schema.label, _meanings(schema.label)
        churned = [value for value in values if Label.key(value) in meant.positive]
        others = [value for value in values if Label.key(value) not in meant.positive]
        decided = [value for value in others if Label.key(value) in meant.stayed]
        shown = ", ".join(map(quoted, values[:MAX_EXAMPLES]))
        if self.undecided and (decided or label.negative is not None):
            yield from (fault.sentence for fault in self.undecided)
        elif len(others) > 1 and not decided and (churned or len(others) > 2):
            count = f"{len(values)}" if len(values) < MAX_LABELS else f"{MAX_LABELS} or more"
            more = ", ..." if len(values) > MAX_EXAMPLES else ""
            yield (
                f"{name}: holds {count} different values ({shown}{more}), a label has two; name the one that means stayed in "
                "accounts.label.negative, and the rest in accounts.label.drop or accounts.label.unknown"
            )
        elif values and (not others or len(values) == 1):
            yield f"{name}: holds one class only ({shown}); a model needs accounts of both"
        if len(values) > 1 and not churned:
            positive = ", ".join(map(quoted, label.positives))
            yield f"{name}: accounts.label.positive is {positive}, which never occurs; it holds {shown}"

    def guessed(self, schema: AccountSchema) -> tuple[str, ...]:
        """Return the label that is taken for stayed only because it is the other one, if there is one."""
        if schema.label.negative is not None:
            return ()
        meant = _meanings(schema.label)
        others = [value for value in self.labels if Label.key(value) not in meant.positive]
        return tuple(others) if len(others) == 1 and Label.key(others[0]) not in meant.stayed else ()

    def guesses(self, schema: AccountSchema) -> list[str]:
        """Return a sentence for the label of `guessed`."""
        name = schema.label.column
        why = "the only value beside accounts.label.positive; set accounts.label.negative to say so"
        return [f"{quoted(value)} in {name} is taken for stayed, {why}" for value in self.guessed(schema)]


@dataclass
class OutcomeRows:
    """Result of checking the outcomes of scored accounts; `extend` joins those of the parts of a table.

    Attributes:
        rows: Number of rows checked.
        left_out: Number of rows whose label says that there is no outcome, by their label in lower case.
        found: Faults of single ids and labels.
    """

    rows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    found: list[Fault] = field(default_factory=list)

    def check_batch(self, batch: pd.DataFrame, schema: AccountSchema) -> tuple[pd.Series, NDArray[np.int8]]:
        """Check the next rows and return their ids as text and their outcomes: 1 churned, 0 stayed, -1 not known."""
        ids, read = as_text(batch[schema.id]), _read(batch[schema.label.column], schema)
        empty = ids.isna().to_numpy(bool)
        found = [Fault.of(schema.id, "empty", empty, None, self.rows + 1)] if empty.any() else []
        found += _unreadable(read, schema, self.rows + 1) + _undecided(read, schema, self.rows + 1)
        self.found = merged(self.found, found)
        self.left_out = _added(self.left_out, _counted(read))
        self.rows += len(batch)
        return ids, np.where(read.churned | read.other, read.churned, UNKNOWN).astype(np.int8)

    def extend(self, later: "OutcomeRows") -> None:
        """Add the rows that follow these ones."""
        self.found = merged(self.found, [fault.after(self.rows) for fault in later.found])
        self.left_out = _added(self.left_out, later.left_out)
        self.rows += later.rows

    def raise_faults(self, repetitions: list[Fault], schema: AccountSchema) -> None:
        """Raise an error if the table, of which all rows have been checked, has faults; it may be empty.

        Logs the number of rows of each label that says that there is no outcome.

        Args:
            repetitions: Faults of ids that occur more than once.
            schema: Schema of the table.

        Raises:
            AccountsError: Lists every fault.
        """
        faults = sentences([*self.found, *repetitions], schema)
        if faults:
            raise AccountsError(OUTCOMES, faults)
        for note in left_out_notes(self.left_out, schema):
            logger.info("%s: %s", OUTCOMES, note)


def check_outcome_columns(names: Sequence[str], schema: AccountSchema) -> None:
    """Check that a table of outcomes has the columns of id and label.

    Raises:
        AccountsError: Names the missing columns.
    """
    missing = [name for name in (schema.id, schema.label.column) if name not in names]
    if missing:
        raise AccountsError(OUTCOMES, [f"missing columns: {', '.join(missing)}; the table has: {', '.join(names)}"])


_EVERY_ROW = '; every training account needs its outcome, or add "" to accounts.label.unknown to leave such rows out'


def _unreadable(read: _Labels, schema: AccountSchema, first_row: int) -> list[Fault]:
    if not read.unreadable.any():
        return []
    return [Fault.of(schema.label.column, NOT_ONE_VALUE, read.unreadable, None, first_row, "; write the label as text")]


def _undecided(read: _Labels, schema: AccountSchema, first_row: int) -> list[Fault]:
    """Return the fault of values of which the schema does not say whether they mean churned or stayed, if any."""
    if not read.undecided.any():
        return []
    label = schema.label
    known = f"; accounts.label.positive is {', '.join(map(quoted, label.positives))}"
    known += f", accounts.label.negative is {', '.join(map(quoted, label.negatives))}" if label.negatives else ""
    advice = f"{known}; name the values that mean stayed in accounts.label.negative, others in accounts.label.unknown or drop"
    reason = "neither churned nor stayed"
    return [Fault.of(label.column, reason, read.undecided, read.texts, first_row, advice)]


def left_out_notes(left_out: Mapping[str, int], schema: AccountSchema) -> list[str]:
    """Return a sentence for each label whose rows are left out, given their number by label in lower case."""
    meant = _meanings(schema.label)
    notes = []
    for text, count in sorted(left_out.items()):
        key = Label.key(text)
        role, value = ("unknown", meant.unknown[key]) if key in meant.unknown else ("drop", meant.drop[key])
        rows = f"{count} row{'s are' if count > 1 else ' is'}"
        notes.append(
            f"{rows} left out, as {schema.label.column} is {quoted(value) if key else 'empty'} (accounts.label.{role})"
        )
    return notes
