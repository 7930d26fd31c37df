"""Score accounts on Spark: one function checks, scores and counts the rows of a partition."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window, functions
from pyspark.sql.types import ByteType, DoubleType, FloatType

from churn.config import AccountSchema, Decision, Profit, Reasons
from churn.errors import ChurnError
from churn.experiment.policy import KEPT_BACK, OPEN, Campaign
from churn.model import ChurnModel, ModelSource
from churn.model.device import check_device
from churn.scoring.candidates import EXPECTED, PROBABILITY, VALUE, check_groups
from churn.scoring.run import Scoring, flagged, score_rows
from churn.spark.checking import NOTE, NOTES, Note, SparkAccounts, Work, note_row, partition_here
from churn.spark.rows import PACKED, ROW, arrow_schema, as_batch, column, packed, unpacked_rows
from churn.spark.session import explained

# Column that says what may be done with an account, see `churn.experiment.policy`.
GROUP = "(group)"
# Column of the place of an account in its group.
RANK = "(rank)"


@dataclass(frozen=True)
class ShippedModel:
    """A serialised model: Spark sends it to the executors with the function that uses it."""

    files: Mapping[str, bytes] = field(compare=False)
    sha256: str
    source: ModelSource | None
    device: str

    @classmethod
    def of(cls, model: ChurnModel) -> "ShippedModel":
        """Serialise a model."""
        return cls(model.files(), model.sha256, model.source, model.device)


@lru_cache(maxsize=2)
def unpacked(shipped: ShippedModel) -> ChurnModel:
    """Return the model, loaded once per Python process; it uses one thread, as Spark assigns one core to each process."""
    # The driver may have a GPU that this executor lacks.
    check_device(shipped.device, "inference.device")
    model = ChurnModel.from_files(shipped.files)
    return (model.loaded_from(shipped.source) if shipped.source else model).use(device=shipped.device, threads=1)


def scored_partition(
    shipped: ShippedModel,
    schema: AccountSchema,
    profit: Profit,
    decision: Decision,
    reasons: Reasons,
    campaign: Campaign | None,
    row_schema: pa.Schema,
) -> Work:
    """Return the function that checks and scores a partition."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        note, model = Note(partition_here()), unpacked(shipped)
        for batch in batches:
            accounts = note.check_batch(batch, schema, model)
            columns: dict[str, Any] = {}
            # After a fault only the ids are needed, to find repeated ones.
            if not note.findings.faults and note.error is None:
                try:
                    scored = score_rows(accounts, model, profit, decision, reasons, campaign)
                except ChurnError as error:
                    note.error = str(error)
                else:
                    note.tally = scored.tally if note.tally is None else note.tally + scored.tally
                    probability = scored.predictions["probability"].to_numpy()
                    columns = {PROBABILITY: probability, VALUE: scored.value, EXPECTED: scored.expected}
                    columns |= {} if campaign is None else {GROUP: scored.groups}
            yield as_batch(accounts.assign(**columns), row_schema, len(accounts))
        yield note_row(note, NOTES, row_schema)

    return run


class SparkScoring(Scoring):
    """Scores of a table of Spark frames."""

    def __init__(self, accounts: SparkAccounts, model: ChurnModel, **terms: Any) -> None:
        """Declare the accounts and the model.

        Args:
            accounts: The table with its schema.
            model: Model to score with.
            terms: Further arguments of `churn.scoring.run.Scoring`.
        """
        super().__init__(model, **terms)
        self._accounts = accounts
        self._candidates: pd.DataFrame | None = None
        self._others = pd.DataFrame()

    def batches(self) -> Iterator[pd.DataFrame]:
        """Iterate over the scores in the order of the table; the whole table is checked first."""
        accounts = self._accounts
        with explained(accounts.subject, accounts.table.examine):
            # Persisted by Spark, in memory and then on disk, as it is read more than once.
            scored = self._scored().persist()
            try:
                notes = accounts.check(scored)
                self._candidates = self._best_of(scored, OPEN)
                if self._campaign is not None:
                    self._others = self._best_of(scored, KEPT_BACK)
                given = 0
                for batch in self._taken(scored):
                    yield batch
                    given += len(batch)
            finally:
                scored.unpersist()
        rows = sum(note.findings.rows for note in notes)
        if given != rows:
            raise ChurnError(
                f"{accounts.subject}: {rows} rows were read, but {given} scored; the table may have changed, run again"
            )
        for note in notes:
            if note.tally is not None:
                self._count(note.tally)

    def _scored(self) -> DataFrame:
        accounts = self._accounts
        more = {PROBABILITY: FloatType(), VALUE: DoubleType(), EXPECTED: DoubleType()}
        row_schema = accounts.row_schema(more if self._campaign is None else {**more, GROUP: ByteType()})
        run = scored_partition(
            ShippedModel.of(self._model),
            accounts.schema,
            self._profit,
            self._decision,
            self._reasons,
            self._campaign,
            arrow_schema(row_schema),
        )
        return accounts.mapped(run, row_schema)

    def _best_of(self, scored: DataFrame, group: int) -> pd.DataFrame:
        """Return the accounts of a group with the highest expected profit, as without Spark."""
        # The order of `churn.retention.order.best_first`.
        order = [column(EXPECTED).desc(), column(PROBABILITY).desc(), column(self._accounts.schema.id)]
        rows = scored.where(column(NOTE).isNull())
        if self._campaign is not None:
            rows = rows.where(column(GROUP) == group).drop(GROUP)
        frame: pd.DataFrame = rows.orderBy(*order).limit(self._list_size).toArrow().to_pandas()
        if self._group is not None:
            of_groups = self._best_of_groups(rows.where(column(EXPECTED) > 0), self._group, order)
            frame = pd.concat([frame, of_groups], ignore_index=True).drop_duplicates(ROW)
        return frame.sort_values(ROW, ignore_index=True).drop(columns=[ROW, NOTE])

    def _best_of_groups(self, paying: DataFrame, group: str, order: list[Column]) -> pd.DataFrame:
        """Return the accounts with the highest expected profit of each group."""
        check_groups(group, paying.select(column(group)).distinct().count())
        rank = functions.row_number().over(Window.partitionBy(column(group)).orderBy(*order))
        ranked = paying.withColumn(RANK, rank).where(column(RANK) <= self._decision.capacity)
        frame: pd.DataFrame = ranked.drop(RANK).toArrow().to_pandas()
        return frame

    def _best(self) -> pd.DataFrame:
        if self._candidates is None:
            raise ValueError("no batch of scores was read yet; iterate over batches() first")
        return self._candidates

    def _kept_back(self) -> pd.DataFrame:
        return self._others

    def _taken(self, scored: DataFrame) -> Iterator[pd.DataFrame]:
        """Iterate over the scores, partition by partition; the next one is fetched while one is written."""
        rows = scored.where(column(NOTE).isNull())
        drawn = self._campaign is not None and self._campaign.share > 0
        names = [self._accounts.schema.id, PROBABILITY, *([GROUP] if drawn else [])]
        for row in rows.select(*map(column, names)).mapInArrow(packed, PACKED).toLocalIterator(prefetchPartitions=True):
            table = unpacked_rows(row)
            scores = self._model.scores_of(table.to_pandas(), table[PROBABILITY].to_numpy())
            yield flagged(scores, table[GROUP].to_numpy() == KEPT_BACK) if drawn else scores
