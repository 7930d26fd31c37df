"""The flavor on a real MLflow store (SQLite), through a finished run of the project."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.registry import flavor, versions
from churn.registry.metric_names import tracked_names
from tests.conftest import Project


@pytest.fixture
def client(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[mlflow.MlflowClient]:
    """On a copy of the database, as some tests write to it; the artifacts are those of the finished project."""
    before = mlflow.get_tracking_uri()
    database = shutil.copy(finished.folder / "mlflow-artifacts/mlflow.db", tmp_path_factory.mktemp("database"))
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def accounts(finished: Project) -> pd.DataFrame:
    return pd.read_parquet(finished.staging / "features/test_accounts.parquet")


def test_every_form_of_uri_gives_the_same_model(
    client: mlflow.MlflowClient, accounts: pd.DataFrame, finished: Project, tmp_path: Path
) -> None:
    champion = client.get_model_version_by_alias("churn", "champion")
    experiment = client.get_experiment_by_name("churn_model")
    assert str(champion.version) == "1"
    folder = mlflow.artifacts.download_artifacts("models:/churn/1", dst_path=str(tmp_path / "download"))
    expected = flavor.load_model("models:/churn@champion")
    assert expected.source is not None
    assert expected.source.version == "1"
    assert expected.source.run_id == champion.run_id
    forms = {
        "models:/churn/1": "1",
        champion.source: expected.sha256[:12],
        f"runs:/{champion.run_id}/model": expected.sha256[:12],
        f"runs:/{champion.run_id}": expected.sha256[:12],
        f"{experiment.experiment_id}/{champion.run_id}/artifacts": expected.sha256[:12],
        folder: expected.sha256[:12],
        f"{folder}/churn": expected.sha256[:12],
    }
    for uri, version in forms.items():
        model = flavor.load_model(uri)
        assert model.sha256 == expected.sha256, uri
        assert model.version == version, uri
        np.testing.assert_array_equal(model.probability(accounts), expected.probability(accounts))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/churn@nobody", "there is no model models:/churn@nobody in sqlite:///"),
        ("models:/churn/99", "there is no model models:/churn/99"),
        ("models:/churn/99", "the versions of 'churn' are "),
        ("models:/other/1", "there is no model models:/other/1"),
        ("models:/other/1", "the registered models are churn; "),
        ("runs:/00000000000000000000000000000000/model", "cannot be read from sqlite:///"),
        ("1/00000000000000000000000000000000/artifacts", "cannot be read from sqlite:///"),
        ("models:/m-00000000000000000000000000000000", "cannot be read from sqlite:///"),
        ("nowhere", "names no model: it is neither a folder here nor of the form models:/<name>@<alias>"),
    ],
)
@pytest.mark.usefixtures("client")
def test_an_unknown_model_is_named(uri: str, expected: str) -> None:
    with pytest.raises(ChurnError) as caught:
        flavor.load_model(uri)
    assert expected in str(caught.value)
    assert "kedro run --pipelines training" in str(caught.value) or "folder" in str(caught.value)


@pytest.mark.usefixtures("client")
def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChurnError, match="is not a churn model"):
        flavor.load_model(str(tmp_path))


def test_mlflow_serves_scores(client: mlflow.MlflowClient, accounts: pd.DataFrame) -> None:
    served = mlflow.pyfunc.load_model("models:/churn@champion").predict(accounts)
    direct = flavor.load_model("models:/churn@champion").score(accounts)
    pd.testing.assert_series_equal(served["probability"], direct["probability"])


def test_a_model_has_a_signature_and_an_example_that_is_no_account(
    client: mlflow.MlflowClient, accounts: pd.DataFrame
) -> None:
    served = mlflow.pyfunc.load_model("models:/churn@champion")
    example = served.input_example
    assert list(example) == served.metadata.get_input_schema().input_names()
    assert example["account_id"].tolist() == ["example"]
    assert len(served.predict(example)) == 1
    expected = flavor.load_model("models:/churn@champion").score(accounts)["probability"]
    # Columns as programs have them: text of a CSV file, and pandas' own types.
    for given in (accounts.astype(str).replace("nan", ""), accounts.convert_dtypes()):
        pd.testing.assert_series_equal(served.predict(given)["probability"], expected)


def test_stored_files_are_not_pickles(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    logged = client.get_model_version("churn", "1").source
    folder = Path(mlflow.artifacts.download_artifacts(logged, dst_path=str(tmp_path)))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    files.discard("registered_model_meta")  # written by MLflow while downloading
    assert files == {
        *("MLmodel", "churn/booster.ubj", "churn/checksums.json", "churn/model.json"),
        *("input_example.json", "requirements.txt"),
    }
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("xgboost==") for line in requirements)


def test_the_same_model_is_registered_once(client: mlflow.MlflowClient, model: ChurnModel, tmp_path: Path) -> None:
    with mlflow.start_run(experiment_id=client.create_experiment("registering", artifact_location=str(tmp_path))):
        for _ in range(2):
            flavor.log_model(model, registered_model_name="registered_once")
    registered = client.search_model_versions("name = 'registered_once'")
    assert [(str(entry.version), entry.tags["sha256"]) for entry in registered] == [("1", model.sha256)]
    found = versions.find_version("registered_once", model.sha256)
    assert found is not None
    assert str(found.version) == "1"
    assert versions.find_version("registered_once", "0" * 64) is None


def test_a_model_swapped_under_its_version_is_refused(
    client: mlflow.MlflowClient, model: ChurnModel, tmp_path: Path
) -> None:
    with mlflow.start_run(experiment_id=client.create_experiment("swapping", artifact_location=str(tmp_path))):
        flavor.log_model(model, registered_model_name="swapped")
    client.set_model_version_tag("swapped", "1", "sha256", "0" * 64)
    with pytest.raises(ChurnError, match="not the one that was registered"):
        flavor.load_model("models:/swapped/1")


def test_promoting_an_unregistered_model_is_refused(client: mlflow.MlflowClient) -> None:
    from kedro.io import DatasetError

    from churn.datasets import ChampionDataset
    from churn.training.promotion import PromotionDecision

    champion = ChampionDataset(model_name="churn")
    with pytest.raises(DatasetError, match="no version of the registered model 'churn' has the content hash 0000"):
        champion.save(PromotionDecision(True, False, "a test", (), sha256="0" * 64))
    assert client.get_model_version_by_alias("churn", "champion").version == 1


def test_what_training_left_in_mlflow(client: mlflow.MlflowClient, finished: Project) -> None:
    import json

    champion = client.get_model_version_by_alias("churn", "champion")
    run = client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    metrics = json.loads((finished.results / "training/metrics.json").read_text())
    for name, value in tracked_names(metrics).items():
        assert run.data.metrics[name] == pytest.approx(value), name
    assert run.data.metrics["test_roc_auc"] == pytest.approx(metrics["test_roc_auc"])
    assert len([name for name in run.data.metrics if "/" not in name]) < 30
    assert run.data.metrics["health.total_samples"] == 1000
    assert run.data.params["training.booster.max_depth"] == "4"
    assert run.data.params["training.random_state"] == "31459"
    assert run.data.params["simulation.training_rows"] == "3000"
    assert run.data.params["accounts.label.column"] == "is_churned"
    assert not [name for name in run.data.params if "." not in name]
    plots = {item.path for item in client.list_artifacts(champion.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("roc", "calibration", "lift", "profit", "importance")}
    assert champion.tags["promotion_reason"].startswith("Promoted, all gates passed: ")
    assert champion.tags["gate.leakage"] == "passed: no column gives the answer away"
    assert run.data.tags["promotion"] == "promoted"
    assert run.info.run_name == (
        f"training: promoted v1, ROC AUC {metrics['test_roc_auc']:.3f}; inference: 1,000 scored with v1; monitoring: "
        f"{run.info.run_name.rpartition(' ')[2]}"
    ).replace("AUC 0.", "AUC .")
    assert client.get_experiment(run.info.experiment_id).tags["mlflow.experimentKind"] == "custom_model_development"
    note = run.data.tags["mlflow.note.content"]
    assert "| ROC AUC |" in note
    assert "### Scores" in note
    assert "### Health" in note
    assert run.data.tags["runner"] == "SequentialRunner"
    assert not [name for name, text in run.data.tags.items() if "object at 0x" in text]
    tables = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert set(tables) == {"training", "scoring"}
    assert tables["training"].name == "training_data.csv"
    assert json.loads(tables["training"].profile)["num_rows"] == 3000
    ids = pd.read_csv(finished.staging / "training_data.csv", dtype=str)["account_id"]
    assert not any(each in note for each in ids.head(200))
    assert {"model_card.html", "model_card.json", "promotion.json"} <= {
        item.path for item in client.list_artifacts(champion.run_id)
    }


def test_a_champion_that_stays_is_loaded_once_a_process(
    client: mlflow.MlflowClient, finished: Project, tmp_path: Path
) -> None:
    first = flavor.load_model("models:/churn@champion", cache=tmp_path)
    assert flavor.load_model("models:/churn@champion", cache=tmp_path) is first
    by_number = flavor.load_model("models:/churn/1", cache=tmp_path)
    assert by_number.source is not None
    assert by_number.source.uri == "models:/churn/1"
    assert by_number.sha256 == first.sha256


def test_a_model_whose_files_are_gone_is_named_with_their_place(
    finished: Project, tmp_path: Path, empty_database: Path, model: ChurnModel
) -> None:
    before = mlflow.get_tracking_uri()
    shutil.copy(empty_database, tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        experiment = mlflow.create_experiment("gone", (tmp_path / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run:
            flavor.log_model(model, registered_model_name="gone")
        shutil.rmtree(tmp_path / "artifacts")
        for uri in ("models:/gone/1", f"runs:/{run.info.run_id}/model"):
            with pytest.raises(ChurnError) as refused:
                flavor.load_model(uri)
            assert uri in str(refused.value)
            assert str(tmp_path / "artifacts") in str(refused.value)
            assert "churn-model-" not in str(refused.value)  # the temporary folder
    finally:
        mlflow.set_tracking_uri(before)
