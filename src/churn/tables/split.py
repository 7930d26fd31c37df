"""The split of accounts into training and test rows, which follows from their ids alone.

An account is a test row if a keyed hash of its id is below the share of the test rows. So it has the same part in every
training with the same key and share, whatever other accounts the table holds, on one machine and on Spark; and whoever
knows the split of a model knows which accounts it was not trained on.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.tables.ids import hashes_of

# Number of hashes in a sketch, and the fewest that can show that two tables have no account in common.
SKETCH_SIZE = 512
SKETCH_EVIDENCE = 20


@dataclass(frozen=True)
class Split:
    """A split, and a sketch of the accounts that it was applied to.

    Attributes:
        key: Key of the hash: the seed ``feature_engineering.random_state``.
        share: Share of the accounts that are test rows, from 0 to 1.
        sketch: The smallest `SKETCH_SIZE` hashes of the ids of the table, ascending, of another hash than that of the
            split; two sketches tell how many accounts two tables have in common (bottom-k sketch, Cohen and Kaplan 2007,
            doi:10.1145/1281100.1281133). Empty if the accounts are not known.
    """

    key: int
    share: float
    sketch: tuple[int, ...] = ()

    def test_rows(self, ids: pd.Series) -> NDArray[np.bool_]:
        """Return which accounts are test rows, shape (n,).

        Args:
            ids: Ids as canonical text, shape (n,); a missing id counts as empty text.
        """
        return _below(ids, f"{self.key:016d}", self.share)

    def of(self, sketch: Iterable[int]) -> Self:
        """Return the same split with the sketch of a table."""
        return replace(self, sketch=tuple(sketch))

    def shares_accounts(self, other: "Split") -> bool:
        """Return whether the tables of two splits have accounts in common, as far as their sketches can tell."""
        if not self.sketch or not other.sketch:
            return True
        # Up to this value, both sketches are complete.
        complete = min(self._complete, other._complete)
        mine = {value for value in self.sketch if value <= complete}
        return len(mine) < SKETCH_EVIDENCE or not mine.isdisjoint(other.sketch)

    @property
    def _complete(self) -> int:
        return self.sketch[-1] if len(self.sketch) == SKETCH_SIZE else 2**64 - 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal split."""
        packed = np.array(self.sketch, dtype="<u8").tobytes()
        return {"key": self.key, "share": self.share, "sketch": base64.b64encode(packed).decode()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore a split from the result of `to_dict`."""
        sketch = np.frombuffer(base64.b64decode(stored["sketch"]), dtype="<u8")
        return cls(key=int(stored["key"]), share=float(stored["share"]), sketch=tuple(sketch.tolist()))


def sketch_of(hashes: Iterable[NDArray[np.uint64]]) -> tuple[int, ...]:
    """Return the sketch of a table from the hashes of its ids, see `churn.tables.ids.hashes_of`; parts may be sketches."""
    smallest = np.empty(0, dtype=np.uint64)
    for some in hashes:
        smallest = np.unique(np.concatenate([smallest, some]))[:SKETCH_SIZE]
    return tuple(smallest.tolist())


def held_out_rows(ids: pd.Series, key: int, share: float) -> NDArray[np.bool_]:
    """Return which accounts are held out as the scoring snapshot of a labelled table, shape (n,).

    The hash is another one than that of a split with the same key, so that both shares are independent.

    Args:
        ids: Ids as canonical text, shape (n,).
        key: Key of the hash, at most 10 digits.
        share: Share of the accounts to hold out, from 0 to 1.
    """
    return _below(ids, f"staged{key:010d}", share)


def _below(ids: pd.Series, key: str, share: float) -> NDArray[np.bool_]:
    return np.asarray(hashes_of(ids, key) < np.uint64(int(share * 2**64)))
