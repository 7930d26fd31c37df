"""Put a backup in place, completely or not at all, and continue where a restore was interrupted.

Every hash is compared before anything is changed. A folder of this machine is written beside its place and then renamed; objects
of a bucket are copied one by one, and the pointer to the results after what it names. What is in place already, with the same
content, is kept: a restore that was killed is simply started again.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from churn.errors import ChurnError, FaultsError
from churn.operations.backup.databases import SqliteDatabase, move_artifacts
from churn.operations.backup.manifest import (
    ARTIFACTS,
    DATABASE,
    FOLDERS,
    POINTER,
    BackedUpFile,
    Manifest,
    Part,
    read_manifest,
    release,
    versions,
)
from churn.operations.backup.places import Place, Places
from churn.operations.backup.steps import Folder, Load, Objects, Present, Restored, Step
from churn.operations.backup.writing import copy_file, explained
from churn.stores import Store
from churn.stores.local import LocalStore

logger = logging.getLogger(__name__)

LOCK = "restore.lock"
# Folders whose files are added to what is there, and never replace it.
ADDED = ("settings", "watch")


def check(backup: Store, parts: Iterable[Part] = tuple(FOLDERS)) -> Manifest:
    """Compare every file of a backup, or of some of its parts, with its hash, and return the manifest.

    Raises:
        FaultsError: Lists the files that are missing or damaged.
    """
    manifest = read_manifest(backup)
    faults = []
    wanted = tuple(f"{folder}/" for part in parts for folder in FOLDERS[part])
    for name, file in manifest.files.items():
        if not name.startswith(wanted):
            continue
        try:
            if backup.sha256(name) != file.sha256:
                faults.append(f"{name} is damaged: its hash is another one")
        except ChurnError as error:
            faults.append(str(error))
    if faults:
        raise FaultsError(
            f"backup {backup.uri}", [*faults[:20], *([f"and {len(faults) - 20} more"] if faults[20:] else [])]
        )
    return manifest


def restore(
    places: Places,
    address: str,
    *,
    parts: Iterable[Part] = tuple(FOLDERS),
    replace: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Restored:
    """Put a backup in the places of an environment.

    Args:
        places: Where to.
        address: Path or URL of the backup.
        parts: Which parts of it.
        replace: Whether to replace other content. Folders of this machine are renamed and kept; objects of a bucket that the
            backup does not have stay.
        now: Returns the time, for the names of folders that are kept.

    Raises:
        ChurnError: If the backup is damaged, or a place has other content; nothing was changed then.
    """
    backup = places.backup(address)
    with _alone(places.cache):
        wanted = tuple(part for part in FOLDERS if part in set(parts))
        manifest = check(backup, wanted)
        if "models" in wanted:
            _check_versions(manifest)
        done = Restored(manifest)
        stamp = f"{now():%Y%m%dT%H%M%SZ}"
        steps = list(_steps(places, backup, manifest, wanted, done, stamp))
        if not replace and (faults := [fault for step in steps for fault in step.faults]):
            raise FaultsError(
                f"restore of {backup.uri}",
                [*faults, "restore into an empty place, or replace what is there with --replace"],
            )
        with explained(backup.uri):
            for step in steps:
                step.prepare()
            for step in steps:
                step.place()
    return done


def _steps(
    places: Places, backup: Store, manifest: Manifest, parts: tuple[Part, ...], done: Restored, stamp: str
) -> Iterator[Step]:
    if "models" in parts:
        yield from _models(places, backup, manifest, done, stamp)
    for part, folders in FOLDERS.items():
        if part in parts and part != "models":
            for folder in folders:
                yield from _stored(places.folders[folder], folder, backup, manifest, done, stamp)


def _models(places: Places, backup: Store, manifest: Manifest, done: Restored, stamp: str) -> Iterator[Step]:
    """The artifacts and the database. On a laptop the database lies in the folder of the artifacts."""
    database, kind = places.database, manifest.tracking.kind
    copies = [name for name in manifest.files if name.startswith(f"{DATABASE}/")]
    artifacts = places.folders[ARTIFACTS]
    laptop = isinstance(database, SqliteDatabase) and artifacts.folder is not None
    whole = laptop and _can_be_renamed(artifacts)
    if kind == "postgresql" and laptop:
        raise ChurnError(
            f"{backup.uri} has a dump of PostgreSQL, and the environment '{places.environment}' has a SQLite file as MLflow's "
            "database; restore it with --env minio, or restore the rest with --only"
        )
    if kind == "sqlite" and database is not None and database.kind == "postgresql":
        raise ChurnError(
            f"{backup.uri} has a SQLite database, and MLflow of the environment '{places.environment}' has PostgreSQL; restore "
            "it into an environment like the one that it was made of, or restore the rest with --only"
        )
    if whole:
        assert isinstance(database, SqliteDatabase)  # noqa: S101 (for mypy)
        yield from _on_laptop(places, database, artifacts, backup, manifest, done, stamp)
        return
    yield from _stored(artifacts, ARTIFACTS, backup, manifest, done, stamp)
    if not copies:
        return
    if database is None:
        done.open.append(
            f"MLflow's database was not restored, as it cannot be reached from here: pg_restore --clean --if-exists --no-owner "
            f"--single-transaction --dbname=mlflow {backup.address(copies[0])}"
        )
        return
    content = database.content()
    if content is not None and content.digest == manifest.tracking.digest:
        yield Present(DATABASE, done)
        return
    fault = None
    if content is not None and not content.is_empty:
        fault = f"MLflow's database has {content.runs} runs and {content.versions} versions of models"

    def load() -> None:
        with _on_disk(backup, copies[0], manifest, places.cache) as file:
            if laptop and artifacts.folder is not None:
                move_artifacts(file, manifest.tracking.artifacts, artifacts.folder)
            database.load(file)

    yield Load(done, load, fault)


def _can_be_renamed(place: Place) -> bool:
    """Return whether a place is a folder of this machine that another one can take the place of: no mounted disk or volume."""
    return place.folder is not None and not os.path.ismount(place.folder)


def _on_laptop(
    places: Places,
    database: SqliteDatabase,
    artifacts: Place,
    backup: Store,
    manifest: Manifest,
    done: Restored,
    stamp: str,
) -> Iterator[Step]:
    folder = artifacts.folder
    assert folder is not None  # noqa: S101 (for mypy)
    files = manifest.of(ARTIFACTS)
    content = database.content()
    there = artifacts.names()
    if content is not None and content.digest == manifest.tracking.digest and _same(artifacts, there, files):
        yield Present("models", done)
        return
    faults = []
    if content is not None and not content.is_empty:
        faults.append(f"{database.path} has {content.runs} runs and {content.versions} versions of models")
    if there:
        faults.append(f"{folder} has {len(there)} files")
    inside = database.path.is_relative_to(folder)
    copied = [name for name in manifest.files if name.startswith(f"{DATABASE}/")]

    def write(new: Path) -> None:
        _write(backup, ARTIFACTS, files, new)
        if copied and inside:
            put = new / database.path.relative_to(folder)
            _copy_to(backup, copied[0], manifest, put)
            move_artifacts(put, manifest.tracking.artifacts, folder)

    yield Folder("models", done, folder, stamp, write, " and ".join(faults) or None)
    if copied and not inside:

        def load() -> None:
            with _on_disk(backup, copied[0], manifest, places.cache) as file:
                move_artifacts(file, manifest.tracking.artifacts, folder)
                database.load(file)

        yield Load(done, load, None)


def _stored(place: Place, folder: str, backup: Store, manifest: Manifest, done: Restored, stamp: str) -> Iterator[Step]:
    files = manifest.of(folder)
    if not files:
        return
    there = set(place.names())
    if folder in ADDED:
        kept = sorted(there & set(files))
        differing = [name for name in kept if place.store.sha256(name) != files[name].sha256]
        done.kept += [place.store.address(name) for name in differing]
        missing = [name for name in files if name not in there]
    elif _same(place, sorted(there), files):
        yield Present(folder, done)
        return
    elif place.folder is not None and _can_be_renamed(place):
        fault = f"{place.folder} has {len(there)} files" if there else None
        yield Folder(folder, done, place.folder, stamp, lambda new: _write(backup, folder, files, new), fault)
        return
    else:
        missing = [name for name in files if name not in there or place.store.sha256(name) != files[name].sha256]
    if not missing:
        yield Present(folder, done)
        return

    def copy(name: str) -> None:
        copy_file(backup, f"{folder}/{name}", place.store, name, files[name].sha256)

    step = Objects(folder, done, copy, missing, last=POINTER if folder == "results" else "")
    if folder not in ADDED and (others := sorted((there - set(files)) | (there & set(missing)))):
        step.faults.append(f"{place.store.uri} has {len(others)} other objects, for example {others[0]}")
        done.kept += [place.store.address(name) for name in sorted(there - set(files))]
    yield step


def _same(place: Place, there: list[str], files: dict[str, BackedUpFile]) -> bool:
    """Return whether a place has exactly these files."""
    return there == sorted(files) and all(place.store.sha256(name) == files[name].sha256 for name in there)


def _write(backup: Store, folder: str, files: dict[str, BackedUpFile], into: Path) -> None:
    target = LocalStore(str(into))
    for name, file in files.items():
        copy_file(backup, f"{folder}/{name}", target, name, file.sha256)
        if file.modified is not None:
            os.utime(into / name, ns=(file.modified, file.modified))


def _copy_to(backup: Store, name: str, manifest: Manifest, file: Path) -> None:
    copy_file(backup, name, LocalStore(str(file)), "", manifest.files[name].sha256)


@contextmanager
def _on_disk(backup: Store, name: str, manifest: Manifest, folder: Path) -> Iterator[Path]:
    """Give a file of the backup on this machine, readable for its owner only."""
    scratch = folder / "restoring"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    try:
        _copy_to(backup, name, manifest, scratch / Path(name).name)
        yield scratch / Path(name).name
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_versions(manifest: Manifest) -> None:
    """Refuse a database of a later MLflow than the installed one, which cannot read it."""
    made, here = manifest.versions.get("mlflow", "0"), versions().get("mlflow", "0")
    if manifest.tracking.kind and release(made)[:2] > release(here)[:2]:
        raise ChurnError(
            f"the backup has a database of MLflow {made}, which the installed MLflow {here} does not read; install {made} or a "
            "later one"
        )


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(cache / LOCK, timeout=0):
            yield
    except Timeout:
        raise ChurnError(f"another restore is running, it holds {cache / LOCK}; wait until it has ended") from None
