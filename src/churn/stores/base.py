"""The interface of all stores."""

import hashlib
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, Any, NamedTuple, Protocol, cast

from churn.errors import ChurnError
from churn.stores.compression import Compression, compression_of, unpacked

logger = logging.getLogger(__name__)

CHUNK = 1 << 20


class Stored(NamedTuple):
    """Size and hash of written content.

    Attributes:
        bytes: Size of the content.
        sha256: Hash of the content, in hexadecimal digits.
    """

    bytes: int
    sha256: str


class DamagedError(ChurnError):
    """A stored document that is not what it should be, while the store itself answers."""


class Entry(NamedTuple):
    """A stored file in a listing.

    Attributes:
        bytes: Its size.
        modified: When it was written, in seconds since 1970 by the clock of the store.
    """

    bytes: int
    modified: float


class Store(ABC):
    """A folder or a single file. Names are relative to it; the empty name is the file itself.

    Attributes:
        uri: Path or URL.
        is_local: Whether it is on a disk of this machine, where removing something takes no requests.
    """

    uri: str
    is_local = False

    @abstractmethod
    def exists(self, name: str = "") -> bool:
        """Return whether the file exists, without a cache."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all files in the folder and its subfolders; none if the folder does not exist."""

    @abstractmethod
    def signatures(self) -> dict[str, str]:
        """Return a signature for each file in the folder, by name. It changes with the file, which is not read.

        If the store is a single file, its name is empty. If nothing exists, the result is empty.
        """

    @abstractmethod
    def entries(self, folder: str = "") -> dict[str, Entry]:
        """Return size and time of all files in the store, or below one of its folders, by name."""

    def now(self) -> float:
        """Return the time by the clock of the store, in seconds since 1970."""
        return time.time()

    @abstractmethod
    def size(self, name: str = "") -> int:
        """Return the size of a file in bytes."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    # --- what processes that were killed leave ----------------------------------------------------------------------

    def working(self, folder: str) -> AbstractContextManager[None]:
        """Mark a folder as in use while a ``with`` block runs, for stores that can."""
        return nullcontext()

    def discard(self, folder: str) -> None:
        """Remove all files in a folder."""
        for name in self.entries(folder):
            self.remove(name)

    def abandoned(self, marker: str) -> list[str]:
        """Return the folders without a file `marker` whose writers have ended; none for stores that cannot tell at once."""
        return []

    def unfinished(self) -> dict[str, Entry]:
        """Return what interrupted writes have left, by name; none for stores in which they leave nothing."""
        return {}

    def remove_unfinished(self, name: str) -> None:
        """Remove one of the `unfinished`."""
        self.remove(name)

    @abstractmethod
    def writing(self, name: str = "") -> AbstractContextManager["Hashing"]:
        """Write a file in a ``with`` block, so that readers see the old or the new content, never a part.

        The file exists when the block ends, and `Hashing.stored` returns its size and hash. After an error in the block
        the old content is unchanged.
        """

    def write(self, write: Callable[[IO[bytes]], object], name: str = "") -> Stored:
        """Write a file with a function that receives the open file; see `writing`."""
        with self.writing(name) as file:
            write(cast("IO[bytes]", file))
        return file.stored()

    @abstractmethod
    def _open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    @contextmanager
    def _opening(self, name: str) -> Iterator[None]:
        """Explain why a file of a file system cannot be opened."""
        try:
            yield
        except FileNotFoundError as error:
            raise ChurnError(f"{self.address(name)} does not exist") from error
        except PermissionError as error:
            raise ChurnError(f"{self.address(name)} may not be read: {error}") from error
        except IsADirectoryError as error:
            raise ChurnError(f"{self.address(name)} is a folder in the place of a file; move it away") from error

    def update_json(self, change: Callable[[Any], Any], name: str = "", *, mend: bool = False) -> Any:
        """Replace a JSON document by the result of a function.

        Args:
            change: Returns the new content for the old one, which is ``None`` if the document does not exist; returns
                ``None`` to leave the document unchanged.
            name: Name of the document.
            mend: Whether a document that is not JSON counts as one that does not exist, with a warning.

        Returns:
            The content afterwards. If the store has conditional writes, no other process has changed the document
            between reading and writing.
        """
        old = None
        if self.exists(name):
            with self.reading(name) as file:
                old = self._parsed(file.read(), name, mend=mend)
        new = change(old)
        if new is None:
            return old
        self.write_json(new, name)
        return new

    def address(self, name: str = "") -> str:
        """Return the path or URL of a file."""
        return f"{self.uri}/{name}" if name else self.uri

    @contextmanager
    def reading(self, name: str = "") -> Iterator[IO[bytes]]:
        """Open a file for reading, decompressed if it is compressed with gzip, zstd or ZIP, whatever its name.

        Raises:
            ChurnError: If it does not exist, may not be read, or is compressed and damaged.
        """
        with self._open(name) as file:
            yield unpacked(file, self.address(name))

    @contextmanager
    def reading_as_stored(self, name: str = "") -> Iterator[IO[bytes]]:
        """Open a file for reading, as it is stored: a workbook is a ZIP file that must not be unpacked.

        Raises:
            ChurnError: If it does not exist or may not be read.
        """
        with self._open(name) as file:
            yield file

    def compression(self, name: str = "") -> Compression | None:
        """Return how a file is compressed, if it is.

        Raises:
            ChurnError: If it does not exist or may not be read.
        """
        with self._open(name) as file:
            return compression_of(file)

    def write_json(self, content: Any, name: str = "") -> Stored:
        """Write a JSON document, indented."""
        return self.write(lambda file: file.write(as_json(content)), name)

    def read_json(self, name: str = "") -> Any:
        """Read a JSON document.

        Raises:
            ChurnError: If it does not exist or is not JSON.
        """
        with self.reading(name) as file:
            return self._parsed(file.read(), name)

    def _parsed(self, content: bytes, name: str, *, mend: bool = False) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            said = f"{self.address(name)} is not valid JSON: {error if content else 'it is empty'}"
            if not mend:
                raise DamagedError(said) from error
            logger.warning("%s; it is replaced", said)
            return None

    def sha256(self, name: str = "", look: Callable[[bytes], object] | None = None) -> str:
        """Return the SHA-256 of a file as it is stored, read in chunks, which are also passed to `look`."""
        digest = hashlib.sha256()
        with self._open(name) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if look is not None:
                    look(chunk)
        return digest.hexdigest()

    def verify(self, name: str, written: Stored) -> None:
        """Read a file back and compare it with what was written.

        Raises:
            ChurnError: If they differ.
        """
        if self.sha256(name) != written.sha256:
            raise ChurnError(f"{self.address(name)} was not stored as it was written; nothing was published, run again")


def as_json(content: Any) -> bytes:
    """Return a JSON document as bytes, indented."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


class Sink(Protocol):
    """Anything that bytes can be written to."""

    def write(self, content: Any, /) -> Any:
        """Write bytes."""


class Hashing:
    """A file that is being written, with its size and hash so far."""

    closed = False

    def __init__(self, file: Sink) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def write(self, content: Any) -> int:
        """Write bytes, and return how many."""
        self._digest.update(content)
        size = memoryview(content).nbytes
        self._bytes += size
        self._file.write(content)
        return size

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._bytes

    def flush(self) -> None:
        """Do nothing, because nothing is buffered here."""

    def stored(self) -> Stored:
        """Return size and hash of the content written so far."""
        return Stored(self._bytes, self._digest.hexdigest())
