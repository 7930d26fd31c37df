"""Account tables a batch at a time, so that a table of any length is scored in the same memory."""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.accounts import NO_ROWS, Fault, as_text, check_columns, check_rows, repeated, sentences
from churn.errors import AccountsError
from churn.model import ChurnModel
from churn.parameters import Accounts

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


class CheckedBatches:
    """Canonical account rows of a table that is checked on the way.

    After the first faulty batch no more rows are given, but the table is read to its end, and the error lists all faults
    of it. Rows that were given before then were not faulty themselves, but the table is: whoever made something of them
    throws it away.
    """

    def __init__(self, batches: Batches, roles: Accounts, model: ChurnModel, subject: str) -> None:
        """Declare the table and what it has to fit."""
        self._batches, self._roles, self._model, self._subject = batches, roles, model, subject

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Canonical rows without the label.

        Raises:
            AccountsError: Lists every fault, see `churn.accounts.check_accounts`; also ids that repeat, and categorical
                columns of which the model knows no value.
        """
        faults, notes = check_columns(self._batches.columns, self._roles, subject=self._subject, labelled=False)
        if faults:
            raise AccountsError(self._subject, faults)
        for note in notes:
            logger.warning(note)
        found: dict[tuple[str, str], Fault] = {}
        familiar: dict[str, bool] = {}
        rows = 0
        with RepeatedIds() as ids:
            for batch in self._batches:
                accounts, wrong = check_rows(batch, self._roles, rows + 1)
                for fault in wrong:
                    key = (fault.column, fault.reason)
                    found[key] = found[key] + fault if key in found else fault
                ids.add(accounts[self._roles.id])
                strange = [name for name in self._model.encoder.vocabularies if not familiar.get(name, False)]
                familiar |= self._model.familiar(accounts, strange)
                rows += len(accounts)
                if not found:
                    yield accounts
            again = ids.suspects()
        faults = sentences([*found.values(), *self._repeated(again)], self._roles)
        faults += self._model.unseen_faults(familiar) if rows else [NO_ROWS]
        if faults:
            raise AccountsError(self._subject, faults)

    def _repeated(self, hashes: NDArray[np.uint64]) -> list[Fault]:
        """The fault of repeated ids, from a second look at those whose hashes are equal."""
        if not len(hashes):
            return []
        places, texts, row = [], [], 0
        for batch in self._batches:
            ids = as_text(batch[self._roles.id])
            at = np.flatnonzero(np.isin(hashes_of(ids), hashes) & ids.notna().to_numpy())
            places.append(at + row)
            texts.append(ids.iloc[at])
            row += len(ids)
        again = pd.concat(texts, ignore_index=True).duplicated().to_numpy()
        broken = np.zeros(row, dtype=bool)
        broken[np.concatenate(places)[again]] = True
        return repeated(broken, self._roles.id)


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

    def add(self, ids: pd.Series) -> None:
        """Note ids; missing ones are left out."""
        hashes = hashes_of(ids.dropna())
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


def hashes_of(ids: pd.Series) -> NDArray[np.uint64]:
    """A hash of each id, the same in every batch, shape (n,)."""
    return np.asarray(pd.util.hash_array(ids.to_numpy(dtype=object, na_value=""), categorize=False), dtype=np.uint64)


def _twice(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
