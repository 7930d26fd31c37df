"""Check labels: those of training rows, and the outcomes of scored accounts."""

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
# Code of an outcome that is not known yet.
UNKNOWN = -1
# Largest number of different labels that are kept; a label column has two.
MAX_LABELS = 100


def _with_labels(known: frozenset[str], more: Iterable[str]) -> frozenset[str]:
    # Bounds the memory for a column whose values are all different.
    return frozenset(sorted({*known, *more})[:MAX_LABELS])


@dataclass
class LabelledRows:
    """Labels of training rows, and which columns have values; `extend` joins those of the parts of a table.

    Attributes:
        rows: Number of rows checked.
        labels: The different labels; at most a few more than the expected two are kept.
        missing: The fault of rows without a label, if any.
        with_values: Columns that have a value in some row.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    missing: Fault | None = None
    with_values: frozenset[str] = frozenset()

    def check_batch(self, accounts: pd.DataFrame, labels: pd.Series, schema: AccountSchema) -> pd.Series:
        """Check the labels of the next rows, which are canonical otherwise, and return them as 0 and 1."""
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

    def extend(self, later: "LabelledRows") -> None:
        """Add the rows that follow these ones."""
        if later.missing:
            fault = later.missing.after(self.rows)
            self.missing = self.missing + fault if self.missing else fault
        self.labels = _with_labels(self.labels, later.labels)
        self.with_values |= later.with_values
        self.rows += later.rows

    def faults(self, found: Iterable[Fault], schema: AccountSchema) -> list[str]:
        """Return the faults that show in the table as a whole, given those of its rows."""
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
    """Result of checking the outcomes of scored accounts; `extend` joins those of the parts of a table.

    Attributes:
        rows: Number of rows checked.
        labels: The different labels; at most a few more than the expected two are kept.
        empty: The fault of rows without an id, if any.
    """

    rows: int = 0
    labels: frozenset[str] = frozenset()
    empty: Fault | None = None

    def check_batch(self, batch: pd.DataFrame, schema: AccountSchema) -> tuple[pd.Series, NDArray[np.int8]]:
        """Check the next rows and return their ids as text and their outcomes: 1 churned, 0 stayed, -1 not known."""
        ids, text = as_text(batch[schema.id]), _label_text(batch[schema.label.column])
        empty = ids.isna().to_numpy(bool)
        if empty.any():
            fault = Fault.of(schema.id, "empty", empty, None, self.rows + 1)
            self.empty = self.empty + fault if self.empty else fault
        self.labels = _with_labels(self.labels, text.dropna().unique())
        self.rows += len(batch)
        known, churned = text.notna().to_numpy(bool), (text == _label_key(schema)).to_numpy(bool)
        return ids, np.where(known, churned, UNKNOWN).astype(np.int8)

    def extend(self, later: "OutcomeRows") -> None:
        """Add the rows that follow these ones."""
        if later.empty:
            fault = later.empty.after(self.rows)
            self.empty = self.empty + fault if self.empty else fault
        self.labels = _with_labels(self.labels, later.labels)
        self.rows += later.rows

    def raise_faults(self, repetitions: list[Fault], schema: AccountSchema) -> None:
        """Raise an error if the table, of which all rows have been checked, has faults; it may be empty.

        Args:
            repetitions: Faults of ids that occur more than once.
            schema: Schema of the table.

        Raises:
            AccountsError: Lists every fault.
        """
        found = [*([self.empty] if self.empty else []), *repetitions]
        faults = [fault.sentence for fault in found] + list(_label_faults(self.labels, schema, classes=(0, 1, 2)))
        if faults:
            raise AccountsError(OUTCOMES, faults)


def check_outcome_columns(names: Sequence[str], schema: AccountSchema) -> None:
    """Check that a table of outcomes has the columns of id and label.

    Raises:
        AccountsError: Names the missing columns.
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
