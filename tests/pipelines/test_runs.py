"""Runs of the project in this process: overrides, reruns, and input that is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from churn.cli.commands import user_error
from tests.conftest import Project, files_in

RESULT_FILES = (
    *("inference_result.csv", "inference_result.parquet", "input_profile.json"),
    *("retention_list.csv", "retention_list.html", "retention_list.parquet", "retention_list.xlsx"),
)


def refused(project: Project, *pipelines: str, **params: Any) -> str:
    """The message with which a run ends."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  (the message is what is asserted)
        project.run(*pipelines, **params)
    message = user_error(caught.value)
    assert message is not None, caught.value
    return message


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files, but for logs and the note of who was told of a failure."""
    files = (path for path in folder.rglob("*") if path.is_file())
    told = ("notifications.json", "notifications.json.lock")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in told and path.suffix != ".log"
    }


def test_files_of_a_whole_run(finished: Project) -> None:
    assert sorted(path.name for path in finished.staging.iterdir() if path.is_file()) == [
        *("inference_data.csv", "inference_outcomes.csv", "oracle.parquet", "training_data.csv")
    ]
    assert sorted(path.name for path in finished.run_folder().iterdir()) == [
        *("health_metrics.json", "health_report.html"),
        *("inference_result.csv", "inference_result.parquet", "input_profile.json", "manifest.json"),
        *("model_card.html", "partitions.json"),
        *(f"retention_list.{ending}" for ending in ("csv", "html", "parquet", "xlsx")),
    ]
    csv = pd.read_csv(finished.run_folder() / "inference_result.csv", dtype={"model_version": str})
    parquet = pd.read_parquet(finished.run_folder() / "inference_result.parquet")
    assert list(csv) == ["account_id", "probability", "prediction", "risk_band", "model_version"]
    assert len(csv) == 1000
    assert csv["account_id"].tolist() == parquet["account_id"].tolist()
    assert csv["probability"].astype("float32").tolist() == parquet["probability"].tolist()
    assert set(csv["model_version"]) == {"1"}


def test_a_rerun_with_the_same_seeds_gives_the_same_bytes(copied: Project) -> None:
    metrics = (copied.results / "training/metrics.json").read_bytes()
    staged = snapshot(copied.staging)
    before = copied.run_folder()
    copied.run()
    after = copied.run_folder()
    assert after != before
    assert snapshot(copied.staging) == staged
    assert (copied.results / "training/metrics.json").read_bytes() == metrics
    for name in RESULT_FILES:
        assert (after / name).read_bytes() == (before / name).read_bytes(), name
    old, new = (json.loads((folder / "manifest.json").read_text()) for folder in (before, after))
    for manifest in (old, new):
        for name in ("run_id", "published_at", "as_of"):
            del manifest[name]
    assert new == old


def test_pipelines_run_alone_on_what_the_others_stored(copied: Project) -> None:
    before = copied.run_folder()
    for pipeline in ("data_generation", "feature_engineering", "training", "inference", "monitoring"):
        copied.run(pipeline)
    assert (copied.run_folder() / "inference_result.csv").read_bytes() == (before / "inference_result.csv").read_bytes()
    assert (copied.run_folder() / "health_report.html").exists()


def test_another_model_scores_by_its_uri(copied: Project) -> None:
    copied.run("feature_engineering", "training", training__booster__max_depth=2, training__random_state=5)
    copied.run("inference", model_uri="models:/churn/1")
    first = copied.run_folder()
    copied.run("inference")
    newest = copied.run_folder()
    assert json.loads((first / "manifest.json").read_text())["model"]["version"] == "1"
    assert json.loads((newest / "manifest.json").read_text())["model"]["version"] == "2"
    assert (first / "inference_result.csv").read_bytes() != (newest / "inference_result.csv").read_bytes()
    copied.run("inference", model_uri="models:/churn@champion", inference__as_of="2026-03-31")
    assert json.loads((copied.run_folder() / "manifest.json").read_text())["as_of"] == "2026-03-31"
    # Back to the first champion, which other tests share.
    import mlflow

    mlflow.MlflowClient().set_registered_model_alias("churn", "champion", "1")


def test_tables_of_several_files_score_and_train_as_one(copied: Project) -> None:
    before, was_trained = copied.run_folder(), (copied.results / "training/metrics.json").read_bytes()
    globals_ = yaml.safe_load((copied.conf / "local/globals.yml").read_text())
    tables = {}
    for kind, name in (("training", "training_data"), ("scoring", "inference_data")):
        table = pd.read_csv(copied.staging / f"{name}.csv", dtype=str)
        folder = copied.staging / name
        folder.mkdir()
        for number, start in enumerate(range(0, len(table), 400)):
            table.iloc[start : start + 400].to_csv(folder / f"{number:02}.csv", index=False)
        (copied.staging / f"{name}.csv").unlink()
        tables[kind] = str(folder)
    copied.configure("local", "globals", globals_ | {"tables": tables})
    copied.run("feature_engineering", "training", "inference")
    after = copied.run_folder()
    assert after != before
    assert (copied.results / "training/metrics.json").read_bytes() == was_trained
    for name in ("inference_result.csv", "retention_list.csv", "retention_list.xlsx"):
        assert (after / name).read_bytes() == (before / name).read_bytes()
    # The page names the table.
    page = (after / "retention_list.html").read_text().replace(">inference_data<", ">inference_data.csv<")
    assert page == (before / "retention_list.html").read_text()
    source = json.loads((after / "manifest.json").read_text())["input"]
    assert source["name"] == "inference_data"
    assert list(source["files"]) == ["00.csv", "01.csv", "02.csv"]


def test_only_new_files_are_scored_and_each_once(copied: Project, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(copied.staging / "inference_data.csv", dtype=str)
    folder = copied.staging / "arriving"
    folder.mkdir()
    globals_ = yaml.safe_load((copied.conf / "local/globals.yml").read_text())
    copied.configure("local", "globals", globals_ | {"tables": {"scoring": str(folder)}})

    def arrives(name: str, start: int, **changes: str) -> None:
        table.iloc[start : start + 100].assign(**changes).to_csv(folder / name, index=False)

    def scored() -> tuple[str, list[str], dict[str, str]]:
        """Run, files that were scored, and which run scored each file."""
        copied.run("inference", inference__incremental=True)
        run = copied.run_folder()
        ledger = json.loads((run / "partitions.json").read_text())
        files = json.loads((run / "manifest.json").read_text())["input"]["files"]
        return run.name, list(files), {name: entry["run_id"] or run.name for name, entry in ledger.items()}

    arrives("a.csv", 0)
    arrives("b.csv", 100)
    first, files, runs = scored()
    assert files == ["a.csv", "b.csv"]
    assert runs == {"a.csv": first, "b.csv": first}

    arrives("c.csv", 200)
    (folder / "a.csv").rename(folder / "z.csv")
    second, files, runs = scored()
    assert files == ["c.csv"]
    assert runs == {"b.csv": first, "c.csv": second, "z.csv": first}
    scores = pd.read_parquet(copied.run_folder() / "inference_result.parquet")
    assert scores["account_id"].tolist() == table["account_id"].iloc[200:300].tolist()

    capsys.readouterr()
    assert scored() == (second, files, runs)
    assert "none scored" in capsys.readouterr().out

    # One file of two is faulty: neither counts as scored, and both are when it is mended.
    arrives("d.csv", 300)
    arrives("e.csv", 400, login_count_p1m="many")
    assert "login_count_p1m" in refused(copied, "inference", inference__incremental=True)
    assert copied.run_folder().name == second
    arrives("e.csv", 400)
    third, files, runs = scored()
    assert files == ["d.csv", "e.csv"]
    assert runs == {"b.csv": first, "c.csv": second, "d.csv": third, "e.csv": third, "z.csv": first}


def test_after_a_promotion_everything_is_scored_again_once(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    again = {"inference__incremental": True, "inference__rescore": True}
    project.run("data_generation", "feature_engineering", "training")
    project.run("inference", **again)
    before = project.run_folder()
    project.run("inference", **again)
    assert project.run_folder() == before
    project.run("training", training__booster__n_estimators=15, promotion__margin=-1.0)
    project.run("inference", inference__incremental=True)
    assert project.run_folder() == before
    project.run("inference", **again)
    after = project.run_folder()
    assert after != before
    capsys.readouterr()
    project.run("inference", **again)
    assert project.run_folder() == after
    assert "0 of 1 files were not scored by this model" in capsys.readouterr().out


def test_outcomes_that_are_not_there_yet(copied: Project) -> None:
    (copied.staging / "inference_outcomes.csv").unlink()
    copied.run("monitoring")
    health = json.loads((copied.run_folder() / "health_metrics.json").read_text())
    assert health["realised_performance"] is None


def test_drift_raises_an_alarm(copied: Project) -> None:
    copied.run("data_generation", "inference", "monitoring", simulation__drift=1.0)
    health = json.loads((copied.run_folder() / "health_metrics.json").read_text())
    assert health["status"] == "alarm"
    assert any("operating country" in sentence.lower() for sentence in health["alarms"])


# --- bad input --------------------------------------------------------------------------------------------------


def csv(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)

    return apply


def put(column: str, value: str, rows: int = 1) -> Callable[[Path], None]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[: rows - 1, column] = value
        return frame

    return csv(change)


BAD_TABLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing columns": (
        csv(lambda frame: frame.drop(columns=["login_count_p1m", "revenue_trend"])),
        "missing columns: login_count_p1m, revenue_trend",
    ),
    "wrong type": (put("login_count_p1m", "lots", 2), "login_count_p1m: 2 values are not a number, for example 'lots'"),
    "repeated id": (put("account_id", "twice", 2), "account_id: 1 value is a repetition of an earlier id (row 2)"),
    "empty id": (put("account_id", ""), "account_id: 1 value is empty (row 1)"),
    "no rows": (csv(lambda frame: frame.head(0)), "the table has no rows"),
    "empty file": (lambda path: path.write_text("") and None, "cannot be read as an account table"),
    "unseen": (put("operating_country", "xx", 10_000), "operating_country: holds only values that the model has never"),
    "out of range": (put("p1m_tenure_since_conversion", "99"), "above the maximum of 72, for example 99 (row 1)"),
    "infinite": (put("visits_p1m_vs_prev_month_ratio", "inf"), "visits_p1m_vs_prev_month_ratio: 1 value is not finite"),
    "active above total": (put("active_users_count", "150"), "active_users_count: 1 value is above total_users_count"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_scoring_table_publishes_nothing(copied: Project, case: str) -> None:
    spoil, expected = BAD_TABLES[case]
    spoil(copied.staging / "inference_data.csv")
    before = snapshot(copied.results)
    message = refused(copied, "inference")
    assert expected in message
    assert snapshot(copied.results) == before


BAD_LABELS = {
    "one class": (put("is_churned", "false", 10_000), "is_churned: holds one class only ('false')"),
    "missing": (put("is_churned", "", 2), "is_churned: 2 values are missing (rows 1, 2)"),
    "several": (put("is_churned", "perhaps"), "is_churned: 1 value is neither churned nor stayed"),
}


@pytest.mark.parametrize("case", [*BAD_LABELS, *(name for name in BAD_TABLES if name != "unseen")])
def test_a_bad_training_table_changes_nothing(copied: Project, case: str) -> None:
    spoil, expected = {**BAD_LABELS, **BAD_TABLES}[case]
    spoil(copied.staging / "training_data.csv")
    before = snapshot(copied.folder)
    assert expected in refused(copied, "feature_engineering", "training")
    assert snapshot(copied.folder) == before


def test_all_faults_of_a_table_come_at_once_and_show_no_id(copied: Project) -> None:
    path = copied.staging / "inference_data.csv"
    for column, value in (("active_users_count", "151"), ("login_count_p1m", "many"), ("account_id", "secret-id")):
        put(column, value, 2)(path)
    message = refused(copied, "inference")
    assert message.startswith("accounts to score: 4 faults found, nothing was changed.")
    assert "secret-id" not in message


@pytest.mark.parametrize("strict", [False, True])
def test_spare_columns(copied: Project, strict: bool, caplog: pytest.LogCaptureFixture) -> None:
    csv(lambda frame: frame.assign(colour="red"))(copied.staging / "inference_data.csv")
    if strict:
        assert "columns that are not in the schema: colour" in refused(copied, "inference", accounts__strict=True)
    else:
        copied.run("inference")
        assert "accounts to score: ignored columns that are not in the schema: colour" in caplog.text


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"training__booster__max_dept": 3}, "training.booster.max_dept: unknown parameter; did you mean 'max_depth'?"),
        ({"feature_engineering__test_share": 1.5}, "feature_engineering.test_share = 1.5: input should be less than 1"),
    ],
)
def test_bad_parameters_are_refused_whatever_the_pipeline(
    copied: Project, params: dict[str, Any], expected: str
) -> None:
    before = snapshot(copied.folder)
    assert expected in refused(copied, "data_generation", **params)
    assert snapshot(copied.folder) == before


def test_an_unknown_model_publishes_nothing(copied: Project) -> None:
    before = snapshot(copied.results)
    assert "there is no model models:/churn/77" in refused(copied, "inference", model_uri="models:/churn/77")
    assert snapshot(copied.results) == before


def test_a_model_made_for_another_table_publishes_nothing(copied: Project, tmp_path: Path) -> None:
    from churn.registry.flavor import load_model

    load_model("models:/churn@champion").save(tmp_path / "model")
    copied.run("data_generation", env="telco")
    telco = copied.folder / "telco"
    message = refused_env(copied, "telco", "inference", model_uri=str(tmp_path / "model"))
    assert "was trained for another table: the id is 'account_id' there and 'customer_id' here" in message
    assert files_in(telco / "ml-result") == []


def refused_env(project: Project, env: str, *pipelines: str, **params: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        project.run(*pipelines, env=env, **params)
    message = user_error(caught.value)
    assert message is not None, caught.value
    return message


def test_missing_inputs_name_the_pipeline_that_makes_them(project: Project) -> None:
    message = refused(project, "training")
    assert "encoder is not there yet" in message
    assert "kedro run --pipelines feature_engineering makes it" in message
    assert "kedro run --pipelines inference makes it" in refused(project, "monitoring")
    assert "kedro run --pipelines data_generation makes it" in refused(project, "inference", "monitoring")


def test_a_misspelt_table_is_not_replaced_by_a_simulation(project: Project) -> None:
    import yaml

    content = yaml.safe_load((project.conf / "telco/globals.yml").read_text())
    project.configure("telco", "globals", content | {"source_accounts": "data/examples/telco_chrun.csv"})
    assert "data/examples/telco_chrun.csv does not exist" in refused_env(project, "telco", "data_generation")
    project.configure("telco", "globals", content | {"source_accounts": None})
    message = refused_env(project, "telco", "data_generation")
    assert "columns that a simulated table does not have: contract, customer_id" in message
    assert "source_accounts" in message
    assert files_in(project.folder / "telco/data-staging") == []


def test_an_unknown_pipeline_or_environment(project: Project) -> None:
    assert "Did you mean one of these instead?\n    inference" in refused(project, "inferense")
    assert "no environment 'nowhere'" in refused_env(project, "nowhere", "inference")
