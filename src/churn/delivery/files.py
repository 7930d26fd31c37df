"""Files in a folder or a bucket. Each delivery with changes is a folder with the changes, all accounts and the ledger.

``latest.json`` names the last one and is replaced after everything else, under the store's conditional write. So readers see a
whole delivery or none, and the ledger, which it names too, is always that of what they see.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from churn.config import FilesTarget
from churn.delivery.columns import Fields, schema_of
from churn.delivery.content import Batch, Held, content_of, plain_rows
from churn.delivery.target import Occasion, Rejects, Session, State, Target, TargetError
from churn.errors import ChurnError
from churn.stores import DamagedError, Store, open_store

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

POINTER, LEDGER, CHANGES, SNAPSHOT = "latest.json", "ledger.parquet", "changes", "accounts"
ACTION = "action"
_FOLDER = re.compile(r"\d{6,}-[0-9a-f]{8}")
Format = Literal["csv", "parquet", "jsonl"]


class FilesSession(Session):
    """A delivery to files."""

    wants_all = True

    def __init__(self, store: Store, settings: FilesTarget, fields: Fields, stack: ExitStack) -> None:
        """Read the pointer."""
        self._store, self._settings, self._fields, self._stack = store, settings, fields, stack
        self._occasion: Occasion | None = None
        self._pointer: dict[str, Any] = {}
        self._damaged = False
        self._read: Held | None = None
        if store.exists(POINTER):
            try:
                document = store.read_json(POINTER)
                self._pointer = document if isinstance(document, dict) else {}
                self._damaged = not self._pointer
            except DamagedError as error:
                logger.warning("%s", error)
                self._damaged = True
        if self._pointer.get("delivery"):
            self._read = self._ledger()
            self._damaged = self._read is None
        self._folder = ""
        self._changes: _Writer | None = None
        self._whole: _Writer | None = None
        self._notes: _Writer | None = None
        self._files: dict[str, Any] = {}
        self._counts = {"changed": 0, "removed": 0, "accounts": 0}

    @property
    def state(self) -> State:
        """What is known of the target."""
        if self._damaged:
            return "lost"
        return "known" if self._pointer.get("delivery") else "new"

    def held(self) -> Held:
        """Return what the last delivery has told."""
        return Held.nothing() if self._read is None else self._read

    def _ledger(self) -> Held | None:
        """Return what the ledger of the last delivery says, or else its file of all accounts; ``None`` if neither can be read."""
        from pyarrow import parquet

        name, files = str(self._pointer["delivery"]), self._pointer.get("files") or {}
        try:
            with self._store.reading(self._intact(f"{name}/{LEDGER}", files)) as file:
                table = parquet.read_table(file)
            columns = (table[each].to_numpy(zero_copy_only=False) for each in ("content", "score"))
            return Held.of(table["id"], *columns)
        except (ChurnError, OSError, KeyError, ValueError) as error:
            logger.warning("The ledger of %s cannot be read: %s", self._store.uri, error)
        try:
            with self._store.reading(self._intact(f"{name}/{SNAPSHOT}.{self._settings.format}", files)) as file:
                rows = _read(file, self._settings.format, schema_of(self._fields.all))
            logger.warning("It is made again from %s", f"{SNAPSHOT}.{self._settings.format}")
            return content_of(rows, self._fields)
        except (ChurnError, OSError, KeyError, ValueError) as error:
            logger.warning("The accounts of the last delivery to %s cannot be read: %s", self._store.uri, error)
            return None

    def _intact(self, name: str, files: Mapping[str, Any]) -> str:
        expected = files.get(name.partition("/")[2], {}).get("sha256")
        if expected is None or self._store.sha256(name) != expected:
            raise DamagedError(f"{self._store.address(name)} does not match {POINTER}")
        return name

    def begin(self, occasion: Occasion) -> None:
        """Overtake earlier deliveries, and remove what one of them has left."""
        self._occasion = occasion

        def claim(document: Any) -> dict[str, Any]:
            known = document if isinstance(document, dict) else {}
            if known.get("delivery") != self._pointer.get("delivery") and not self._damaged:
                raise TargetError("another delivery to it has ended meanwhile; run again")
            return {**known, "claim": occasion.token}

        self._pointer = self._store.update_json(claim, POINTER, mend=True)
        self._damaged = False
        kept = {self._pointer.get("delivery"), *self._earlier}
        for folder in {name.partition("/")[0] for name in self._store.names()}:
            if _FOLDER.fullmatch(folder) and folder not in kept:
                self._store.discard(folder)

    @property
    def _earlier(self) -> list[str]:
        given = self._pointer.get("earlier")
        return [str(name) for name in given] if isinstance(given, list) else []

    def _opened(self) -> None:
        """Open the files of the delivery with the first row."""
        if self._folder:
            return
        assert self._occasion is not None  # noqa: S101, set by begin
        number = self._pointer.get("number")
        self._folder = f"{(number if isinstance(number, int) else 0) + 1:06d}-{self._occasion.token[:8]}"
        import pyarrow as pa

        kind = self._settings.format
        schema = schema_of(self._fields.all)
        told = pa.schema([(ACTION, pa.string()), *schema])
        kept = pa.schema([("id", pa.string()), ("content", pa.int64()), ("score", pa.float64())])
        self._changes = self._writer(f"{CHANGES}.{kind}", kind, told)
        if not self.partial:
            self._whole = self._writer(f"{SNAPSHOT}.{kind}", kind, schema)
        self._notes = self._writer(LEDGER, "parquet", kept)

    def _writer(self, name: str, kind: Format, schema: "pa.Schema") -> "_Writer":
        file = self._stack.enter_context(self._store.writing(f"{self._folder}/{name}"))
        writer = _Writer(file, kind, schema)
        self._stack.callback(writer.close)
        self._files[name] = file
        return writer

    def upsert(self, batch: Batch) -> None:
        """Write new and changed accounts."""
        self._tell(batch, "upsert")
        self._counts["changed"] += len(batch)

    def remove(self, batch: Batch) -> None:
        """Write accounts that are no longer delivered."""
        self._tell(batch, "remove")
        self._counts["removed"] += len(batch)

    def _tell(self, batch: Batch, action: str) -> None:
        import pyarrow as pa

        self._opened()
        assert self._changes is not None  # noqa: S101, opened above
        columns = {ACTION: pa.repeat(action, len(batch))}
        for field in schema_of(self._fields.all):
            there = field.name in batch.rows.column_names
            columns[field.name] = batch.rows[field.name] if there else pa.nulls(len(batch), field.type)
        self._changes.write(pa.table(columns, schema=self._changes.schema))

    def whole(self, rows: "pa.Table | None", held: Held) -> None:
        """Write some of all accounts."""
        import pyarrow as pa

        self._opened()
        assert self._notes is not None  # noqa: S101, opened above
        if self._whole is not None and rows is not None:
            self._whole.write(rows)
        columns = {"id": held.ids, "content": held.content, "score": held.score}
        self._notes.write(pa.table(columns, schema=self._notes.schema))
        self._counts["accounts"] += len(held)

    def end(self) -> None:
        """Complete the files, and name them in the pointer.

        Raises:
            TargetError: If a later delivery has begun.
        """
        if not self._folder:
            return
        self._stack.close()
        assert self._occasion is not None  # noqa: S101, set by begin
        occasion, settings = self._occasion, self._settings
        for name, file in self._files.items():
            self._store.verify(f"{self._folder}/{name}", file.stored())
        earlier = [name for name in (self._pointer.get("delivery"), *self._earlier) if name]
        kept, gone = earlier[: settings.keep - 1], earlier[settings.keep - 1 :]
        pointer = {
            "target": settings.name,
            "number": int(self._folder.partition("-")[0]),
            "delivery": self._folder,
            "run_id": occasion.run.run_id,
            "as_of": occasion.run.as_of,
            "delivered_at": occasion.at.isoformat(),
            "changes": f"{self._folder}/{CHANGES}.{settings.format}",
            "accounts": None if self.partial else f"{self._folder}/{SNAPSHOT}.{settings.format}",
            "rows": self._counts,
            "files": {name: file.stored()._asdict() for name, file in self._files.items()},
            "earlier": kept,
        }

        def advance(document: Any) -> dict[str, Any]:
            if isinstance(document, dict) and document.get("delivery") == self._folder:
                return document  # an attempt whose answer was lost has arrived
            if not isinstance(document, dict) or document.get("claim") != occasion.token:
                raise TargetError("another delivery to it has begun meanwhile, and goes on in place of this one")
            return pointer

        self._store.update_json(advance, POINTER)
        for name in gone:
            if _FOLDER.fullmatch(name):
                self._store.discard(name)


class Files(Target):
    """Files in a folder or a bucket."""

    @property
    def _settings(self) -> FilesTarget:
        return cast("FilesTarget", self.settings)

    @property
    def batch_rows(self) -> int:
        """Rows that are written at once."""
        return 100_000

    @property
    def place(self) -> str:
        """The folder."""
        return self._settings.path

    def faults(self) -> list[str]:
        """Return what is wrong with parameters and credentials."""
        try:
            open_store(self._settings.path, dict(self._credentials) or None)
        except ChurnError as error:
            return [str(error)]
        except (ImportError, ValueError) as error:
            return [f"path = {self._settings.path!r} cannot be used: {error}"]
        return []

    @contextmanager
    def session(self, fields: Fields, rejects: Rejects) -> Iterator[Session]:
        """Open the folder; files that are not completed do not appear.

        Raises:
            TargetError: If it cannot be read or written.
        """
        store = open_store(self._settings.path.rstrip("/"), dict(self._credentials) or None)
        try:
            with ExitStack() as stack:
                yield FilesSession(store, self._settings, fields, stack)
        except ChurnError as error:
            raise TargetError(str(error)) from error


class _Writer:
    """A file of rows in one of the formats."""

    def __init__(self, file: Any, kind: Format, schema: "pa.Schema") -> None:
        from pyarrow import csv, parquet

        self.schema, self._file = schema, file
        self._writer: Any = None
        if kind == "csv":
            self._writer = csv.CSVWriter(file, schema, write_options=csv.WriteOptions(quoting_style="needed"))
        elif kind == "parquet":
            self._writer = parquet.ParquetWriter(file, schema)

    def write(self, rows: "pa.Table") -> None:
        if self._writer is not None:
            self._writer.write_table(rows)
            return
        lines = plain_rows(rows)
        text = "".join(json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in lines)
        self._file.write(text.encode())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _read(file: Any, kind: Format, schema: "pa.Schema") -> "pa.Table":
    """Return all rows of a file that was written in one of the formats."""
    import pyarrow as pa
    from pyarrow import csv, parquet
    from pyarrow import json as arrow_json

    if kind == "parquet":
        return parquet.read_table(file)
    if kind == "csv":
        types = {field.name: field.type for field in schema}
        options = csv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
        return csv.read_csv(
            pa.BufferReader(file.read()),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    # Arrow reads dates and times of JSON as text only.
    texts = pa.schema([(each.name, pa.string() if pa.types.is_temporal(each.type) else each.type) for each in schema])
    rows = arrow_json.read_json(
        pa.BufferReader(file.read()), parse_options=arrow_json.ParseOptions(explicit_schema=texts)
    )
    return rows.select(schema.names).cast(schema)
