"""UBJSON (ubjson.org, draft 12) as XGBoost writes and reads it, with lists of numbers of one type as NumPy arrays.

A booster in JSON, where each number is a text, takes several times as long to read and to write.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LIST, _END_OF_LIST, _OBJECT, _END_OF_OBJECT, _OF_TYPE, _OF_LENGTH, _TEXT = b"[]{}$#S"
# Markers of numbers, with their types in NumPy and in struct; the most significant byte comes first.
_NUMBERS = {"i": (">i1", "b"), "U": (">u1", "B"), "I": (">i2", "h"), "l": (">i4", "i"), "L": (">i8", "q")}
_NUMBERS |= {"d": (">f4", "f"), "D": (">f8", "d")}
_ARRAYS = {ord(marker): np.dtype(kind) for marker, (kind, _) in _NUMBERS.items()}
_SINGLE = {ord(marker): struct.Struct(f">{form}") for marker, (_, form) in _NUMBERS.items()}
_MARKERS = {np.dtype(kind).newbyteorder("="): marker.encode() for marker, (kind, _) in _NUMBERS.items()}
_CONSTANTS = {ord("T"): True, ord("F"): False, ord("Z"): None}
_LONG, _DOUBLE = struct.Struct(">q").pack, struct.Struct(">d").pack


def decode(content: bytes) -> Any:
    """Return the value of a document: dictionaries, lists, texts, numbers, and arrays, which are views of the content.

    Raises:
        ValueError: If the content has an unknown marker.
    """
    return _Reader(content).value()


class _Reader:
    """Reads a document from its first byte on."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def value(self) -> Any:
        marker = self._content[self._at]
        self._at += 1
        if marker == _LIST:
            return self._items()
        if marker in _SINGLE:
            return self._number(marker)
        if marker == _TEXT:
            return self._text()
        if marker == _OBJECT:
            found = {}
            while self._content[self._at] != _END_OF_OBJECT:
                name = self._text()
                found[name] = self.value()
            self._at += 1
            return found
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        raise ValueError(f"unknown marker {chr(marker)!r} before byte {self._at} of the UBJSON content")

    def _items(self) -> list[Any] | NDArray[Any]:
        marker = self._content[self._at]
        if marker == _OF_TYPE:
            kind = _ARRAYS[self._content[self._at + 1]]
            self._at += 3  # these two, and the marker of the number of items
            array = np.frombuffer(self._content, kind, count := self.value(), self._at)
            self._at += count * kind.itemsize
            return array
        if marker == _OF_LENGTH:
            self._at += 1
            return [self.value() for _ in range(self.value())]
        found = []
        while self._content[self._at] != _END_OF_LIST:
            found.append(self.value())
        self._at += 1
        return found

    def _text(self) -> str:
        self._at += 1
        count = self._number(self._content[self._at - 1])
        self._at += count
        return self._content[self._at - count : self._at].decode()

    def _number(self, marker: int) -> Any:
        form = _SINGLE[marker]
        self._at += form.size
        return form.unpack_from(self._content, self._at - form.size)[0]


def encode(value: Any) -> bytes:
    """Return the document of a value, from which `decode` restores it.

    Raises:
        TypeError: If a part of it has another type than `decode` returns.
    """
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Any, parts: list[bytes]) -> None:
    if isinstance(value, dict):
        parts.append(b"{")
        for name, each in value.items():
            parts.append(_sized(name))
            _write(each, parts)
        parts.append(b"}")
    elif isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("=")
        parts += (b"[$" + _MARKERS[kind] + b"#L" + _LONG(len(value)), value.astype(kind.newbyteorder(">")).tobytes())
    elif isinstance(value, list):
        parts.append(b"[#L" + _LONG(len(value)))
        for each in value:
            _write(each, parts)
    elif isinstance(value, str):
        parts.append(b"S" + _sized(value))
    elif value is None or isinstance(value, bool):
        parts.append({True: b"T", False: b"F", None: b"Z"}[value])
    elif isinstance(value, int):
        parts.append(b"L" + _LONG(value))
    elif isinstance(value, float):
        parts.append(b"D" + _DOUBLE(value))
    else:
        raise TypeError(f"UBJSON has no form for {type(value).__name__}")


def _sized(text: str) -> bytes:
    stored = text.encode()
    return b"L" + _LONG(len(stored)) + stored
