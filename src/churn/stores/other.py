"""Files in any other file system that fsspec supports."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

import fsspec

from churn.errors import ChurnError
from churn.stores.base import Entry, Hashing, Store


class OtherStore(Store):
    """A folder or a file, written in a transaction of the file system."""

    def __init__(self, protocol: str, path: str, credentials: dict[str, Any] | None = None) -> None:
        self._path = path
        self.uri = f"{protocol}://{path}"
        try:
            self._fs = fsspec.filesystem(protocol, **(credentials or {}))
        except (ImportError, ValueError) as error:  # a package is not installed; nobody knows the protocol
            raise ChurnError(f"{self.uri}: {error}; paths and s3://bucket/prefix need no more packages") from error

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def exists(self, name: str = "") -> bool:
        """Return whether the file or folder exists, without a cache."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._at(name)))

    def names(self) -> list[str]:
        """Return the names of all files in the folder and its subfolders."""
        self._fs.invalidate_cache()
        found = self._fs.find(self._path)
        return [str(path).lstrip("/").removeprefix(f"{self._path.strip('/')}/") for path in found]

    def signatures(self) -> dict[str, str]:
        """Return all metadata of each file."""
        self._fs.invalidate_cache()
        if self._fs.isfile(self._path):
            return {"": repr(sorted(self._fs.info(self._path).items()))}
        return {name: repr(sorted(self._fs.info(self._at(name)).items())) for name in self.names()}

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """Return size and time of each file; the present time where the file system knows none, so that it is not old."""
        self._fs.invalidate_cache()
        known = self._fs.find(self._at(folder), detail=True) if self._fs.exists(self._at(folder)) else {}
        root = f"{self._path.strip('/')}/"
        found = {}
        for path, details in known.items():
            try:
                modified = float(self._fs.modified(path).timestamp())
            except (NotImplementedError, AttributeError, KeyError):
                modified = self.now()
            found[str(path).lstrip("/").removeprefix(root)] = Entry(int(details.get("size") or 0), modified)
        return found

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))
        self._fs.invalidate_cache()

    def size(self, name: str = "") -> int:
        """Return the size of a file in bytes."""
        return int(self._fs.size(self._at(name)))

    def _open(self, name: str) -> IO[bytes]:
        with self._opening(name):
            return cast("IO[bytes]", self._fs.open(self._at(name), "rb"))

    @contextmanager
    def writing(self, name: str = "") -> Iterator[Hashing]:
        """Write a file, which becomes visible once it is complete."""
        with self._fs.transaction, self._fs.open(self._at(name), "wb") as file:
            yield Hashing(file)
        self._fs.invalidate_cache()
