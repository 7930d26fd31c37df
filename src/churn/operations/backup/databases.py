"""MLflow's database: consistent copies of it while runs go on, and the way back.

The database is a SQLite file, or PostgreSQL on this machine; a database elsewhere is dumped there.
"""

import hashlib
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from churn.errors import ChurnError
from churn.services.postgres_copy import dump_database, load_database
from churn.services.server import DATABASE, DATABASE_USER
from churn.services.settings import ServiceSettings

# What makes two databases the same for users: the runs, the versions and what they are called.
CONTENT = (
    "SELECT run_uuid FROM runs ORDER BY run_uuid",
    "SELECT name, version FROM model_versions ORDER BY name, version",
    "SELECT name, alias, version FROM registered_model_aliases ORDER BY name, alias",
)
# Columns with addresses of artifacts.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# Runs that went on during the backup do not go on after a restore.
END_RUNS = "UPDATE runs SET status = 'FAILED', end_time = start_time WHERE status = 'RUNNING'"

Ask = Callable[[str], list[Any]]


class Content(NamedTuple):
    """What a database holds: a hash of runs, versions and aliases, and the numbers of runs and of versions."""

    digest: str
    runs: int
    versions: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that could be lost."""
        return not (self.runs or self.versions)


class Database(ABC):
    """MLflow's database."""

    kind: Literal["sqlite", "postgresql"]

    @abstractmethod
    def content(self) -> Content | None:
        """Return what it holds; ``None`` if it does not exist yet.

        Raises:
            ChurnError: If it cannot be read.
        """

    @abstractmethod
    def copy(self, file: Path) -> Content | None:
        """Write its state at one moment into a file, and return what it holds; ``None`` if MLflow has not made it yet."""

    @abstractmethod
    def load(self, file: Path) -> None:
        """Replace its content by that of a file, completely or not at all."""


class SqliteDatabase(Database):
    """A SQLite file.

    Attributes:
        path: Its path.
    """

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    def content(self) -> Content | None:
        """Return what it holds; ``None`` if it does not exist yet."""
        if not self.path.exists():
            return None
        with _explained(self.path), closing(_connect(self.path, "ro")) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'registered_model_aliases'").fetchone():
                return None  # MLflow has not made its tables yet
            return _content(lambda query: connection.execute(query).fetchall())

    def copy(self, file: Path) -> Content | None:
        """Write its state at one moment into a file; runs may go on."""
        if self.content() is None:
            return None
        with (
            _explained(self.path),
            closing(_connect(self.path, "ro")) as source,
            closing(sqlite3.connect(file)) as target,
        ):
            source.backup(target)
            # One file, which needs no others beside it.
            target.execute("PRAGMA journal_mode = DELETE")
        return SqliteDatabase(file).content()

    def load(self, file: Path) -> None:
        """Replace its content in one transaction; a server may have it open."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (
            _explained(self.path),
            closing(_connect(file, "ro")) as source,
            closing(sqlite3.connect(self.path)) as target,
        ):
            source.backup(target)


class PostgresDatabase(Database):
    """A database in PostgreSQL that this machine reaches by its socket.

    Attributes:
        host: Folder of the socket, or name of the host.
    """

    kind = "postgresql"

    def __init__(self, host: str, settings: ServiceSettings) -> None:
        self.host, self._settings = host, settings

    def content(self) -> Content | None:
        """Return what it holds; ``None`` if MLflow has not made its tables yet."""
        import psycopg

        with self._connected() as connection:
            try:
                return _content(lambda query: connection.execute(query).fetchall())
            except psycopg.errors.UndefinedTable:
                return None

    def copy(self, file: Path) -> Content | None:
        """Write its state at one moment into a file; runs may go on."""
        import psycopg

        file.touch(mode=0o600)
        with self._connected() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()[0]
            try:
                content = _content(lambda query: connection.execute(query).fetchall())
            except psycopg.errors.UndefinedTable:
                return None
            # While this transaction is open, the dump sees what it sees.
            dump_database(self.host, self._settings, DATABASE, file, snapshot)
        return content

    def load(self, file: Path) -> None:
        """Replace its tables by those of a dump; MLflow's server may go on."""
        load_database(self.host, self._settings, DATABASE, file)
        with self._connected() as connection:
            connection.execute(END_RUNS)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        import psycopg

        try:
            with psycopg.connect(
                host=self.host,
                user=DATABASE_USER,
                password=self._settings.database_password,
                dbname=DATABASE,
                connect_timeout=10,
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise ChurnError(
                f"PostgreSQL at {self.host} does not answer: {str(error).strip().splitlines()[0]}; start it with make services"
            ) from error


def move_artifacts(file: Path, before: str, now: Path) -> None:
    """Change the addresses of artifacts in a SQLite database from one folder to another, and end the runs left open.

    Args:
        file: The database.
        before: Path or ``file://`` URI of the folder of artifacts in the database.
        now: Path of the folder now.
    """
    old = unquote(urlsplit(before).path) if before.startswith("file:") else before
    # MLflow writes them as paths and as URIs, with and without quoting.
    spellings = {old: str(now), f"file://{quote(old)}": now.as_uri(), f"file://{old}": now.as_uri()}
    with _explained(file), closing(sqlite3.connect(file)) as connection, connection:
        for table, column in ADDRESSES:
            if column not in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                continue  # an older version of MLflow
            for ours, theirs in spellings.items():
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (names from above)
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (theirs, len(ours) + 1, ours, len(ours) + 1, f"{ours}/"),
                )
        connection.execute(END_RUNS)


def sqlite_path(uri: str, project: Path) -> Path | None:
    """Return the path of the database of a tracking URI; ``None`` if it is not a SQLite file."""
    if not uri.startswith("sqlite:///"):
        return None
    return project / uri.removeprefix("sqlite:///").partition("?")[0]


def _content(ask: Ask) -> Content:
    runs, versions, aliases = (sorted(tuple(str(value) for value in row) for row in ask(query)) for query in CONTENT)
    digest = hashlib.sha256(json.dumps([runs, versions, aliases]).encode()).hexdigest()
    return Content(digest, len(runs), len(versions))


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode={mode}", uri=True, timeout=30)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        with suppress(OSError):
            if file.exists() and not file.stat().st_size:
                raise ChurnError(f"{file} is an empty file and no database of MLflow; remove it") from error
        raise ChurnError(f"{file} is not a readable database of MLflow: {error}") from error
