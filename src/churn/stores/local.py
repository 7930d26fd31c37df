"""Files on a local disk."""

import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from churn.errors import ChurnError
from churn.stores.base import Entry, Hashing, Store
from churn.stores.occupied import is_abandoned, occupied, occupy

# End of the names of files that are being written.
PART = ".part"
# Seconds to wait for another process that replaces the same document, which takes milliseconds.
PATIENCE = 30.0


class LocalStore(Store):
    """A folder or a file on a local disk."""

    is_local = True

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

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """Return size and modification time of each file; names of files that are being written are left out."""
        found = {}
        for path in self._path(folder).rglob("*"):
            with suppress(OSError):  # removed in the meantime
                state = path.lstat()
                if path.is_file() and not path.name.endswith((PART, ".lock")):
                    found[path.relative_to(self.uri).as_posix()] = Entry(state.st_size, state.st_mtime)
        return found

    def size(self, name: str = "") -> int:
        """Return the size of a file in bytes."""
        return self._path(name).stat().st_size

    def remove(self, name: str) -> None:
        """Remove a file, and the folders that are empty then."""
        path = self._path(name)
        with _explained(path, "removed"):
            path.unlink(missing_ok=True)
        for folder in path.relative_to(self.uri).parents[:-1]:
            try:
                (Path(self.uri) / folder).rmdir()
            except OSError:  # not empty, or gone
                return

    @contextmanager
    def working(self, folder: str) -> Iterator[None]:
        """Create a folder, and mark it as in use while the block runs."""
        with _explained(self._path(folder)):
            self._path(folder).mkdir(parents=True, exist_ok=True)
        with occupied(self._path(folder)):
            yield

    def discard(self, folder: str) -> None:
        """Remove a folder."""
        shutil.rmtree(self._path(folder), ignore_errors=True)

    def abandoned(self, marker: str) -> list[str]:
        """Return the folders in which a process that has ended left no file `marker`."""
        found = []
        with suppress(FileNotFoundError):
            for folder in Path(self.uri).iterdir():
                if folder.is_dir() and not (folder / marker).exists() and is_abandoned(folder, _newest(folder)):
                    found.append(folder.name)
        return sorted(found)

    def unfinished(self) -> dict[str, Entry]:
        """Return the partly written files of processes that have ended."""
        found = {}
        for path in Path(self.uri).rglob(f".*{PART}"):
            with suppress(OSError):
                state = path.stat()
                if path.is_file() and is_abandoned(path):
                    found[path.relative_to(self.uri).as_posix()] = Entry(state.st_size, state.st_mtime)
        return found

    def _open(self, name: str) -> IO[bytes]:
        with self._opening(name):
            return self._path(name).open("rb")

    @contextmanager
    def writing(self, name: str = "") -> Iterator[Hashing]:
        """Write a temporary file next to the target, then rename it."""
        path = self._path(name)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
        try:
            with _explained(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove_parts(path)
                file = aside.open("wb")
            with file:
                occupy(file)
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

    def update_json(self, change: Callable[[Any], Any], name: str = "", *, mend: bool = False) -> Any:
        """Like `Store.update_json`; processes on this machine wait for each other."""
        path = self._path(name)
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE)
            try:
                lock.acquire()
            except Timeout:
                raise ChurnError(f"{path} is in use by another process for more than {PATIENCE:g} seconds") from None
        try:
            return super().update_json(change, name, mend=mend)
        finally:
            lock.release()


def _remove_parts(path: Path) -> None:
    """Remove what processes that were killed have left of this file."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        if is_abandoned(part):
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _newest(folder: Path) -> float:
    """Return when something in a folder was changed last, in seconds since 1970."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(OSError):
            times.append(path.lstat().st_mtime)
    return max(times)


class _Explained:
    """A file that reports only its own write errors: other code in the ``with`` block may fail for other reasons."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path

    def write(self, content: Any) -> None:
        with _explained(self._path):
            self._file.write(content)


@contextmanager
def _explained(path: Path, action: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ChurnError(f"{path} cannot be {action}: {error.strerror or error}; nothing there was changed") from error
