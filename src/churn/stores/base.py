"""What every store can do."""

import gzip
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, NamedTuple, Protocol, cast

from churn.errors import ChurnError

CHUNK = 1 << 20


class Stored(NamedTuple):
    """What was written.

    Attributes:
        bytes: Size of the content.
        sha256: Hash of the content, in hexadecimal digits.
    """

    bytes: int
    sha256: str


class Store(ABC):
    """A folder or a single file. Names are relative to it; the empty name is the file itself.

    Attributes:
        uri: Path or URL, as people write it.
    """

    uri: str

    @abstractmethod
    def exists(self, name: str = "") -> bool:
        """Whether there is such a file, asked anew."""

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all files in the folder and below it; none where there is no such folder."""

    @abstractmethod
    def signatures(self) -> dict[str, str]:
        """What tells whether a file has changed, without reading it: of all files in the folder, by their names.

        Of a store that is a file itself, the name is empty; of one that is not there, there are none.
        """

    @abstractmethod
    def size(self, name: str = "") -> int:
        """Size of a file in bytes."""

    @abstractmethod
    def writing(self, name: str = "") -> AbstractContextManager["Hashing"]:
        """Write a file, in a ``with`` block, so that readers see the old content or the new, never a part.

        It is there when the block ends, and `Hashing.stored` tells what it holds; an error in the block leaves the old
        content.
        """

    def write(self, write: Callable[[IO[bytes]], object], name: str = "") -> Stored:
        """Write a file by a function that is given it; as `writing`."""
        with self.writing(name) as file:
            write(cast("IO[bytes]", file))
        return file.stored()

    @abstractmethod
    def _open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    def update_json(self, change: Callable[[Any], Any], name: str = "") -> Any:
        """Replace a JSON document by what `change` makes of it.

        Args:
            change: Gives the new content from the old, which is ``None`` where there is none; ``None`` to leave it.
            name: Which document.

        Returns:
            What stands there then. Where the store can make sure of it, nobody else changed the document between the
            look and the write.
        """
        old = self.read_json(name) if self.exists(name) else None
        new = change(old)
        if new is None:
            return old
        self.write_json(new, name)
        return new

    def address(self, name: str = "") -> str:
        """Path or URL of a file."""
        return f"{self.uri}/{name}" if name else self.uri

    @contextmanager
    def reading(self, name: str = "") -> Iterator[IO[bytes]]:
        """Open a file for reading, unpacked where its name ends in ``.gz``.

        Raises:
            ChurnError: If it does not exist or may not be read.
        """
        with self._open(name) as file:
            packed = self.address(name).endswith(".gz")
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file

    def write_json(self, content: Any, name: str = "") -> Stored:
        """Write a JSON document, indented for people."""
        return self.write(lambda file: file.write(as_json(content)), name)

    def read_json(self, name: str = "") -> Any:
        """Read a JSON document.

        Raises:
            ChurnError: If it does not exist or is not JSON.
        """
        with self.reading(name) as file:
            return self._parsed(file.read(), name)

    def _parsed(self, content: bytes, name: str) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise ChurnError(f"{self.address(name)} is not valid JSON: {error}") from error

    def sha256(self, name: str = "", look: Callable[[bytes], object] | None = None) -> str:
        """Hash of a file's content as it is stored, read in chunks; each is shown to `look` too."""
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
            ChurnError: If it is not the same.
        """
        if self.sha256(name) != written.sha256:
            raise ChurnError(f"{self.address(name)} was not stored as it was written; nothing was published, run again")


def as_json(content: Any) -> bytes:
    """A JSON document as bytes, indented for people."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


class Sink(Protocol):
    """What takes bytes."""

    def write(self, content: Any, /) -> Any:
        """Take bytes."""


class Hashing:
    """A file being written, whose size and hash are kept on the way."""

    closed = False

    def __init__(self, file: Sink) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def write(self, content: Any) -> int:
        """Write bytes."""
        self._digest.update(content)
        size = memoryview(content).nbytes
        self._bytes += size
        self._file.write(content)
        return size

    def tell(self) -> int:
        """Bytes written so far."""
        return self._bytes

    def flush(self) -> None:
        """Nothing is held back here."""

    def stored(self) -> Stored:
        """Size and hash of what was written so far."""
        return Stored(self._bytes, self._digest.hexdigest())
