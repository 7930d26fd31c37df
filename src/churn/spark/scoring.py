"""Accounts checked and scored on Spark.

One function does for the rows of a partition what the batches of a file go through on one machine: they are checked,
scored and counted. What it found of the rows it tells in a note, the last row of the partition.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, reduce
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F  # noqa: N812, as everybody calls it
from pyspark.sql.types import DoubleType, FloatType, LongType, StringType, StructField, StructType

from churn.accounts import Fault, repeated
from churn.batches import Findings, check_header, checked_table
from churn.datasets._csv import numbers_as_meant
from churn.datasets.spark import SparkTable
from churn.device import check_device
from churn.errors import ChurnError
from churn.model import ChurnModel, ModelSource
from churn.parameters import Accounts, Decision, Profit
from churn.scoring import EXPECTED, VALUE, Scoring, Tally, score_rows, scoring_run
from churn.spark.session import explained

# Columns beside those of the accounts. A row's number is its partition's, shifted, plus its place in the partition.
ROW, PROBABILITY, NOTE = "(row)", "(probability)", "(note)"
PARTITION_BITS = 33


@dataclass(frozen=True)
class SparkAccounts:
    """A table of accounts that are checked when they are scored."""

    table: SparkTable
    roles: Accounts
    model: ChurnModel
    subject: str


@checked_table.register
def _(table: SparkTable, roles: Accounts, model: ChurnModel, subject: str) -> SparkAccounts:
    return SparkAccounts(table, roles, model, subject)


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


NOTES = TypeAdapter(Note)


@dataclass(frozen=True)
class ShippedModel:
    """A model on its way to where rows are: Spark sends it with the function that uses it."""

    files: Mapping[str, bytes] = field(compare=False)
    sha256: str
    source: ModelSource | None
    device: str

    @classmethod
    def of(cls, model: ChurnModel) -> "ShippedModel":
        """The model as bytes."""
        return cls(model.files(), model.sha256, model.source, model.device)


@lru_cache(maxsize=2)
def unpacked(shipped: ShippedModel) -> ChurnModel:
    """The model, made once in each Python process; it predicts with one thread, as Spark counts a core for each."""
    # The machine that asked for it may have a GPU, and this one none.
    check_device(shipped.device, "inference.device")
    model = ChurnModel.from_files(shipped.files)
    return (model.loaded_from(shipped.source) if shipped.source else model).use(device=shipped.device, threads=1)


def scored_partition(
    shipped: ShippedModel, roles: Accounts, profit: Profit, decision: Decision, schema: pa.Schema
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What Spark is to do with the rows of a partition."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        note = Note(context.partitionId() if context else 0)
        model = unpacked(shipped)
        for batch in batches:
            first = (note.partition << PARTITION_BITS) + note.findings.rows
            accounts = note.findings.look(as_meant(batch, roles), roles, model)
            columns: dict[str, Any] = {ROW: first + np.arange(len(accounts))}
            # Of a faulty table only the ids are needed any more.
            if not note.findings.faults and note.error is None:
                try:
                    scored = score_rows(accounts, model, profit, decision)
                except ChurnError as error:
                    note.error = str(error)
                else:
                    note.tally = scored.tally if note.tally is None else note.tally + scored.tally
                    probability = scored.predictions["probability"].to_numpy()
                    columns |= {PROBABILITY: probability, VALUE: scored.value, EXPECTED: scored.expected}
            yield _as_batch(accounts.assign(**columns), schema)
        yield _as_batch(pd.DataFrame({NOTE: [NOTES.dump_json(note).decode()]}), schema)

    return run


def as_meant(batch: pa.RecordBatch, roles: Accounts) -> pd.DataFrame:
    """Rows as the local readers give them: a column of numbers that came as text holds numbers, if it can."""
    batch = numbers_as_meant(batch, roles.numeric_names)
    for position, column in enumerate(batch.schema):
        if column.name in roles.numeric_names and pa.types.is_string(column.type):
            try:
                numbers = pc.cast(pc.utf8_trim_whitespace(batch.column(position)), pa.float64())
            except pa.ArrowInvalid:
                continue  # the check says which they are
            batch = batch.set_column(position, column.name, numbers)
    frame: pd.DataFrame = batch.to_pandas()
    return frame


def _as_batch(frame: pd.DataFrame, schema: pa.Schema) -> pa.RecordBatch:
    """The frame as Spark takes it; columns that it lacks are null, and so is nan."""
    rows = len(frame)
    columns = [
        pa.array(frame[item.name], type=item.type, from_pandas=True)
        if item.name in frame
        else pa.nulls(rows, item.type)
        for item in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each batch as one row of bytes: Spark hands single rows to the driver, and takes long for many of them."""
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        yield pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()], pa.binary())], names=["rows"])


def _unpacked_rows(row: Row) -> pa.Table:
    return pa.ipc.open_stream(row["rows"]).read_all()


class SparkScoring(Scoring):
    """Scores of a table of Spark frames."""

    def __init__(self, accounts: SparkAccounts, model: ChurnModel, **terms: Any) -> None:
        """Declare what is scored.

        Args:
            accounts: The table, and what it has to fit.
            model: What scores them.
            terms: See `churn.scoring.Scoring`.
        """
        super().__init__(model, **terms)
        self._accounts = accounts
        self._candidates: pd.DataFrame | None = None

    def batches(self) -> Iterator[pd.DataFrame]:
        """The scores, in the order of the table; none before the whole of it is known to be sound."""
        accounts = self._accounts
        with explained(accounts.subject):
            check_header(accounts.table.columns, accounts.roles, accounts.subject)
            # Kept by Spark, in memory and then on its disks, as it is looked at more than once.
            scored = self._scored().persist()
            try:
                notes = self._notes(scored)
                self._check(scored, notes)
                self._candidates = self._best_of(scored)
                given = 0
                for batch in self._taken(scored):
                    yield batch
                    given += len(batch)
            finally:
                scored.unpersist()
        rows = sum(note.findings.rows for note in notes)
        if given != rows:
            raise ChurnError(f"{accounts.subject}: {rows} rows were read, but {given} scored; did the table change?")
        for note in notes:
            if note.tally is not None:
                self._count(note.tally)

    def _scored(self) -> DataFrame:
        roles = self._accounts.roles
        schema = StructType(
            [
                StructField(ROW, LongType()),
                StructField(roles.id, StringType()),
                *(StructField(name, DoubleType()) for name in roles.numeric_names),
                *(StructField(name, StringType()) for name in roles.categorical),
                StructField(PROBABILITY, FloatType()),
                StructField(VALUE, DoubleType()),
                StructField(EXPECTED, DoubleType()),
                StructField(NOTE, StringType()),
            ]
        )
        types = {LongType: pa.int64(), StringType: pa.string(), DoubleType: pa.float64(), FloatType: pa.float32()}
        arrow = pa.schema([(item.name, types[type(item.dataType)]) for item in schema])
        run = scored_partition(ShippedModel.of(self._model), roles, self._profit, self._decision, arrow)
        return mapped(self._accounts.table, (roles.id, *roles.numeric_names, *roles.categorical), run, schema)

    def _notes(self, scored: DataFrame) -> list[Note]:
        """What was found in each partition, in their order."""
        rows = scored.where(_column(NOTE).isNotNull()).select(_column(NOTE).alias("note")).collect()
        return sorted((NOTES.validate_json(row["note"]) for row in rows), key=lambda note: note.partition)

    def _check(self, scored: DataFrame, notes: list[Note]) -> None:
        accounts = self._accounts
        found, starts = Findings(), {}
        for note in notes:
            starts[note.partition] = found.rows
            found.follow(note.findings)
        found.check(repetitions(scored, accounts.roles.id, starts), accounts.roles, accounts.model, accounts.subject)
        for note in notes:
            if note.error is not None:
                raise ChurnError(note.error)

    def _best_of(self, scored: DataFrame) -> pd.DataFrame:
        """The accounts on which acting pays most; ties go to the higher probability, then to the earlier row."""
        order = [_column(EXPECTED).desc(), _column(PROBABILITY).desc(), _column(ROW)]
        best = scored.where(_column(NOTE).isNull()).orderBy(*order).limit(self._list_size)
        frame: pd.DataFrame = best.toArrow().to_pandas()
        frame = frame.sort_values(ROW, ignore_index=True).drop(columns=[ROW, NOTE])
        return frame.rename(columns={PROBABILITY: "probability"})

    def _best(self) -> pd.DataFrame:
        if self._candidates is None:
            raise ValueError("no batch of scores was taken")
        return self._candidates

    def _taken(self, scored: DataFrame) -> Iterator[pd.DataFrame]:
        """The scores, a partition after the other, the next one while one is written."""
        rows = scored.where(_column(NOTE).isNull())
        parts = rows.select(_column(self._accounts.roles.id), _column(PROBABILITY))
        for row in parts.mapInArrow(packed, "rows binary").toLocalIterator(prefetchPartitions=True):
            table = _unpacked_rows(row)
            yield self._model.scores_of(table.to_pandas(), table[PROBABILITY].to_numpy())


def mapped(table: SparkTable, names: Iterable[str], run: Callable[..., Any], schema: StructType) -> DataFrame:
    """What a function of the rows of a partition gives for those of a table, its partitions in the order of the table.

    Args:
        table: The table.
        names: Columns that it is given.
        run: As for `mapInArrow`.
        schema: Of what it gives.
    """
    frames = [frame.select(*map(_column, names)) for frame in table.frames()]
    # The partitions of a union are those of its frames, one frame after the other. Frames of other types are worked on by
    # themselves: Spark would first turn the values into those of a common type.
    alike = (reduce(DataFrame.union, group) for _, group in groupby(frames, lambda frame: frame.dtypes))
    return reduce(DataFrame.union, (part.mapInArrow(run, schema) for part in alike))


def repetitions(looked_at: DataFrame, name: str, starts: Mapping[int, int]) -> list[Fault]:
    """The fault of ids that occur more than once.

    Args:
        looked_at: Rows with their numbers, see `mapped`.
        name: Column of the ids.
        starts: How many rows of the table come before those of each partition.
    """
    ids = looked_at.select(_column(name).alias("id"), _column(ROW).alias("row"))
    known = (
        ids.where(F.col("id").isNotNull()).groupBy("id").agg(F.count("*").alias("count"), F.min("row").alias("first"))
    )
    again = known.where("count > 1")
    count = again.agg(F.sum(F.col("count") - 1)).collect()[0][0]
    if not count:
        return []
    later = ids.join(again, "id").where("row > first").orderBy("row").limit(3).select("row").collect()
    rows = tuple(starts[row["row"] >> PARTITION_BITS] + row["row"] % (1 << PARTITION_BITS) + 1 for row in later)
    (like,) = repeated(np.array([True]), name)
    return [Fault(**{**asdict(like), "count": int(count), "rows": rows})]


@scoring_run.register
def _(accounts: SparkAccounts, model: ChurnModel, **terms: Any) -> SparkScoring:
    return SparkScoring(accounts, model, **terms)


def _column(name: str) -> Any:
    """A column whose name may hold any character."""
    return F.col("`" + name.replace("`", "``") + "`")
