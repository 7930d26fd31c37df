"""MLflow's database where it is a SQLite file on this machine.

Left alone, MLflow makes its tables in some seventy steps in the file itself, when a process opens it for the first time. A
process that is killed in between, or a second one at the same time, leaves a database that no later process can open. Here the
database is made aside, by one process at a time, and put in its place whole. An upgrade to a later version of MLflow is made
in the same way, and a database in a project that was copied or moved names the artifacts where they are now.
"""

import logging
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from churn.errors import ChurnError
from churn.services.database_file import (
    Condition,
    address_of,
    condition,
    current_revision,
    differ,
    file_of,
    folder_of,
    opened,
    revision_in,
    revisions,
)

logger = logging.getLogger(__name__)

# Seconds to wait for a process that makes or upgrades the database, and until the wait is logged.
PATIENCE, SILENCE = 600.0, 2.0
# The command that upgrades the database of a project.
UPGRADE = "churn upgrade"
# Tables in which MLflow stores places of artifacts.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@contextmanager
def prepared(address: str, experiment: str, artifacts: str | None) -> Iterator[None]:
    """Prepare MLflow's database for a process that is about to open it, in the block.

    If the database is a file: makes it if there is none, or if making it was interrupted, and corrects the places of its
    artifacts if the project was copied or moved. If the experiment is not there yet either, no other process enters the block
    at the same time, so that MLflow makes it once.

    Args:
        address: Address of the database.
        experiment: Name of the experiment of the project.
        artifacts: Address of the folder of its artifacts; ``None`` if the server chooses it.

    Raises:
        ChurnError: If the database cannot be used: names it, the reason and the remedy.
    """
    path = file_of(address)
    if path is None:
        yield
        return
    path = path.resolve()  # what is replaced is the file, not a link to it
    _check_rights(path)
    if _is_ready(path, experiment, artifacts):
        yield
        return
    with _alone(path):
        _make_ready(path)
        if artifacts is not None:
            _correct_places(path, experiment, artifacts)
        yield


def make(path: Path, upgrade_command: str = UPGRADE) -> None:
    """Make an empty database for MLflow, unless there is a current one; waits for other processes that do.

    Args:
        path: Its file.
        upgrade_command: Command that upgrades it, for messages.

    Raises:
        ChurnError: If what is there cannot be used.
    """
    path = path.resolve()
    _check_rights(path)
    with _alone(path):
        _make_ready(path, upgrade_command)


def _check_rights(path: Path) -> None:
    """Check what SQLite would report in the middle of a run."""
    folder = path.parent
    if path.is_dir():
        raise ChurnError(f"MLflow's database {path} is a folder; move it away to start with an empty database")
    for place, exists in ((path, path.exists()), (folder, folder.exists())):
        if exists and not os.access(place, os.W_OK):
            raise ChurnError(
                f"MLflow's database {path} is read-only: {place} may not be written by this user; change its rights, or set "
                "stores.artifacts to a folder that may be written"
            )


def _is_ready(path: Path, experiment: str, artifacts: str | None) -> bool:
    """Return whether a database needs no preparation. This is part of every start and takes a millisecond."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with opened(path) as database:
        if revision_in(database) != current_revision():
            return False
        row = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    return row is not None and (artifacts is None or not differ(row[0], artifacts))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Enter the block when no other process prepares or upgrades the database.

    Raises:
        ChurnError: If the folder cannot be written, or another process takes too long.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=SILENCE)
        except Timeout:
            logger.info("Waiting for another process, which prepares %s.", path)
            lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise ChurnError(
            f"MLflow's database {path} is being prepared by another process for more than {PATIENCE / 60:.0f} minutes; stop "
            "the runs of this project, then run again"
        ) from None
    except (OSError, NotImplementedError) as error:  # the latter from file systems without locks
        reason = getattr(error, "strerror", None) or error
        raise ChurnError(f"MLflow's database {path} cannot be made: {reason}") from error
    try:
        for litter in path.parent.glob(f".{path.name}.*.part*"):  # of killed processes: no other one is here
            litter.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _make_ready(path: Path, upgrade_command: str = UPGRADE) -> None:
    """Make a database if there is none, or one without runs that cannot be used.

    Raises:
        ChurnError: If it has runs and its tables are not those of the installed MLflow.
    """
    found = condition(path)
    if found is not None:
        if found.revision == current_revision():
            return
        if found.in_use:
            raise ChurnError(_why_not(path, found, upgrade_command))
        aside = path.with_name(f"{path.name}.unfinished-{_now()}")
        path.replace(aside)
        logger.warning(
            "%s was not finished and had no runs; it is made again, and the old one is %s.", path, aside.name
        )
    with _written_aside(path) as aside:
        _upgrade(aside)


def _why_not(path: Path, found: Condition, upgrade_command: str = UPGRADE) -> str:
    if found.half_made:
        return (
            f"a change of the tables of MLflow's database {path} was interrupted, and it has runs. Put a copy of it back; "
            f"{upgrade_command} keeps one as {path.name}.before-*. Or move it away to start with an empty one"
        )
    if found.revision not in revisions()[1]:
        return (
            f"MLflow's database {path} was made by a later version of MLflow than {version('mlflow')}, which is installed. "
            "Install that version again (make install), or put an older copy of the database back"
        )
    return (
        f"MLflow's database {path} was made by an earlier version of MLflow than {version('mlflow')}, which is installed. "
        f"{upgrade_command} makes a copy of it and upgrades it"
    )


@contextmanager
def _written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside a database, and rename it to the database at the end of the block.

    Raises:
        ChurnError: If the disk is full or the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        raise ChurnError(f"MLflow's database {path} cannot be written: {error.strerror or error}") from error
    finally:
        for left in path.parent.glob(f"{aside.name}*"):  # and its journal
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _upgrade(path: Path) -> None:
    """Make or upgrade the tables of a database, in the file itself.

    Raises:
        ChurnError: If MLflow could not do it.
    """
    from mlflow.db import upgrade

    try:
        upgrade.main([address_of(path)], standalone_mode=False)
        with opened(path) as database:
            reached, sound = revision_in(database), database.execute("PRAGMA quick_check").fetchone()[0]
    except ChurnError:
        raise
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ChurnError(
            f"MLflow {version('mlflow')} could not make its tables: {said}; nothing was changed"
        ) from error
    if reached != current_revision() or sound != "ok":
        raise ChurnError(
            f"MLflow {version('mlflow')} did not complete its tables ({reached}, {sound}); nothing was changed"
        )


def upgrade(path: Path) -> Path | None:
    """Upgrade a database to the tables of the installed MLflow, completely or not at all.

    Returns:
        The copy of the database as it was before; ``None`` if it was current.

    Raises:
        ChurnError: If there is no database, a process uses it, or it cannot be upgraded. It is then as before.
    """
    if not path.exists():
        raise ChurnError(f"there is no MLflow database {path}; the first run makes it")
    path = path.resolve()
    _check_rights(path)
    with _alone(path):
        found = condition(path)
        if found is None or found.revision == current_revision():
            return None
        if found.half_made or found.revision not in revisions()[1]:
            raise ChurnError(_why_not(path, found))
        if users := _users(path):
            raise ChurnError(f"MLflow's database {path} is used by {', '.join(users)}; stop that first")
        before = path.with_name(f"{path.name}.before-{_now()}")
        # Until the end of the block nobody writes to what is being copied.
        with opened(path) as guard, _written_aside(path) as aside:
            guard.execute("BEGIN IMMEDIATE")
            with opened(path) as source, closing(sqlite3.connect(aside)) as copy:
                source.backup(copy)
            shutil.copymode(path, aside)
            _upgrade(aside)
            _link(path, before)
        return before


def _link(path: Path, copy: Path) -> None:
    """Give a file a second name; where the file system cannot, copy it."""
    try:
        os.link(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def _users(path: Path) -> list[str]:
    """Return the other processes of this user that have a file open, for messages."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and any(Path(each.path) == path for each in process.open_files()):
                found.append(f"process {process.pid} ({process.name()})")
    return found


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def _correct_places(path: Path, experiment: str, artifacts: str) -> None:
    """Let the database of a copied or moved project name the artifacts that came along.

    MLflow stores absolute paths. What is no longer where it was, or is in the new place too, is looked for in the new place;
    what is in the old place only stays there.
    """
    with opened(path) as database:
        row = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        if row is None or not differ(row[0], artifacts):
            return
        before, now, behind = str(row[0]).rstrip("/"), artifacts.rstrip("/"), 0
        database.execute("BEGIN IMMEDIATE")
        for table, column in _PLACES:
            found = database.execute(
                f"SELECT rowid, {column} FROM {table} WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                (len(before) + 1, f"{before}/"),
            ).fetchall()
            for number, place in found:
                moved = f"{now}{place[len(before) :]}"
                old, new = folder_of(place), folder_of(moved)
                if old is not None and new is not None and old.exists() and not new.exists():
                    behind += table != "model_versions"
                    continue
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (moved, number))  # noqa: S608
        database.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (now, row[0]))
        database.execute("COMMIT")
    logger.warning(
        "The project was copied or moved: MLflow's database named artifacts in %s; they are in %s now%s.",
        folder_of(before),
        folder_of(now),
        f", except {behind} runs and models that are in the old folder only" if behind else "",
    )
