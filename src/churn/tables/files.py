"""Interface to the files of a table; `churn.stores` implements it for folders and buckets."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO, Protocol


class FileStore(Protocol):
    """A folder or a single file. Names are relative to it; the empty name is the file itself."""

    def address(self, name: str = "") -> str:
        """Return the path or URL of a file."""
        ...

    def size(self, name: str = "") -> int:
        """Return the size of a file in bytes."""
        ...

    def reading(self, name: str = "") -> AbstractContextManager[IO[bytes]]:
        """Open a file for reading, decompressed if it is compressed."""
        ...

    def compression(self, name: str = "") -> str | None:
        """Return how a file is compressed: ``gzip``, ``zip``, ``zstd``, or None."""
        ...


class TableFiles(Protocol):
    """The files of a table."""

    @property
    def store(self) -> FileStore:
        """Store that holds the files."""
        ...

    def names(self) -> Sequence[str]:
        """Return their names, in the order in which they are read.

        Raises:
            ChurnError: If there is no file.
        """
        ...
