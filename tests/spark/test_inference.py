"""The scoring table as a Spark frame is checked, scored and published as it is without Spark."""

import json
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from churn.accounts import check_accounts
from churn.batches import CheckedBatches, Findings, checked_table
from churn.datasets import AccountBatchesDataset, ResultsDataset
from churn.errors import AccountsError, ChurnError
from churn.model import ChurnModel
from churn.parameters import Accounts, Decision, Profit, Reasons
from churn.partitions import select
from churn.publication import Record, Scores
from churn.scoring import ScoringRun, scoring_run

from ..conftest import Project, in_batches
from .conftest import for_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

CSV = {"header": True, "enforceSchema": False, "escape": '"', "mode": "FAILFAST"}


@pytest.fixture(scope="module")
def table(labelled: pd.DataFrame, roles: Accounts, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """2,500 accounts to score, as they are read from a file."""
    file = tmp_path_factory.mktemp("accounts") / "t.csv"
    labelled.drop(columns=roles.label.column).head(2500).to_csv(file, index=False)
    return read_here(file, roles)


def read_here(file: Path, roles: Accounts) -> pd.DataFrame:
    batches = AccountBatchesDataset(filepath=str(file), roles=roles.model_dump(mode="json")).load()
    return pd.concat(batches, ignore_index=True)


def in_csv(spark: "SparkSession", table: pd.DataFrame, folder: Path, files: int = 1) -> "DataFrame":
    folder.mkdir(exist_ok=True)
    step = -(-len(table) // files) or 1
    for number in range(files):
        part = table.iloc[number * step : (number + 1) * step]
        part.to_csv(folder / f"part-{number}.csv", index=False)
    return spark.read.format("csv").options(**CSV).load(f"file://{folder}")


TERMS: dict[str, Any] = {
    "selection": select({"name": "t.csv", "bytes": 1, "sha256": "00"}, {}, incremental=False),
    "as_of": date(2026, 11, 1),
    "reasons": Reasons(),
}


def on_spark(
    frame: "DataFrame", model: ChurnModel, roles: Accounts, names: Sequence[str] = ("",), **terms: Any
) -> tuple[pd.DataFrame, Record]:
    run = scoring_run(checked_table(frame, names, roles, model, "accounts"), model, **TERMS, **terms)
    return pd.concat(run.batches(), ignore_index=True), run.record()


def here(table: pd.DataFrame, model: ChurnModel, roles: Accounts, **terms: Any) -> tuple[pd.DataFrame, Record]:
    run: Scores = ScoringRun(CheckedBatches(in_batches(table, 1000), roles, model, "accounts"), model, **TERMS, **terms)
    return pd.concat(run.batches(), ignore_index=True), run.record()


@pytest.mark.parametrize("rule", ["profit", "capacity"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_scores_profile_and_list_are_the_local_ones(
    spark: "SparkSession", table: pd.DataFrame, model: ChurnModel, roles: Accounts, tmp_path: Path, kind: str, rule: Any
) -> None:
    if kind == "csv":
        frame = in_csv(spark, table, tmp_path)
        assert frame.rdd.getNumPartitions() > 3
    else:
        table.to_parquet(tmp_path / "t.parquet", row_group_size=400)
        frame = spark.read.parquet(f"file://{tmp_path}/t.parquet")
    terms = {"decision": Decision(rule=rule, capacity=70, list_length=50), "profit": Profit()}
    predictions, record = on_spark(frame, model, roles, **terms)
    expected, of_local = here(table, model, roles, **terms)
    np.testing.assert_allclose(predictions["probability"], expected["probability"], rtol=0, atol=1e-6)
    pd.testing.assert_frame_equal(predictions, expected)
    assert record.profile == of_local.profile
    assert (record.rows, record.at_risk, record.to_act_on) == (2500, of_local.at_risk, of_local.to_act_on)
    assert record.expected_profit == pytest.approx(of_local.expected_profit, abs=0.01)
    pd.testing.assert_frame_equal(record.retention_list, of_local.retention_list)
    assert record.source == of_local.source


def test_files_are_scored_one_after_the_other(
    spark: "SparkSession", table: pd.DataFrame, model: ChurnModel, roles: Accounts, tmp_path: Path
) -> None:
    terms = {"decision": Decision(list_length=50), "profit": Profit()}
    frame = in_csv(spark, table, tmp_path / "a table", files=4)
    names = [f"part-{number}.csv" for number in range(4)]
    predictions, record = on_spark(frame, model, roles, names, **terms)
    expected, of_local = here(table, model, roles, **terms)
    pd.testing.assert_frame_equal(predictions, expected)
    step = -(-len(table) // 4)
    some, _ = on_spark(frame, model, roles, names[3:0:-2], **terms)
    pd.testing.assert_frame_equal(some, pd.concat([expected[3 * step :], expected[step : 2 * step]], ignore_index=True))
    assert record.profile == of_local.profile
    pd.testing.assert_frame_equal(record.retention_list, of_local.retention_list)


def faults_of(frame: "DataFrame", model: ChurnModel, roles: Accounts) -> list[str]:
    with pytest.raises(AccountsError) as caught:
        on_spark(frame, model, roles, decision=Decision(), profit=Profit())
    return caught.value.faults


def test_faults_are_told_as_locally(
    spark: "SparkSession", table: pd.DataFrame, model: ChurnModel, roles: Accounts, tmp_path: Path
) -> None:
    faulty = table.reset_index(drop=True).astype({"login_count_p1m": object})
    faulty.loc[[3, 800, 1900, 2400], "login_count_p1m"] = ["many", "few", "none", "some"]
    faulty.loc[1500, "quotes_p1m_vs_prev_month_ratio"] = np.inf
    faulty.loc[[20, 2115], roles.id] = faulty[roles.id].iloc[[5, 70]].to_numpy()
    faulty.loc[1200, roles.id] = ""
    with pytest.raises(AccountsError) as caught:
        check_accounts(faulty, roles, subject="accounts", labelled=False)
    found = faults_of(in_csv(spark, faulty, tmp_path), model, roles)
    assert sorted(found) == sorted(caught.value.faults)
    assert f"{roles.id}: 2 values are a repetition of an earlier id (rows 21, 2116); an account has one row" in found


def test_tables_that_cannot_be_scored(
    spark: "SparkSession", table: pd.DataFrame, model: ChurnModel, roles: Accounts, tmp_path: Path
) -> None:
    few = table.head(20)
    assert faults_of(in_csv(spark, few.head(0), tmp_path / "a"), model, roles) == ["the table has no rows"]
    (fault,) = faults_of(in_csv(spark, few.assign(revenue_trend="sideways"), tmp_path / "b"), model, roles)
    assert "only values that the model has never seen" in fault
    (fault,) = faults_of(in_csv(spark, few.drop(columns="revenue_trend"), tmp_path / "c"), model, roles)
    assert fault.startswith("missing columns: revenue_trend")


def test_a_malformed_file_and_a_wrong_value(
    spark: "SparkSession", table: pd.DataFrame, model: ChurnModel, roles: Accounts, tmp_path: Path
) -> None:
    terms = {"decision": Decision(), "profit": Profit()}
    in_csv(spark, table.head(20), tmp_path)
    with (tmp_path / "part-0.csv").open("a") as file:
        file.write("one,2\n")
    with pytest.raises(ChurnError, match=r"accounts: Spark says: .*Malformed CSV record: one,2"):
        on_spark(spark.read.format("csv").options(**CSV).load(f"file://{tmp_path}"), model, roles, **terms)
    negative = Profit(value_column="quotes_p1m_vs_prev_month_ratio")
    with pytest.raises(ChurnError, match="not a finite number from 0 on"):
        on_spark(in_csv(spark, table.head(200), tmp_path), model, roles, decision=Decision(), profit=negative)


def test_numbers_that_came_as_text(roles: Accounts) -> None:
    from churn.spark.scoring import as_meant

    name = roles.numeric_names[0]
    rows = pa.RecordBatch.from_pydict({"account_id": ["1", "2", "3"], name: ["0.1", " 7 ", "NA"]})
    assert as_meant(rows, roles)[name].tolist()[:2] == [0.1, 7.0]
    truths = pa.RecordBatch.from_pydict({name: ["True", "false", ""]})
    assert as_meant(truths, roles)[name].tolist()[:2] == [1.0, 0.0]
    assert as_meant(pa.RecordBatch.from_pydict({name: ["1", "x"]}), roles)[name].tolist() == ["1", "x"]


def test_findings_of_parts_add_up(table: pd.DataFrame, model: ChurnModel, roles: Accounts) -> None:
    faulty = table.head(100).reset_index(drop=True)
    faulty.loc[[10, 60], "quotes_p1m_vs_prev_month_ratio"] = np.inf
    whole, parts = Findings(), Findings()
    whole.look(faulty, roles, model)
    for start in (0, 50):
        part = Findings()
        part.look(faulty.iloc[start : start + 50], roles, model)
        parts.follow(part)
    assert parts == whole


def test_a_partition_is_scored_as_a_batch(table: pd.DataFrame, model: ChurnModel, roles: Accounts) -> None:
    """What runs in Spark's own processes, run in this one."""
    from churn.spark.scoring import NOTE, NOTES, PROBABILITY, ROW, ShippedModel, scored_partition

    schema = pa.schema([(ROW, pa.int64()), (roles.id, pa.string()), (PROBABILITY, pa.float32()), (NOTE, pa.string())])
    run = scored_partition(ShippedModel.of(model), roles, Profit(), Decision(), schema)
    rows = pa.RecordBatch.from_pandas(table.head(50), preserve_index=False)
    first, second, last = run([rows.slice(0, 30), rows.slice(30)])
    assert second[ROW].to_pylist() == list(range(30, 50))
    np.testing.assert_array_equal(first[PROBABILITY].to_numpy(), model.probability(table.head(30)))
    note = NOTES.validate_json(last[NOTE][0].as_py())
    assert note.findings.rows == 50
    assert note.tally is not None
    assert note.tally.rows == 50


# --- whole runs -------------------------------------------------------------------------------------------------


def test_a_run_publishes_what_a_local_one_does(copied: Project) -> None:
    project = for_spark(copied)
    local = project.run_folder()
    project.run("inference", env="spark", inference__as_of=manifest_of(local)["as_of"])
    published = project.run_folder()
    assert published != local
    same = ("rows", "at_risk", "threshold", "to_act_on", "expected_profit", "listed", "model", "input", "as_of")
    assert {name: manifest_of(published)[name] for name in same} == {name: manifest_of(local)[name] for name in same}
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json"):
        assert (published / name).read_bytes() == (local / name).read_bytes(), name
    results = ResultsDataset(filepath=str(project.results)).load()
    expected = pd.read_parquet(local / "inference_result.parquet")
    pd.testing.assert_frame_equal(results.predictions, expected)


def test_a_faulty_table_publishes_nothing(copied: Project, roles: Accounts) -> None:
    project = for_spark(copied)
    before = (project.results / "latest.json").read_bytes()
    file = project.staging / "inference_data.csv"
    table = read_here(file, roles)
    pd.concat([table, table.head(1)]).to_csv(file, index=False)
    with pytest.raises(Exception, match="1 value is a repetition of an earlier id"):
        project.run("inference", env="spark")
    assert (project.results / "latest.json").read_bytes() == before


def test_only_new_files_of_a_folder_are_scored(copied: Project) -> None:
    project = for_spark(copied)
    table = pd.read_csv(project.staging / "inference_data.csv", dtype=str)
    folder = project.staging / "accounts"
    folder.mkdir()
    globals_ = yaml.safe_load((project.conf / "spark/globals.yml").read_text())
    project.configure("spark", "globals", globals_ | {"tables": {"scoring": str(folder)}})
    for name, rows in (("b.csv", table.iloc[:600]), ("a.csv", table.iloc[600:900]), ("c.csv", table.iloc[900:])):
        rows.to_csv(folder / name, index=False)
        project.run("inference", env="spark", inference__incremental=True)
        scored = pd.read_csv(project.run_folder() / "inference_result.csv")
        assert scored["account_id"].tolist() == rows["account_id"].tolist()
    project.run("inference", env="spark")
    scored = pd.read_csv(project.run_folder() / "inference_result.csv")
    in_order = pd.concat([table.iloc[600:900], table.iloc[:600], table.iloc[900:]])
    assert scored["account_id"].tolist() == in_order["account_id"].tolist()


@pytest.mark.e2e
def test_the_command_line_shows_nothing_of_spark(copied: Project) -> None:
    project = for_spark(copied)
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,000 scored" in done.stdout
    noise = re.search(r".*(warn|spark\.|java|log4j).*", done.stdout + done.stderr, re.IGNORECASE)
    assert noise is None, noise[0]
    assert (project.folder / "cache/spark.log").exists()


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest
