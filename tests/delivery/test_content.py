"""Hashes of what a target holds: the same on every machine, and different for what differs."""

import hashlib
import struct
from typing import Any

import numpy as np
import pyarrow as pa

from churn.delivery.columns import Field, Fields
from churn.delivery.content import Held, changed, content_of

ID = Field("account_id", "account_id", "text")


def content(*fields: Field, **values: Any) -> list[int]:
    """Hashes of rows with these columns."""
    rows = pa.table({"account_id": [str(number) for number in range(len(next(iter(values.values()))))], **values})
    hashes: list[int] = content_of(rows, Fields(ID, (ID, *fields))).content.tolist()
    return hashes


def mixed(number: int) -> int:
    """One step of SplitMix64, on Python's integers."""
    mask = 2**64 - 1
    number = (number + 0x9E3779B97F4A7C15) & mask
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
    return number ^ (number >> 31)


def digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def test_the_hashes_are_those_of_every_version() -> None:
    """Others would send all accounts to all targets again."""
    fields = [Field("a", "a", "text"), Field("b", "b", "real"), Field("c", "c", "integer"), Field("d", "d", "boolean")]
    missing = int.from_bytes(b"missing\0", "big")
    bits = struct.unpack("<QQ", struct.pack("<dd", 0.25, -1.5))
    rows = [(mixed(digest("high")), mixed(bits[0]), mixed(1), mixed(1)), (missing, mixed(bits[1]), missing, mixed(0))]
    expected = []
    for row in rows:
        hashed = 0
        for name, word in zip("abcd", row, strict=True):
            hashed = mixed(hashed ^ mixed(word ^ digest(name)))
        expected.append(hashed - 2**64 if hashed >= 2**63 else hashed)
    assert content(*fields, a=["high", None], b=[0.25, -1.5], c=[1, None], d=[True, False]) == expected


def test_what_differs_has_another_hash() -> None:
    text = Field("a", "a", "text")
    assert len(set(content(text, a=["", None, "a", "A", " a", "\u00e9", "e\u0301"]))) == 7
    assert len(set(content(Field("a", "a", "real"), a=[0.0, None, 1.0, -1.0, 1e-300]))) == 5
    assert len(set(content(Field("a", "a", "date"), a=pa.array([0, None, 1], pa.date32())))) == 3
    one, other = Field("a", "a", "text"), Field("b", "b", "text")
    assert content(one, other, a=["x"], b=["y"]) != content(one, other, a=["y"], b=["x"])
    assert content(one, a=["x"]) != content(other, b=["x"])


def test_what_is_equal_has_the_same_hash() -> None:
    real, text = Field("a", "a", "real"), Field("b", "b", "text")
    assert content(real, text, a=[0.0], b=["x"]) == content(text, real, b=["x"], a=[-0.0])
    chunks = pa.chunked_array([["x"], ["y"]])
    assert content(text, b=chunks) == content(text, b=["x", "y"])
    assert content(Field("r", "r", "text", matters=False), text, r=["1"], b=["x"]) == content(text, b=["x"])


def test_no_hash_is_met_twice_among_many() -> None:
    numbers = np.arange(200_000)
    assert len(set(content(Field("a", "a", "integer"), a=numbers))) == len(numbers)
    assert len(set(content(Field("a", "a", "real"), a=numbers / 7))) == len(numbers)


def test_a_probability_counts_from_the_tolerance_on() -> None:
    held = Held.of(["a", "b", "c", "d"], [1, 1, 1, 1], [0.5, 0.5, None, None])
    new = Held.of(["a", "b", "c", "d", "e"], [1, 2, 1, 1, 1], [0.54, 0.5, None, 0.1, 0.5])
    places = np.array([0, 1, 2, 3, -1])
    assert changed(new, held, places, 0.05).tolist() == [False, True, False, True, True]
    assert changed(new, held, places, 0.03).tolist() == [True, True, False, True, True]
    assert changed(new, held, places, 0.0).tolist() == [True, True, False, True, True]
    assert changed(new, Held.nothing(), np.full(5, -1), 0.0).all()
