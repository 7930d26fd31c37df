"""Make a backup while runs go on.

What is named is copied after what names it was read: the pointer to the results is read first, and MLflow's database is copied
before the artifacts. So whatever the copies name was complete when they were made, and is in the backup. The pointer is written
after the files of its run, and the manifest at the end.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from churn.errors import ChurnError
from churn.operations.backup.manifest import (
    ARTIFACTS,
    DATABASE,
    FOLDERS,
    FORMAT,
    MANIFEST,
    POINTER,
    RUN_MANIFEST,
    BackedUpFile,
    Manifest,
    Part,
    Tracked,
    versions,
)
from churn.operations.backup.places import Place, Places
from churn.stores import Store
from churn.stores.base import as_json
from churn.stores.local import LocalStore

logger = logging.getLogger(__name__)

# Attempts to copy a file that is replaced at the same time.
ATTEMPTS = 3
# The default place, in the project.
BACKUPS = "backups"
FILES = {"sqlite": "mlflow.db", "postgresql": "mlflow.dump"}


@dataclass(frozen=True)
class Written:
    """A backup that was made.

    Attributes:
        uri: Its path or URL.
        manifest: Its manifest.
        bytes: Size of its files.
    """

    uri: str
    manifest: Manifest
    bytes: int


def back_up(
    places: Places,
    to: str,
    *,
    parts: Iterable[Part] = tuple(FOLDERS),
    dump: Path | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Written:
    """Make a backup in a new folder below a place.

    Args:
        places: What to back up.
        to: Path or URL below which the folder of the backup is made.
        parts: Which parts to back up.
        dump: Dump of MLflow's database that ``pg_dump --format=custom`` has just written, if this machine does not reach the
            database.
        now: Returns the time.

    Raises:
        ChurnError: If something cannot be read or written. There is no manifest then, so it is no backup.
    """
    began = now()
    wanted = tuple(part for part in FOLDERS if part in set(parts))
    places.backup(to)  # names a place
    target = places.backup(f"{to.rstrip('/')}/{began:%Y%m%dT%H%M%SZ}-{places.environment}")
    _check_apart(places, target)
    if target.names():
        raise ChurnError(f"{target.uri} exists already; make the backup a second later, or below another folder")
    if isinstance(target, LocalStore):
        # Data and models are for their owner only.
        with explained(target.uri):
            Path(target.uri).mkdir(parents=True, mode=0o700)
    files: dict[str, BackedUpFile] = {}
    pointer = _pointer(places) if "results" in wanted else None
    tracked = Tracked(kind=None)
    if "models" in wanted:
        tracked = _copy_database(places, target, dump, files)
        _copy(places.folders[ARTIFACTS], ARTIFACTS, target, files)
    for part in wanted:
        for folder in () if part == "models" else FOLDERS[part]:
            _copy(places.folders[folder], folder, target, files, without=(POINTER,) if part == "results" else ())
    if not files and pointer is None:
        if isinstance(target, LocalStore):
            Path(target.uri).rmdir()
        raise ChurnError(
            f"there is nothing to back up in the environment '{places.environment}'; check --env and --only"
        )
    latest = None
    if pointer is not None:
        latest = str(pointer.get("run_id"))
        _check_complete(target, latest, files)
        stored = target.write_json(pointer, f"results/{POINTER}")
        files[f"results/{POINTER}"] = BackedUpFile(bytes=stored.bytes, sha256=stored.sha256)
    manifest = Manifest(
        format=FORMAT,
        created_at=began,
        environment=places.environment,
        versions=versions(),
        tracking=tracked,
        latest=latest,
        files=dict(sorted(files.items())),
        left_out=list(places.left_out),
    )
    target.write(lambda file: file.write(as_json(manifest.model_dump(mode="json"))), MANIFEST)
    return Written(target.uri, manifest, sum(file.bytes for file in files.values()))


def _check_apart(places: Places, target: Store) -> None:
    """Refuse a backup inside a place that it copies: it would be a table of accounts there, or copied into itself."""
    if not isinstance(target, LocalStore):
        return
    for place in places.folders.values():
        if place.folder is not None and Path(target.uri).resolve().is_relative_to(place.folder.resolve()):
            raise ChurnError(
                f"{target.uri} lies in {place.folder}, which is backed up; name a folder outside with --to"
            )


@contextmanager
def explained(place: object) -> Iterator[None]:
    """Turn errors of the file system in the block into one sentence.

    Raises:
        ChurnError: Names the file and the reason.
    """
    try:
        yield
    except OSError as error:
        raise ChurnError(f"{error.filename or place} cannot be used: {error.strerror or error}") from error


def _pointer(places: Places) -> dict[str, object] | None:
    results = places.folders["results"].store
    if not results.exists(POINTER):
        return None
    pointer = results.read_json(POINTER)
    if not isinstance(pointer, dict):
        raise ChurnError(f"{results.address(POINTER)} is damaged; docs/runbooks.md says how to write it again")
    return pointer


def _copy_database(places: Places, target: Store, dump: Path | None, files: dict[str, BackedUpFile]) -> Tracked:
    database = places.database
    if dump is not None:
        if not dump.is_file() or dump.read_bytes()[:5] != b"PGDMP":
            raise ChurnError(
                f"{dump} is not a dump of PostgreSQL in the custom format; make it with pg_dump --format=custom"
            )
        _store(dump, f"{DATABASE}/{FILES['postgresql']}", target, files)
        return Tracked(kind="postgresql")
    if database is None:
        raise ChurnError(
            f"the database of MLflow at {places.tracking_uri} cannot be reached from here; make a dump where it runs and name it "
            "with --database-dump, as docs/operations.md shows, or leave the models out with --only"
        )
    with tempfile.TemporaryDirectory(prefix="churn-backup-") as scratch:
        copy = Path(scratch) / FILES[database.kind]
        content = database.copy(copy)
        if content is None:
            return Tracked(kind=None, artifacts=places.artifacts)
        _store(copy, f"{DATABASE}/{copy.name}", target, files)
    return Tracked(
        kind=database.kind,
        artifacts=places.artifacts,
        digest=content.digest,
        runs=content.runs,
        versions=content.versions,
    )


def _store(file: Path, name: str, target: Store, files: dict[str, BackedUpFile]) -> None:
    stored = copy_file(LocalStore(str(file)), "", target, name)
    files[name] = BackedUpFile(bytes=stored.bytes, sha256=stored.sha256)


def _copy(
    place: Place, folder: str, target: Store, files: dict[str, BackedUpFile], without: tuple[str, ...] = ()
) -> None:
    """Copy the files of a place; one that is removed at the same time is left out."""
    for name in place.names():
        if name in without:
            continue
        for attempt in range(1, ATTEMPTS + 1):
            try:
                modified = _modified(place.store, name)
                stored = copy_file(place.store, name, target, f"{folder}/{name}")
            except (ChurnError, FileNotFoundError):
                if not place.store.exists(name):
                    logger.info("%s was removed meanwhile and is not in the backup", place.store.address(name))
                    break
                if attempt == ATTEMPTS:
                    raise
            else:
                files[f"{folder}/{name}"] = BackedUpFile(bytes=stored.bytes, sha256=stored.sha256, modified=modified)
                break


def copy_file(source: Store, name: str, target: Store, to: str, expected: str | None = None) -> BackedUpFile:
    """Copy a file as it is stored.

    Args:
        source: Store that it is in.
        name: Its name there.
        target: Store to write it to.
        to: Its name there.
        expected: Its hash; ``None`` for any.

    Returns:
        Its size and hash.

    Raises:
        ChurnError: If it cannot be read or written, or has another hash; the target is unchanged then.
    """
    with target.writing(to) as file:
        digest = source.sha256(name, file.write)
        if expected is not None and digest != expected:
            raise ChurnError(f"{source.address(name)} is damaged: it does not match the {MANIFEST} of the backup")
    stored = file.stored()
    return BackedUpFile(bytes=stored.bytes, sha256=stored.sha256)


def _modified(store: Store, name: str) -> int | None:
    return Path(store.address(name)).stat().st_mtime_ns if isinstance(store, LocalStore) else None


def _check_complete(target: Store, run_id: str, files: dict[str, BackedUpFile]) -> None:
    """Check that the backup has everything that the pointer names.

    Raises:
        ChurnError: If a file of the current results is missing or differs.
    """
    name = f"results/{run_id}/{RUN_MANIFEST}"
    listed = target.read_json(name).get("files", {}) if name in files else {RUN_MANIFEST: {}}
    for file, described in listed.items():
        copied = files.get(f"results/{run_id}/{file}")
        if copied is None or copied.sha256 != described.get("sha256"):
            raise ChurnError(
                f"the current results, run {run_id}, are not complete: {file} is missing or does not match their manifest. They "
                "were removed or damaged; score again, then make the backup again"
            )
