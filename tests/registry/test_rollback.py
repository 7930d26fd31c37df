"""Back to an earlier champion, on a real MLflow store (SQLite)."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import mlflow
import pytest

from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.registry import flavor, versions
from churn.training.promotion import Gate, PromotionDecision
from tests.conftest import Project


def decision(sha256: str, promote: bool = True) -> PromotionDecision:
    """One that compared with the present champion."""
    gates = (Gate("latency", promote, 3.0, 500.0, "1,000 accounts take 3 ms"),)
    champion = versions.alias_version("churn", "champion")
    return PromotionDecision(promote, False, "a test", gates, compared_with=champion, sha256=sha256)


@pytest.fixture
def client(tmp_path: Path, tracking: None, model: ChurnModel) -> mlflow.MlflowClient:
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("rollback", artifact_location=str(tmp_path / "artifacts"))
    other = replace(model, threshold=0.4)
    with mlflow.start_run(experiment_id=experiment):
        for each in (model, other):
            flavor.log_model(each, registered_model_name="churn")
            versions.record_decision("churn", "champion", decision(each.sha256))
    return client


def test_back_to_the_champion_before_and_forward_again(client: mlflow.MlflowClient) -> None:
    assert versions.alias_version("churn", "champion") == "2"
    assert client.get_model_version("churn", "2").tags["previous_champion"] == "1"
    assert versions.roll_back("churn", "champion") == ("2", "1")
    assert flavor.load_model("models:/churn@champion").version == "1"
    assert versions.roll_back("churn", "champion", "2") == ("1", "2")
    since = [client.get_model_version("churn", version).tags["champion_since"] for version in ("1", "2")]
    assert all(datetime.fromisoformat(each).tzinfo for each in since)
    assert since == sorted(since)


def test_what_cannot_be_rolled_back(client: mlflow.MlflowClient) -> None:
    with pytest.raises(ChurnError, match="version 2 of 'churn' is the champion already"):
        versions.roll_back("churn", "champion", "2")
    with pytest.raises(ChurnError, match=r"there is no version 9 of 'churn'; there are 2, 1$"):
        versions.roll_back("churn", "champion", "9")
    with pytest.raises(ChurnError, match=r"there is no version latest of 'churn'; there are 2, 1$"):
        versions.roll_back("churn", "champion", "latest")
    with pytest.raises(ChurnError, match="no version of 'other' is champion"):
        versions.roll_back("other", "champion")
    versions.roll_back("churn", "champion")
    with pytest.raises(ChurnError, match="version 1 of 'churn' is the first champion"):
        versions.roll_back("churn", "champion")


def test_promoting_the_champion_again_keeps_its_predecessor(client: mlflow.MlflowClient) -> None:
    sha256 = client.get_model_version("churn", "2").tags["sha256"]
    assert versions.record_decision("churn", "champion", decision(sha256)).version == "2"
    assert client.get_model_version("churn", "2").tags["previous_champion"] == "1"


@pytest.mark.e2e
def test_the_command(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    from tests.conftest import ROOT, make_project

    project: Project = make_project(tmp_path)
    few = {"training__booster__n_estimators": 20, "training__folds": 2}
    project.run("data_generation", "feature_engineering", "training", **few)
    project.run("training", promotion__force=True, **{**few, "training__booster__max_depth": 2})

    def rollback(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kedro", "rollback", "--conf-source", str(project.conf), *options],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    done = rollback()
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The champion of 'churn' is version 1 again; it was version 2.\n")
    done = rollback("--to", "7")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: there is no version 7 of 'churn'; there are 2, 1")


def test_a_refused_model_is_noted_and_the_champion_stays(client: mlflow.MlflowClient) -> None:
    versions.roll_back("churn", "champion")
    sha256 = client.get_model_version("churn", "2").tags["sha256"]
    versions.record_decision("churn", "champion", decision(sha256, promote=False))
    assert versions.alias_version("churn", "champion") == "1"
    noted = client.get_model_version("churn", "2")
    assert noted.tags["promotion"] == "not promoted"
    assert noted.tags["gate.latency"] == "failed: 1,000 accounts take 3 ms"
    assert noted.description.startswith("a test")
    assert "model_card.html" in noted.description


def test_a_champion_that_came_meanwhile_is_not_replaced_unseen(client: mlflow.MlflowClient) -> None:
    versions.roll_back("churn", "champion")
    sha256 = client.get_model_version("churn", "2").tags["sha256"]
    for compared_with, rival in (("7", "version 7"), (None, "no champion")):
        done = versions.record_decision("churn", "champion", replace(decision(sha256), compared_with=compared_with))
        assert done.promote is False
        assert done.reason.startswith(
            f"Not promoted: version 1 became the champion while this model was compared with {rival}"
        )
        assert versions.alias_version("churn", "champion") == "1"
        assert client.get_model_version("churn", "2").tags["promotion_reason"] == done.reason
    forced = replace(decision(sha256), compared_with="7", forced=True)
    assert versions.record_decision("churn", "champion", forced).promote is True
    assert versions.alias_version("churn", "champion") == "2"
    versions.roll_back("churn", "champion")
    assert versions.record_decision("churn", "champion", replace(decision(sha256), compared_with="1")).promote
    assert versions.alias_version("churn", "champion") == "2"


def test_a_champion_that_came_in_the_same_moment_is_not_replaced(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow reads an alias before it writes it: of two that insert it at once, the database refuses one."""
    client.delete_registered_model_alias("churn", "champion")
    known = decision(client.get_model_version("churn", "2").tags["sha256"])
    assert known.compared_with is None
    set_alias = mlflow.MlflowClient.set_registered_model_alias

    def second(self: mlflow.MlflowClient, name: str, alias: str, version: str) -> None:
        set_alias(self, name, alias, "1")
        raise mlflow.exceptions.MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed")

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", second)
    done = versions.record_decision("churn", "champion", known)
    assert not done.promote
    assert "version 1 became the champion" in done.reason
    assert versions.alias_version("churn", "champion") == "1"


def test_a_registry_that_refuses_the_alias_is_an_error(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.delete_registered_model_alias("churn", "champion")

    def refused(self: mlflow.MlflowClient, name: str, alias: str, version: str) -> None:
        raise mlflow.exceptions.MlflowException("no")

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refused)
    with pytest.raises(mlflow.exceptions.MlflowException, match="no"):
        versions.record_decision("churn", "champion", decision(client.get_model_version("churn", "2").tags["sha256"]))
