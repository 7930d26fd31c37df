"""The accounts of a published run, as they are delivered: the scores, joined with the retention list."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from churn.scoring.pointer import PREDICTIONS
from churn.stores import DamagedError, Store
from churn.tables.files import parquet_file

if TYPE_CHECKING:
    import pyarrow as pa

LISTED = "retention_list"
ACTION, ACT = "recommended_action", "yes"
# Rows of a batch; large enough for the look-up of ids to be cheap beside the reading.
ROWS = 250_000


@dataclass(frozen=True)
class Run:
    """A published run.

    Attributes:
        run_id: Its id.
        sequence: Number of its publication.
        as_of: Date of the accounts' data, YYYY-MM-DD.
        published_at: When it was published, in ISO 8601.
    """

    run_id: str
    sequence: int
    as_of: str
    published_at: str


class PublishedAccounts:
    """The scored accounts of a run, read in batches.

    Attributes:
        run: The run.
        id: Name of the column with the id.
        schema: Names and types of all columns: those of the scores, then those of the retention list.
    """

    def __init__(self, store: Store, run: Run, files: dict[str, Any]) -> None:
        """Compare the files with their hashes, and read their columns.

        Args:
            store: Folder of results.
            run: The run.
            files: The ``files`` of its manifest.

        Raises:
            ChurnError: If a file is missing or damaged.
        """
        import pyarrow as pa

        self._store, self.run = store, run
        for name in (self._scores, self._list):
            expected = files.get(name.partition("/")[2], {}).get("sha256")
            if expected is None or store.sha256(name) != expected:
                raise DamagedError(f"{store.address(name)} does not match its manifest; score again")
        scores, listed = self._schema(self._scores), self._schema(self._list)
        self.id = str(scores.names[0])
        self._of_list = [name for name in listed.names if name not in scores.names and name != "as_of"]
        self.schema = pa.schema([*scores, *(listed.field(name) for name in self._of_list)])

    @property
    def _scores(self) -> str:
        return f"{self.run.run_id}/{PREDICTIONS}.parquet"

    @property
    def _list(self) -> str:
        return f"{self.run.run_id}/{LISTED}.parquet"

    def _schema(self, name: str) -> "pa.Schema":
        with parquet_file(self._store, name) as file:
            return file.schema_arrow

    def batches(
        self, columns: Sequence[str], which: Literal["all", "listed", "to_act_on"] = "all"
    ) -> Iterator["pa.Table"]:
        """Iterate over the accounts in the order of the scores.

        Args:
            columns: Columns to read; those of the retention list are missing for accounts that it does not have.
            which: All accounts, those of the retention list, or those of it to act on.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        listed = [name for name in self._of_list if name in columns]
        of_scores = [name for name in self.schema.names if name in {self.id, *columns} and name not in self._of_list]
        joined = None
        if listed or which != "all":
            needed = [self.id, *listed, *([ACTION] if which == "to_act_on" and ACTION not in listed else [])]
            with parquet_file(self._store, self._list) as file:
                joined = file.read(columns=needed)
            if which == "to_act_on":
                joined = joined.filter(pc.equal(pc.cast(joined[ACTION], pa.string()), ACT))
            known = pc.cast(joined[self.id], pa.string()).combine_chunks()
        with parquet_file(self._store, self._scores) as file:
            for part in file.iter_batches(ROWS, columns=of_scores):
                rows = pa.Table.from_batches([part])
                if joined is not None:
                    places = pc.index_in(pc.cast(rows[self.id], pa.string()), value_set=known)
                    if which != "all":
                        there = pc.is_valid(places)
                        rows, places = rows.filter(there), places.filter(there)
                    for name in listed:
                        rows = rows.append_column(joined.schema.field(name), joined[name].take(places))
                yield rows


@dataclass(frozen=True)
class PublishedRun:
    """The published run that is delivered.

    Attributes:
        accounts: Its accounts.
        partial: Whether earlier runs have scored some files of the table, so that accounts that it lacks are not gone.
        is_current: Returns whether it is still the current one.
    """

    accounts: PublishedAccounts
    partial: bool
    is_current: Callable[[], bool]
