import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import AbstractDataset, DatasetError

from churn.cli.commands import user_error
from churn.datasets import (
    AliasDataset,
    AsOfDataset,
    BatchesDataset,
    ChampionDataset,
    ChurnModelDataset,
    FingerprintDataset,
    HealthReportDataset,
    MlflowMetricsDataset,
    OptionalDataset,
    TableDataset,
    TuningTrialsDataset,
)
from churn.tables import FrameTable
from churn.training.tuning import Trial


def optional(path: str | None) -> OptionalDataset:
    return OptionalDataset(dataset={"type": "pandas.ParquetDataset", "filepath": path})


def test_optional_is_none_until_something_is_stored(tmp_path: Path) -> None:
    dataset = optional(str(tmp_path / "a.parquet"))
    assert dataset.load() is None
    assert not dataset.exists()
    frame = pd.DataFrame({"a": [1]})
    dataset.save(frame)
    assert dataset.exists()
    pd.testing.assert_frame_equal(dataset.load(), frame)


def test_optional_without_path_is_always_none() -> None:
    dataset = optional(None)
    dataset.save(pd.DataFrame({"a": [1]}))
    assert dataset.load() is None
    assert not dataset.exists()


def test_a_path_that_must_exist(tmp_path: Path) -> None:
    described = {"type": "pandas.ParquetDataset", "filepath": str(tmp_path / "misspelt.parquet")}
    with pytest.raises(DatasetError, match="misspelt"):
        OptionalDataset(dataset=described, must_exist=True).load()
    assert OptionalDataset(dataset={**described, "filepath": None}, must_exist=True).load() is None


def test_optional_hands_credentials_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def from_config(name: str, config: dict) -> None:
        seen.update(config)

    monkeypatch.setattr(AbstractDataset, "from_config", from_config)
    OptionalDataset(dataset={"type": "x", "filepath": "y"}, credentials={"key": "k"})
    assert seen == {"type": "x", "filepath": "y", "credentials": {"key": "k"}}


def test_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc")
    dataset = FingerprintDataset(filepath=str(tmp_path / "a.csv"))
    assert dataset.exists()
    assert dataset.load() == {"name": "a.csv", "bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    with pytest.raises(DatasetError) as caught:
        FingerprintDataset(filepath=str(tmp_path / "b.csv")).load()
    assert "b.csv does not exist" in str(user_error(caught.value))


def test_one_way_data_sets_say_so(tmp_path: Path) -> None:
    for dataset in (FingerprintDataset(filepath=str(tmp_path)), ChurnModelDataset(model_uri="models:/churn/1")):
        with pytest.raises(DatasetError, match="cannot be saved"):
            dataset.save("anything")
    with pytest.raises(DatasetError, match="kedro rollback"):
        AliasDataset(model_name="churn").save("1")
    for dataset in (ChampionDataset(model_name="churn"), HealthReportDataset(filepath=str(tmp_path))):
        with pytest.raises(DatasetError):
            dataset.load()
        assert "churn" in str(dataset) or str(tmp_path) in str(dataset)
    assert "models:/churn/1" in str(ChurnModelDataset(model_uri="models:/churn/1"))


def test_the_date_comes_from_the_configuration_or_the_clock() -> None:
    from datetime import UTC, date, datetime

    assert AsOfDataset(date="2026-01-31").load() == date(2026, 1, 31)
    assert AsOfDataset().exists()
    assert abs((AsOfDataset().load() - datetime.now(UTC).date()).days) <= 1
    with pytest.raises(DatasetError, match="cannot be saved"):
        AsOfDataset().save("2026-01-31")


@pytest.mark.usefixtures("tracking")
def test_a_model_that_need_not_exist(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ChurnModelDataset(model_uri=str(tmp_path / "none"), must_exist=False).load() is None
    assert "is not compared: model_uri" in caplog.text
    caplog.clear()
    assert ChurnModelDataset(model_uri="models:/churn@champion", must_exist=False).load() is None
    assert "is not compared" not in caplog.text, "a first training has no champion; that is no news"


@pytest.mark.usefixtures("tracking")
def test_trials_are_kept_and_each_is_logged_once(tmp_path: Path) -> None:
    import mlflow

    trials = [
        Trial(0, "complete", {"max_depth": 4}, 0.5, 0.0, 0.0),
        Trial(1, "pruned", {"max_depth": 6}, 0.6),
        Trial(2, "complete", {"max_depth": 3}, 0.4, 0.1, 0.01),
    ]
    dataset = TuningTrialsDataset()
    assert dataset.load() == []
    assert not dataset.exists()
    dataset.save(trials[:1])  # without a run, nothing is logged
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("trials", artifact_location=str(tmp_path / "artifacts"))
    with mlflow.start_run(experiment_id=experiment) as parent:
        dataset.save(trials[:2])
        dataset.save(trials)
    runs = client.search_runs(
        [experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["tags.mlflow.runName"]
    )
    assert dataset.load() == trials
    assert [run.info.run_name for run in runs] == ["trial 1", "trial 2"]
    assert [run.data.tags["trial"] for run in runs] == ["pruned", "complete"]
    assert [run.data.params for run in runs] == [{"max_depth": "6"}, {"max_depth": "3"}]
    assert runs[0].data.metrics == {"log_loss": 0.6}
    assert runs[1].data.metrics == {"log_loss": 0.4, "gain": 0.1, "gain_error": 0.01}
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_table_is_written_and_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Halves(FrameTable):
        def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
            (whole,) = super().batches(columns)
            yield from (whole.iloc[:6], whole.iloc[6:])

    monkeypatch.setattr("churn.tables.stored.BATCH_ROWS", 4)
    frame = pd.DataFrame({"id": list("abcdefghij"), "n": range(10), "x": [None, *map(float, range(9))]})
    path = str(tmp_path / "t.parquet")
    dataset = BatchesDataset(filepath=path)
    assert not dataset.exists()
    dataset.save(Halves(frame))
    stored = dataset.load()
    assert (stored.columns, len(stored)) == (["id", "n", "x"], 10)
    assert len(list(stored.batches())) > 1
    pd.testing.assert_frame_equal(stored.frame(), frame, check_dtype=False)
    assert stored.column("n").tolist() == list(range(10))
    assert list(next(stored.batches(["x", "id"]))) == ["x", "id"]
    some = TableDataset(filepath=path, most_rows=4).load()
    assert some["n"].tolist() == [0, 3, 6, 9]
    assert len(TableDataset(filepath=path, most_rows=10).load()) == 10
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DatasetError, match=r"t\.parquet cannot be read as a table"):
        dataset.load()


@pytest.mark.usefixtures("tracking")
def test_many_metrics_are_logged_in_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    sizes: list[int] = []
    log_batch = SqlAlchemyStore.log_batch

    def counted(self: SqlAlchemyStore, run_id: str, metrics: list, params: list, tags: list) -> None:
        sizes.append(len(metrics))
        log_batch(self, run_id, metrics, params, tags)

    def one_by_one(*_: object) -> None:
        raise AssertionError("a request for a single metric")

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", counted)
    monkeypatch.setattr(SqlAlchemyStore, "log_metric", one_by_one)
    columns = {f"psi/column_{number}": number / 7 for number in range(2_400)}
    dataset = MlflowMetricsDataset(prefix="health")
    with mlflow.start_run() as run:
        dataset.save(columns)
        MlflowMetricsDataset().save({"trees": 12})
        assert dataset.load() == columns
        assert MlflowMetricsDataset().load().keys() > {"trees", "health.psi/column_0"}
    assert sizes == [1000, 1000, 400, 1]
    stored = mlflow.get_run(run.info.run_id).data.metrics
    assert stored["health.psi/column_7"] == 1.0
    assert stored["trees"] == 12


@pytest.mark.usefixtures("tracking")
def test_metrics_are_not_logged_without_a_run_or_when_tracking_is_off() -> None:
    import mlflow
    from kedro.io import DataCatalog
    from kedro_mlflow.io.catalog.switch_catalog_logging import switch_catalog_logging

    dataset = MlflowMetricsDataset()
    dataset.save({"trees": 1.0})
    assert mlflow.search_runs(experiment_ids=["0"]).empty
    with pytest.raises(DatasetError, match="no run is active"):
        dataset.load()
    with mlflow.start_run():
        switch_catalog_logging(DataCatalog({"metrics": dataset}), False)
        dataset.save({"trees": 1.0})
        assert dataset.load() == {}
