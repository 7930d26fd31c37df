"""The log of requests and scores: Parquet segments, from which monitoring judges what was answered.

A thread of its own writes what has come since the last segment, about once a second, as a whole file: written aside and renamed
on a disk, put in one piece in a bucket. A kill loses what has not been written. Memory is bounded: rows that find the queue
full are dropped and counted.

The columns are those of the published scores, then the inputs in canonical form, then ``request_id``, ``row`` (from 0) and
``answered_at`` (UTC). A segment is ``<day>/<time>-<process>-<number>.parquet``, by the day and time of its first row.
"""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from churn.config import AccountSchema, ServeLog
from churn.model.small import RowScore
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
    """

    request_id: str
    at: float
    version: str
    scores: Sequence[RowScore]


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
        self._process, self._number = uuid.uuid4().hex[:8], 0
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self.written = self.dropped = self.waiting = 0
        self.error: str | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

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
            self._write_segment(segment(taken, self._schema, self._settings.redact), name)
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

    def _write_segment(self, table: "pa.Table", name: str) -> None:
        from pyarrow import parquet

        with self._store.writing(name) as file:
            parquet.write_table(table, file)


def segment(answers: Sequence[Answered], schema: AccountSchema, redact: Sequence[str] = ()) -> "pa.Table":
    """Return answers as a table.

    Args:
        answers: Answers with one score at least.
        schema: Schema of the accounts.
        redact: Columns that are missing in all rows.
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
    columns["request_id"] = pa.array([each.request_id for each in answers for _ in each.scores], pa.string())
    columns["row"] = pa.array([score.row for score in scores], pa.int32())
    moments = [round(each.at * 1e6) for each in answers for _ in each.scores]
    columns["answered_at"] = pa.array(moments, pa.timestamp("us", "UTC"))
    for name in redact:
        columns[name] = pa.nulls(len(scores), columns[name].type)
    return pa.table(columns)
