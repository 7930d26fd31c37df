"""The log of requests and scores: Parquet segments, from which monitoring judges what was answered.

A thread of its own writes what has come since the last segment, about once a second, as a whole file: written aside and renamed
on a disk, put in one piece in a bucket. A kill loses what has not been written. Memory is bounded: rows that find the queue
full are dropped and counted.

The columns are those of the published scores, then the inputs in canonical form, then ``request_id``, ``row`` (from 0),
``answered_at`` (UTC) and ``as_of``. A segment is ``<day>/<time>-<process>-<number>.parquet``, by the day and time of its first
row. A file beside it describes the model, see `churn.scoring.request_files`.
"""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from churn.config import AccountSchema, ServeLog
from churn.model import ChurnModel
from churn.model.small import RowScore
from churn.scoring.publication import origin_of, reference_of
from churn.scoring.request_files import ANSWERED_AT, AS_OF, REQUEST_ID, ROW, Notes, model_file, own_columns
from churn.stores import Store

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)


class Answered(NamedTuple):
    """Scores of one request, as the log keeps them.

    Attributes:
        request_id: Name of the request, in its answer too.
        at: When it was answered, in seconds since 1970.
        version: Version of the model.
        scores: The scores, with their canonical rows.
        as_of: Date of the values; None for the day of the answer.
    """

    request_id: str
    at: float
    version: str
    scores: Sequence[RowScore]
    as_of: date | None = None


class RequestLog:
    """Writes answers to a store in the background.

    Attributes:
        written: Rows written so far.
        dropped: Rows dropped so far because the queue was full.
        waiting: Rows that wait to be written.
        error: Why the last segment could not be written; ``None`` if it was.
    """

    def __init__(
        self, store: Store, schema: AccountSchema, settings: ServeLog, clock: Callable[[], float] = time.time
    ) -> None:
        """Declare the store, the columns and the limits; `start` begins to write."""
        self._store, self._schema, self._settings, self._clock = store, schema, settings, clock
        self._queue: deque[Answered] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        # Models that answer, by version, and the days and models of which the log has a description.
        self._models: dict[str, ChurnModel] = {}
        self._described: set[str] = set()
        self._process, self._number = uuid.uuid4().hex[:8], 0
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self.written = self.dropped = self.waiting = 0
        self.error: str | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def describe(self, model: ChurnModel) -> None:
        """Take a model that is about to answer; the log describes it, so that its answers can be judged."""
        # The one before it may have answers that wait.
        newest = list(self._models.items())[-1:]
        self._models = {**dict(newest), model.version: model}

    def add(self, answered: Answered) -> None:
        """Take an answer, unless it is not in the sample or the queue is full. Takes microseconds and never fails."""
        rows = len(answered.scores)
        # The id is random, and says so later too whether a request is in the sample.
        if not rows or int(answered.request_id[:8], 16) >= self._settings.sample * 2**32:
            return
        with self._lock:
            if self.waiting + rows > self._settings.queue:
                self.dropped += rows
                return
            self._queue.append(answered)
            self.waiting += rows

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._settings.seconds)
            self.write()

    def stop(self, seconds: float = 5.0) -> None:
        """Write what is there, and end."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def write(self) -> None:
        """Write what waits as one segment. If the store fails, it waits further, and the queue may become full."""
        with self._lock:
            taken = list(self._queue)
        if not taken:
            return
        self._number += 1
        moment = datetime.fromtimestamp(taken[0].at, UTC)
        name = f"{moment:%Y-%m-%d}/{moment:%H%M%S%f}-{self._process}-{self._number:06}.parquet"
        try:
            models = self._write_models(f"{moment:%Y-%m-%d}", {each.version for each in taken})
            notes = Notes(self._settings.sample, self._settings.redact, models)
            self._write_segment(segment(taken, self._schema, notes), name)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            if said != self.error:
                logger.warning("The log of requests cannot be written, %d rows wait: %s", self.waiting, said)
            self.error = said
            return
        self.error = None
        rows = sum(len(each.scores) for each in taken)
        with self._lock:
            for _ in taken:
                self._queue.popleft()
            self.waiting -= rows
            self.written += rows

    def _write_models(self, day: str, versions: set[str]) -> dict[str, str]:
        """Describe the models of some versions, once a day; return the SHA-256 of each by version."""
        found = {}
        for version in sorted(versions & self._models.keys()):
            model = self._models[version]
            name = f"{day}/{model_file(model.sha256)}"
            if name not in self._described:
                # Other processes write the same.
                self._store.write_json({"model": origin_of(model), "profile": reference_of(model)}, name)
                self._described = {each for each in self._described if each.startswith(day)} | {name}
            found[version] = model.sha256
        return found

    def _write_segment(self, table: "pa.Table", name: str) -> None:
        from pyarrow import parquet

        with self._store.writing(name) as file:
            parquet.write_table(table, file)


def segment(answers: Sequence[Answered], schema: AccountSchema, notes: Notes) -> "pa.Table":
    """Return answers as a table.

    Args:
        answers: Answers with one score at least.
        schema: Schema of the accounts.
        notes: What the segment says of itself; columns to redact are missing in all rows.
    """
    import pyarrow as pa

    scores = [score for each in answers for score in each.scores]
    columns: dict[str, Any] = {
        schema.id: pa.array([score.id for score in scores], pa.string()),
        "probability": pa.array([score.probability for score in scores], pa.float32()),
        "prediction": pa.array([score.prediction for score in scores], pa.int8()),
        "risk_band": pa.array([score.risk_band for score in scores], pa.string()).dictionary_encode(),
        "model_version": pa.array([each.version for each in answers for _ in each.scores], pa.string()),
    }
    for name in schema.numeric_names:
        columns[name] = pa.array([score.account[name] for score in scores], pa.float64(), from_pandas=True)
    for name in schema.categorical:
        columns[name] = pa.array([score.account[name] for score in scores], pa.string())
    own = own_columns(schema)
    columns[own[REQUEST_ID]] = pa.array([each.request_id for each in answers for _ in each.scores], pa.string())
    columns[own[ROW]] = pa.array([score.row for score in scores], pa.int32())
    moments = [round(each.at * 1e6) for each in answers for _ in each.scores]
    columns[own[ANSWERED_AT]] = pa.array(moments, pa.timestamp("us", "UTC"))
    dates = [each.as_of or datetime.fromtimestamp(each.at, UTC).date() for each in answers for _ in each.scores]
    columns[own[AS_OF]] = pa.array(dates, pa.date32())
    for name in notes.redact:
        columns[name] = pa.nulls(len(scores), columns[name].type)
    return pa.table(columns).replace_schema_metadata(notes.metadata())
