"""Contents of S3 requests and objects as files."""

import io
import threading
from collections.abc import Callable
from typing import Any


class Body(io.BytesIO):
    """Content of a request, which stops once the request is given up: a failed write must not appear later."""

    def __init__(self, content: bytes, given_up: threading.Event) -> None:
        super().__init__(content)
        self._given_up = given_up

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, as long as the request is wanted."""
        if self._given_up.is_set():
            raise TimeoutError
        return super().read(size)


class ObjectReader(io.RawIOBase):
    """An object as a readable file, fetched in pieces."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int, piece: int) -> None:
        """Set a function that returns the bytes from a start to an end, and the sizes of object and pieces in bytes."""
        self._fetch, self._size, self._piece = fetch, size, piece
        self._at = 0
        self._start, self._held = 0, b""

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position; nothing is fetched."""
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return how many bytes."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        if not self._start <= self._at < self._start + len(self._held):
            self._start = self._at
            self._held = self._fetch(self._at, min(self._at + self._piece, self._size))
        skipped = self._at - self._start
        content = self._held[skipped : skipped + wanted]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
