"""Account tables in batches, so that a table of any length is processed in bounded memory."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, NamedTuple, Protocol, Self, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.errors import AccountsError, ChurnError
from churn.tables.checks import NO_ROWS, check_columns, check_rows
from churn.tables.faults import Fault, merged, sentences
from churn.tables.ids import RepeatedIds, hashes_of, repetitions
from churn.tables.labels import LabelledRows, left_out_notes
from churn.tables.parallel import cores, in_order
from churn.tables.split import Split, sketch_of
from churn.tables.table import Table

Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class Batches(Protocol):
    """The rows of a table in their order; each iteration starts from the first row."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of all columns of the table."""
        ...

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Iterate over the rows in batches; columns that the schema does not name may be left out."""
        ...

    def only(self, names: Iterable[str]) -> Self:
        """Return the table restricted to the files of these names."""
        ...


class KnownCategories(Protocol):
    """The part of a model that the check of a scoring table needs."""

    @property
    def vocabularies(self) -> Mapping[str, tuple[str, ...]]:
        """Known categories of each categorical column."""
        ...

    def familiar(self, accounts: pd.DataFrame, columns: Iterable[str] | None = None) -> dict[str, bool]:
        """Return, for each categorical column that has values, whether the model knows any of them."""
        ...

    def unseen_faults(self, familiar: Mapping[str, bool]) -> list[str]:
        """Return a sentence for each column in which the model knows no value."""
        ...


@dataclass
class Findings:
    """Result of checking some rows of a table.

    Attributes:
        rows: Number of rows checked.
        faults: Faults of these rows, one for each column and reason; rows are counted from the first one checked.
        familiar: For each categorical column that has values, whether the model knows any of them.
        labelled: Counts of labels and values, for a training table.
    """

    rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    familiar: dict[str, bool] = field(default_factory=dict)
    labelled: LabelledRows = field(default_factory=LabelledRows)

    def check_batch(self, batch: pd.DataFrame, schema: AccountSchema, model: KnownCategories | None) -> pd.DataFrame:
        """Check the next rows and return them in canonical form.

        Args:
            batch: The rows.
            schema: Schema of the table.
            model: Model that will score the rows; None for training rows, which keep their label.
        """
        accounts, faults = check_rows(batch, schema, self.rows + 1)
        self.faults = merged(self.faults, faults)
        if model is None:
            accounts[schema.label.column] = self.labelled.check_batch(accounts, batch[schema.label.column], schema)
        else:
            strange = [name for name in model.vocabularies if not self.familiar.get(name, False)]
            self.familiar |= model.familiar(accounts, strange)
        self.rows += len(accounts)
        return accounts

    def extend(self, later: "Findings") -> None:
        """Add the findings of the rows that follow these ones."""
        self.faults = merged(self.faults, [fault.after(self.rows) for fault in later.faults])
        for name, known in later.familiar.items():
            self.familiar[name] = self.familiar.get(name, False) or known
        self.labelled.extend(later.labelled)
        self.rows += later.rows

    def raise_faults(
        self, repetitions: list[Fault], schema: AccountSchema, model: KnownCategories | None, subject: str
    ) -> None:
        """Raise an error if the table, of which all rows have been checked, has faults; log which rows are left out.

        Args:
            repetitions: Faults of ids that occur more than once.
            schema: Schema of the table.
            model: Model that will score the table; None for a training table.
            subject: Name of the table in messages.

        Raises:
            AccountsError: Lists every fault, including categorical columns in which the model knows no value.
        """
        faults = sentences([*self.faults, *repetitions], schema)
        if not self.rows:
            faults = [NO_ROWS]
        elif model is None:
            faults += self.labelled.faults(self.faults, schema)
        else:
            faults += model.unseen_faults(self.familiar)
        if faults:
            raise AccountsError(subject, faults)
        if model is None:
            for note in left_out_notes(self.labelled.left_out, schema):
                logger.info("%s: %s", subject, note)
            for note in self.labelled.guesses(schema):
                logger.warning("%s: %s", subject, note)


class CheckedRows(NamedTuple):
    """What the split of a training table needs to know of its n rows.

    Attributes:
        labels: Label of each row, shape (n,): 1 churned, 0 stayed, -1 for rows that are in neither class.
        is_test: Whether each row is a test row, shape (n,).
        sketch: Sketch of the ids, see `churn.tables.split.Split`.
        guessed: Label that is taken for stayed only because it is the other one, see `LabelledRows.guessed`.
    """

    labels: NDArray[np.int8]
    is_test: NDArray[np.bool_]
    sketch: tuple[int, ...]
    guessed: tuple[str, ...] = ()


class CheckedTable(Protocol):
    """A training table that is checked while it is read."""

    def checked_rows(self, split: Split) -> CheckedRows:
        """Return the label and the part of each row.

        Raises:
            AccountsError: Lists every fault of the table.
        """
        ...

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> Table:
        """Return selected rows; the table must have been checked before, by `checked_rows`.

        Args:
            columns: Columns to return, in this order.
            mask: Which rows to return, shape (n,).
        """
        ...


@singledispatch
def checked_table(table: Batches, schema: AccountSchema, model: KnownCategories | None, subject: str) -> Any:
    """Return an account table that is checked while it is read.

    Args:
        table: Table as the catalog loads it; `churn.spark` registers the implementation for Spark frames.
        schema: Schema of the table.
        model: Model that will score the table; None for a training table, whose rows keep their label.
        subject: Name of the table in messages.
    """
    return CheckedBatches(table, schema, model, subject)


class CheckedBatches:
    """Canonical rows of an account table that is checked while it is read.

    After the first faulty batch no more rows are returned, but the table is read to its end, and the error lists all its
    faults. The caller must then discard what it computed from the rows returned before.
    """

    def __init__(self, batches: Batches, schema: AccountSchema, model: KnownCategories | None, subject: str) -> None:
        """Declare the table and its schema; nothing is read yet.

        Args:
            batches: The table.
            schema: Schema of the table.
            model: Model that will score the table; None for a training table, whose rows keep their label.
            subject: Name of the table in messages.
        """
        self._batches, self._schema, self._model, self.subject = batches, schema, model, subject
        self._guessed: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Iterate over the canonical rows; raises the errors of `mapped`."""
        return self.mapped(lambda accounts: accounts, workers=1)

    def mapped(self, work: Callable[[pd.DataFrame], Made], workers: int) -> Iterator[Made]:
        """Apply a function to the canonical rows of each batch and yield the results in order.

        Args:
            work: Function of canonical rows; called in threads, for several batches at once.
            workers: Number of threads.

        Raises:
            AccountsError: Lists every fault, see `churn.tables.checks.check_accounts`; also repeated ids, and categorical
                columns in which the model knows no value.
        """
        check_header(self._batches.columns, self._schema, self.subject, labelled=self._model is None)

        def look(batch: pd.DataFrame) -> tuple[Findings, NDArray[np.uint64], Made | None]:
            found = Findings()
            accounts = found.check_batch(batch, self._schema, self._model)
            return found, hashes_of(accounts[self._schema.id].dropna()), None if found.faults else work(accounts)

        found = Findings()
        with RepeatedIds() as ids:
            for of_batch, hashes, made in in_order(look, self._batches, workers):
                found.extend(of_batch)
                ids.add(hashes)
                if not found.faults:
                    yield cast("Made", made)
            again = ids.suspects()
        found.raise_faults(repetitions(self._batches, self._schema.id, again), self._schema, self._model, self.subject)
        self._guessed = found.labelled.guessed(self._schema)

    def checked_rows(self, split: Split) -> CheckedRows:
        """Return the label and the part of each row of a training table; raises the errors of `mapped`."""
        label, name = self._schema.label.column, self._schema.id

        def look(rows: pd.DataFrame) -> CheckedRows:
            return CheckedRows(
                rows[label].to_numpy(np.int8), split.test_rows(rows[name]), sketch_of([hashes_of(rows[name])])
            )

        labels, is_test, sketches, _ = zip(*self.mapped(look, cores()), strict=True)
        return CheckedRows(
            np.concatenate(labels),
            np.concatenate(is_test),
            sketch_of(np.array(sketch, dtype=np.uint64) for sketch in sketches),
            self._guessed,
        )

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> "SomeRows":
        """Return selected rows of the checked table, see `CheckedTable`."""
        return SomeRows(self, columns, mask)

    def again(self) -> Iterator[pd.DataFrame]:
        """Iterate over the canonical rows again, without the checks that need the whole table."""
        found = Findings()
        for batch in self._batches:
            yield found.check_batch(batch, self._schema, self._model)


class SomeRows(Table):
    """Selected rows of a table that was checked before."""

    def __init__(self, source: CheckedBatches, columns: list[str], chosen: NDArray[np.bool_]) -> None:
        """Declare the columns and the mask of the rows, shape (n,)."""
        self._source, self._columns, self._chosen = source, columns, chosen

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._columns

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._chosen.sum())

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Read the rows from the source again, in batches.

        Raises:
            ChurnError: If the source has changed since it was checked.
        """
        before = 0
        for rows in self._source.again():
            chosen = self._chosen[before : before + len(rows)]
            before += len(rows)
            if before > len(self._chosen):
                break
            yield rows.loc[chosen, list(columns or self._columns)].reset_index(drop=True)
        if before != len(self._chosen):
            raise ChurnError(f"{self._source.subject}: the table has changed while it was read; run again")


def check_header(names: Sequence[str], schema: AccountSchema, subject: str, *, labelled: bool = False) -> None:
    """Check the column names of a table, and log a warning for each that is ignored.

    Raises:
        AccountsError: Lists every fault.
    """
    faults, notes = check_columns(names, schema, subject=subject, labelled=labelled)
    if faults:
        raise AccountsError(subject, faults)
    for note in notes:
        logger.warning(note)
