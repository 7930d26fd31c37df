"""What a target holds of each account: a hash of the columns that matter, and the probability."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn.delivery.columns import Field, Fields

if TYPE_CHECKING:
    import pyarrow as pa

Hashes = NDArray[np.int64]

# The finalizer of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MISSING = np.uint64(0x6D697373696E6700)


@dataclass(frozen=True)
class Held:
    """What a target holds, n accounts.

    Attributes:
        ids: Their ids, n texts.
        content: Hashes of the columns that matter, shape (n,).
        score: Probabilities, shape (n,); missing where the target does not get it.
    """

    ids: "pa.Array"
    content: Hashes
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def nothing(cls) -> "Held":
        """Return that a target holds nothing."""
        return cls.of([], [], [])

    @classmethod
    def of(cls, ids: Any, content: Any, score: Any) -> "Held":
        """Return what a target holds, from sequences of the same length."""
        import pyarrow as pa

        if isinstance(ids, pa.ChunkedArray):
            ids = ids.combine_chunks()
        return cls(
            ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string()),
            np.asarray(content, dtype=np.int64),
            np.asarray(
                [np.nan if each is None else each for each in score] if isinstance(score, list) else score, float
            ),
        )


@dataclass(frozen=True)
class Batch:
    """Rows for a target, n accounts.

    Attributes:
        rows: The columns of the target; only the id for accounts that are removed.
        held: What the target holds of them after it has taken them.
    """

    rows: "pa.Table"
    held: Held

    def __len__(self) -> int:
        return len(self.held)

    def part(self, start: int, length: int) -> "Batch":
        """Return some of the rows."""
        end, held = start + length, self.held
        return Batch(
            self.rows.slice(start, length),
            Held(held.ids.slice(start, length), held.content[start:end], held.score[start:end]),
        )


def content_of(rows: "pa.Table", fields: Fields) -> Held:
    """Return what a target holds after it has taken rows.

    Equal values have equal hashes on every machine and in every later version: a changed hash would send all accounts again.

    Args:
        rows: Columns of the target.
        fields: Their description.
    """
    import pyarrow as pa

    probability = fields.probability
    hashed = np.zeros(len(rows), dtype=np.uint64)
    for field in sorted(fields.all, key=lambda each: each.name):
        if field.matters and field not in (fields.id, probability):
            hashed = _mixed(hashed ^ _mixed(_hash_of(rows[field.name], field) ^ _text_hash(field.name)))
    score = np.full(len(rows), np.nan)
    if probability is not None:
        score = rows[probability.name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Held.of(rows[fields.id.name].cast(pa.string()), hashed.view(np.int64), score)


def changed(new: Held, held: Held, places: NDArray[np.int64], tolerance: float) -> NDArray[np.bool_]:
    """Return which accounts the target has to be told, shape (n,).

    Args:
        new: n accounts as they are now.
        held: What the target holds.
        places: Place of each account in `held`, -1 if it is not there, shape (n,).
        tolerance: Difference of the probability from which it counts; 0 for any.
    """
    known = places >= 0
    if not len(held):
        return ~known
    old_content, old_score = held.content[places], held.score[places]
    with np.errstate(invalid="ignore"):
        near = np.abs(new.score - old_score) < tolerance if tolerance > 0 else new.score == old_score
    same_score = near | (np.isnan(new.score) & np.isnan(old_score))
    result: NDArray[np.bool_] = ~(known & (new.content == old_content) & same_score)
    return result


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        words = words + _STEP
        words = (words ^ (words >> np.uint64(30))) * _FIRST
        words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed


def _text_hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def _hash_of(column: Any, field: Field) -> NDArray[np.uint64]:
    """Return a hash of each value of a column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    if field.type == "text":
        coded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        coded = pc.dictionary_encode(coded)
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        known = np.array([_text_hash(each) for each in coded.dictionary.to_pylist()] or [_MISSING], dtype=np.uint64)
        words = known[pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)]
    elif field.type == "real":
        numbers = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        words = np.ascontiguousarray(numbers).view(np.uint64)
    else:
        whole = (
            pc.cast(column, pa.int64()) if field.type != "date" else pc.cast(pc.cast(column, pa.int32()), pa.int64())
        )
        words = np.ascontiguousarray(pc.fill_null(whole, 0).to_numpy(zero_copy_only=False)).view(np.uint64)
    return np.where(missing, _MISSING, _mixed(words))


def joined(batches: Sequence[Batch]) -> Batch:
    """Return batches as one."""
    import pyarrow as pa

    return Batch(
        pa.concat_tables([batch.rows for batch in batches]),
        Held(
            pa.concat_arrays([batch.held.ids for batch in batches]),
            np.concatenate([batch.held.content for batch in batches]),
            np.concatenate([batch.held.score for batch in batches]),
        ),
    )


def plain_rows(rows: "pa.Table") -> list[dict[str, Any]]:
    """Return rows as JSON can hold them: dates and times as text in ISO 8601, what is no number as missing."""
    found: list[dict[str, Any]] = rows.to_pylist()
    dated = [field.name for field in rows.schema if str(field.type).startswith(("date", "timestamp"))]
    real = [field.name for field in rows.schema if str(field.type) == "double"]
    for row in found:
        for name in dated:
            if row[name] is not None:
                row[name] = row[name].isoformat()
        for name in real:
            if row[name] is not None and (row[name] != row[name] or abs(row[name]) == float("inf")):
                row[name] = None
    return found
