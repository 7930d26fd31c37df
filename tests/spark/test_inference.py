"""The scoring table as a Spark frame is checked, scored and published as it is without Spark."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from churn.config import AccountSchema, Decision, Experiment, Profit, Reasons
from churn.datasets import AccountBatchesDataset, ResultsDataset, SparkAccountsDataset
from churn.errors import AccountsError, ChurnError, ParametersError
from churn.experiment.policy import Campaign, Excluded
from churn.model import ChurnModel
from churn.scoring import CampaignRun, Record, Scores, scoring_run, select
from churn.scoring.run import ScoringRun
from churn.spark.frames import SparkTable
from churn.tables import CheckedBatches, check_accounts, checked_table
from churn.tables.batches import Findings
from tests.conftest import Project, in_batches
from tests.model.test_device import has_gpu
from tests.spark.conftest import for_spark

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def table(labelled: pd.DataFrame, schema: AccountSchema, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """2,500 accounts to score, as they are read from a file."""
    file = tmp_path_factory.mktemp("accounts") / "t.csv"
    labelled.drop(columns=schema.label.column).head(2500).to_csv(file, index=False)
    return read_here(file, schema)


def read_here(path: Path, schema: AccountSchema) -> pd.DataFrame:
    return pd.concat(
        AccountBatchesDataset(filepath=str(path), schema=schema.model_dump(mode="json")).load(), ignore_index=True
    )


def read_there(path: Path, schema: AccountSchema) -> SparkTable:
    return SparkAccountsDataset(filepath=str(path), schema=schema.model_dump(mode="json")).load()


def in_csv(table: pd.DataFrame, schema: AccountSchema, file: Path) -> SparkTable:
    file.parent.mkdir(exist_ok=True)
    table.to_csv(file, index=False)
    return read_there(file, schema)


TERMS: dict[str, Any] = {
    "selection": select({"name": "t.csv", "bytes": 1, "sha256": "00"}, {}, "m"),
    "as_of": date(2026, 11, 1),
    "reasons": Reasons(),
}


def on_spark(there: SparkTable, model: ChurnModel, schema: AccountSchema, **terms: Any) -> tuple[pd.DataFrame, Record]:
    run = scoring_run(checked_table(there, schema, model, "accounts"), model, **{**TERMS, **terms})
    return pd.concat(run.batches(), ignore_index=True), run.record()


def here(table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, **terms: Any) -> tuple[pd.DataFrame, Record]:
    run: Scores = ScoringRun(
        CheckedBatches(in_batches(table, 1000), schema, model, "accounts"), model, **{**TERMS, **terms}
    )
    return pd.concat(run.batches(), ignore_index=True), run.record()


@pytest.mark.parametrize("rule", ["profit", "capacity"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_scores_profile_and_list_are_the_local_ones(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path, kind: str, rule: Any
) -> None:
    if kind == "csv":
        there = in_csv(table, schema, tmp_path / "t.csv")
        (frame,) = there.frames()
        assert frame.rdd.getNumPartitions() > 3
    else:
        table.to_parquet(tmp_path / "t.parquet", row_group_size=400)
        there = read_there(tmp_path / "t.parquet", schema)
    terms = {"decision": Decision(rule=rule, capacity=70, list_length=50), "profit": Profit()}
    predictions, record = on_spark(there, model, schema, **terms)
    expected, of_local = here(table, model, schema, **terms)
    pd.testing.assert_frame_equal(predictions, expected, check_exact=True)
    assert record.profile == of_local.profile
    assert (record.rows, record.at_risk, record.to_act_on) == (2500, of_local.at_risk, of_local.to_act_on)
    assert record.expected_profit == pytest.approx(of_local.expected_profit, abs=0.01)
    pd.testing.assert_frame_equal(record.retention_list, of_local.retention_list)
    assert record.source == of_local.source


def test_own_columns_owners_and_costs_of_actions_are_the_local_ones(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    own = schema.model_copy(update={"carry": ("name", "owner")})
    owners = np.array(["Anna Öhler", "Bo", None, "Çelik"], dtype=object)[np.arange(len(table)) ** 2 % 7 % 4]
    owned = table.assign(name=[f"0{place} & Söhne" for place in range(len(table))], owner=owners)
    texts = [
        {"column": "payments_p1m_vs_prev_month_ratio", "actions": [{"case": "low", "action": "plan", "cost": 5}]},
        {"column": "login_count_p1m", "actions": [{"action": "training", "cost": 120}]},
    ]
    decision = Decision(rule="capacity", capacity=25, capacity_by="owner", minimum_gain=2, list_length=90)
    terms = {"decision": decision, "profit": Profit(), "carry": own.carry, "reasons": Reasons(texts=texts)}
    _, record = on_spark(in_csv(owned, own, tmp_path / "t.csv"), model, own, **terms)
    _, of_local = here(read_here(tmp_path / "t.csv", own), model, own, **terms)
    pd.testing.assert_frame_equal(record.retention_list, of_local.retention_list)
    assert (record.to_act_on, record.facts) == (3 * 25, of_local.facts)
    assert record.retention_list["name"].str.endswith(" & Söhne").all()
    assert "plan" in set(record.retention_list["suggested_action"])


def test_several_files_are_one_table_in_the_order_of_their_names(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    """Of several kinds, types and orders of columns, the shortest first, with names in which Spark would see patterns."""
    folder = tmp_path / "accounts"
    (folder / "3 month=10").mkdir(parents=True)
    bounds = ((0, 50), (50, 300), (300, 1000), (1000, 1900), (1900, 2500))
    parts = [table.iloc[start:end] for start, end in bounds]
    strange = "2 [a,b] {1}*.csv.gz"
    parts[0].to_csv(folder / "1.csv", index=False)
    parts[1].iloc[:, ::-1].to_csv(folder / strange, index=False)
    parts[2].to_parquet(folder / "3 month=10/a.parquet", row_group_size=200)
    parts[3].astype(dict.fromkeys(schema.numeric_names, "float32")).to_parquet(folder / "3 month=10/b.parquet")
    parts[4].to_csv(folder / "4.csv", index=False)
    for name in ("_SUCCESS", ".1.csv.crc", "notes.txt"):
        (folder / name).write_text("no table")
    there = read_there(folder, schema)
    terms = {"decision": Decision(list_length=50), "profit": Profit()}
    predictions, record = on_spark(there, model, schema, **terms)
    expected, of_local = here(read_here(folder, schema), model, schema, **terms)
    pd.testing.assert_frame_equal(predictions, expected, check_exact=True)
    assert predictions[schema.id].tolist() == table[schema.id].tolist()
    assert record.profile == of_local.profile
    pd.testing.assert_frame_equal(record.retention_list, of_local.retention_list)
    some, _ = on_spark(there.only([strange, "4.csv"]), model, schema, **terms)
    assert some[schema.id].tolist() == [*parts[1][schema.id], *parts[4][schema.id]]


def test_columns_that_spark_would_rename_or_take_for_one_another(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    few = table.head(40).reset_index(drop=True)
    terms = {"decision": Decision(), "profit": Profit()}
    expected, _ = here(few, model, schema, **terms)
    # One without a name, as pandas writes its index, and one whose name differs from another's in its case alone.
    few.assign(Revenue_Trend="x").to_csv(tmp_path / "t.csv")
    predictions, _ = on_spark(read_there(tmp_path / "t.csv", schema), model, schema, **terms)
    pd.testing.assert_frame_equal(predictions, expected, check_exact=True)


def faults_of(there: SparkTable, model: ChurnModel, schema: AccountSchema) -> list[str]:
    with pytest.raises(AccountsError) as caught:
        on_spark(there, model, schema, decision=Decision(), profit=Profit())
    return caught.value.faults


def test_faults_are_told_as_locally(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    faulty = table.reset_index(drop=True).astype({"login_count_p1m": object})
    faulty.loc[[3, 800, 1900, 2400], "login_count_p1m"] = ["many", "few", "none", "some"]
    faulty.loc[1500, "quotes_p1m_vs_prev_month_ratio"] = np.inf
    faulty.loc[[20, 2115], schema.id] = faulty[schema.id].iloc[[5, 70]].to_numpy()
    faulty.loc[1200, schema.id] = ""
    with pytest.raises(AccountsError) as caught:
        check_accounts(faulty, schema, subject="accounts", labelled=False)
    found = faults_of(in_csv(faulty, schema, tmp_path / "t.csv"), model, schema)
    assert sorted(found) == sorted(caught.value.faults)
    assert f"{schema.id}: 2 values are a repetition of an earlier id (rows 21, 2116); an account has one row" in found


def test_tables_that_cannot_be_scored(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    few = table.head(20)
    assert faults_of(in_csv(few.head(0), schema, tmp_path / "a" / "t.csv"), model, schema) == ["the table has no rows"]
    (fault,) = faults_of(in_csv(few.assign(revenue_trend="sideways"), schema, tmp_path / "b" / "t.csv"), model, schema)
    assert "only values that the model has never seen" in fault
    (fault,) = faults_of(in_csv(few.drop(columns="revenue_trend"), schema, tmp_path / "c" / "t.csv"), model, schema)
    assert fault.startswith("missing columns: revenue_trend")


def test_a_malformed_file_and_a_wrong_value(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    terms = {"decision": Decision(), "profit": Profit()}
    in_csv(table.head(20), schema, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open("a") as file:
        file.write("one,2\n")
    with pytest.raises(ChurnError, match=r"(?s)t.csv cannot be read .* row 21 has 2"):
        on_spark(read_there(tmp_path / "t.csv", schema), model, schema, **terms)
    negative = Profit(value_column="quotes_p1m_vs_prev_month_ratio")
    with pytest.raises(ChurnError, match="not a finite number from 0 on"):
        on_spark(
            in_csv(table.head(200), schema, tmp_path / "t.csv"), model, schema, decision=Decision(), profit=negative
        )


def test_findings_of_parts_add_up(table: pd.DataFrame, model: ChurnModel, schema: AccountSchema) -> None:
    faulty = table.head(100).reset_index(drop=True)
    faulty.loc[[10, 60], "quotes_p1m_vs_prev_month_ratio"] = np.inf
    whole, parts = Findings(), Findings()
    whole.check_batch(faulty, schema, model)
    for start in (0, 50):
        part = Findings()
        part.check_batch(faulty.iloc[start : start + 50], schema, model)
        parts.extend(part)
    assert parts == whole


def test_a_partition_is_scored_as_a_batch(table: pd.DataFrame, model: ChurnModel, schema: AccountSchema) -> None:
    """What runs in Spark's own processes, run in this one."""
    from churn.spark.checking import NOTE, NOTES
    from churn.spark.rows import ROW
    from churn.spark.scoring import PROBABILITY, ShippedModel, scored_partition

    columns = pa.schema([(ROW, pa.int64()), (schema.id, pa.string()), (PROBABILITY, pa.float32()), (NOTE, pa.string())])
    run = scored_partition(ShippedModel.of(model), schema, Profit(), Decision(), Reasons(), None, columns)
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
    pd.testing.assert_frame_equal(results.predictions.frame(), expected)


def test_files_of_a_folder_are_scored_as_locally_and_then_only_what_is_new(
    copied: Project, schema: AccountSchema
) -> None:
    table = read_here(copied.staging / "inference_data.csv", schema)
    folder = copied.staging / "arriving"
    folder.mkdir()
    table.iloc[:100].to_csv(folder / "a.csv", index=False)
    table.iloc[100:400].to_csv(folder / "b.csv", index=False)
    globals_ = yaml.safe_load((copied.conf / "local/globals.yml").read_text())
    copied.configure("local", "globals", globals_ | {"tables": {"scoring": str(folder)}})
    project = for_spark(copied)
    project.run("inference")
    local = project.run_folder()
    project.run("inference", env="spark", inference__as_of=manifest_of(local)["as_of"])
    published = project.run_folder()
    assert published != local
    assert manifest_of(published)["input"] == manifest_of(local)["input"]
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json", "partitions.json"):
        assert (published / name).read_bytes() == (local / name).read_bytes(), name

    def scored() -> tuple[str, list[str]]:
        project.run("inference", env="spark", inference__incremental=True)
        run = project.run_folder()
        return run.name, pd.read_csv(run / "inference_result.csv", dtype=str)[schema.id].tolist()

    table.iloc[400:450].to_csv(folder / "0.csv", index=False)
    run, ids = scored()
    assert ids == table[schema.id].iloc[400:450].tolist()
    assert scored() == (run, ids)  # nothing is new


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(copied: Project) -> None:
    with pytest.raises(Exception, match=r"inference\.device = 'cuda': XGBoost finds no such GPU here"):
        for_spark(copied).run("inference", env="spark", inference__device="cuda")


def test_the_device_goes_with_the_model(model: ChurnModel) -> None:
    from churn.spark.scoring import ShippedModel, unpacked

    shipped = ShippedModel.of(model)
    assert shipped.device == unpacked(shipped).device == "cpu"
    other = replace(shipped, device="cuda:99")
    assert other != shipped
    with pytest.raises(ParametersError, match=r"inference\.device = 'cuda:99'"):
        unpacked(other)


def test_a_faulty_table_publishes_nothing(copied: Project, schema: AccountSchema) -> None:
    project = for_spark(copied)
    before = (project.results / "latest.json").read_bytes()
    file = project.staging / "inference_data.csv"
    table = read_here(file, schema)
    pd.concat([table, table.head(1)]).to_csv(file, index=False)
    with pytest.raises(Exception, match="1 value is a repetition of an earlier id"):
        project.run("inference", env="spark")
    assert (project.results / "latest.json").read_bytes() == before


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


def test_the_group_that_is_kept_back_is_the_local_one(
    table: pd.DataFrame, model: ChurnModel, schema: AccountSchema, tmp_path: Path
) -> None:
    refused = frozenset(table["account_id"].astype(str).head(50))
    campaign = Campaign("2026-11", 0.2, 42, schema.id, excluded=Excluded(refused=refused))
    terms = {"campaign": CampaignRun(campaign, Experiment(holdout=0.2)), "profit": Profit()}
    for rule in (Decision(), Decision(rule="capacity", capacity=200)):
        expected, record = here(table, model, schema, decision=rule, **terms)
        scores, there = on_spark(
            in_csv(table, schema, tmp_path / f"{rule.rule}.csv"), model, schema, decision=rule, **terms
        )
        pd.testing.assert_frame_equal(scores, expected)
        pd.testing.assert_frame_equal(there.retention_list, record.retention_list)
        pd.testing.assert_frame_equal(there.campaign_accounts, record.campaign_accounts)
        assert there.campaign == record.campaign
        assert scores["held_out"].sum() > 0
