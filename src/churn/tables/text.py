"""Text of CSV files, as pieces in UTF-8 whatever its encoding."""

import codecs
from collections.abc import Iterator
from typing import IO

import numpy as np

# Marks at the beginning of a file; that of UTF-32 begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# What a decoder writes for bytes that are no text in the encoding.
UNREADABLE = "\ufffd"
# Encoding of bytes that are not UTF-8, where no encoding is given.
FALLBACK = "cp1252"
_MENDED = "churn.cp1252"


def _as_fallback(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode(FALLBACK, errors="replace"), error.end


codecs.register_error(_MENDED, _as_fallback)


def is_utf8(text: bytes | memoryview) -> bool:
    """Return whether text is UTF-8."""
    import pyarrow as pa

    ends = pa.py_buffer(np.array([0, len(text)], dtype=np.int64))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(text)]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def mended(text: bytes | memoryview, encoding: str | None) -> bytes:
    """Return text in UTF-8 from text that has other bytes in it.

    Args:
        text: The text, as `TextPieces` returns it.
        encoding: The encoding that was given. Without one, bytes that are not UTF-8 are read as cp1252, each by itself, so
            that the result does not depend on what else the text holds.
    """
    return str(text, "utf-8", _MENDED if encoding is None else "replace").encode()


def marked_encoding(begin: bytes) -> tuple[str | None, int]:
    """Return the encoding that the first bytes of a file prove, and the length of its mark."""
    for mark, encoding in _MARKS.items():
        if begin.startswith(mark):
            return encoding, len(mark)
    # UTF-16 without a mark: every second byte of Latin text is zero.
    if len(begin) >= 4 and len(begin) % 2 == 0:
        even, odd = begin[0::2].count(0), begin[1::2].count(0)
        if odd > len(begin) // 4 and not even:
            return "utf-16-le", 0
        if even > len(begin) // 4 and not odd:
            return "utf-16-be", 0
    return None, 0


class TextPieces:
    """The text of an open file in pieces.

    Attributes:
        encoding: Encoding of the file; None if it is UTF-8, or ASCII with other bytes.
    """

    def __init__(self, file: IO[bytes], given: str | None, size: int) -> None:
        """Look at the beginning.

        Args:
            file: The file.
            given: Encoding that the parameters give; a mark in the file is stronger.
            size: Number of bytes to read for a piece.
        """
        self._file, self._size = file, size
        begin = file.read(size)
        found, mark = marked_encoding(begin[:4096])
        encoding = found or given
        self.encoding = None if encoding in (None, "utf-8", "ascii") else encoding
        self._begin = begin[mark:]

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the text in UTF-8; bytes that are not UTF-8 stay in it if the file is not decoded here."""
        piece = self._begin
        if self.encoding is None:
            while piece:
                yield piece
                piece = self._file.read(self._size)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        while piece:
            yield decoder.decode(piece).encode()
            piece = self._file.read(self._size)
        if rest := decoder.decode(b"", final=True).encode():
            yield rest


def with_line_feeds(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return text whose lines end in carriage returns with line feeds."""
    for piece in pieces:
        yield piece.replace(b"\r", b"\n")
