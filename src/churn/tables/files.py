"""What the readers of tables ask of the place where files lie; `churn.stores` has such places."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO, Protocol


class FileStore(Protocol):
    """A folder or a single file. Names are relative to it; the empty name is the file itself."""

    def address(self, name: str = "") -> str:
        """Path or URL of a file."""
        ...

    def size(self, name: str = "") -> int:
        """Size of a file in bytes."""
        ...

    def reading(self, name: str = "") -> AbstractContextManager[IO[bytes]]:
        """Open a file for reading, unpacked where its name ends in ``.gz``."""
        ...


class TableFiles(Protocol):
    """The files that a table consists of."""

    @property
    def store(self) -> FileStore:
        """Where they lie."""
        ...

    def names(self) -> Sequence[str]:
        """Their names, in the order in which they are read.

        Raises:
            ChurnError: If there is none.
        """
        ...
