"""A day of the log of requests, as monitoring judges it: one version of the model, and of each account its last answer."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema
from churn.config.published import SCORE_COLUMNS
from churn.errors import ChurnError
from churn.model import Profile
from churn.model.profile import count_profile
from churn.scoring.publication import Publication, RequestDay
from churn.scoring.request_files import (
    ANSWERED_AT,
    AS_OF,
    REQUEST_ID,
    ROW,
    GoneError,
    Notes,
    days_of,
    is_segment,
    model_file,
    own_columns,
    read_segments,
    segments,
)
from churn.stores import DamagedError, Store
from churn.tables import Table, as_text
from churn.tables.ids import dated_ids, hashes_of, second_hashes_of
from churn.tables.reading import BATCH_ROWS

if TYPE_CHECKING:
    import pyarrow as pa

# Times that a day is listed again because segments were merged meanwhile; segments that a sentence names.
LISTINGS, NAMED = 3, 5
# Segments that are converted at once, if their rows are fewer than a batch.
BATCH_SEGMENTS = 1_000


class _Known(NamedTuple):
    """What is known of a segment after the first reading."""

    name: str
    columns: list[str]
    notes: Notes
    rows: int


class _Answers(NamedTuple):
    """Rows of all segments of a day, in their order; arrays of shape (n,).

    Attributes:
        segments: The segments that could be read.
        versions: The versions of the model.
        version: Position of the version of each row in these.
        first: Hash of id and date.
        second: Another hash.
        moment: When each was answered, in microseconds since 1970.
        has_id: Whether it has an id.
        faults: Why other segments could not be read, by their names.
    """

    segments: list[_Known]
    versions: list[str]
    version: NDArray[np.int16]
    first: NDArray[np.uint64]
    second: NDArray[np.uint32]
    moment: NDArray[np.int64]
    has_id: NDArray[np.bool_]
    faults: dict[str, str]


def requests_of(
    store: Store, schema: AccountSchema, *, day: date | None = None, version: str | None = None, now: datetime
) -> Publication:
    """Return the scores of a day of logged requests, with the reference of the model that made them.

    Of answers to the same account as of the same date, the last one counts. If several versions of the model have answered, the
    one with the most answers is judged.

    Args:
        store: The log.
        schema: Schema of the accounts.
        day: The day (UTC); the newest one that is over by default.
        version: Version to judge.
        now: The present time (UTC).

    Raises:
        ChurnError: If there are no requests of the day, no segment can be read, there is none of the version, or the file of
            its model is missing.
    """
    day, late = _chosen(store, day, now.date())
    found = _answers(store, schema, day)
    chosen = _version(found, version, f"{store.address(str(day))}")
    described = _model(store, day, found, chosen)
    profile = dict(described["profile"])
    redacted = sorted({name for each in found.segments for name in each.notes.redact})
    reference = _without(Profile.from_dict(profile["reference"]), redacted)
    needed = [*reference.numeric, *reference.categorical, *SCORE_COLUMNS]
    fits = np.repeat(
        [set(needed) <= set(each.columns) for each in found.segments], [each.rows for each in found.segments]
    )
    kept = _last(found, (found.version == chosen) & fits)
    if not kept.any():
        lacking = sorted(set(needed) - set(found.segments[0].columns))
        raise ChurnError(f"{store.address(str(day))}: the answers lack columns of the model: {', '.join(lacking)}")
    table = RequestTable(store, schema, found.segments, kept)
    profile["reference"], profile["scored"] = reference.to_dict(), _counted(table, reference).to_dict()
    notes = [
        *_notes(found, (found.version == chosen) & fits, chosen, int(kept.sum())),
        *(["The day is not over yet"] if day >= now.date() else []),
        *_missing_notes(found, redacted, schema, kept),
    ]
    to_watch = [*late, *_fault_sentences(found.faults)]
    if others := int(np.sum(~fits)):
        to_watch.append(f"{others:,} answers are of a table with other columns and are left out")
    return Publication(
        predictions=table,
        profile=profile,
        model=described["model"],
        source={"name": f"requests of {day}", "rows": len(table)},
        as_of=day,
        run_id=None,
        requests=RequestDay(day, tuple(notes), tuple(to_watch)),
    )


def _chosen(store: Store, day: date | None, today: date) -> tuple[date, list[str]]:
    """Return the day to judge, and what is to say of it."""
    days = [each for each, files in days_of(store.entries()).items() if any(is_segment(name) for name in files)]
    if not days:
        raise ChurnError(
            f"no requests were logged in {store.uri} yet; churn serve logs them, unless serve.log.sample is 0 or stores.requests "
            "is another place"
        )
    shown = ", ".join(map(str, days[-3:]))
    if day is not None:
        if day not in days:
            raise ChurnError(
                f"monitoring.requests_day = {day}: no requests of this day are in {store.uri}; the newest days are {shown}"
            )
        return day, []
    over = [each for each in days if each < today]
    if not over:
        raise ChurnError(
            f"{store.uri} has requests of days that are not over yet (UTC) only: {shown}; name one with "
            "monitoring.requests_day to judge what there is"
        )
    if (age := (today - over[-1]).days) > 1:
        late = f"No requests were logged for {age - 1} days before today: the newest day that is over is {over[-1]}"
        return over[-1], [f"{late}; see if the service answers and logs"]
    return over[-1], []


def _answers(store: Store, schema: AccountSchema, day: date) -> _Answers:
    """Read what tells the answers of a day apart; what is merged meanwhile is read again."""
    for attempt in range(LISTINGS):
        names = [name.partition("/")[2] for name in store.entries(day.isoformat())]
        last = attempt == LISTINGS - 1
        found = _read(store, schema, [f"{day}/{name}" for name in segments(store, day, names)], last=last)
        if found is not None:
            return found
    raise AssertionError  # the last attempt takes what is gone for a fault


def _read(store: Store, schema: AccountSchema, names: Sequence[str], *, last: bool) -> _Answers | None:
    """Return the answers in segments; ``None`` if one is gone and it is not the last attempt."""
    import pyarrow as pa

    own = own_columns(schema)
    columns = [schema.id, "model_version", own[ANSWERED_AT], own[AS_OF]]
    known: list[_Known] = []
    faults: dict[str, str] = {}
    versions: dict[str, int] = {}
    parts: list[tuple[NDArray[Any], ...]] = []
    waiting: list[pa.Table] = []

    def take() -> None:
        # Many at once: a segment may be a single row.
        if waiting:
            parts.append(_keys(pa.concat_tables(waiting).to_pandas(), columns, versions))
            waiting.clear()

    for name, segment in read_segments(store, names, columns):
        if isinstance(segment, GoneError) and not last:
            return None
        if isinstance(segment, ChurnError):
            faults[name] = str(segment)
            continue
        known.append(_Known(name, segment.columns, segment.notes, segment.table.num_rows))
        waiting.append(segment.table.replace_schema_metadata(None))
        if sum(each.num_rows for each in waiting) >= BATCH_ROWS or len(waiting) >= BATCH_SEGMENTS:
            take()
    take()
    if not parts:
        reasons = "; ".join(list(faults.values())[:NAMED])
        raise ChurnError(f"none of the {len(faults)} segments of the day can be read: {reasons}")
    version, first, second, moment, has_id = (np.concatenate(each) for each in zip(*parts, strict=True))
    return _Answers(known, list(versions), version, first, second, moment, has_id, faults)


def _keys(frame: pd.DataFrame, columns: Sequence[str], versions: dict[str, int]) -> tuple[NDArray[Any], ...]:
    """Return what `_Answers` keeps of each row: version, hashes, moment, whether it has an id; new versions are added."""
    name, version, moment, as_of = columns
    codes, found = pd.factorize(frame[version].astype("str"))
    places = np.array([versions.setdefault(str(each), len(versions)) for each in found], np.int16)
    ids = as_text(frame[name])
    dated = dated_ids(ids, as_text(frame[as_of]))
    return (
        places[codes],
        hashes_of(dated),
        second_hashes_of(dated),
        frame[moment].to_numpy("datetime64[us]").astype(np.int64),
        ids.notna().to_numpy(bool),
    )


def _version(found: _Answers, wanted: str | None, place: str) -> int:
    """Return the position of the version to judge: the one wanted, or that with the most answers, of equal ones the last."""
    if wanted is not None:
        if wanted not in found.versions:
            raise ChurnError(
                f"monitoring.requests_version = {wanted}: no answer in {place} is of this version; there are "
                f"{', '.join(found.versions)}"
            )
        return found.versions.index(wanted)
    counts = np.bincount(found.version, minlength=len(found.versions))
    largest = np.flatnonzero(counts == counts.max())
    return int(max(largest, key=lambda at: found.moment[found.version == at].max()))


def _last(found: _Answers, judged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which of the answers to judge count, both of shape (n,): of each id and date the last, and those without an id."""
    kept = judged & ~found.has_id
    at = np.flatnonzero(judged & found.has_id)
    if len(at):
        first, second = found.first[at], found.second[at]
        # The sort is stable: of those at the same moment, the last in the log.
        order = np.lexsort((found.moment[at], second, first))
        ends = np.append((np.diff(first[order]) != 0) | (np.diff(second[order]) != 0), True)
        kept[at[order[ends]]] = True
    return kept


def _model(store: Store, day: date, found: _Answers, chosen: int) -> Mapping[str, Any]:
    """Return what the log says of the model of a version.

    Raises:
        ChurnError: If it says nothing, or the version stands for two models.
    """
    version = found.versions[chosen]
    hashes = sorted({each.notes.models[version] for each in found.segments if version in each.notes.models})
    if len(hashes) > 1:
        raise ChurnError(
            f"{store.address(str(day))}: version {version} stands for {len(hashes)} different models on this day, as after the "
            "registry was made anew; judge another day (monitoring.requests_day) or version (monitoring.requests_version)"
        )
    name = f"{day}/{model_file(hashes[0])}" if hashes else ""
    if not hashes or not store.exists(name):
        raise ChurnError(
            f"{store.address(name or str(day))}: the file that describes version {version} of the model is missing, without "
            "which its answers cannot be judged; judge another day (monitoring.requests_day)"
        )
    described = store.read_json(name)
    if not isinstance(described, dict) or not {"model", "profile"} <= described.keys():
        raise DamagedError(f"{store.address(name)} is damaged: it does not describe a model; judge another day")
    return described


def _without(profile: Profile, columns: Sequence[str]) -> Profile:
    """Return a profile without columns whose values were not logged."""
    return Profile(
        rows=profile.rows,
        numeric={name: part for name, part in profile.numeric.items() if name not in columns},
        categorical={name: part for name, part in profile.categorical.items() if name not in columns},
        score=profile.score,
    )


def _counted(table: "RequestTable", reference: Profile) -> Profile:
    """Count the accounts of the answers in the bins of the reference."""
    columns = [*reference.numeric, *reference.categorical]
    total: Profile | None = None
    for batch in table.batches([*columns, "probability"]):
        part = count_profile(reference, batch, batch["probability"])
        total = part if total is None else total + part
    assert total is not None  # noqa: S101, there is a batch, if only an empty one
    return total


class RequestTable(Table):
    """The answers of a day that count, read from the segments when they are asked for."""

    def __init__(self, store: Store, schema: AccountSchema, known: Sequence[_Known], kept: NDArray[np.bool_]) -> None:
        """Set the log, its segments, and which of their rows count, shape (n,)."""
        self._store, self._schema = store, schema
        bounds = np.cumsum([each.rows for each in known])[:-1]
        parts = zip(known, np.split(kept, bounds), strict=True)
        self._parts = [(each.name, mask) for each, mask in parts if mask.any()]
        self._rows = int(kept.sum())

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the scores; those of the accounts can be read too."""
        return [self._schema.id, *SCORE_COLUMNS]

    def __len__(self) -> int:
        """Number of answers."""
        return self._rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Iterate over all answers in batches; ids are those of `churn.tables.ids.dated_ids`.

        Raises:
            ChurnError: If a segment has changed since the first reading.
        """
        import pyarrow as pa

        wanted = list(self.columns if columns is None else columns)
        own = own_columns(self._schema)
        parts = [own[each] for each in (AS_OF, REQUEST_ID, ROW)] if self._schema.id in wanted else []
        read = list(dict.fromkeys([*wanted, *parts]))
        waiting: list[pa.Table] = []
        rows = 0
        found = read_segments(self._store, [name for name, _ in self._parts], read)
        for at, ((_, mask), (name, segment)) in enumerate(zip(self._parts, found, strict=True)):
            if isinstance(segment, ChurnError):
                raise segment
            part = segment.table
            if part.num_rows != len(mask):
                raise ChurnError(f"{self._store.address(name)} was replaced while it was read; run again")
            waiting.append(part.replace_schema_metadata(None).filter(pa.array(mask)))
            rows += waiting[-1].num_rows
            if at == len(self._parts) - 1 or rows >= BATCH_ROWS:
                yield self._frame(pa.concat_tables(waiting), wanted, parts)
                waiting, rows = [], 0

    def _frame(self, table: "pa.Table", wanted: list[str], parts: list[str]) -> pd.DataFrame:
        frame: pd.DataFrame = table.to_pandas()
        if parts:
            name, (as_of, request, row) = self._schema.id, parts
            # What has no id is an account of its own.
            ids = as_text(frame[name]).fillna(frame[request] + "/" + frame[row].astype("str"))
            frame[name] = dated_ids(ids, as_text(frame[as_of]))
        return frame[wanted]


def _notes(found: _Answers, of_version: NDArray[np.bool_], chosen: int, judged: int) -> Iterator[str]:
    """Yield sentences on the answers that are judged, and those that are not."""
    answers = int(of_version.sum())
    yield f"{judged:,} of {answers:,} answers of version {found.versions[chosen]} are judged"
    if answers > judged:
        yield f"{answers - judged:,} answers are repeated: of each account and date of its values, the last one counts"
    counts = Counter(found.version.tolist())
    others = [f"{found.versions[at]} ({count:,})" for at, count in sorted(counts.items()) if at != chosen]
    if others:
        yield (
            f"Other versions have answered too and are not judged: {', '.join(others)}; monitoring.requests_version "
            "names the one to judge"
        )
    shares = sorted({each.notes.sample for each in found.segments})
    if shares != [1.0]:
        said = f"{shares[0]:.0%}" if len(shares) == 1 else f"{shares[0]:.0%} to {shares[-1]:.0%}"
        yield f"Only a part of the requests was logged: {said} (serve.log.sample)"


def _missing_notes(
    found: _Answers, redacted: Sequence[str], schema: AccountSchema, kept: NDArray[np.bool_]
) -> Iterator[str]:
    """Yield sentences on what cannot be judged because it was not logged."""
    columns = [name for name in redacted if name != schema.id]
    if columns:
        yield f"Columns that are not logged cannot be judged: {', '.join(columns)} (serve.log.redact)"
    without = int(np.sum(kept & ~found.has_id))
    if without:
        yield (
            f"{without:,} answers have no id (serve.log.redact), so that each of them counts, and none has an outcome"
        )


def _fault_sentences(faults: Mapping[str, str]) -> Iterator[str]:
    if faults:
        shown = "; ".join(list(faults.values())[:NAMED])
        more = f"; and {len(faults) - NAMED:,} more" if len(faults) > NAMED else ""
        yield f"{len(faults):,} segments of the log cannot be read, and their answers are left out: {shown}{more}"
