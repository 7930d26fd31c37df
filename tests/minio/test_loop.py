"""The whole loop with everything in buckets and on MLflow's server."""

import hashlib

import pytest

from churn.operations.status.tracked import Tracked, read_tracked
from churn.services.server import is_free
from tests.conftest import Project
from tests.minio.conftest import MinioProject
from tests.stack import Stack

pytestmark = pytest.mark.e2e


def test_everything_lies_in_the_buckets(trained: MinioProject) -> None:
    for name in ("training_data.csv", "inference_data.csv", "inference_outcomes.csv", "oracle.parquet"):
        assert trained.staging.exists(name)
    for name in ("train_accounts.parquet", "test_features.parquet", "encoder.json"):
        assert trained.staging.exists(f"features/{name}")
    assert trained.staging.read_json("training/metrics.json")["test_roc_auc"] > 0.7
    manifest = trained.manifest()
    run_id = manifest["run_id"]
    assert manifest["rows"] == 1000
    for name, described in manifest["files"].items():
        assert trained.results.size(f"{run_id}/{name}") == described["bytes"]
        assert trained.results.sha256(f"{run_id}/{name}") == described["sha256"]
    assert trained.results.read_json(f"{run_id}/health_metrics.json")["realised_performance"]["coverage"] == 1.0
    assert trained.results.exists(f"{run_id}/health_report.html")
    # On this machine are only the pictures and pages of the training, a copy of the model, and the configuration.
    assert {path.name for path in trained.folder.iterdir()} == {"conf", ".env", "reports", "cache"}


def test_runs_models_and_artifacts_are_on_the_server(trained: MinioProject) -> None:
    champion = trained.client.get_model_version_by_alias(f"churn_{trained.name}", "champion")
    assert champion.tags["promotion"] == "promoted"
    run = trained.client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert run.data.metrics["test_roc_auc"] == trained.staging.read_json("training/metrics.json")["test_roc_auc"]
    assert run.data.metrics["health.total_samples"] == 1000
    assert run.data.params["training.booster.max_depth"] == "4"
    artifacts = {item.path for item in trained.client.list_artifacts(champion.run_id)}
    assert {"model_card.html", "promotion.json", "plots"} <= artifacts
    assert run.info.run_name.startswith("training: promoted v1, ROC AUC .")
    assert "| ROC AUC |" in run.data.tags["mlflow.note.content"]
    assert len([name for name in run.data.metrics if "/" not in name]) < 30
    assert not [name for name, text in run.data.tags.items() if "object at 0x" in text]
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {"training_data.csv", "inference_data.csv"}
    assert trained.manifest()["model"]["sha256"] == champion.tags["sha256"]
    described = trained.client.get_logged_model(champion.model_id or champion.source.removeprefix("models:/"))
    assert described.source_run_id == champion.run_id


def test_the_status_is_read_from_the_server(trained: MinioProject) -> None:
    settings = trained.stack.settings
    names = f"churn_model_{trained.name}", f"churn_{trained.name}"
    found = read_tracked(settings.tracking_uri, *names, {})
    run = trained.client.get_run(trained.client.get_model_version_by_alias(names[1], "champion").run_id)
    assert found.champion is not None
    assert found.last_run is not None
    assert found.champion.version == "1"
    assert found.champion.roc_auc == run.data.metrics["test_roc_auc"]
    assert found.champion.since is not None
    assert found.last_run.status == "FINISHED"
    assert found.experiment == run.info.experiment_id
    assert read_tracked(settings.tracking_uri, "other", "other", {}) == Tracked()


def test_the_results_are_those_of_a_laptop(trained: MinioProject, finished: Project) -> None:
    laptop = finished
    run_id, here = trained.latest(), laptop.run_folder()
    for name in ("inference_result.csv", "inference_result.parquet", "retention_list.csv", "input_profile.json"):
        assert trained.results.sha256(f"{run_id}/{name}") == hashlib.sha256((here / name).read_bytes()).hexdigest(), (
            name
        )
    for name in ("training_data.csv", "inference_data.csv", "features/train_features.parquet", "features/encoder.json"):
        content = (laptop.staging / name).read_bytes()
        assert trained.staging.sha256(name) == hashlib.sha256(content).hexdigest(), name


def test_the_same_again_is_a_second_run_with_the_same_bytes(trained: MinioProject) -> None:
    before, name = trained.manifest(), f"churn_{trained.name}"
    versions = {version.version for version in trained.client.search_model_versions(f"name = '{name}'")}
    trained.run("training", "inference")
    after = trained.manifest()
    assert after["run_id"] != before["run_id"]
    assert after["files"] == before["files"]
    assert after["model"] == before["model"]
    assert {version.version for version in trained.client.search_model_versions(f"name = '{name}'")} == versions


def test_servers_keep_their_data_when_they_are_started_again(stack: Stack, trained: MinioProject) -> None:
    before = trained.manifest()
    for server in (stack.mlflow, stack.database, stack.s3):
        if server is not None:
            assert server.stop()
            assert server.process_id() is None
    assert all(is_free(port) for port in (*stack.s3.ports, *stack.mlflow.ports))
    for server in (stack.s3, stack.database, stack.mlflow):
        if server is not None:
            assert server.start()
    assert not stack.s3.start()  # it runs already
    assert trained.manifest() == before
    assert trained.client.get_model_version_by_alias(f"churn_{trained.name}", "champion").version == "1"
