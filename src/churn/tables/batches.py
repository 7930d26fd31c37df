"""Account tables a batch at a time, so that a table of any length is scored in the same memory."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Protocol, Self, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.errors import AccountsError, ChurnError
from churn.tables.checks import NO_ROWS, check_columns, check_rows
from churn.tables.faults import Fault, sentences
from churn.tables.ids import RepeatedIds, hashes_of, repetitions
from churn.tables.labels import LabelledRows
from churn.tables.parallel import cores, in_order
from churn.tables.table import Table

Made = TypeVar("Made")

logger = logging.getLogger(__name__)


class Batches(Protocol):
    """The rows of a table in their order, again each time it is asked for them."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of all columns of the table."""
        ...

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The rows; columns without a role may be left out."""
        ...

    def only(self, names: Iterable[str]) -> Self:
        """The same table with some of its files alone."""
        ...


class KnownCategories(Protocol):
    """What the check of a table asks of the model that is to score it."""

    @property
    def vocabularies(self) -> Mapping[str, tuple[str, ...]]:
        """Known categories of each categorical column."""
        ...

    def familiar(self, accounts: pd.DataFrame, columns: Iterable[str] | None = None) -> dict[str, bool]:
        """For each categorical column that has values, whether the model knows any of them."""
        ...

    def unseen_faults(self, familiar: Mapping[str, bool]) -> list[str]:
        """A sentence for each column of which the model knows no value."""
        ...


@dataclass
class Findings:
    """What a look at some rows of a table has found.

    Attributes:
        rows: Rows looked at.
        faults: What is wrong with them, one entry for a column and a reason; rows are counted from the first one looked at.
        familiar: For each categorical column that has values, whether the model knows any of them.
        labelled: What was seen of rows that are to be trained on.
    """

    rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    familiar: dict[str, bool] = field(default_factory=dict)
    labelled: LabelledRows = field(default_factory=LabelledRows)

    def look(self, batch: pd.DataFrame, schema: AccountSchema, model: KnownCategories | None) -> pd.DataFrame:
        """Look at the next rows; gives them in canonical form.

        Args:
            batch: The rows.
            schema: What each column is.
            model: What is to score them; without one they are to be trained on, and keep their label.
        """
        accounts, faults = check_rows(batch, schema, self.rows + 1)
        self._add(faults)
        if model is None:
            accounts[schema.label.column] = self.labelled.look(accounts, batch[schema.label.column], schema)
        else:
            strange = [name for name in model.vocabularies if not self.familiar.get(name, False)]
            self.familiar |= model.familiar(accounts, strange)
        self.rows += len(accounts)
        return accounts

    def follow(self, later: "Findings") -> None:
        """Take over what was found in the rows that follow these ones."""
        self._add([fault.after(self.rows) for fault in later.faults])
        for name, known in later.familiar.items():
            self.familiar[name] = self.familiar.get(name, False) or known
        self.labelled.follow(later.labelled)
        self.rows += later.rows

    def _add(self, faults: list[Fault]) -> None:
        known = {(fault.column, fault.reason): fault for fault in self.faults}
        for fault in faults:
            key = (fault.column, fault.reason)
            known[key] = known[key] + fault if key in known else fault
        self.faults = list(known.values())

    def check(
        self, repetitions: list[Fault], schema: AccountSchema, model: KnownCategories | None, subject: str
    ) -> None:
        """Refuse a table of which these rows are all.

        Args:
            repetitions: The fault of ids that occur more than once, if any do.
            schema: What each column is.
            model: What is to score it, if it is not to be trained on.
            subject: What the table is called in messages.

        Raises:
            AccountsError: Lists every fault; also categorical columns of which the model knows no value.
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


class CheckedTable(Protocol):
    """A table to train on that is checked while it is read."""

    def labels(self) -> NDArray[np.int8]:
        """Label of each row, 0 or 1, shape (n,).

        Raises:
            AccountsError: Lists every fault of the table.
        """
        ...

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> Table:
        """Rows of a table that was found sound.

        Args:
            columns: Their columns, in this order.
            mask: Which rows, shape (n,).
        """
        ...


@singledispatch
def checked_table(table: Batches, schema: AccountSchema, model: KnownCategories | None, subject: str) -> Any:
    """An account table that is checked while it is read.

    Args:
        table: What the catalog gives; tables of another engine have their own way, see `churn.spark`.
        schema: What each column is.
        model: What is to score it; without one it is to be trained on, and its rows keep their label.
        subject: What the table is called in messages.
    """
    return CheckedBatches(table, schema, model, subject)


class CheckedBatches:
    """Canonical account rows of a table that is checked on the way.

    After the first faulty batch no more rows are given, but the table is read to its end, and the error lists all faults
    of it. Rows that were given before then were not faulty themselves, but the table is: whoever made something of them
    throws it away.
    """

    def __init__(self, batches: Batches, schema: AccountSchema, model: KnownCategories | None, subject: str) -> None:
        """Declare the table and what it has to fit.

        Args:
            batches: The table.
            schema: What each column is.
            model: What is to score it; without one it is to be trained on, and its rows keep their label.
            subject: What the table is called in messages.
        """
        self._batches, self._schema, self._model, self.subject = batches, schema, model, subject

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Canonical rows; raises as `mapped`."""
        return self.mapped(lambda accounts: accounts, workers=1)

    def mapped(self, work: Callable[[pd.DataFrame], Made], workers: int) -> Iterator[Made]:
        """What is made of the rows, batch for batch; several batches are checked and worked on at once.

        Args:
            work: Takes canonical rows; called in threads.
            workers: How many threads.

        Raises:
            AccountsError: Lists every fault, see `churn.tables.checks.check_accounts`; also ids that repeat, and categorical
                columns of which the model knows no value.
        """
        check_header(self._batches.columns, self._schema, self.subject, labelled=self._model is None)

        def look(batch: pd.DataFrame) -> tuple[Findings, NDArray[np.uint64], Made | None]:
            found = Findings()
            accounts = found.look(batch, self._schema, self._model)
            return found, hashes_of(accounts[self._schema.id].dropna()), None if found.faults else work(accounts)

        found = Findings()
        with RepeatedIds() as ids:
            for of_batch, hashes, made in in_order(look, self._batches, workers):
                found.follow(of_batch)
                ids.add(hashes)
                if not found.faults:
                    yield cast("Made", made)
            again = ids.suspects()
        found.check(repetitions(self._batches, self._schema.id, again), self._schema, self._model, self.subject)

    def labels(self) -> NDArray[np.int8]:
        """Label of each row of a table to train on, 0 or 1, shape (n,); raises as `mapped`."""
        name = self._schema.label.column
        return np.concatenate(list(self.mapped(lambda rows: rows[name].to_numpy(np.int8), cores())))

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> "SomeRows":
        """Rows of a table that was found sound, see `CheckedTable`."""
        return SomeRows(self, columns, mask)

    def again(self) -> Iterator[pd.DataFrame]:
        """Canonical rows of a table that was found sound before, which is not checked as a whole again."""
        found = Findings()
        for batch in self._batches:
            yield found.look(batch, self._schema, self._model)


class SomeRows(Table):
    """Chosen rows of a table that was found sound."""

    def __init__(self, source: CheckedBatches, columns: list[str], chosen: NDArray[np.bool_]) -> None:
        """Declare which rows, shape (n,)."""
        self._source, self._columns, self._chosen = source, columns, chosen

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        return self._columns

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self._chosen.sum())

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """The rows, read from the source again.

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
    """Check the names of the columns of a table, and warn of what is ignored.

    Raises:
        AccountsError: Lists every fault.
    """
    faults, notes = check_columns(names, schema, subject=subject, labelled=labelled)
    if faults:
        raise AccountsError(subject, faults)
    for note in notes:
        logger.warning(note)
