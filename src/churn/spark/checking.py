"""Check accounts on Spark.

One function checks the rows of a partition as `churn.tables.batches` checks the batches of a file on one machine. It
writes its findings as a note, the last row of the partition; the driver joins the notes in the order of the table.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import reduce
from itertools import groupby
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
from pyspark.sql.types import (
    ByteType,
    DataType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.scoring.run import Tally
from churn.spark.frames import SparkTable
from churn.spark.rows import PACKED, ROW, SparkRows, arrow_schema, as_batch, column, packed, unpacked_rows
from churn.spark.session import explained
from churn.tables.batches import CheckedRows, Findings, check_header
from churn.tables.cells import as_frame
from churn.tables.faults import Fault, repeated
from churn.tables.ids import hashes_of
from churn.tables.split import Split, sketch_of

# Column of the notes. The number of a checked row is that of its partition, shifted, plus its position in the partition.
NOTE = "(note)"
# Column of the checked training rows that says whether a row is a test row.
TEST = "(test)"
PARTITION_BITS = 33
PLACES = (1 << PARTITION_BITS) - 1


def partition_here() -> int:
    """Return the number of the partition that this Spark task processes."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.partitionId() if context else 0


@dataclass
class Note:
    """Findings in a partition.

    Attributes:
        partition: Number of the partition.
        findings: Result of the check.
        tally: Counts and sums of its scores, without rows after the first faulty batch; None if there are none.
        error: Message of an error in processing its rows, if any.
        sketch: Sketch of its ids, for training rows.
    """

    partition: int
    findings: Findings = field(default_factory=Findings)
    tally: Tally | None = None
    error: str | None = None
    sketch: tuple[int, ...] = ()

    def check_batch(self, batch: pa.RecordBatch, schema: AccountSchema, model: ChurnModel | None) -> pd.DataFrame:
        """Check the next rows and return them in canonical form, with their numbers."""
        first = first_number(self.partition, self.findings.rows)
        accounts = self.findings.check_batch(as_frame(batch), schema, model)
        return accounts.assign(**{ROW: first + np.arange(len(accounts))})


NOTES = TypeAdapter(Note)


class Numbered(Protocol):
    """A note with the number of its partition."""

    partition: int


Noted = TypeVar("Noted", bound=Numbered)


def note_row(note: Noted, notes: TypeAdapter[Noted], row_schema: pa.Schema) -> pa.RecordBatch:
    """Return a note as the last row of its partition."""
    return as_batch({NOTE: [notes.dump_json(note).decode()]}, row_schema, 1)


def notes_of(made: DataFrame, notes: TypeAdapter[Noted]) -> list[Noted]:
    """Collect the notes among rows, in the order of their partitions."""
    rows = made.where(column(NOTE).isNotNull()).select(column(NOTE).alias("note")).collect()
    return sorted((notes.validate_json(row["note"]) for row in rows), key=lambda note: note.partition)


def first_number(partition: int, before: int) -> int:
    """Return the number of the row of a partition that has `before` rows before it."""
    return (partition << PARTITION_BITS) + before


# A function from the rows of a partition to the resulting rows and the note.
Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class SparkAccounts:
    """A table of accounts that are checked while they are processed."""

    def __init__(self, table: SparkTable, schema: AccountSchema, model: ChurnModel | None, subject: str) -> None:
        """Declare the table and its schema, see `churn.tables.batches.CheckedBatches`."""
        self.table, self.schema, self.model, self.subject = table, schema, model, subject
        self._kept: DataFrame | None = None
        self._guessed: tuple[str, ...] = ()
        # For each partition, the number of rows before it, and in it.
        self._starts: dict[int, int] = {}
        self._lengths: dict[int, int] = {}

    @property
    def _names(self) -> list[str]:
        """Names of the columns to read."""
        more = [self.schema.label.column] if self.model is None else self.schema.carry
        return [*self.schema.source_columns, *more]

    def row_schema(self, more: Mapping[str, DataType] | None = None) -> StructType:
        """Return the schema of the resulting rows: number, canonical columns, further columns, and the note."""
        types: dict[str, DataType] = {ROW: LongType(), self.schema.id: StringType()}
        types |= dict.fromkeys(self.schema.numeric_names, DoubleType())
        types |= dict.fromkeys(self.schema.categorical, StringType())
        if self.model is None:
            types[self.schema.label.column] = ByteType()
        else:
            types |= dict.fromkeys(self.schema.carry, StringType())
        types |= {**(more or {}), NOTE: StringType()}
        return StructType([StructField(name, kind) for name, kind in types.items()])

    def mapped(self, work: Work, row_schema: StructType) -> DataFrame:
        """Apply a function to the rows of each partition, see `mapped`.

        Raises:
            AccountsError: If the columns do not match the schema.
        """
        check_header(self.table.columns, self.schema, self.subject, labelled=self.model is None)
        return mapped(self.table, self._names, work, row_schema)

    def check(self, made: DataFrame) -> list[Note]:
        """Return the notes of the result of `mapped`, in the order of the partitions.

        Raises:
            AccountsError: Lists every fault of the table.
            ChurnError: If processing its rows failed.
        """
        notes = notes_of(made, NOTES)
        found = Findings()
        for note in notes:
            self._starts[note.partition], self._lengths[note.partition] = found.rows, note.findings.rows
            found.extend(note.findings)
        found.raise_faults(repetitions(made, self.schema.id, self._starts), self.schema, self.model, self.subject)
        self._guessed = found.labelled.guessed(self.schema)
        for note in notes:
            if note.error is not None:
                raise ChurnError(note.error)
        return notes

    def checked_rows(self, split: Split) -> CheckedRows:
        """Return the label and the part of each row; Spark keeps the checked rows as long as they are referenced.

        Raises:
            AccountsError: Lists every fault of the table.
        """
        row_schema = self.row_schema({TEST: ByteType()})
        label = self.schema.label.column
        with explained(self.subject, self.table.examine):
            made = self.mapped(checked_partition(self.schema, split, arrow_schema(row_schema)), row_schema).persist()
            self._kept = made
            weakref.finalize(self, _released, made).atexit = False
            notes = self.check(made)
            wanted = made.where(column(NOTE).isNull()).select(column(ROW), column(label), column(TEST))
            rows = sum(self._lengths.values())
            labels, is_test = np.empty(rows, dtype=np.int8), np.empty(rows, dtype=bool)
            for row in wanted.mapInArrow(packed, PACKED).toLocalIterator(prefetchPartitions=True):
                part = unpacked_rows(row)
                if len(part):
                    places = self._places(part[ROW].to_numpy())
                    labels[places], is_test[places] = part[label].to_numpy(), part[TEST].to_numpy() == 1
        sketch = sketch_of(np.array(note.sketch, dtype=np.uint64) for note in notes)
        return CheckedRows(labels, is_test, sketch, self._guessed)

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> SparkRows:
        """Return selected rows; call `checked_rows` before, which checks the table.

        Args:
            columns: Columns to return, in this order.
            mask: Which rows to return, shape (n,).
        """
        if self._kept is None:
            raise ValueError("the rows were not checked yet; call checked_rows() first")
        row_schema = self.row_schema()
        kept = StructType([row_schema[ROW], *(row_schema[name] for name in columns)])
        choose = chosen_rows(mask, self._starts, self._lengths, arrow_schema(kept), self.subject)
        sound = self._kept.where(column(NOTE).isNull()).select(*map(column, kept.names))
        return SparkRows(sound.mapInArrow(choose, kept), int(mask.sum()), source=self)

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in the table of rows of one partition, from their numbers."""
        return (numbers & PLACES) + self._starts[int(numbers[0] >> PARTITION_BITS)]


def mapped(table: SparkTable, names: Sequence[str], work: Work, row_schema: StructType) -> DataFrame:
    """Apply a function to the rows of a table, partition by partition.

    Args:
        table: The table.
        names: Columns to read.
        work: Function to apply.
        row_schema: Schema of the rows that it returns.
    """
    frames = [frame.select(*map(column, names)) for frame in table.frames()]
    # The partitions of a union are those of its frames, one frame after the other. Frames with different types are
    # processed separately: a union would cast their values to a common type first.
    alike = (reduce(DataFrame.union, group) for _, group in groupby(frames, lambda frame: frame.dtypes))
    return reduce(DataFrame.union, (part.mapInArrow(work, row_schema) for part in alike))


def repetitions(made: DataFrame, name: str, starts: Mapping[int, int]) -> list[Fault]:
    """Return the fault of repeated ids, if any.

    Args:
        made: Ids, and the numbers of their rows.
        name: Column of the id.
        starts: Number of rows before each partition.
    """
    ids = made.select(column(name).alias("id"), column(ROW).alias("row"))
    known = (
        ids.where(F.col("id").isNotNull()).groupBy("id").agg(F.count("*").alias("count"), F.min("row").alias("first"))
    )
    again = known.where("count > 1")
    count = again.agg(F.sum(F.col("count") - 1)).collect()[0][0]
    if not count:
        return []
    later = ids.join(again, "id").where("row > first").orderBy("row").limit(3).select("row").collect()
    rows = tuple(starts[row["row"] >> PARTITION_BITS] + (row["row"] & PLACES) + 1 for row in later)
    (like,) = repeated(np.array([True]), name)
    return [Fault(**{**asdict(like), "count": int(count), "rows": rows})]


def _released(frame: DataFrame) -> None:
    # If Spark has stopped in the meantime, the rows are gone already.
    with suppress(Exception):
        frame.unpersist()


def checked_partition(schema: AccountSchema, split: Split, row_schema: pa.Schema) -> Work:
    """Return the function that checks a partition of a training table and splits its rows."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        note = Note(partition_here())
        for batch in batches:
            accounts = note.check_batch(batch, schema, None)
            ids = accounts[schema.id]
            note.sketch = sketch_of([np.array(note.sketch, dtype=np.uint64), hashes_of(ids)])
            yield as_batch(accounts.assign(**{TEST: split.test_rows(ids).astype(np.int8)}), row_schema, len(accounts))
        yield note_row(note, NOTES, row_schema)

    return run


def chosen_rows(
    mask: NDArray[np.bool_], starts: Mapping[int, int], lengths: Mapping[int, int], row_schema: pa.Schema, subject: str
) -> Work:
    """Return the function that selects rows of a partition and numbers them by their position among the selected rows.

    Args:
        mask: Which rows of the table to select, shape (n,).
        starts: Number of rows before each partition.
        lengths: Number of rows of each partition.
        row_schema: Schema of the rows.
        subject: Name of the table in messages.
    """
    parts = {
        number: (
            int(mask[:start].sum()) if start else 0,
            np.packbits(mask[start : start + lengths[number]]),
            lengths[number],
        )
        for number, start in starts.items()
    }

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        known: dict[int, tuple[NDArray[np.bool_], NDArray[np.int64]]] = {}
        at = row_schema.get_field_index(ROW)
        for batch in batches:
            numbers = batch.column(at).to_numpy(zero_copy_only=False)
            for number in np.unique(numbers >> PARTITION_BITS):
                if number not in known:
                    before, bits, count = parts[int(number)]
                    chosen = np.unpackbits(bits, count=count).astype(bool)
                    known[number] = chosen, before - 1 + np.cumsum(chosen)
                chosen, new = known[number]
                here = numbers >> PARTITION_BITS == number
                places = numbers[here] & PLACES
                if len(places) and places.max() >= len(chosen):
                    raise ChurnError(f"{subject}: the table has changed while it was read; run again")
                wanted = np.zeros(len(batch), dtype=bool)
                wanted[here] = chosen[places]
                some = batch.filter(pa.array(wanted))
                yield some.set_column(at, row_schema.field(at), pa.array(new[numbers[wanted] & PLACES]))

    return run
