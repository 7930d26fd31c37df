"""The ledger of a target that keeps none itself: an SQLite file on this machine.

It says what the target holds, and which batch is on its way. A batch is noted before it is sent and settled after the answer, so
that after a kill the same bytes are sent again under the same key, and the target can tell that it has them.
"""

import json
import logging
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from churn.delivery.content import Batch, Held
from churn.delivery.target import Occasion, State, TargetError
from churn.stores.state import DAMAGED

logger = logging.getLogger(__name__)

# Seconds to wait for another delivery, whose transactions take milliseconds.
PATIENCE = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS held (id TEXT PRIMARY KEY, content INTEGER NOT NULL, score REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS pending (key TEXT PRIMARY KEY, removed INTEGER, body BLOB, rows TEXT);
"""


@dataclass(frozen=True)
class Pending:
    """A batch on its way.

    Attributes:
        key: Its key.
        body: What is sent.
        removed: Whether its accounts are removed.
        ids: Ids of its accounts.
    """

    key: str
    body: bytes
    removed: bool
    ids: list[str]


class LocalLedger:
    """The ledger of one target."""

    def __init__(self, path: Path) -> None:
        """Open the ledger, which need not exist. A damaged one is set aside with a warning.

        Args:
            path: Its file.
        """
        self._path = path
        self._token = ""
        if path.exists() and (reason := _damage(path)):
            aside = path.with_name(f"{path.name}{DAMAGED}{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
            path.replace(aside)
            for end in ("-wal", "-shm"):
                with suppress(OSError):
                    path.with_name(path.name + end).unlink(missing_ok=True)
            logger.warning("%s was damaged and is now %s: %s", path, aside.name, reason)
            self._make()
            self._note(lost="yes")
        self._connection = self._connected() if path.exists() else None

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
        return connection

    def _make(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = self._connected()
        self._path.chmod(0o600)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._make()
        assert self._connection is not None  # noqa: S101, made above
        return self._connection

    def _note(self, **notes: str) -> None:
        self._open.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes.items())

    def _noted(self, name: str) -> str | None:
        row = self._open.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def state(self) -> State:
        """What is known of the target."""
        if self._connection is None:
            return "new"
        if self._noted("lost"):
            return "lost"
        return "known" if self._noted("token") else "new"

    def begin(self, occasion: Occasion) -> None:
        """Begin a delivery: an earlier one that still goes on is overtaken."""
        self._token = occasion.token
        self._open.execute("BEGIN IMMEDIATE")
        self._note(token=occasion.token, run_id=occasion.run.run_id, began_at=occasion.at.isoformat())
        self._open.execute("DELETE FROM notes WHERE name = 'lost'")
        self._open.execute("COMMIT")

    def held(self) -> Held:
        """Return what the target holds."""
        if self._connection is None:
            return Held.nothing()
        rows = self._open.execute("SELECT id, content, score FROM held").fetchall()
        ids, content, score = zip(*rows, strict=True) if rows else ((), (), ())
        return Held.of(list(ids), list(content), list(score))

    def pending(self) -> Pending | None:
        """Return the batch on its way, if there is one."""
        if self._connection is None:
            return None
        row = self._open.execute("SELECT key, body, removed, rows FROM pending").fetchone()
        if row is None:
            return None
        return Pending(row[0], bytes(row[1]), bool(row[2]), [each[0] for each in json.loads(row[3])])

    def prepare(self, key: str, body: bytes, batch: Batch, *, removed: bool) -> Pending:
        """Note a batch that is about to be sent.

        Raises:
            TargetError: If a later delivery has begun.
        """
        ids = batch.held.ids.to_pylist()
        score = [None if each != each else each for each in batch.held.score.tolist()]
        rows = json.dumps(list(zip(ids, batch.held.content.tolist(), score, strict=True)))
        self._in_turn(lambda: self._open.execute("INSERT INTO pending VALUES (?, ?, ?, ?)", (key, removed, body, rows)))
        return Pending(key, body, removed, ids)

    def settle(self, pending: Pending, rejected: Collection[str] = ()) -> None:
        """Note that the target has taken a batch, except for rejected accounts."""
        row = self._open.execute("SELECT rows FROM pending WHERE key = ?", (pending.key,)).fetchone()
        taken = [each for each in json.loads(row[0]) if each[0] not in rejected] if row else []

        def write() -> None:
            if pending.removed:
                self._open.executemany("DELETE FROM held WHERE id = ?", [(each[0],) for each in taken])
            else:
                self._open.executemany("INSERT OR REPLACE INTO held VALUES (?, ?, ?)", taken)
            self._open.execute("DELETE FROM pending WHERE key = ?", (pending.key,))

        self._in_turn(write)

    def drop(self, pending: Pending) -> None:
        """Note that the target has not taken a batch, and will not."""
        self._in_turn(lambda: self._open.execute("DELETE FROM pending WHERE key = ?", (pending.key,)))

    def _in_turn(self, write: Callable[[], object]) -> None:
        self._open.execute("BEGIN IMMEDIATE")
        try:
            if self._noted("token") != self._token:
                raise TargetError("another delivery to it has begun meanwhile, and goes on in place of this one")
            write()
            self._open.execute("COMMIT")
        except BaseException:
            self._open.execute("ROLLBACK")
            raise


def _damage(path: Path) -> str | None:
    """Return why a ledger cannot be used; ``None`` if it can."""
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as opened:
            found = opened.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                return str(found[0])
            for table, columns in (("held", "id, content, score"), ("notes", "name, value")):
                known = opened.execute("SELECT name FROM sqlite_master WHERE name = ?", (table,)).fetchone()
                if known:  # a kill may have come before the tables were made
                    opened.execute(f"SELECT {columns} FROM {table} LIMIT 1").fetchone()  # noqa: S608
    except sqlite3.DatabaseError as error:
        return None if "locked" in str(error) else str(error)
    return None
