"""Read account tables from files in batches."""

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
from churn.tables.cells import RowNumbers, as_frame
from churn.tables.csv import NULL_SPELLINGS, normalise_numbers
from churn.tables.files import FileStore, TableFiles

if TYPE_CHECKING:
    import pyarrow as pa


# Rows of a batch: exactly these of a Parquet file, at least these of a CSV file.
BATCH_ROWS = 1 << 17
# Bytes of the pieces in which a CSV file is read. PyArrow reads up to 32 of them ahead.
PIECE_BYTES = 4 << 20


class AccountBatches:
    """Rows of an account table in files, read in batches; each iteration starts from the first file.

    Ids and categories are text; numeric columns are numbers, or text from the first batch of a file on that holds any
    other value. Columns that the schema does not name are left out, and so is the label unless `labelled` is true.
    """

    def __init__(self, files: TableFiles, schema: AccountSchema, delimiter: str = ",", labelled: bool = False) -> None:
        """Declare the table: the files that exist now.

        Raises:
            ChurnError: If there is no file.
        """
        wanted = {schema.id, *schema.numeric_names, *schema.categorical, *([schema.label.column] if labelled else [])}
        self._tables = {name: _TableFile(files.store, name, schema, delimiter, wanted) for name in files.names()}

    def only(self, names: Iterable[str]) -> Self:
        """Return the table restricted to some of its files; the empty name is that of a single file."""
        rest = copy.copy(self)
        rest._tables = {name: self._tables[name] for name in names}
        rest.__dict__.pop("columns", None)
        return rest

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns of the files.

        Raises:
            ChurnError: If a file is empty or malformed, or its columns differ from those of the first.
        """
        found = {table.uri: table.columns for table in self._tables.values()}
        check_same_columns(found)
        return next(iter(found.values()))

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Iterate over the rows in batches, with a progress bar on a terminal.

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
    """One file of a table; ``uri`` is its path or URL."""

    def __init__(self, store: FileStore, name: str, schema: AccountSchema, delimiter: str, wanted: set[str]) -> None:
        self._store, self._name, self._schema, self.delimiter, self._wanted = store, name, schema, delimiter, wanted
        self.uri = store.address(name)
        self.is_parquet = self.uri.endswith(".parquet")
        # Known once the columns are read.
        self.row_numbers: RowNumbers | None = None

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
                    schema = parquet.read_schema(file)
                    self.row_numbers = RowNumbers.of(schema)
                    return [*schema.names, *([self.row_numbers.name] if self.row_numbers else [])]
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                return next(python_csv.reader(text, delimiter=self.delimiter))
            except (pa.ArrowInvalid, UnicodeDecodeError, python_csv.Error, StopIteration) as error:
                reason = "the file is empty" if isinstance(error, StopIteration) else error
                raise ChurnError(f"{self.uri} cannot be read as an account table: {reason}") from error

    def batches(self) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield the rows in batches, and the number of bytes of the file read so far."""
        import pyarrow as pa

        try:
            held: list[pa.RecordBatch] = []
            done = 0
            for batch, done in self._parquet_batches() if self.is_parquet else self._csv_batches():
                held.append(batch)
                if sum(map(len, held)) >= BATCH_ROWS:
                    yield as_frame(pa.Table.from_batches(held)), done
                    held = []
            if held:
                yield as_frame(pa.Table.from_batches(held)), done
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
                if self.row_numbers and self.row_numbers.name in self._read:
                    batch = self.row_numbers.added(batch, done)
                done += len(batch)
                yield batch, self.size * done // table.metadata.num_rows

    def _csv_batches(self) -> Iterator[tuple["pa.RecordBatch", int]]:
        import pyarrow as pa

        given = 0
        try:
            for given, batch in enumerate(self._csv_batches_of(as_numbers=True), start=1):
                yield batch, given * PIECE_BYTES
        except pa.ArrowInvalid as error:
            # A value is not a number: read on as text, so that the check can name it. Batches begin where they did before.
            if "conversion error" not in str(error):
                raise
            for position, batch in enumerate(self._csv_batches_of(as_numbers=False), start=1):
                if position > given:
                    yield normalise_numbers(batch, self._schema.numeric_names), position * PIECE_BYTES

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
    """Check that the files of a table have the same columns.

    Args:
        columns: Column names of each file, by its path or URL; their order does not matter.

    Raises:
        FaultsError: Lists the files that differ from the first, with the missing and additional columns.
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
