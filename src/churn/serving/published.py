"""The published score of an account, looked up by its id.

The results are Parquet files in the order of the table. So once for each publication they are copied into a file of SQLite on
this machine, with the id as its key, which all workers share. Where runs score only what is new, the file has the scores of all
runs that the current ledger names; of an account in several, the newest run counts.
"""

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from filelock import FileLock

from churn.config.published import SCORE_COLUMNS

logger = logging.getLogger(__name__)

# Seconds to wait for another worker that copies the same results.
PATIENCE = 600.0
KEPT = 2


class Rows(Protocol):
    """Published rows of one run, in batches of columns: the id, then those of `SCORE_COLUMNS`."""

    def __iter__(self) -> Iterator[Any]: ...


class Run(NamedTuple):
    """A published run.

    Attributes:
        run_id: Its id.
        as_of: Date of its snapshot (YYYY-MM-DD).
        published_at: When it was published, in ISO 8601.
    """

    run_id: str
    as_of: str | None
    published_at: str | None


class Results(Protocol):
    """The store of results."""

    def current(self) -> str | None:
        """Return the id of the current run; ``None`` if nothing was published yet."""
        ...

    def runs(self, run_id: str) -> list[Run]:
        """Return the runs whose scores are valid while a run is current, that run last."""
        ...

    def batches(self, run_id: str) -> Iterator[list[list[Any]]]:
        """Iterate over the scores of a run, in batches of columns: ids, then `SCORE_COLUMNS`."""
        ...


class PublishedScores:
    """Looks up the published score of an account.

    Attributes:
        error: Why the last look has failed; ``None`` if it has not.
        run_id: Run that is answered from; ``None`` if there is none.
    """

    def __init__(self, results: Results, folder: Path) -> None:
        """Set the store of results, and a folder of this machine for the copies."""
        self._results, self._folder = results, folder
        self._database: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self.error: str | None = None
        self.run_id: str | None = None

    def look(self) -> None:
        """Look which run is current, and copy its scores. Never raises an error of the store; `error` tells."""
        try:
            current = self._results.current()
            if current is not None and current != self.run_id:
                database = self._opened(current)
                with self._lock:
                    before, self._database, self.run_id = self._database, database, current
                if before is not None:
                    before.close()
        except Exception as error:
            said = str(error).partition("\n")[0]
            if said != self.error:
                logger.warning("The published scores cannot be read: %s", said)
            self.error = said
            return
        self.error = None

    def find(self, account: str) -> dict[str, Any] | None:
        """Return the published score of an account; ``None`` if it has none."""
        with self._lock:
            if self._database is None:
                return None
            query = (
                "SELECT probability, prediction, risk_band, model_version, run_id, as_of, published_at "
                "FROM scores JOIN runs ON run = runs.number WHERE id = ?"
            )
            row = self._database.execute(query, (account,)).fetchone()
        if row is None:
            return None
        scored = dict(zip(SCORE_COLUMNS, row[:4], strict=True))
        return {"id": account, **scored, "run_id": row[4], "as_of": row[5], "published_at": row[6]}

    def close(self) -> None:
        """Close the copy."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _opened(self, run_id: str) -> sqlite3.Connection:
        runs = self._results.runs(run_id)
        # Older runs may be removed and scored again, while the current one stays.
        name = hashlib.sha256(" ".join(run.run_id for run in runs).encode()).hexdigest()[:32]
        file = self._folder / f"{name}.sqlite"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self._folder / "copy.lock", timeout=PATIENCE):
            if not file.exists():
                self._copy(runs, file)
            self._tidy(file)
        # It never changes, and is removed only when it is no longer read.
        return sqlite3.connect(f"file:{file.as_posix()}?mode=ro&immutable=1", uri=True, check_same_thread=False)

    def _copy(self, runs: list[Run], file: Path) -> None:
        aside = file.with_suffix(".part")
        aside.unlink(missing_ok=True)
        with closing(sqlite3.connect(aside, isolation_level=None)) as database:
            # Nobody reads it yet, and a copy that was interrupted is made again.
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(
                "CREATE TABLE runs (number INTEGER PRIMARY KEY, run_id TEXT, as_of TEXT, published_at TEXT)"
            )
            database.execute(
                "CREATE TABLE scores (id TEXT PRIMARY KEY, probability REAL, prediction INTEGER, risk_band TEXT, "
                "model_version TEXT, run INTEGER) WITHOUT ROWID"
            )
            database.execute("BEGIN")
            for number, run in enumerate(runs):
                database.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (number, *run))
                for columns in self._results.batches(run.run_id):
                    rows = zip(*columns, [number] * len(columns[0]), strict=True)
                    database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.execute("COMMIT")
        aside.chmod(0o600)
        aside.replace(file)

    def _tidy(self, used: Path) -> None:
        """Remove the copies of earlier publications; a worker that still reads one has it open."""
        with suppress(OSError):
            used.touch()
            copies = sorted(self._folder.glob("*.sqlite"), key=lambda each: each.stat().st_mtime, reverse=True)
            for old in copies[KEPT:]:
                old.unlink(missing_ok=True)
