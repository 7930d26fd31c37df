"""The log of requests: whole segments, in the columns of the results, bounded, sampled and redacted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from churn.config import AccountSchema, Parameters, ServeLog
from churn.model import ChurnModel
from churn.serving.request_log import Answered, RequestLog
from churn.stores import open_store
from tests.serving.driving import Driven, records_of

Made = Callable[..., RequestLog]


@pytest.fixture
def made(tmp_path: Path, schema: AccountSchema) -> Made:
    return lambda **settings: RequestLog(open_store(str(tmp_path / "requests")), schema, ServeLog(**settings))


def segments(folder: Path) -> pd.DataFrame:
    files = sorted((folder / "requests").rglob("*.parquet"))
    return pd.concat([parquet.read_table(file).to_pandas() for file in files], ignore_index=True)


def test_answers_are_logged_as_results_are_published(
    made: Made, tmp_path: Path, parameters: Parameters, model: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema
) -> None:
    log = made()
    driven = Driven(parameters, model, log=log)
    answers = [driven.score(records_of(accounts.iloc[start : start + 10])) for start in (0, 10)]
    log.write()
    driven.ask("POST", "/v1/score", {"rows": [*records_of(accounts.iloc[20:22]), {}], "partial": True})
    assert driven.score([{}]).status == 422
    log.stop()
    log.write()
    assert (log.written, log.waiting, log.dropped, log.error) == (22, 0, 0, None)
    found = segments(tmp_path)
    expected = model.loaded_from(driven.registry.versions["1"].source).score(accounts.head(22))  # type: ignore[arg-type]
    published = pa.Table.from_pandas(expected, preserve_index=False).schema
    [file, _] = sorted((tmp_path / "requests").rglob("*.parquet"))
    stored = parquet.read_schema(file)
    assert stored.names[: len(published)] == published.names
    assert [stored.field(name).type for name in ("probability", "prediction")] == [pa.float32(), pa.int8()]
    for name in published.names:
        assert found[name].astype(str).tolist() == expected[name].astype(str).tolist(), name
    columns = [*schema.numeric_names, *schema.categorical]
    pd.testing.assert_frame_equal(
        found[columns], accounts.head(22)[columns].reset_index(drop=True), check_dtype=False, check_exact=True
    )
    assert found["request_id"].tolist()[:20] == [answer.json["request_id"] for answer in answers for _ in range(10)]
    assert found["row"].tolist() == [*range(10), *range(10), 0, 1]
    assert file.parent.name == f"{found['answered_at'].iloc[0]:%Y-%m-%d}"


def test_columns_are_redacted(
    made: Made, tmp_path: Path, parameters: Parameters, model: ChurnModel, accounts: pd.DataFrame
) -> None:
    log = made(redact=("account_id", "login_count_p1m", "revenue_trend"))
    Driven(parameters, model, log=log).score(records_of(accounts.head(5)))
    log.write()
    found = segments(tmp_path)
    assert found[["account_id", "login_count_p1m", "revenue_trend"]].isna().all(axis=None)
    assert found["probability"].tolist() == model.probability(accounts.head(5)).tolist()


@pytest.mark.parametrize("share", [1.0, 0.25, 0.1, 0.0])
def test_a_share_of_the_requests_is_logged(made: Made, share: float, canned: Answered) -> None:
    log = made(sample=share)
    for number in range(400):
        log.add(canned._replace(request_id=f"{round(number / 400 * 2**32):08x}" + "0" * 24))
    assert log.waiting == 400 * share


@pytest.fixture
def canned(model: ChurnModel, accounts: pd.DataFrame) -> Answered:
    return Answered("a" * 32, 0.0, "1", model.score_rows(records_of(accounts.head(1))))


def test_a_full_queue_drops_and_counts_and_a_store_that_fails_loses_nothing(
    made: Made, canned: Answered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = made(queue=3)

    def fails(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(log, "_write_segment", fails)
        for _ in range(5):
            log.add(canned)
            log.write()
    assert (log.waiting, log.dropped, log.written) == (3, 2, 0)
    assert log.error == "OSError: no space left"
    assert caplog.text.count("cannot be written") == 1
    assert not list(tmp_path.rglob("*.parquet"))
    log.write()
    assert (log.waiting, log.dropped, log.written, log.error) == (0, 2, 3, None)
    log.add(canned)
    assert log.waiting == 1


def test_it_writes_by_itself_and_at_its_end(made: Made, canned: Answered, tmp_path: Path) -> None:
    log = made(seconds=60.0)
    log.start()
    log.add(canned)
    log.stop()
    assert len(segments(tmp_path)) == 1
