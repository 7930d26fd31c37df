"""Find ids that occur more than once, in bounded memory."""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import IO, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.tables.cells import as_text
from churn.tables.faults import Fault, repeated

# Hashes held in memory, 8 bytes each; more than these are written to temporary files, by their first bits.
IDS_IN_MEMORY = 1 << 21
ID_FILES = 64
# Key of the second hash; pandas requires 16 characters.
SECOND_KEY = "another 16 bytes"


class RepeatedIds:
    """Find ids that occur more than once by their hashes, in bounded memory; use it in a ``with`` block."""

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
        """Add the hashes of ids, as `hashes_of` returns them."""
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
        """Return hashes that occurred more than once; different ids share one with a chance of one in millions."""
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
    """Return the fault of repeated ids, if any; reads the ids again and compares those with equal hashes as text.

    Args:
        batches: The table.
        name: Column of the ids.
        hashes: Hashes that occurred more than once, see `RepeatedIds`.
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


def hashes_of(ids: pd.Series, key: str | None = None) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each id, the same in every batch.

    Args:
        ids: Ids as text, shape (n,); a missing one counts as empty text.
        key: Key of the hash, 16 characters; hashes with different keys are independent. None for that of pandas.

    Returns:
        SipHash-2-4 of each id (Aumasson and Bernstein 2012), shape (n,).
    """
    return _hashed(ids, {} if key is None else {"hash_key": key})


def second_hashes_of(ids: pd.Series) -> NDArray[np.uint32]:
    """Return a second hash of each id, shape (n,), 32 bits that are independent of `hashes_of`: together they have 96."""
    return _hashed(ids, {"hash_key": SECOND_KEY}).astype(np.uint32)


def _hashed(ids: pd.Series, keyed: Mapping[str, str]) -> NDArray[np.uint64]:
    values = ids.to_numpy(dtype=object, na_value="")
    return np.asarray(pd.util.hash_array(values, categorize=False, **keyed), dtype=np.uint64)


def dated_ids(ids: pd.Series, dates: pd.Series) -> pd.Series:
    """Return ids of accounts with the dates of their values, shape (n,), as texts that no two pairs share.

    Args:
        ids: Ids as text; missing ones stay missing.
        dates: Dates as text, YYYY-MM-DD.
    """
    # A date has ten characters, so that two different pairs never become the same text.
    return ids + "\x1f" + dates


def _twice(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
