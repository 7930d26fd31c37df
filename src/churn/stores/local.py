"""Files on a local disk."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from churn.errors import ChurnError
from churn.stores.base import Hashing, Store


class LocalStore(Store):
    """A folder or a file on a local disk."""

    def __init__(self, path: str) -> None:
        self.uri = path

    def _path(self, name: str) -> Path:
        return Path(self.address(name))

    def exists(self, name: str = "") -> bool:
        """Return whether the file or folder exists."""
        return self._path(name).exists()

    def names(self) -> list[str]:
        """Return the names of all files in the folder and its subfolders."""
        return [path.relative_to(self.uri).as_posix() for path in Path(self.uri).rglob("*") if path.is_file()]

    def signatures(self) -> dict[str, str]:
        """Return size and modification time of each file."""
        whole = Path(self.uri)
        found = {}
        for name in [""] if whole.is_file() else self.names():
            with suppress(FileNotFoundError):  # removed in the meantime
                state = self._path(name).stat()
                found[name] = f"{state.st_size}-{state.st_mtime_ns}"
        return found

    def size(self, name: str = "") -> int:
        """Return the size of a file in bytes."""
        return self._path(name).stat().st_size

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._path(name).open("rb")
        except FileNotFoundError as error:
            raise ChurnError(f"{self.address(name)} does not exist") from error
        except PermissionError as error:
            raise ChurnError(f"{self.address(name)} may not be read: {error}") from error

    @contextmanager
    def writing(self, name: str = "") -> Iterator[Hashing]:
        """Write a temporary file next to the target, then rename it."""
        path = self._path(name)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            with _explained(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = aside.open("wb")
            with file:
                yield Hashing(_Explained(file, path))
                with _explained(path):
                    file.flush()
                    os.fsync(file.fileno())
            with _explained(path):
                aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise


class _Explained:
    """A file that reports only its own write errors: other code in the ``with`` block may fail for other reasons."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path

    def write(self, content: Any) -> None:
        with _explained(self._path):
            self._file.write(content)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ChurnError(f"{path} cannot be written: {error.strerror or error}; nothing there was changed") from error
