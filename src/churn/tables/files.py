"""Interface to the files of a table; `churn.stores` implements it for folders and buckets."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, Protocol

from churn.errors import ChurnError

# What a file is, in errors.
ACCOUNTS = "an account table"


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


@contextmanager
def parquet_file(store: FileStore, name: str = "", kind: str = "a table") -> Iterator[Any]:
    """Open a Parquet file, as a `pyarrow.parquet.ParquetFile`, for the length of a block.

    Args:
        store: Store that holds the file.
        name: Name of the file in the store.
        kind: What it should be, for errors.

    Raises:
        ChurnError: If it does not exist, or the block finds it damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with store.reading(name) as file:
            yield parquet.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise ChurnError(f"{store.address(name)} cannot be read as {kind}: {error}") from error
