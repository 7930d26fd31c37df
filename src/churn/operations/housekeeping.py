"""`churn prune`: list what there is, and remove what `churn.operations.pruning` has chosen.

It may be killed at any moment, and runs may publish meanwhile. Results are marked in the pointer before they are removed, under
the conditional write with which runs publish: a run that is marked can no longer become current, and one that is current
cannot be marked. The marks stay until the removal is complete, so that the next `churn prune` completes it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.io.core import get_protocol_and_path

from churn.errors import ChurnError
from churn.operations.pruning import Limits, Listing, Plan, plan
from churn.operations.pruning_mlflow import Tracked
from churn.registry.cache import ModelCache
from churn.registry.versions import delete_version
from churn.scoring.pointer import LEDGER, MANIFEST, POINTER, Pointer, is_run_id, marked, read_pointer
from churn.scoring.request_files import can_be_merged, days_of, merge_day, remove_day
from churn.stores import DamagedError, Entry, Store, open_store
from churn.stores.local import LocalStore
from churn.stores.state import DAMAGED

LOCK = "prune.lock"
# Databases of MLflow from before an upgrade, and those whose first run was killed.
REPLACED = ("before", "unfinished")


class PublishedResults:
    """The store of results, as `churn prune` changes it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pointer(self) -> Pointer | None:
        """Return the pointer; ``None`` if nothing was published.

        Raises:
            ChurnError: If it is damaged: then nothing is known to be unneeded.
        """
        if not self._store.exists(POINTER):
            return None
        return read_pointer(self._store.read_json(POINTER), self._store.address(POINTER))

    def ledger(self, run_id: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the runs and the hashes of models that the ledger of a run and its manifest name.

        Raises:
            ChurnError: If one of them is damaged.
        """
        name = f"{run_id}/{LEDGER}"
        entries = self._store.read_json(name) if self._store.exists(name) else {}
        if not self._store.exists(f"{run_id}/{MANIFEST}"):
            raise ChurnError(
                f"{self._store.address(POINTER)} names the run {run_id}, which has no {MANIFEST}, so that it is not known what "
                "is needed; score again, then prune"
            )
        manifest = self._store.read_json(f"{run_id}/{MANIFEST}")
        try:
            runs = {entry["run_id"] for entry in entries.values()}
            models = {entry.get("model") for entry in entries.values()} | {manifest["model"]["sha256"]}
        except (AttributeError, KeyError, TypeError):
            raise ChurnError(
                f"{self._store.address(run_id)} is damaged: its {LEDGER} or {MANIFEST} cannot be read, so that it is not known "
                "what is needed; score again, then prune"
            ) from None
        return frozenset(filter(None, runs)), frozenset(filter(None, models))

    def remove(self, run_ids: Iterable[str]) -> list[str]:
        """Remove runs, except those that became current meanwhile or that the current results need.

        Returns:
            The runs that were removed.
        """
        wanted = set(run_ids)

        def mark(document: Any) -> dict[str, Any] | None:
            if document is None:
                return None
            present = read_pointer(document, self._store.address(POINTER))
            needed = {present.run_id, *self.ledger(present.run_id)[0]}
            return marked(present, (wanted | set(present.removing)) - needed)

        document = self._store.update_json(mark, POINTER)
        if document is None:
            return []
        doomed = read_pointer(document, POINTER).removing
        for run_id in doomed:
            # First, so that what is left after an interruption is not taken for a run.
            self._store.remove(f"{run_id}/{MANIFEST}")
            self._store.discard(run_id)

        def done(document: Any) -> dict[str, Any] | None:
            present = read_pointer(document, self._store.address(POINTER))
            return marked(present, set(present.removing) - set(doomed))

        self._store.update_json(done, POINTER)
        return [run_id for run_id in doomed if run_id in wanted]


class Housekeeping:
    """What `churn prune` looks at and removes in a project."""

    def __init__(self, context: KedroContext) -> None:
        """Find the stores of the project and its environment."""
        loader: Any = context.config_loader
        known = loader["globals"]
        stores, model = known["stores"], known["model"]
        self._cache: Path = context.project_path / stores["cache"]
        self._results = _store(loader, stores["results"], known["credentials"]["results"], context.project_path)
        self._staging = _store(loader, stores["staging"], known["credentials"]["staging"], context.project_path)
        log = stores.get("requests") or f"{stores['results']}/requests"
        self._requests = _store(loader, log, known["credentials"]["results"], context.project_path)
        self._artifacts: Path = context.project_path / stores.get("artifacts", "data/mlflow-artifacts")
        self._model = model["name"]
        self._published = PublishedResults(self._results)
        self._tracked = Tracked(model["experiment"], model["name"], self._artifacts)
        self._copies = ModelCache(self._cache / "models")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of `churn prune` on this machine.

        Raises:
            ChurnError: If another process holds it.
        """
        self._cache.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._cache / LOCK, timeout=0):
                yield
        except Timeout:
            raise ChurnError(
                f"churn prune is already running with the cache {self._cache}; wait until it ends"
            ) from None

    def listing(self, now: float | None = None) -> Listing:
        """Return everything there is.

        Args:
            now: Present time; that of the store of results by default.

        Raises:
            ChurnError: If a store or MLflow does not answer, or the pointer or the current ledger is damaged.
        """
        pointer = self._published.pointer()
        ledger, hashes = self._published.ledger(pointer.run_id) if pointer else (frozenset(), frozenset())
        versions, elsewhere = self._tracked.versions()
        return Listing(
            now=self._results.now() if now is None else now,
            pointer=pointer,
            ledger=ledger,
            needed_models=hashes | self._copies.remembered(),
            files=self._results.entries(),
            requests=days_of(self._requests.entries()),
            versions=versions,
            needed_elsewhere=elsewhere,
            runs=self._tracked.runs(),
            models=self._tracked.models(),
            copies=self._copies.copies(),
            set_aside=self._set_aside(),
            unfinished={address: entry for address, (_, _, entry) in self._unfinished().items()},
            abandoned=frozenset(filter(is_run_id, self._results.abandoned(MANIFEST)))
            if self._results.is_local
            else None,
        )

    def plan(self, limits: Limits, now: float | None = None) -> Plan:
        """Return what goes and what stays; see `listing`."""
        return plan(self.listing(now), limits)

    def carry_out(self, made: Plan, tell: Callable[[str], object]) -> None:
        """Remove what goes; `tell` gets a sentence for each thing that turns out to be needed."""
        unfinished = self._unfinished()
        runs = [thing.name for thing in made.going("unfinished") if is_run_id(thing.name)]
        self._remove_results([thing.name for thing in made.going("results")], runs, tell)
        for thing in made.going("requests"):
            remove_day(self._requests, date.fromisoformat(thing.name))
        for thing in made.going("versions"):
            if not delete_version(self._model, thing.name):
                tell(f"version {thing.name} stays: an alias names it by now")
        for thing in made.going("models"):
            self._tracked.remove_model(thing.name)
        for thing in made.going("runs"):
            # Its trials first: without it, they would count as runs of their own.
            if not all(self._tracked.remove_run(run_id) for run_id in (*thing.members, thing.name)):
                tell(f"run {thing.name} stays: it goes on again")
        for thing in made.going("copies"):
            self._copies.drop(thing.name)
        for thing in made.going("files set aside"):
            Path(thing.name).unlink(missing_ok=True)
        for thing in made.going("unfinished"):
            if thing.name in unfinished:
                store, name, _ = unfinished[thing.name]
                store.remove_unfinished(name)

    def merge_requests(self, tell: Callable[[str], object]) -> None:
        """Merge the segments of the log of requests of each day that is over; `tell` gets a sentence for each."""
        for day, files in self._days_to_merge():
            try:
                done = merge_day(self._requests, day, files)
            except DamagedError as error:
                tell(f"requests of {day} stay as they are: {error}")
                continue
            if done.sources:
                tell(f"requests of {day}: {done.sources:,} segments are {done.files:,} files now")
            for reason in done.left:
                tell(f"requests of {day}: a segment stays as it is: {reason}")

    def days_to_merge(self) -> list[date]:
        """Return the days whose segments `merge_requests` would merge."""
        return [day for day, _ in self._days_to_merge()]

    def _days_to_merge(self) -> list[tuple[date, dict[str, Entry]]]:
        now = self._requests.now()
        return [
            (day, files) for day, files in days_of(self._requests.entries()).items() if can_be_merged(day, files, now)
        ]

    def _remove_results(self, going: list[str], unfinished: list[str], tell: Callable[[str], object]) -> None:
        pointer = self._published.pointer()
        if pointer is None:
            for run_id in unfinished:
                self._results.discard(run_id)
        elif going or unfinished or pointer.removing:
            removed = self._published.remove([*going, *unfinished])
            for run_id in sorted({*going, *unfinished} - set(removed)):
                tell(f"results {run_id} stay: they are needed by now")

    def _set_aside(self) -> dict[str, Entry]:
        """Return damaged state files, and MLflow's databases that were replaced, by their paths."""
        found = [path for folder in self._own_folders() for path in folder.glob(f"*{DAMAGED}*")]
        found += [path for kind in REPLACED for path in self._artifacts.glob(f"mlflow.db.{kind}-*")]
        entries = {}
        for path in found:
            with suppress(OSError):  # gone in the meantime
                state = path.lstat()
                entries[path.as_posix()] = Entry(state.st_size, state.st_mtime)
        return entries

    def _unfinished(self) -> dict[str, tuple[Store, str, Entry]]:
        """Return what interrupted writes have left, by its address."""
        found: dict[str, tuple[Store, str, Entry]] = {}
        folders = [LocalStore(folder.as_posix()) for folder in self._own_folders() if folder != self._cache]
        for store in (self._results, self._requests, self._staging, *folders):
            for name, entry in store.unfinished().items():
                found[store.address(name)] = (store, name, entry)
        return found

    def _own_folders(self) -> list[Path]:
        """Return the folders of the cache that belong to the project: tools keep theirs beside them."""
        return [self._cache, *(self._cache / name for name in ("models", "runs", "watch"))]


def _store(loader: Any, path: str, credentials: str | None, project: Path) -> Store:
    protocol, _ = get_protocol_and_path(path)
    if protocol == "file":
        path = (project / path).as_posix()
    return open_store(path, loader["credentials"][credentials] if credentials else None)
