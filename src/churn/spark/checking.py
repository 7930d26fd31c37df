"""Accounts checked on Spark.

One function does for the rows of a partition what the batches of a file go through on one machine. What it found of the
rows it tells in a note, the last row of the partition; the driver adds the notes up, in the order of the table.
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
import pyarrow.compute as pc
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
from churn.tables.batches import Findings, check_header
from churn.tables.csv import normalise_numbers
from churn.tables.faults import Fault, repeated

# The note of a partition. The number of a row that is checked is its partition's, shifted, plus its place in the partition.
NOTE = "(note)"
PARTITION_BITS = 33
PLACES = (1 << PARTITION_BITS) - 1


def partition_here() -> int:
    """Number of the partition that Spark works on."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.partitionId() if context else 0


@dataclass
class Note:
    """What was found in a partition.

    Attributes:
        partition: Its number.
        findings: Of the check.
        tally: Figures of its scores, without rows after the first faulty batch; None where there are none.
        error: What could not be done with its rows, if anything.
    """

    partition: int
    findings: Findings = field(default_factory=Findings)
    tally: Tally | None = None
    error: str | None = None

    def check_batch(self, batch: pa.RecordBatch, schema: AccountSchema, model: ChurnModel | None) -> pd.DataFrame:
        """Look at the next rows; gives them in canonical form, with their numbers."""
        first = first_number(self.partition, self.findings.rows)
        accounts = self.findings.check_batch(parsed_rows(batch, schema), schema, model)
        return accounts.assign(**{ROW: first + np.arange(len(accounts))})


NOTES = TypeAdapter(Note)


class Numbered(Protocol):
    """A note on a partition, which has its number."""

    partition: int


Noted = TypeVar("Noted", bound=Numbered)


def note_row(note: Noted, notes: TypeAdapter[Noted], row_schema: pa.Schema) -> pa.RecordBatch:
    """A note as the last row of its partition."""
    return as_batch({NOTE: [notes.dump_json(note).decode()]}, row_schema, 1)


def notes_of(made: DataFrame, notes: TypeAdapter[Noted]) -> list[Noted]:
    """The notes among rows, in the order of their partitions."""
    rows = made.where(column(NOTE).isNotNull()).select(column(NOTE).alias("note")).collect()
    return sorted((notes.validate_json(row["note"]) for row in rows), key=lambda note: note.partition)


def first_number(partition: int, before: int) -> int:
    """The number of a row of a partition with so many rows before it there."""
    return (partition << PARTITION_BITS) + before


# Takes the rows of a partition and gives others, of this schema, and the note.
Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class SparkAccounts:
    """A table of accounts that are checked when something is made of them."""

    def __init__(self, table: SparkTable, schema: AccountSchema, model: ChurnModel | None, subject: str) -> None:
        """Declare the table and what it has to fit, as of `churn.tables.batches.CheckedBatches`."""
        self.table, self.schema, self.model, self.subject = table, schema, model, subject
        self._kept: DataFrame | None = None
        # Of each partition: how many rows there are before it, and in it.
        self._starts: dict[int, int] = {}
        self._lengths: dict[int, int] = {}

    @property
    def _names(self) -> list[str]:
        """Columns that are looked at."""
        label = [self.schema.label.column] if self.model is None else []
        return [self.schema.id, *self.schema.numeric_names, *self.schema.categorical, *label]

    def row_schema(self, more: Mapping[str, DataType] | None = None) -> StructType:
        """Of the rows that are made of the accounts: their number, canonical columns, others, and the note."""
        types: dict[str, DataType] = {ROW: LongType(), self.schema.id: StringType()}
        types |= dict.fromkeys(self.schema.numeric_names, DoubleType())
        types |= dict.fromkeys(self.schema.categorical, StringType())
        if self.model is None:
            types[self.schema.label.column] = ByteType()
        types |= {**(more or {}), NOTE: StringType()}
        return StructType([StructField(name, kind) for name, kind in types.items()])

    def mapped(self, work: Work, row_schema: StructType) -> DataFrame:
        """What is made of the rows, see `mapped`.

        Raises:
            AccountsError: If the columns do not fit.
        """
        check_header(self.table.columns, self.schema, self.subject, labelled=self.model is None)
        return mapped(self.table, self._names, work, row_schema)

    def check(self, made: DataFrame) -> list[Note]:
        """What was found in each partition of what `mapped` made, in their order.

        Raises:
            AccountsError: Lists every fault of the table.
            ChurnError: If something could not be done with its rows.
        """
        notes = notes_of(made, NOTES)
        found = Findings()
        for note in notes:
            self._starts[note.partition], self._lengths[note.partition] = found.rows, note.findings.rows
            found.extend(note.findings)
        found.raise_faults(repetitions(made, self.schema.id, self._starts), self.schema, self.model, self.subject)
        for note in notes:
            if note.error is not None:
                raise ChurnError(note.error)
        return notes

    def labels(self) -> NDArray[np.int8]:
        """Label of each row, 0 or 1, shape (n,); Spark keeps the checked rows until nobody needs them any more.

        Raises:
            AccountsError: Lists every fault of the table.
        """
        row_schema = self.row_schema()
        with explained(self.subject):
            made = self.mapped(checked_partition(self.schema, arrow_schema(row_schema)), row_schema).persist()
            self._kept = made
            weakref.finalize(self, _released, made).atexit = False
            self.check(made)
            wanted = made.where(column(NOTE).isNull()).select(column(ROW), column(self.schema.label.column))
            labels = np.empty(sum(self._lengths.values()), dtype=np.int8)
            for row in wanted.mapInArrow(packed, PACKED).toLocalIterator(prefetchPartitions=True):
                part = unpacked_rows(row)
                if len(part):
                    labels[self._places(part[ROW].to_numpy())] = part[self.schema.label.column].to_numpy()
        return labels

    def chosen(self, columns: list[str], mask: NDArray[np.bool_]) -> SparkRows:
        """Rows of a table whose `labels` are known.

        Args:
            columns: Their columns, in this order.
            mask: Which rows, shape (n,).
        """
        if self._kept is None:
            raise ValueError("the rows were not checked yet")
        row_schema = self.row_schema()
        kept = StructType([row_schema[ROW], *(row_schema[name] for name in columns)])
        choose = chosen_rows(mask, self._starts, self._lengths, arrow_schema(kept), self.subject)
        sound = self._kept.where(column(NOTE).isNull()).select(*map(column, kept.names))
        return SparkRows(sound.mapInArrow(choose, kept), int(mask.sum()), source=self)

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in the table of rows of one partition, by their numbers."""
        return (numbers & PLACES) + self._starts[int(numbers[0] >> PARTITION_BITS)]


def mapped(table: SparkTable, names: Sequence[str], work: Work, row_schema: StructType) -> DataFrame:
    """What is made of the rows of a table, partition by partition.

    Args:
        table: The table.
        names: Columns that are looked at.
        work: What is done.
        row_schema: Of what it gives.
    """
    frames = [frame.select(*map(column, names)) for frame in table.frames()]
    # The partitions of a union are those of its frames, one frame after the other. Frames of other types are looked at by
    # themselves: Spark would first turn the values into those of a common type.
    alike = (reduce(DataFrame.union, group) for _, group in groupby(frames, lambda frame: frame.dtypes))
    return reduce(DataFrame.union, (part.mapInArrow(work, row_schema) for part in alike))


def repetitions(made: DataFrame, name: str, starts: Mapping[int, int]) -> list[Fault]:
    """The fault of ids that occur more than once.

    Args:
        made: Ids, and the numbers of their rows.
        name: Column of the id.
        starts: Rows before each partition.
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
    # Spark may have stopped in the meantime, and has forgotten the rows then.
    with suppress(Exception):
        frame.unpersist()


def checked_partition(schema: AccountSchema, row_schema: pa.Schema) -> Work:
    """What Spark is to do with the rows of a partition of a table to train on."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        note = Note(partition_here())
        for batch in batches:
            accounts = note.check_batch(batch, schema, None)
            yield as_batch(accounts, row_schema, len(accounts))
        yield note_row(note, NOTES, row_schema)

    return run


def chosen_rows(
    mask: NDArray[np.bool_], starts: Mapping[int, int], lengths: Mapping[int, int], row_schema: pa.Schema, subject: str
) -> Work:
    """What Spark is to do to choose rows, which get the places that they have among the chosen.

    Args:
        mask: Which rows of the table, shape (n,).
        starts: Rows before each partition.
        lengths: Rows of each partition.
        row_schema: Of the rows.
        subject: What the table is called in messages.
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


def parsed_rows(batch: pa.RecordBatch, schema: AccountSchema) -> pd.DataFrame:
    """Rows as the local readers give them: a column of numbers that came as text holds numbers, if it can."""
    batch = normalise_numbers(batch, schema.numeric_names)
    for position, item in enumerate(batch.schema):
        if item.name in schema.numeric_names and pa.types.is_string(item.type):
            try:
                numbers = pc.cast(pc.utf8_trim_whitespace(batch.column(position)), pa.float64())
            except pa.ArrowInvalid:
                continue  # the check says which they are
            batch = batch.set_column(position, item.name, numbers)
    frame: pd.DataFrame = batch.to_pandas()
    return frame
