"""What `churn prune` removes, and what it keeps and why: a pure function of what there is.

Something goes only if it is beyond the newest ones of its kind *and* old enough *and* nothing needs it. Needed are: the current
results and the runs that their ledger names; versions with an alias, the version before each of them, the version trained last,
and those that made needed results; the runs and stored models of versions that stay; runs that are going on.

Days of the log of requests have data about persons: of them, only the age counts, and nothing needs them.

A time ahead counts as now, so that it is never old. Nothing from the last hour goes, whatever the limits: a run that has just
begun may be reading it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

from churn.errors import ChurnError
from churn.scoring.pointer import MANIFEST, Pointer, is_run_id
from churn.scoring.request_files import end_of
from churn.stores import Entry
from churn.stores.occupied import SILENCE

Kind = Literal["results", "requests", "versions", "models", "runs", "copies", "files set aside", "unfinished"]
# In the order in which they are removed: what refers to something goes before it.
KINDS: tuple[Kind, ...] = (
    "results",
    "requests",
    "versions",
    "models",
    "runs",
    "copies",
    "files set aside",
    "unfinished",
)
# Kinds of which none is kept for its own sake.
LEFTOVERS: tuple[Kind, ...] = ("files set aside", "unfinished")

DAY, GRACE = 86_400.0, 3_600.0


@dataclass(frozen=True)
class Limits:
    """How much is kept.

    Attributes:
        keep: Number of the newest things of each kind to keep.
        older_than: Age in days that a thing must have to be removed.
        requests: Age in days that a day of the log of requests must have to be removed; None for never.
    """

    keep: int
    older_than: float
    requests: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits by which the newest would go.

        Raises:
            ChurnError: If a limit is too low, or no number.
        """
        if self.keep < 1 or not self.older_than >= 0:
            raise ChurnError(f"keep = {self.keep}, older_than = {self.older_than}: at least 1 and 0 days are expected")
        if self.requests is not None and not self.requests >= 0:
            raise ChurnError(
                f"requests_older_than = {self.requests}: at least 0 days are expected, or nothing for never"
            )


@dataclass(frozen=True)
class Thing:
    """Something that can be removed as a whole.

    Attributes:
        kind: Its kind.
        name: Name of a folder, day, version, run, model or file.
        bytes: Its size; 0 for what takes no space of its own.
        written: When it was written, in seconds since 1970.
        needed: Why it must stay; empty if nothing needs it.
        members: Names of what goes with it: the trials of a run.
    """

    kind: Kind
    name: str
    bytes: int
    written: float
    needed: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A thing, whether it goes, and why it stays or goes."""

    thing: Thing
    goes: bool
    reason: str


@dataclass(frozen=True)
class Version:
    """A registered version, as `churn.registry.leftovers` lists it.

    Attributes:
        number: Its number.
        created: In seconds since 1970.
        aliases: Aliases that name it.
        previous: Version that had the alias before it.
        is_last: Whether it was trained last.
        sha256: Hash of the model.
        run_ids: Runs that it refers to.
        model_id: Stored model that it refers to.
    """

    number: str
    created: float
    aliases: tuple[str, ...] = ()
    previous: str | None = None
    is_last: bool = False
    sha256: str | None = None
    run_ids: tuple[str, ...] = ()
    model_id: str | None = None


@dataclass(frozen=True)
class Run:
    """A run in MLflow.

    Attributes:
        run_id: Its id.
        parent: Run that it is a trial of.
        is_open: Whether it is going on.
        ended: When it ended, or started, in seconds since 1970.
        bytes: Size of its artifacts.
        elsewhere: Place of its artifacts, if it does not belong to this project.
    """

    run_id: str
    parent: str | None
    is_open: bool
    ended: float
    bytes: int
    elsewhere: str = ""


@dataclass(frozen=True)
class StoredModel:
    """A model that a run has logged in MLflow; see `Run` for the attributes of the same name."""

    model_id: str
    run_id: str | None
    created: float
    bytes: int
    elsewhere: str = ""


@dataclass(frozen=True)
class Listing:
    """Everything there is.

    Attributes:
        now: Present time in seconds since 1970, by the clock of the store of results.
        pointer: The pointer to the current results; ``None`` if nothing was published.
        ledger: Runs that the ledger of the current results names.
        needed_models: Hashes of the models of those results, and of the last known versions of the cache.
        files: Files in the store of results.
        requests: Files of each day of the log of requests.
        versions: Versions of the registered model.
        needed_elsewhere: Runs and models that versions of other registered models refer to.
        runs: Runs of the experiment.
        models: Models that runs of the experiment have logged.
        copies: Verified copies of models by hash.
        set_aside: Damaged or replaced files that were set aside.
        unfinished: What interrupted writes have left, as the stores list it: their writers have ended.
        abandoned: Runs in the store of results whose processes have ended without a manifest; ``None`` if the store cannot
            tell, as a bucket: there, a day without a new file counts as the end.
    """

    now: float
    pointer: Pointer | None = None
    ledger: frozenset[str] = frozenset()
    needed_models: frozenset[str] = frozenset()
    files: Mapping[str, Entry] = field(default_factory=dict)
    requests: Mapping[date, Mapping[str, Entry]] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    needed_elsewhere: frozenset[str] = frozenset()
    runs: tuple[Run, ...] = ()
    models: tuple[StoredModel, ...] = ()
    copies: Mapping[str, Entry] = field(default_factory=dict)
    set_aside: Mapping[str, Entry] = field(default_factory=dict)
    unfinished: Mapping[str, Entry] = field(default_factory=dict)
    abandoned: frozenset[str] | None = None

    @property
    def removing(self) -> tuple[str, ...]:
        """Runs whose removal was interrupted."""
        return self.pointer.removing if self.pointer else ()


@dataclass(frozen=True)
class Plan:
    """What goes and what stays."""

    verdicts: tuple[Verdict, ...]

    def going(self, kind: Kind) -> list[Thing]:
        """Return what goes of a kind."""
        return [verdict.thing for verdict in self.verdicts if verdict.goes and verdict.thing.kind == kind]

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not any(verdict.goes for verdict in self.verdicts)


def plan(listing: Listing, limits: Limits) -> Plan:
    """Choose what goes, see the module."""
    results = list(_judged(_results(listing), limits, listing.now))
    unfinished = [*_unfinished_runs(listing), *_things("unfinished", listing.unfinished)]
    versions = list(_judged(_versions(listing), limits, listing.now))
    stay = {verdict.thing.name for verdict in versions if not verdict.goes}
    kept = [version for version in listing.versions if version.number in stay]
    runs = list(_judged(_runs(listing, kept), limits, listing.now))
    gone = {name for verdict in runs if verdict.goes for name in (verdict.thing.name, *verdict.thing.members)}
    models = list(_models(listing, kept, gone))
    hashes = {version.sha256 for version in kept if _needed(version, listing)} | listing.needed_models
    copies = [
        replace(thing, needed="a copy of a model in use" if thing.name in hashes else "")
        for thing in _things("copies", listing.copies)
    ]
    verdicts = [
        *results,
        *_request_days(listing, limits),
        *versions,
        *models,
        *runs,
        *_judged(copies, limits, listing.now),
        *_judged(_things("files set aside", listing.set_aside), limits, listing.now),
        *_judged(unfinished, limits, listing.now),
    ]
    return Plan(tuple(sorted(verdicts, key=lambda verdict: KINDS.index(verdict.thing.kind))))


def _judged(things: Iterable[Thing], limits: Limits, now: float) -> Iterator[Verdict]:
    """Apply the limits to the things of one kind."""
    # At equal times by name, so that the same listing gives the same plan.
    newest_first = sorted(things, key=lambda thing: (-min(thing.written, now), thing.name))
    for place, thing in enumerate(newest_first):
        age = max(0.0, now - thing.written)
        if thing.needed:
            yield Verdict(thing, False, thing.needed)
        elif age < GRACE:
            yield Verdict(thing, False, "from the last hour")
        elif thing.kind == "unfinished":
            # The writer has ended, so neither number nor age matter.
            yield Verdict(thing, True, "its writer has ended")
        elif thing.kind not in LEFTOVERS and place < limits.keep:
            yield Verdict(thing, False, f"one of the newest {limits.keep}")
        elif age < limits.older_than * DAY:
            yield Verdict(thing, False, f"not older than {limits.older_than:g} days")
        else:
            yield Verdict(thing, True, f"{age / DAY:.0f} days old")


def _things(kind: Kind, entries: Mapping[str, Entry]) -> Iterator[Thing]:
    for name, entry in entries.items():
        yield Thing(kind, name, entry.bytes, entry.modified)


def _folders(listing: Listing) -> dict[str, dict[str, Entry]]:
    """Return the files of each run in the store of results."""
    found: dict[str, dict[str, Entry]] = {}
    for name, entry in listing.files.items():
        folder, _, file = name.partition("/")
        if file and is_run_id(folder):
            found.setdefault(folder, {})[file] = entry
    return found


def _results(listing: Listing) -> Iterator[Thing]:
    for run_id, files in _folders(listing).items():
        if MANIFEST not in files or run_id in listing.removing:
            continue
        needed = ""
        if listing.pointer is None:
            needed = "there is no latest.json, which would tell what is current"
        elif run_id == listing.pointer.run_id:
            needed = "current"
        elif run_id in listing.ledger:
            needed = "the ledger of the current results names it"
        yield Thing("results", run_id, _size(files), files[MANIFEST].modified, needed)


def _request_days(listing: Listing, limits: Limits) -> Iterator[Verdict]:
    """Judge the days of the log of requests, by the dates that they have: merging their segments makes no day younger."""
    for day, files in listing.requests.items():
        thing = Thing("requests", day.isoformat(), _size(files), end_of(day))
        age = listing.now - thing.written
        if limits.requests is None:
            yield Verdict(thing, False, "prune.requests_older_than is empty")
        elif listing.now - max((entry.modified for entry in files.values()), default=0.0) < GRACE:
            yield Verdict(thing, False, "written in the last hour")
        elif age < limits.requests * DAY:
            yield Verdict(thing, False, f"not older than {limits.requests:g} days")
        else:
            yield Verdict(thing, True, f"{age / DAY:.0f} days old")


def _unfinished_runs(listing: Listing) -> Iterator[Thing]:
    """Return the runs in the store of results without a manifest, and those whose removal was interrupted."""
    folders = {**{run_id: {} for run_id in listing.abandoned or ()}, **_folders(listing)}
    for run_id, files in folders.items():
        interrupted = run_id in listing.removing
        if MANIFEST in files and not interrupted:
            continue
        newest = max((entry.modified for entry in files.values()), default=0.0)
        ended = listing.now - newest > SILENCE if listing.abandoned is None else run_id in listing.abandoned
        needed = ""
        if listing.pointer is not None and run_id in (listing.pointer.run_id, *listing.ledger):
            needed = "needed, although it has no manifest"
        elif not ended and not interrupted:
            needed = "it may still be written"
        yield Thing("unfinished", run_id, _size(files), newest, needed)


def _size(files: Mapping[str, Entry]) -> int:
    return sum(entry.bytes for entry in files.values())


def _needed(version: Version, listing: Listing) -> str:
    """Return why a version must stay; empty if nothing needs it."""
    if version.aliases:
        return ", ".join(f"@{alias}" for alias in version.aliases)
    if version.is_last:
        return "trained last"
    for other in listing.versions:
        if other.aliases and other.previous == version.number:
            return f"the version before {other.number}, for kedro rollback"
    return "made needed results" if version.sha256 in listing.needed_models else ""


def _versions(listing: Listing) -> Iterator[Thing]:
    for version in listing.versions:
        yield Thing("versions", version.number, 0, version.created, _needed(version, listing))


def _runs(listing: Listing, kept: list[Version]) -> Iterator[Thing]:
    """Return the runs, each with its trials, which stay and go with it."""
    needed = {run_id: f"version {version.number}" for version in kept for run_id in version.run_ids}
    parents = {run.run_id: run.parent for run in listing.runs}
    families: dict[str, list[Run]] = {}
    for run in listing.runs:
        families.setdefault(_eldest(run.run_id, parents), []).append(run)
    for name, family in families.items():
        ids = [run.run_id for run in family]
        reason = next((needed[run_id] for run_id in ids if run_id in needed), "")
        if any(run.is_open for run in family):
            reason = "it is going on"
        elif not reason and listing.needed_elsewhere & set(ids):
            reason = "a version of another registered model"
        elsewhere = next((run.elsewhere for run in family if run.elsewhere), "")
        if not reason and elsewhere:
            reason = f"its files are not in this project: {elsewhere}"
        yield Thing(
            "runs",
            name,
            sum(run.bytes for run in family),
            max(run.ended for run in family),
            reason,
            tuple(sorted(run_id for run_id in ids if run_id != name)),
        )


def _eldest(run_id: str, parents: Mapping[str, str | None]) -> str:
    """Return the run above all others of a run; of runs that name each other, which is a fault, the first by name."""
    path = [run_id]
    while (parent := parents[path[-1]]) is not None and parent in parents:
        if parent in path:
            return min(path[path.index(parent) :])
        path.append(parent)
    return path[-1]


def _models(listing: Listing, kept: list[Version], gone: set[str]) -> Iterator[Verdict]:
    """Return the stored models, which stay as long as their run or a version of them."""
    needed = {version.model_id: f"version {version.number}" for version in kept if version.model_id}
    there = {run.run_id for run in listing.runs} - gone
    for model in listing.models:
        reason = needed.get(model.model_id, "")
        if not reason and model.model_id in listing.needed_elsewhere:
            reason = "a version of another registered model"
        if not reason and model.run_id in there:
            reason = "its run stays"
        if not reason and model.elsewhere:
            reason = f"its files are not in this project: {model.elsewhere}"
        if not reason and listing.now - model.created < GRACE:
            reason = "from the last hour"
        thing = Thing("models", model.model_id, model.bytes, model.created, reason)
        yield Verdict(thing, not reason, reason or "its run goes")
