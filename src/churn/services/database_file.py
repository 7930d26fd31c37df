"""The SQLite file of MLflow's database: its address, the places of artifacts in it, and what it has."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from churn.errors import ChurnError

# Forms of a SQLite address in a file; ``sqlite://`` alone is a database in memory.
_ADDRESS = re.compile(r"^sqlite(?:\+\w+)?:///(?P<path>[^?]+)")
# Seconds to wait for a process that writes to the database.
BUSY = 20.0
# Tables that have rows before anything was tracked, or whose rows are worth nothing without a run.
_WITHOUT_WORTH = ("alembic_version", "experiments", "experiment_tags", "workspaces", "sqlite_sequence")


def file_of(address: str) -> Path | None:
    """Return the file of a database's address; ``None`` for a server, a database in memory or another kind of address."""
    match = _ADDRESS.match(address)
    if match is None or match["path"] == ":memory:" or match["path"].startswith("file:"):
        return None
    return Path(unquote(match["path"]))


def address_of(path: Path) -> str:
    """Return the address of a database in a file.

    Raises:
        ChurnError: If MLflow would read another path from the address.
    """
    text = path.as_posix()
    faults = {"?": "?" in text, "% before two digits": unquote(text) != text, "' with \"": "'" in text and '"' in text}
    if sign := next((sign for sign, there in faults.items() if there), None):
        raise ChurnError(
            f"MLflow's database cannot be at {text}: {sign} has another meaning in its address. Move the project to a folder "
            "without it, or set stores.artifacts to such a folder"
        )
    return f"sqlite:///{text}"


def place_of(location: str, project: Path) -> str:
    """Return the address of a folder of artifacts, given as an address or as a path relative to the project."""
    return location if "://" in location else (project / location).as_uri()


def anchored(address: str, project: Path) -> str:
    """Return the address of MLflow with an absolute path, if it is a file with a path relative to the project.

    Raises:
        ChurnError: If the path of the project or of the artifacts has a sign that the address cannot have.
    """
    if file_of(address) is None:
        return address
    path, _, options = address.partition(":///")[2].partition("?")
    if "/" in options:  # the sign belongs to a path
        path = f"{path}?{options}"
    absolute = project / path
    known = address_of(absolute)
    return address if absolute.as_posix() == path else known


def folder_of(place: str) -> Path | None:
    """Return the folder of an address of artifacts; ``None`` if it is not on this machine."""
    parts = urlsplit(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    return Path(place) if place.startswith("/") else None


def differ(stored: str | None, artifacts: str) -> bool:
    """Return whether two addresses are different folders on this machine."""
    before, now = folder_of(stored or ""), folder_of(artifacts)
    return before is not None and now is not None and before != now


class Condition(NamedTuple):
    """What is in a database file.

    Attributes:
        revision: Version of its tables; ``None`` if it says none.
        half_made: Whether a change of its tables was interrupted.
        in_use: Whether it has runs or models.
    """

    revision: str | None
    half_made: bool
    in_use: bool


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that exists, without a transaction.

    Raises:
        ChurnError: If it is not a database, is damaged, or is locked for too long.
    """
    try:
        with closing(
            # Not read-only: a change that a killed process began has to be rolled back first.
            sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY, isolation_level=None)
        ) as database:
            yield database
    except sqlite3.DatabaseError as error:
        raise ChurnError(f"MLflow's database {path} cannot be used: {error}; {_remedy(error, path)}") from error


def _remedy(error: sqlite3.DatabaseError, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another process is writing to it; try again when that has ended"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"put a copy of it back, or move it away to start with an empty one (mv {path.name} {path.name}.damaged)"
    return "check the rights of the file and its folder, and the space on the disk"


def _tables(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def revision_in(database: sqlite3.Connection) -> str | None:
    """Return the version of the tables of an open database; ``None`` if it says none."""
    try:
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # not that there is no such table
            raise
        return None
    return str(row[0]) if row else None


def condition(path: Path) -> Condition | None:
    """Return what is in a database file; ``None`` if there is none, or if nothing was ever written to it."""
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return None
    with opened(path) as database:
        tables = _tables(database)
        if not tables:
            return None
        names = [name for name in tables if name not in _WITHOUT_WORTH and not name.startswith("_alembic_tmp_")]
        in_use = any(database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in names)  # noqa: S608
        revision = revision_in(database)
        half_made = revision is None or any(name.startswith("_alembic_tmp_") for name in tables)
        return Condition(revision, half_made, in_use)


@cache
def revisions() -> tuple[str, frozenset[str]]:
    """Return the version of the tables that the installed MLflow makes, and all versions that it knows.

    They are read from its migrations. MLflow itself loads all of them as modules, which takes several times as long.
    """
    import mlflow

    folder = Path(mlflow.__file__).parent / "store/db_migrations/versions"
    texts = [_beginning(file) for file in folder.glob("*.py")]
    known = {name for text in texts for name in re.findall(r"^revision\b[^=\n]*=\s*[\"'](\w+)", text, re.MULTILINE)}
    replaced = {
        name
        for text in texts
        for line in re.findall(r"^down_revision\b[^=\n]*=(.*)$", text, re.MULTILINE)
        for name in re.findall(r"[\"'](\w+)[\"']", line)
    }
    current = known - replaced
    if len(current) != 1:
        raise ChurnError(
            f"MLflow {version('mlflow')} is not complete: {folder} has no last migration; install it again"
        )
    return current.pop(), frozenset(known)


def _beginning(file: Path) -> str:
    with file.open(encoding="utf-8") as text:
        return text.read(4_000)


def current_revision() -> str:
    """Return the version of the tables that the installed MLflow makes."""
    return revisions()[0]
