"""The model that XGBoost trains on Spark is the one that it trains without, but for what rounding does."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import Training
from churn.errors import ChurnError, ParametersError
from churn.training.boosting import Grown
from churn.training.rows import TrainingRows
from tests.conftest import Project

pytestmark = pytest.mark.usefixtures("spark")

# Enough rows and trees for measures that the draw of rows for each tree does not move.
ROWS = 20_000
FEW = {"training__booster__n_estimators": 120, "training__booster__learning_rate": 0.1}


def metrics_of(project: Project) -> dict[str, float]:
    found: dict[str, float] = json.loads((project.results / "training/metrics.json").read_text())
    return found


@pytest.mark.slow
def test_a_model_trained_on_spark_is_as_good_and_serves_without(spark_project: Project) -> None:
    project = spark_project
    project.run("data_generation", simulation__training_rows=ROWS)
    project.run("feature_engineering", "training", **FEW)
    local = metrics_of(project)
    project.run(
        "feature_engineering", "training", env="spark", promotion__margin=-1.0, promotion__log_loss_rise=1.0, **FEW
    )
    there = metrics_of(project)
    for name in ("test_roc_auc", "test_log_loss", "test_brier", "test_average_precision"):
        assert there[name] == pytest.approx(local[name], abs=0.002), name
    # How closely the trees fit their own rows moves more with the draw of rows for each tree.
    assert there["train_roc_auc"] == pytest.approx(local["train_roc_auc"], abs=0.005)
    assert there["test_rows"] == local["test_rows"]

    # What Spark trained, both score, and in the same way.
    project.run("inference")
    here = project.run_folder()
    manifest = json.loads((here / "manifest.json").read_text())
    project.run("inference", env="spark", inference__as_of=manifest["as_of"])
    scored = project.run_folder()
    assert scored != here
    assert json.loads((scored / "manifest.json").read_text())["model"] == manifest["model"]
    scores = [pd.read_csv(run / "inference_result.csv")["probability"].to_numpy() for run in (here, scored)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "most"),
    [([7003, 6997], 300), ([65_537, 65_536], 65_536), ([10], 300), ([601] * 9, 300), ([9, 8000], 300)],
)
def test_no_batch_is_so_small_that_it_lacks_a_fold(sizes: list[int], most: int) -> None:
    from churn.spark.training import batch_rows

    rows = batch_rows(sizes, most, 5)
    if min(sizes) < 75:
        assert rows == 0, "one batch for each partition"
    else:
        assert most // 2 < rows <= most
        assert all(size % rows == 0 or size % rows >= 75 for size in sizes)


class Failing:
    """Fits that are lost a few times."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error = times, error

    def __call__(self, fold: int) -> Grown:
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return Grown(SimpleNamespace(), [0.5])


def lost(text: str) -> Exception:
    from pyspark.errors import PySparkException

    return PySparkException(text)


def growth() -> Any:
    from churn.spark.training import Growth

    watched = TrainingRows(np.zeros((2, 1), np.float32), np.array([0, 1], np.int8), np.array([0, 1], np.int8))
    return Growth(SimpleNamespace(), ["f0"], 0.2, Training(), watched)  # type: ignore[arg-type]


def test_a_fold_that_is_lost_begins_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    under_test = growth()
    monkeypatch.setattr(under_test, "_fit", Failing(2, lost("Caused by: java.io.IOException: the worker is gone")))
    with caplog.at_level(logging.WARNING):
        assert under_test.grow(1).losses == [0.5]
    assert [record.getMessage() for record in caplog.records] == [
        "Fold 2 failed on Spark and is grown again; Spark says: the worker is gone"
    ] * 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            lost("it is gone"),
            "training on Spark failed 3 times .* for fold 1; Spark says: it is gone. Check the cluster",
        ),
        (
            lost("[SPARK-24819]: Barrier mode"),
            "needs 0 cores at once, but fewer are free: .* spark.churn.training.workers",
        ),
    ],
)
def test_a_fold_that_is_lost_for_good_ends_in_a_clear_message(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    under_test = growth()
    monkeypatch.setattr(under_test, "_fit", Failing(9, error))
    with pytest.raises(ChurnError, match=message):
        under_test.grow(0)


def test_an_error_that_is_not_of_spark_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    under_test = growth()
    monkeypatch.setattr(under_test, "_fit", Failing(1, ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        under_test.grow(0)


def test_what_cannot_be_trained_on_spark_is_refused() -> None:
    from churn.spark.training import check_trainable

    rows: Any = SimpleNamespace(data=SimpleNamespace())
    exact = Training.model_validate({"booster": {"tree_method": "exact"}})
    with pytest.raises(ParametersError, match=r"training\.booster\.tree_method = 'exact'"):
        check_trainable(rows, exact)
    check_trainable(rows, Training())
    from pyspark.sql.connect.dataframe import DataFrame

    remote: Any = SimpleNamespace(data=DataFrame.__new__(DataFrame))
    with pytest.raises(ChurnError, match=r"Spark Connect.*`master`"):
        check_trainable(remote, Training())
