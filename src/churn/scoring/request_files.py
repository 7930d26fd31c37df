"""The files of the log of requests, which `churn serve` writes and monitoring reads.

A day (UTC) is a folder with segments, ``<time>-<process>-<number>.parquet``, and for each model that answered a file
``model-<SHA-256>.json``, with all that monitoring has to know of it. Segments of a day that is over are merged: a merged file is
written first, then the index ``segments.json`` names it with its sources, under a conditional write, then the sources go. What
the index names as a source does not count, nor does a merged file that it does not name. So a merge may be stopped at any
moment, and of two at once one is without effect.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.stores import DamagedError, Entry, Store
from churn.tables.parallel import in_order

if TYPE_CHECKING:
    import pyarrow as pa

INDEX = "segments.json"
MERGED = "-merged-"
# Columns of the log beside those of the scores and of the accounts.
REQUEST_ID, ROW, ANSWERED_AT, AS_OF = "request_id", "row", "answered_at", "as_of"
# Key of the notes in the metadata of a segment.
NOTES = b"churn"
# Rows of a merged file, which is held in memory; segments that are read at once.
MERGED_ROWS, AT_ONCE = 250_000, 8
# Seconds after the end of a day, and after its last segment, from which on nothing more is expected.
SILENCE = 3_600.0


def own_columns(schema: AccountSchema) -> dict[str, str]:
    """Return the names of the log's own columns in its files: with ``_`` at the end where the accounts have such a column."""
    taken = {schema.id, *schema.numeric_names, *schema.categorical}
    found = {}
    for name in (REQUEST_ID, ROW, ANSWERED_AT, AS_OF):
        free = name
        while free in taken:
            free += "_"
        taken.add(free)
        found[name] = free
    return found


class Notes(NamedTuple):
    """What a segment says of itself.

    Attributes:
        sample: Share of the requests that were logged.
        redact: Columns whose values were left out.
        models: SHA-256 of each model by its version.
    """

    sample: float = 1.0
    redact: tuple[str, ...] = ()
    models: Mapping[str, str] = {}

    def metadata(self) -> dict[bytes, bytes]:
        """Return the metadata of a Parquet file."""
        return {NOTES: json.dumps(self._asdict(), sort_keys=True).encode()}


def notes_of(schema: "pa.Schema") -> Notes:
    """Return the notes of a segment; those of a complete log if it has none.

    Raises:
        ValueError: If they are damaged.
    """
    stored = (schema.metadata or {}).get(NOTES)
    if stored is None:
        return Notes()
    try:
        found = json.loads(stored)
        return Notes(
            float(found["sample"]),
            tuple(map(str, found["redact"])),
            {str(version): str(sha256) for version, sha256 in found["models"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its notes cannot be read: {error}") from error


def model_file(sha256: str) -> str:
    """Return the name of the file of a model in the folder of a day."""
    return f"model-{sha256}.json"


def days_of(entries: Mapping[str, Entry]) -> dict[date, dict[str, Entry]]:
    """Return the files of each day by their names in its folder, from a listing of a log; the oldest day first."""
    found: dict[date, dict[str, Entry]] = {}
    for name, entry in entries.items():
        folder, _, file = name.partition("/")
        if file and (day := _day(folder)) is not None:
            found.setdefault(day, {})[file] = entry
    return dict(sorted(found.items()))


def _day(name: str) -> date | None:
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return day if day.isoformat() == name else None


def end_of(day: date) -> float:
    """Return when a day is over (UTC), in seconds since 1970."""
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)).timestamp()


def is_segment(name: str) -> bool:
    """Return whether a file of a day holds rows."""
    return name.endswith(".parquet") and not name.startswith(".")


def segments(store: Store, day: date, names: Iterable[str]) -> list[str]:
    """Return the segments of a day that count, in the order of time.

    Args:
        store: The log.
        day: The day.
        names: Names in its folder, listed before this call: what is merged meanwhile is then found in the index.

    Raises:
        DamagedError: If the index of the day is damaged.
    """
    listed = set(names)
    plain = {name for name in listed if is_segment(name) and MERGED not in name}
    counted = set(plain)
    for merged, sources in _index(store, day).items():
        if _is_there(store, day, merged, listed) or not set(sources) <= plain:
            counted -= set(sources)
            counted.add(merged)
    return sorted(counted)


def _index(store: Store, day: date) -> dict[str, list[str]]:
    """Return the sources of each merged file of a day."""
    name = f"{day}/{INDEX}"
    return _parsed_index(store.read_json(name), store.address(name)) if store.exists(name) else {}


def _is_there(store: Store, day: date, name: str, listed: set[str]) -> bool:
    """Return whether a merged file exists, which may have been written after the listing."""
    return name in listed or store.exists(f"{day}/{name}")


def _parsed_index(document: Any, place: str) -> dict[str, list[str]]:
    try:
        return {str(name): [str(source) for source in sources] for name, sources in document["merged"].items()}
    except (KeyError, TypeError, AttributeError):
        raise DamagedError(
            f"{place} is damaged: it does not say which segments were merged; restore it from a backup. Without it, rows of the "
            "day may be counted twice"
        ) from None


class Segment(NamedTuple):
    """Rows of a segment, the names of all its columns, and what it says of itself."""

    table: "pa.Table"
    columns: list[str]
    notes: Notes


class GoneError(ChurnError):
    """A segment that was listed is not there any more."""


def read_segment(store: Store, name: str, columns: Sequence[str] | None = None) -> Segment:
    """Read a segment.

    Args:
        store: The log.
        name: Name of the segment, with that of its day.
        columns: Columns to read, in this order; all by default.

    Raises:
        GoneError: If it is not there any more.
        DamagedError: If it is damaged or may not be read, or has not these columns.
        ChurnError: If the store does not answer.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with store.reading(name) as file:
            content = file.read()
    except ChurnError as error:
        if not store.exists(name):
            raise GoneError(f"{store.address(name)} is not there any more") from None
        raise DamagedError(f"{store.address(name)} cannot be read: {error}") from None
    try:
        stored = parquet.ParquetFile(pa.BufferReader(content))
        lacking = sorted(set(columns or ()) - set(stored.schema_arrow.names))
        if lacking:
            raise DamagedError(f"{store.address(name)} has no column {', '.join(lacking)}")
        table: pa.Table = stored.read(columns=None if columns is None else list(columns))
        notes = notes_of(stored.schema_arrow)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{store.address(name)} is damaged: {str(error).partition(chr(10))[0]}") from None
    names = list(stored.schema_arrow.names)
    return Segment(table.select(names if columns is None else list(columns)), names, notes)


def read_segments(
    store: Store, names: Sequence[str], columns: Sequence[str] | None = None
) -> Iterator[tuple[str, Segment | DamagedError | GoneError]]:
    """Yield the segments in their order, or why one cannot be read; several are read at once."""

    def read(name: str) -> Segment | DamagedError | GoneError:
        try:
            return read_segment(store, name, columns)
        except (DamagedError, GoneError) as error:
            return error

    yield from zip(names, in_order(read, names, AT_ONCE), strict=True)


class Merge(NamedTuple):
    """What a merge has done.

    Attributes:
        sources: Number of segments that were merged.
        files: Number of files that have their rows now.
        left: Why segments were left as they are.
    """

    sources: int = 0
    files: int = 0
    left: tuple[str, ...] = ()


def can_be_merged(day: date, files: Mapping[str, Entry], now: float) -> bool:
    """Return whether a day is over and has several segments, or what an interrupted merge has left."""
    newest = max((entry.modified for entry in files.values()), default=0.0)
    plain = [name for name in files if is_segment(name) and MERGED not in name]
    return len(plain) > 1 and min(now - end_of(day), now - newest) > SILENCE


def merge_day(store: Store, day: date, files: Mapping[str, Entry]) -> Merge:
    """Merge the segments of a day that is over into few files, and remove what an interrupted merge has left.

    Args:
        store: The log.
        day: A day that `can_be_merged`.
        files: Its files.

    Raises:
        DamagedError: If its index is damaged; nothing is changed then.
        ChurnError: If the store does not answer.
    """
    counted = set(segments(store, day, files))
    for name in files:
        # Sources of a merged file, and merged files that no index names: their writers ended an hour ago.
        if is_segment(name) and name not in counted:
            store.remove(f"{day}/{name}")
    plain = sorted(name for name in counted if MERGED not in name)
    if len(plain) < 2:
        return Merge()
    waiting: dict[Any, _Group] = {}
    sources = made = 0
    left: list[str] = []

    def flush(group: _Group) -> None:
        nonlocal sources, made
        if len(group.names) > 1 and _merge(store, day, group):
            sources, made = sources + len(group.names), made + 1

    for name, found in read_segments(store, [f"{day}/{name}" for name in plain]):
        if isinstance(found, ChurnError):
            left.append(str(found))
            continue
        # Only what has equal columns and notes, but for the models, is put together.
        key = (found.table.schema.to_string(show_schema_metadata=False), found.notes.sample, found.notes.redact)
        group = waiting.get(key)
        if group is None or group.rows >= MERGED_ROWS or not group.takes(found):
            if group is not None:
                flush(group)
            group = waiting[key] = _Group(found.notes)
        group.add(name.partition("/")[2], found)
    for group in waiting.values():
        flush(group)
    return Merge(sources, made, tuple(left))


class _Group:
    """Segments that become one file."""

    def __init__(self, notes: Notes) -> None:
        self.names: list[str] = []
        self.rows = 0
        self._tables: list[pa.Table] = []
        self._models: dict[str, str] = {}
        self._notes = notes

    def takes(self, segment: Segment) -> bool:
        """Return whether no version stands for another model in a segment."""
        return all(self._models.get(version, sha256) == sha256 for version, sha256 in segment.notes.models.items())

    def add(self, name: str, segment: Segment) -> None:
        self.names.append(name)
        self.rows += segment.table.num_rows
        self._tables.append(segment.table.replace_schema_metadata(None))
        self._models |= segment.notes.models

    def table(self) -> "pa.Table":
        """Return all rows, with the notes."""
        import pyarrow as pa

        whole = pa.concat_tables(self._tables).unify_dictionaries().combine_chunks()
        return whole.replace_schema_metadata(self._notes._replace(models=self._models).metadata())


def _merge(store: Store, day: date, group: _Group) -> bool:
    """Put segments into one file; return whether that was done, and not by another process."""
    from pyarrow import parquet

    names, table = group.names, group.table()
    target = f"{names[0].partition('-')[0]}{MERGED}{uuid.uuid4().hex[:8]}.parquet"
    stored = store.write(lambda file: parquet.write_table(table, file), f"{day}/{target}")
    store.verify(f"{day}/{target}", stored)
    place = f"{day}/{INDEX}"

    def claim(document: Any) -> dict[str, Any] | None:
        known = {} if document is None else _parsed_index(document, store.address(place))
        merged = {name: sources for name, sources in known.items() if store.exists(f"{day}/{name}")}
        if {source for each in merged.values() for source in each} & set(names):
            return None  # another process was here first
        return {"merged": {**merged, target: names}}

    document = store.update_json(claim, place)
    if target not in document["merged"]:
        store.remove(f"{day}/{target}")
        return False
    if not store.exists(f"{day}/{target}"):  # this process was suspended, and another one has tidied up
        return False
    for name in names:
        store.remove(f"{day}/{name}")
    return True


def remove_day(store: Store, day: date) -> None:
    """Remove a day; the index goes last, so that what is left after an interruption is not counted twice."""
    names = [name for name in store.entries(day.isoformat()) if not name.endswith(f"/{INDEX}")]
    for name in names:
        store.remove(name)
    store.remove(f"{day}/{INDEX}")
    if store.is_local:
        store.discard(day.isoformat())
