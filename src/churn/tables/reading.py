"""Read account tables from files in batches."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import pandas as pd

from churn.config import AccountSchema
from churn.config.console import progress
from churn.errors import FaultsError
from churn.tables.cells import RowNumbers, as_frame
from churn.tables.csv_file import CsvFile
from churn.tables.file_faults import say
from churn.tables.files import ACCOUNTS, FileStore, TableFiles, parquet_file

if TYPE_CHECKING:
    import pyarrow as pa


# Rows of a batch: exactly these of a Parquet file, at least these of a CSV file.
BATCH_ROWS = 1 << 17


class AccountBatches:
    """Rows of an account table in files, read in batches; each iteration starts from the first file.

    In a CSV file, ids, categories, carried columns and the label are text; numeric columns are numbers, or text in batches
    that hold any other value. Columns that the schema does not name are left out. A labelled table is read with its label and
    without the columns to carry, any other one the other way round.
    """

    def __init__(
        self, files: TableFiles, schema: AccountSchema, *, labelled: bool = False, every_column: bool = False
    ) -> None:
        """Declare the table: the files that exist now.

        Args:
            files: The files.
            schema: Schema of the table, with the parameters of the format.
            labelled: Whether to read the label too.
            every_column: Whether to read all columns of the files; those that the schema does not name are text.

        Raises:
            ChurnError: If there is no file.
        """
        used = {*schema.source_columns, *([schema.label.column] if labelled else schema.carry)}
        self._wanted = used
        self._uri = files.store.address()
        self._tables = {
            name: TableFile(files.store, name, schema, None if every_column else used) for name in files.names()
        }

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
        self._tell_dialects()
        check_same_columns(found)
        return next(iter(found.values()))

    def _tell_dialects(self) -> None:
        """Log what is not plain in the CSV files, once for files that are alike."""
        alike: dict[str, list[str]] = {}
        for table in self._tables.values():
            if table.csv and table.csv.detected:
                alike.setdefault(table.csv.detected, []).append(table.uri)
        for detected, uris in alike.items():
            which = uris[0] if len(uris) == 1 else f"{self._uri} ({len(uris)} files, such as {uris[0]})"
            say(f"{which} is read with: {detected}")

    def frame(self) -> pd.DataFrame:
        """Return all rows as one frame.

        Raises:
            ChurnError: If a file is empty or malformed, or its columns differ from those of the first.
        """
        _ = self.columns
        frames = [table.frame() for table in self._tables.values()]
        return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Iterate over the rows in batches, with a progress bar on a terminal.

        Raises:
            ChurnError: If a file is malformed.
        """
        _ = self.columns
        with progress("Reading accounts", sum(table.size for table in self._tables.values())) as show:
            before = 0
            for table in self._tables.values():
                for frame, done in table.batches():
                    yield frame
                    show(before + done)
                before += table.size


class TableFile:
    """One file of a table.

    Attributes:
        uri: Its path or URL.
        csv: The file as a CSV file, if it is one.
    """

    def __init__(self, store: FileStore, name: str, schema: AccountSchema, wanted: set[str] | None) -> None:
        """Declare the file, and the columns to read; None for all."""
        self._store, self._name, self._wanted = store, name, wanted
        self.uri = store.address(name)
        self.csv = None if self.uri.lower().endswith(".parquet") else CsvFile(store, name, schema)

    @cached_property
    def size(self) -> int:
        """Size in bytes."""
        return self._store.size(self._name)

    @cached_property
    def columns(self) -> list[str]:
        """Names of all columns."""
        if self.csv:
            return self.csv.columns
        return [*self._parquet_schema.names, *([self.row_numbers.name] if self.row_numbers else [])]

    @property
    def row_numbers(self) -> RowNumbers | None:
        """Column of a Parquet file that is only described, if any."""
        return None if self.csv else RowNumbers.of(self._parquet_schema)

    @cached_property
    def compression(self) -> str | None:
        """How the file is compressed, if it is."""
        return self._store.compression(self._name)

    @cached_property
    def _parquet_schema(self) -> "pa.Schema":
        with parquet_file(self._store, self._name, ACCOUNTS) as table:
            return table.schema_arrow

    def batches(self) -> Iterator[tuple[pd.DataFrame, int]]:
        """Yield the rows in batches, and the number of bytes of the file read so far."""
        held: list[pa.Table] = []
        done = 0
        for table, done in self._tables():
            if held and held[0].schema != table.schema:
                yield as_frame(_joined(held)), done
                held = []
            held.append(table)
            if sum(map(len, held)) >= BATCH_ROWS:
                yield as_frame(_joined(held)), done
                held = []
        if held:
            yield as_frame(_joined(held)), done

    def frame(self) -> pd.DataFrame:
        """Return all rows."""
        tables = [table for table, _ in self._tables()]
        return as_frame(_joined(tables) if tables else self._without_rows())

    def _without_rows(self) -> "pa.Table":
        import pyarrow as pa

        if self.csv:
            return pa.schema([(name, pa.string()) for name in self._read]).empty_table()
        table = self._parquet_schema.empty_table()
        return self.row_numbers.added(table, 0) if self.row_numbers else table

    def _tables(self) -> Iterator[tuple["pa.Table", int]]:
        return self.csv.tables(self._read) if self.csv else self._parquet_tables()

    @property
    def _read(self) -> list[str]:
        return [name for name in dict.fromkeys(self.columns) if self._wanted is None or name in self._wanted]

    def _parquet_tables(self) -> Iterator[tuple["pa.Table", int]]:
        import pyarrow as pa

        with parquet_file(self._store, self._name, ACCOUNTS) as table:
            done = 0
            for batch in table.iter_batches(BATCH_ROWS, columns=self._read):
                if self.row_numbers and self.row_numbers.name in self._read:
                    batch = self.row_numbers.added(batch, done)
                done += len(batch)
                yield pa.Table.from_batches([batch]), self.size * done // table.metadata.num_rows


def _joined(tables: list["pa.Table"]) -> "pa.Table":
    """Return the rows of tables with the same columns; a column that is text in one of them is text."""
    import pyarrow as pa

    if len({table.schema for table in tables}) > 1:
        texts = {item.name for table in tables for item in table.schema if pa.types.is_string(item.type)}
        schema = pa.schema([(item.name, pa.string() if item.name in texts else item.type) for item in tables[0].schema])
        tables = [table.cast(schema) for table in tables]
    return pa.concat_tables(tables)


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
