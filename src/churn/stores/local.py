"""Files on a disk."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from churn.errors import ChurnError
from churn.stores.base import Hashing, Store, Stored


class LocalStore(Store):
    """A folder or a file on a disk."""

    def __init__(self, path: str) -> None:
        self.uri = path

    def _path(self, name: str) -> Path:
        return Path(self.address(name))

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file or folder."""
        return self._path(name).exists()

    def size(self, name: str = "") -> int:
        """Size of a file in bytes."""
        return self._path(name).stat().st_size

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._path(name).open("rb")
        except FileNotFoundError as error:
            raise ChurnError(f"{self.address(name)} does not exist") from error
        except PermissionError as error:
            raise ChurnError(f"{self.address(name)} may not be read: {error}") from error

    def write(self, write: Callable[[IO[bytes]], object], name: str = "") -> Stored:
        """Write beside the file and rename it."""
        path = self._path(name)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                hashing = Hashing(file)
                write(cast("IO[bytes]", hashing))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise ChurnError(
                f"{path} cannot be written: {error.strerror or error}; nothing there was changed"
            ) from error
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        return hashing.stored()
