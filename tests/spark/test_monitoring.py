"""The health of published scores is the same with Spark as without it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from churn.config import AccountSchema
from churn.datasets import OutcomeBatchesDataset, SparkOutcomesDataset
from churn.errors import AccountsError, ChurnError
from churn.monitoring import ScoredAccounts, scored_accounts
from churn.spark.frames import SparkPredictions
from churn.stores import open_store
from churn.tables import Batches
from churn.tables.labels import OutcomeRows
from churn.tables.stored import StoredTable
from tests.conftest import Project
from tests.monitoring.test_outcomes import BANDS, SCHEMA, mixed, outcomes_of, predictions_of
from tests.spark.conftest import for_spark

pytestmark = pytest.mark.usefixtures("spark")


def gathered(
    folder: Path, predictions: pd.DataFrame, outcomes: Batches | None, *, on_spark: bool, schema: AccountSchema = SCHEMA
) -> ScoredAccounts:
    from churn.spark.registration import register

    register()

    file = folder / "scores [1].parquet"
    parquet.write_table(pa.Table.from_pandas(predictions, preserve_index=False), file, row_group_size=30)
    stored = SparkPredictions if on_spark else StoredTable
    return scored_accounts(stored(open_store(str(file))), outcomes, schema, list(BANDS))


def stored(folder: Path, outcomes: pd.DataFrame, name: str = "outcomes.csv") -> dict[str, Any]:
    """The table in a file, and how a data set finds it."""
    if name.endswith("csv"):
        outcomes.to_csv(folder / name, index=False)
    else:
        outcomes.to_parquet(folder / name, row_group_size=11)
    return {"filepath": str(folder / name), "schema": SCHEMA.model_dump(mode="json")}


def assert_same(found: ScoredAccounts, expected: ScoredAccounts) -> None:
    for name, value in vars(expected).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
            assert getattr(found, name).dtype == value.dtype
        else:
            assert getattr(found, name) == value, name


@pytest.mark.parametrize("name", ["outcomes.csv", "outcomes.parquet"])
def test_accounts_are_gathered_as_without_spark(tmp_path: Path, name: str) -> None:
    predictions, outcomes = mixed()
    options = stored(tmp_path, outcomes.assign(size="x", more=1), name)
    expected = gathered(tmp_path, predictions, OutcomeBatchesDataset(**options).load(), on_spark=False)
    there = SparkOutcomesDataset(**options).load()
    assert_same(gathered(tmp_path, predictions, there, on_spark=True), expected)
    # Either side may be read without Spark.
    assert_same(gathered(tmp_path, predictions, there, on_spark=False), expected)
    assert_same(gathered(tmp_path, predictions, OutcomeBatchesDataset(**options).load(), on_spark=True), expected)


def test_scores_that_are_wrong_and_no_outcomes(tmp_path: Path) -> None:
    wrong = predictions_of(
        ["a", "b", "c"], risk_band=["low", "Low", None], model_version=["4", None, "3"], probability=[0.5, np.nan, 2]
    )
    for table in (wrong, wrong.drop(columns="model_version"), predictions_of([])):
        expected = gathered(tmp_path, table, None, on_spark=False)
        assert_same(gathered(tmp_path, table, None, on_spark=True), expected)


def test_outcomes_of_others_and_none_at_all(tmp_path: Path) -> None:
    for outcomes in (outcomes_of(["x"], ["Yes"]), outcomes_of([], [])):
        options = stored(tmp_path, outcomes)
        expected = gathered(tmp_path, predictions_of(["a"]), OutcomeBatchesDataset(**options).load(), on_spark=False)
        there = SparkOutcomesDataset(**options).load()
        assert_same(gathered(tmp_path, predictions_of(["a"]), there, on_spark=True), expected)


def test_faulty_outcomes_are_told_as_without_spark(tmp_path: Path) -> None:
    ids = [f"account-{number}" for number in range(9_000)]
    ids[70], ids[8_000], ids[8_500] = ids[3], "", ids[3]
    options = stored(tmp_path, outcomes_of(ids, ["maybe", "no", ""] * 3_000))

    def faults(outcomes: Batches, *, on_spark: bool) -> list[str]:
        with pytest.raises(AccountsError) as caught:
            gathered(tmp_path, predictions_of(["a"]), outcomes, on_spark=on_spark)
        return caught.value.faults

    there = SparkOutcomesDataset(**options).load()
    (frame,) = there.frames()
    assert frame.rdd.getNumPartitions() > 1
    found = faults(there, on_spark=True)
    assert found == faults(OutcomeBatchesDataset(**options).load(), on_spark=False)
    assert "key: 2 values are a repetition of an earlier id (rows 71, 8501); an account has one row" in found
    lacking = SparkOutcomesDataset(**stored(tmp_path, pd.DataFrame({"key": ["a"]}), "l.csv")).load()
    assert faults(lacking, on_spark=True) == ["missing columns: left; the table has: key"]


def test_a_malformed_file_of_outcomes(tmp_path: Path) -> None:
    options = stored(tmp_path, outcomes_of(["a"], ["no"]))
    with (tmp_path / "outcomes.csv").open("a") as file:
        file.write("one,2,3\n")
    there = SparkOutcomesDataset(**options).load()
    with pytest.raises(ChurnError, match=r"(?s)outcomes.csv cannot be read .* row 2 has 3"):
        gathered(tmp_path, predictions_of(["a"]), there, on_spark=True)


def test_a_partition_of_outcomes_is_looked_at_as_a_batch() -> None:
    """What runs in Spark's own processes, run in this one."""
    from churn.spark.monitoring import NOTES, OUTCOME, outcomes_of_partition
    from churn.spark.scoring import NOTE, ROW

    names = {ROW: pa.int64(), "key": pa.string(), OUTCOME: pa.int8(), NOTE: pa.string()}
    run = outcomes_of_partition(SCHEMA, pa.schema(list(names.items())))
    rows = pa.RecordBatch.from_pandas(outcomes_of(["a", "b", "", "d"], ["Yes", "No", "", "Yes"]))
    first, second, last = run([rows.slice(0, 3), rows.slice(3)])
    assert first[OUTCOME].to_pylist() == [1, 0, -1]
    assert (second[ROW].to_pylist(), second["key"].to_pylist()) == ([3], ["d"])
    note = NOTES.validate_json(last[NOTE][0].as_py())
    whole = OutcomeRows()
    whole.check_batch(rows.to_pandas(), SCHEMA)
    assert note.found == whole


# --- whole runs -------------------------------------------------------------------------------------------------


def health_of(project: Project) -> str:
    return (project.run_folder() / "health_metrics.json").read_text()


def test_a_run_reports_what_a_local_one_does(copied: Project) -> None:
    project = for_spark(copied)
    local = health_of(project)
    assert json.loads(local)["realised_performance"]["coverage"] == 1.0
    (project.run_folder() / "health_metrics.json").unlink()
    project.run("monitoring", env="spark")
    assert health_of(project) == local
    # Before any outcome is known, and with some that are.
    file = project.staging / "inference_outcomes.csv"
    outcomes = pd.read_csv(file, dtype=str)
    file.unlink()
    project.run("monitoring", env="spark")
    assert json.loads(health_of(project))["realised_performance"] is None
    outcomes.sample(frac=0.3, random_state=1).to_csv(file, index=False)
    project.run("monitoring", env="spark")
    partly = health_of(project)
    project.run("monitoring")
    assert health_of(project) == partly
    assert json.loads(partly)["realised_performance"]["outcomes"] == 300


@pytest.mark.slow
@pytest.mark.e2e
def test_the_command_line_starts_spark_and_shows_nothing_of_it(copied: Project) -> None:
    project = for_spark(copied)
    before = health_of(project)
    done = project.kedro("run", "--env", "spark", "--pipelines", "monitoring")
    assert done.returncode == 0, done.stdout + done.stderr
    assert health_of(project) == before
    noise = re.search(r".*(warn|spark\.|java|log4j).*", done.stdout + done.stderr, re.IGNORECASE)
    assert noise is None, noise[0]
    assert (project.folder / "cache/spark.log").exists()


def test_all_that_follows_training_in_one_run(spark_project: Project) -> None:
    spark_project.run("data_generation", "feature_engineering", "training")
    spark_project.run("inference", "monitoring", env="spark")
    assert json.loads(health_of(spark_project))["realised_performance"]["coverage"] == 1.0
