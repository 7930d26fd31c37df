"""Labels and outcomes: the rows to train on, and the outcomes of scored accounts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.errors import AccountsError
from churn.tables.cells import as_text, quoted
from churn.tables.faults import MAX_EXAMPLES, NOT_A_NUMBER, Fault

OUTCOMES = "outcomes of the scored accounts"
# An outcome that is not known yet.
UNKNOWN = -1
# Different labels that are counted; a label has two.
MAX_LABELS = 100


def _with_labels(known: frozenset[str], more: Iterable[str]) -> frozenset[str]:
    # A column of all different values must not be held.
    return frozenset(sorted({*known, *more})[:MAX_LABELS])


@dataclass
class LabelledRows:
    """What was seen of rows to train on, beside what `check_rows` finds; those of the parts of a table add up.

    Attributes:
        rows: Rows looked at.
        labels: The different labels, at most a few more than the two there should be.
        missing: The fault of rows without a label, if any.
        with_values: Columns that have a value in some row.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    missing: Fault | None = None
    with_values: frozenset[str] = frozenset()

    def look(self, accounts: pd.DataFrame, labels: pd.Series, schema: AccountSchema) -> pd.Series:
        """Look at the next rows, canonical but for their labels; gives those as 0 and 1."""
        text = _label_text(labels)
        empty = text.isna().to_numpy()
        if empty.any():
            advice = "; every training account needs its outcome"
            fault = Fault.of(schema.label.column, "missing", empty, None, self.rows + 1, advice)
            self.missing = self.missing + fault if self.missing else fault
        self.labels = _with_labels(self.labels, text.dropna().unique())
        names = [name for name in (*schema.numeric_names, *schema.categorical) if name not in self.with_values]
        self.with_values |= {name for name in names if accounts[name].notna().any()}
        self.rows += len(accounts)
        return (text == _label_key(schema)).astype(np.int8)

    def follow(self, later: "LabelledRows") -> None:
        """Take over what was seen of the rows that follow these ones."""
        if later.missing:
            fault = later.missing.after(self.rows)
            self.missing = self.missing + fault if self.missing else fault
        self.labels = _with_labels(self.labels, later.labels)
        self.with_values |= later.with_values
        self.rows += later.rows

    def faults(self, found: Iterable[Fault], schema: AccountSchema) -> list[str]:
        """What is wrong with a table of which these rows are all, given the faults of its rows."""
        not_numbers = {fault.column for fault in found if fault.reason == NOT_A_NUMBER}
        faults = [
            f"{name}: has no value at all; take it out of accounts.{role}"
            for role, names in (("numeric", schema.numeric_names), ("categorical", schema.categorical))
            for name in names
            if name not in self.with_values and name not in not_numbers
        ]
        if self.missing:
            faults.append(self.missing.sentence)
        return [*faults, *_label_faults(self.labels, schema, classes=(0, 2))]


@dataclass
class OutcomeRows:
    """What was seen of the outcomes of scored accounts; that of the parts of a table adds up.

    Attributes:
        rows: Rows looked at.
        labels: The different labels, at most a few more than the two there should be.
        empty: The fault of rows without an id, if any.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    empty: Fault | None = None

    def look(self, batch: pd.DataFrame, schema: AccountSchema) -> tuple[pd.Series, NDArray[np.int8]]:
        """Look at the next rows; gives their ids as text, and what became of them: 1 churned, 0 stayed, -1 not known."""
        ids, text = as_text(batch[schema.id]), _label_text(batch[schema.label.column])
        empty = ids.isna().to_numpy(bool)
        if empty.any():
            fault = Fault.of(schema.id, "empty", empty, None, self.rows + 1)
            self.empty = self.empty + fault if self.empty else fault
        self.labels = _with_labels(self.labels, text.dropna().unique())
        self.rows += len(batch)
        known, churned = text.notna().to_numpy(bool), (text == _label_key(schema)).to_numpy(bool)
        return ids, np.where(known, churned, UNKNOWN).astype(np.int8)

    def follow(self, later: "OutcomeRows") -> None:
        """Take over what was seen of the rows that follow these ones."""
        if later.empty:
            fault = later.empty.after(self.rows)
            self.empty = self.empty + fault if self.empty else fault
        self.labels = _with_labels(self.labels, later.labels)
        self.rows += later.rows

    def check(self, repetitions: list[Fault], schema: AccountSchema) -> None:
        """Refuse a table of which these rows are all; it may have none.

        Args:
            repetitions: The fault of ids that occur more than once, if any do.
            schema: What each column is.

        Raises:
            AccountsError: Lists every fault.
        """
        found = [*([self.empty] if self.empty else []), *repetitions]
        faults = [fault.sentence for fault in found] + list(_label_faults(self.labels, schema, classes=(0, 1, 2)))
        if faults:
            raise AccountsError(OUTCOMES, faults)


def check_outcome_columns(names: Sequence[str], schema: AccountSchema) -> None:
    """Refuse a table of outcomes that lacks a column.

    Raises:
        AccountsError: Names what it lacks.
    """
    missing = [name for name in (schema.id, schema.label.column) if name not in names]
    if missing:
        raise AccountsError(OUTCOMES, [f"missing columns: {', '.join(missing)}; the table has: {', '.join(names)}"])


def _label_key(schema: AccountSchema) -> str:
    return schema.label.positive.strip().lower()


def _label_text(series: pd.Series) -> pd.Series:
    return as_text(series).str.strip().str.lower()


def _label_faults(found: Iterable[str], schema: AccountSchema, classes: tuple[int, ...]) -> Iterable[str]:
    name, values = schema.label.column, sorted(found)
    shown = ", ".join(map(quoted, values[:MAX_EXAMPLES]))
    if len(values) > 2:
        count = f"{len(values)}" if len(values) < MAX_LABELS else f"{MAX_LABELS} or more"
        yield f"{name}: holds {count} different values ({shown}, ...), a label has two"
    elif len(values) not in classes:
        yield f"{name}: holds one class only ({shown}); a model needs accounts of both"
    if len(values) > 1 and _label_key(schema) not in values:
        yield f"{name}: accounts.label.positive is {quoted(schema.label.positive)}, which never occurs; it holds {shown}"
