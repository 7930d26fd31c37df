"""Account tables a batch at a time, so that a table of any length is scored in the same memory."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import singledispatch
from typing import IO, Any, Protocol, Self, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.accounts import NO_ROWS, Fault, LabelledRows, as_text, check_columns, check_rows, repeated, sentences
from churn.errors import AccountsError, ChurnError
from churn.model import ChurnModel
from churn.parallel import cores, in_order
from churn.parameters import Accounts
from churn.tables import Table

Made = TypeVar("Made")

logger = logging.getLogger(__name__)

# Ids whose hashes are held in memory, 8 bytes each; beyond that they go to files, by their first bits.
IDS_IN_MEMORY = 1 << 21
ID_FILES = 64


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

    def look(self, batch: pd.DataFrame, roles: Accounts, model: ChurnModel | None) -> pd.DataFrame:
        """Look at the next rows; gives them in canonical form.

        Args:
            batch: The rows.
            roles: What each column is.
            model: What is to score them; without one they are to be trained on, and keep their label.
        """
        accounts, faults = check_rows(batch, roles, self.rows + 1)
        self._add(faults)
        if model is None:
            accounts[roles.label.column] = self.labelled.look(accounts, batch[roles.label.column], roles)
        else:
            strange = [name for name in model.encoder.vocabularies if not self.familiar.get(name, False)]
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

    def check(self, repetitions: list[Fault], roles: Accounts, model: ChurnModel | None, subject: str) -> None:
        """Refuse a table of which these rows are all.

        Args:
            repetitions: The fault of ids that occur more than once, if any do.
            roles: What each column is.
            model: What is to score it, if it is not to be trained on.
            subject: What the table is called in messages.

        Raises:
            AccountsError: Lists every fault; also categorical columns of which the model knows no value.
        """
        faults = sentences([*self.faults, *repetitions], roles)
        if not self.rows:
            faults = [NO_ROWS]
        elif model is None:
            faults += self.labelled.faults(self.faults, roles)
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
def checked_table(table: Batches, roles: Accounts, model: ChurnModel | None, subject: str) -> Any:
    """An account table that is checked while it is read.

    Args:
        table: What the catalog gives; tables of another engine have their own way, see `churn.spark`.
        roles: What each column is.
        model: What is to score it; without one it is to be trained on, and its rows keep their label.
        subject: What the table is called in messages.
    """
    return CheckedBatches(table, roles, model, subject)


class CheckedBatches:
    """Canonical account rows of a table that is checked on the way.

    After the first faulty batch no more rows are given, but the table is read to its end, and the error lists all faults
    of it. Rows that were given before then were not faulty themselves, but the table is: whoever made something of them
    throws it away.
    """

    def __init__(self, batches: Batches, roles: Accounts, model: ChurnModel | None, subject: str) -> None:
        """Declare the table and what it has to fit.

        Args:
            batches: The table.
            roles: What each column is.
            model: What is to score it; without one it is to be trained on, and its rows keep their label.
            subject: What the table is called in messages.
        """
        self._batches, self._roles, self._model, self.subject = batches, roles, model, subject

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Canonical rows; raises as `mapped`."""
        return self.mapped(lambda accounts: accounts, workers=1)

    def mapped(self, work: Callable[[pd.DataFrame], Made], workers: int) -> Iterator[Made]:
        """What is made of the rows, batch for batch; several batches are checked and worked on at once.

        Args:
            work: Takes canonical rows; called in threads.
            workers: How many threads.

        Raises:
            AccountsError: Lists every fault, see `churn.accounts.check_accounts`; also ids that repeat, and categorical
                columns of which the model knows no value.
        """
        check_header(self._batches.columns, self._roles, self.subject, labelled=self._model is None)

        def look(batch: pd.DataFrame) -> tuple[Findings, NDArray[np.uint64], Made | None]:
            found = Findings()
            accounts = found.look(batch, self._roles, self._model)
            return found, hashes_of(accounts[self._roles.id].dropna()), None if found.faults else work(accounts)

        found = Findings()
        with RepeatedIds() as ids:
            for of_batch, hashes, made in in_order(look, self._batches, workers):
                found.follow(of_batch)
                ids.add(hashes)
                if not found.faults:
                    yield cast("Made", made)
            again = ids.suspects()
        found.check(repetitions(self._batches, self._roles.id, again), self._roles, self._model, self.subject)

    def labels(self) -> NDArray[np.int8]:
        """Label of each row of a table to train on, 0 or 1, shape (n,); raises as `mapped`."""
        name = self._roles.label.column
        return np.concatenate(list(self.mapped(lambda rows: rows[name].to_numpy(np.int8), cores())))

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> "SomeRows":
        """Rows of a table that was found sound, see `CheckedTable`."""
        return SomeRows(self, columns, mask)

    def again(self) -> Iterator[pd.DataFrame]:
        """Canonical rows of a table that was found sound before, which is not checked as a whole again."""
        found = Findings()
        for batch in self._batches:
            yield found.look(batch, self._roles, self._model)


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


def check_header(names: Sequence[str], roles: Accounts, subject: str, *, labelled: bool = False) -> None:
    """Check the names of the columns of a table, and warn of what is ignored.

    Raises:
        AccountsError: Lists every fault.
    """
    faults, notes = check_columns(names, roles, subject=subject, labelled=labelled)
    if faults:
        raise AccountsError(subject, faults)
    for note in notes:
        logger.warning(note)


class RepeatedIds:
    """Finds ids that occur more than once, by their hashes and in bounded memory; used in a ``with`` block."""

    def __init__(self) -> None:
        self._held: list[NDArray[np.uint64]] = []
        self._count = 0
        self._files: list[IO[bytes]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Note ids by what `hashes_of` gives for them."""
        self._held.append(hashes)
        self._count += len(hashes)
        if self._count > IDS_IN_MEMORY:
            self._put_aside()

    def _put_aside(self) -> None:
        if not self._files:
            new = (tempfile.TemporaryFile() for _ in range(ID_FILES))  # noqa: SIM115, closed by the stack
            self._files = [self._open.enter_context(file) for file in new]
        hashes = np.sort(np.concatenate(self._held))
        bounds = np.searchsorted(hashes, np.arange(1, ID_FILES, dtype=np.uint64) << np.uint64(64 - 6))
        for file, part in zip(self._files, np.split(hashes, bounds), strict=True):
            part.tofile(file)
        self._held, self._count = [], 0

    def suspects(self) -> NDArray[np.uint64]:
        """Hashes that occurred more than once: their ids are equal, but for one chance in millions."""
        if not self._files:
            return _twice(np.concatenate(self._held)) if self._held else np.empty(0, np.uint64)
        if self._held:
            self._put_aside()
        found = []
        for file in self._files:
            file.seek(0)
            found.append(_twice(np.fromfile(file, dtype=np.uint64)))
        return np.concatenate(found)


def repetitions(batches: Iterable[pd.DataFrame], name: str, hashes: NDArray[np.uint64]) -> list[Fault]:
    """The fault of repeated ids, from a second look at those whose hashes are equal.

    Args:
        batches: The table.
        name: Column of the ids.
        hashes: Those that occurred more than once, see `RepeatedIds`.
    """
    if not len(hashes):
        return []
    places, texts, row = [], [], 0
    for batch in batches:
        ids = as_text(batch[name])
        at = np.flatnonzero(np.isin(hashes_of(ids), hashes) & ids.notna().to_numpy())
        places.append(at + row)
        texts.append(ids.iloc[at])
        row += len(ids)
    again = pd.concat(texts, ignore_index=True).duplicated().to_numpy()
    broken = np.zeros(row, dtype=bool)
    broken[np.concatenate(places)[again]] = True
    return repeated(broken, name)


def hashes_of(ids: pd.Series) -> NDArray[np.uint64]:
    """A hash of each id, the same in every batch, shape (n,)."""
    return np.asarray(pd.util.hash_array(ids.to_numpy(dtype=object, na_value=""), categorize=False), dtype=np.uint64)


def _twice(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
