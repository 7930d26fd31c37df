"""Account tables read from files, a batch at a time."""

import copy
import csv as python_csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import pandas as pd

from churn.config import AccountSchema
from churn.config.console import progress
from churn.errors import ChurnError, FaultsError
from churn.tables.csv import NULL_SPELLINGS, numbers_as_meant
from churn.tables.files import FileStore, TableFiles

if TYPE_CHECKING:
    import pyarrow as pa


# A batch: so many rows of a Parquet file, or at least as many of a CSV file.
BATCH_ROWS = 1 << 17
# A CSV file is read in pieces of so many bytes. PyArrow reads up to 32 of them ahead.
PIECE_BYTES = 4 << 20


class AccountBatches:
    """Rows of an account table, read a batch at a time, file after file, each time from the beginning.

    Ids and categories are text; numeric columns are numbers, or text from the first batch of a file on that holds anything
    else. Columns without a role are left out, and so is the label unless it is asked for.
    """

    def __init__(self, files: TableFiles, schema: AccountSchema, delimiter: str = ",", labelled: bool = False) -> None:
        """Declare the files; those that are there now are the table.

        Raises:
            ChurnError: If there is none.
        """
        wanted = {schema.id, *schema.numeric_names, *schema.categorical, *([schema.label.column] if labelled else [])}
        self._tables = {name: _TableFile(files.store, name, schema, delimiter, wanted) for name in files.names()}

    def only(self, names: Iterable[str]) -> Self:
        """The same table with some of its files alone; the empty name is that of a single file."""
        rest = copy.copy(self)
        rest._tables = {name: self._tables[name] for name in names}
        rest.__dict__.pop("columns", None)
        return rest

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns of the files.

        Raises:
            ChurnError: If a file is empty or malformed or has other columns than the first.
        """
        found = {table.uri: table.columns for table in self._tables.values()}
        check_same_columns(found)
        return next(iter(found.values()))

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The rows, with a progress bar where a person is looking.

        Raises:
            ChurnError: If a file is malformed.
        """
        with progress("Reading accounts", sum(table.size for table in self._tables.values())) as show:
            before = 0
            for table in self._tables.values():
                for frame, done in table.batches():
                    yield frame
                    show(before + done)
                before += table.size


class _TableFile:
    """One file of a table: its path or URL is ``uri``."""

    def __init__(self, store: FileStore, name: str, schema: AccountSchema, delimiter: str, wanted: set[str]) -> None:
        self._store, self._name, self._schema, self.delimiter, self._wanted = store, name, schema, delimiter, wanted
        self.uri = store.address(name)
        self.is_parquet = self.uri.endswith(".parquet")

    @cached_property
    def size(self) -> int:
        return self._store.size(self._name)

    @cached_property
    def columns(self) -> list[str]:
        import pyarrow as pa
        from pyarrow import parquet

        with self._store.reading(self._name) as file:
            try:
                if self.is_parquet:
                    return list(parquet.read_schema(file).names)
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                return next(python_csv.reader(text, delimiter=self.delimiter))
            except (pa.ArrowInvalid, UnicodeDecodeError, python_csv.Error, StopIteration) as error:
                reason = "it is empty" if isinstance(error, StopIteration) else error
                raise ChurnError(f"{self.uri} cannot be read as an account table: {reason}") from error

    def batches(self) -> Iterator[tuple[pd.DataFrame, int]]:
        """The rows, and how many bytes of the file have been read with them."""
        import pyarrow as pa

        try:
            held: list[pa.RecordBatch] = []
            done = 0
            for batch, done in self._parquet_batches() if self.is_parquet else self._csv_batches():
                held.append(batch)
                if sum(map(len, held)) >= BATCH_ROWS:
                    yield pa.Table.from_batches(held).to_pandas(), done
                    held = []
            if held:
                yield pa.Table.from_batches(held).to_pandas(), done
        except pa.ArrowInvalid as error:
            raise ChurnError(f"{self.uri} cannot be read as an account table: {error}") from error

    @property
    def _read(self) -> list[str]:
        return [name for name in dict.fromkeys(self.columns) if name in self._wanted]

    def _parquet_batches(self) -> Iterator[tuple["pa.RecordBatch", int]]:
        from pyarrow import parquet

        with self._store.reading(self._name) as file:
            table = parquet.ParquetFile(file)
            done = 0
            for batch in table.iter_batches(BATCH_ROWS, columns=self._read):
                done += len(batch)
                yield batch, self.size * done // table.metadata.num_rows

    def _csv_batches(self) -> Iterator[tuple["pa.RecordBatch", int]]:
        import pyarrow as pa

        given = 0
        try:
            for given, batch in enumerate(self._csv_batches_of(as_numbers=True), start=1):
                yield batch, given * PIECE_BYTES
        except pa.ArrowInvalid as error:
            # Something is no number: read on as text, which says what and where. Batches begin where they did before.
            if "conversion error" not in str(error):
                raise
            for position, batch in enumerate(self._csv_batches_of(as_numbers=False), start=1):
                if position > given:
                    yield numbers_as_meant(batch, self._schema.numeric_names), position * PIECE_BYTES

    def _csv_batches_of(self, *, as_numbers: bool) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa
        from pyarrow import csv

        numeric = self._schema.numeric_names if as_numbers else ()
        with self._store.reading(self._name) as file:
            yield from csv.open_csv(
                file,
                read_options=csv.ReadOptions(block_size=PIECE_BYTES),
                parse_options=csv.ParseOptions(delimiter=self.delimiter),
                convert_options=csv.ConvertOptions(
                    column_types={name: pa.float64() if name in numeric else pa.string() for name in self._read},
                    include_columns=self._read,
                    null_values=NULL_SPELLINGS,
                    strings_can_be_null=False,
                ),
            )


def check_same_columns(columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse files that are not parts of one table.

    Args:
        columns: Names of the columns of each file, by its path or URL; their order does not matter.

    Raises:
        FaultsError: Lists the files that differ from the first, and how.
    """
    (first, expected), *others = columns.items()
    faults = []
    for uri, names in others:
        lacking, more = sorted(set(expected) - set(names)), sorted(set(names) - set(expected))
        if lacking or more:
            parts = [f"{word} {', '.join(some)}" for word, some in (("lacks", lacking), ("also has", more)) if some]
            faults.append(f"{uri} {' and '.join(parts)}")
    if faults:
        raise FaultsError(f"files with other columns than {first}", faults)
