"""Logs of requests as the service writes them, of any day."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from churn.config import ServeLog
from churn.model import ChurnModel, ModelSource
from churn.serving.request_log import Answered, RequestLog
from churn.stores import Store

DAY = date(2026, 1, 30)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(hour: float, day: date = DAY) -> float:
    """A time of a day, in seconds since 1970."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + 3600 * hour


def named(model: ChurnModel, version: str) -> ChurnModel:
    return model.loaded_from(ModelSource("models:/churn@champion", version, "0" * 32))


class Logging:
    """A process that answers and logs; each call of `answer` makes a segment."""

    def __init__(self, store: Store, model: ChurnModel, **settings: Any) -> None:
        self.model, self._count = model, 0
        self.log = RequestLog(store, model.schema, ServeLog(**settings))
        self.log.describe(model)

    def use(self, model: ChurnModel) -> None:
        self.model = model
        self.log.describe(model)

    def answer(self, accounts: pd.DataFrame, moment: float, as_of: date | None = None, rows: int = 50) -> None:
        """Answer requests of so many rows each, a second apart, and write them."""
        records: Sequence[dict[str, Any]] = json.loads(accounts.to_json(orient="records", double_precision=15))
        for start in range(0, len(records), rows):
            self._count += 1
            scores = self.model.score_rows(records[start : start + rows])
            self.log.add(Answered(f"{self._count:032x}", moment, self.model.version, scores, as_of))
            moment += 1
        self.log.write()
        assert self.log.error is None
