"""Under `training.only_if_changed` a run trains where something has changed, and says what."""

import json
import logging
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import mlflow
import pandas as pd
import pytest

from churn.config.catalog import Catalog
from churn.errors import ChurnError, NothingToDo
from churn.hooks.retraining import RetrainingHook
from churn.pipeline_registry import register_pipelines
from churn.registry import fingerprint
from tests.conftest import Project, base_parameters

FEW = {"training__booster__n_estimators": 20, "training__only_if_changed": True, "promotion__margin": -1.0}


# It runs trainings.
pytestmark = pytest.mark.pipelines


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has trained once."""
    from tests.conftest import make_project

    project = make_project(tmp_path_factory.mktemp("retraining"), baselines=False)
    project.run("data_generation")
    project.run("feature_engineering", "training", **FEW)
    return project


@pytest.fixture
def source(trained: Project) -> Path:
    """The training table, put back afterwards."""
    return trained.staging / "training_data.csv"


def runs_of(project: Project) -> int:
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow-artifacts/mlflow.db")
    return len(mlflow.search_runs(search_all_experiments=True, output_format="list"))


@pytest.mark.e2e
def test_the_same_again_is_not_trained(trained: Project) -> None:
    before = runs_of(trained)
    with pytest.raises(NothingToDo, match="Nothing changed: version 1 of 'churn' was trained on the same data"):
        trained.run("feature_engineering", "training", **FEW)
    params = ",".join(f"{name.replace('__', '.')}={value}" for name, value in FEW.items())
    done = trained.kedro("run", "--pipelines", "feature_engineering,training", "--params", params)
    assert done.returncode == 0, done.stderr
    assert "Nothing changed: version 1 of 'churn'" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stderr
    assert runs_of(trained) == before


def test_the_fingerprint_is_with_the_run_and_the_version(trained: Project) -> None:
    runs_of(trained)  # sets the address
    version = mlflow.MlflowClient().get_model_version("churn", "1")
    stored = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/fingerprint.json")
    made = fingerprint.Fingerprint.model_validate(stored["made_of"])
    assert stored["model_sha256"] == version.tags["sha256"]
    assert version.tags["fingerprint"] == made.sha256
    source = json.loads((trained.staging / "features/source.json").read_text())
    assert made.data == source
    assert source["rows"] == len(pd.read_csv(trained.staging / "training_data.csv"))


def said_of(project: Project, caplog: pytest.LogCaptureFixture, *pipelines: str, **params: object) -> str:
    with caplog.at_level(logging.INFO, "churn.hooks.retraining"):
        project.run(*pipelines, **{**FEW, **params})
    return next(record.getMessage() for record in caplog.records if record.name == "churn.hooks.retraining")


def test_what_changed_is_said_and_trained(
    trained: Project, source: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    both = ("feature_engineering", "training")
    assert said_of(trained, caplog, *both, training__folds=4) == (
        "Training, because of changes since version 1: parameters: training.folds 5 -> 4."
    )
    caplog.clear()
    content = source.read_text()
    table = pd.read_csv(source, dtype=str)
    table.head(len(table) - 10).to_csv(source, index=False)
    try:
        # Features of another table would be trained on, and noted as those of this one.
        with pytest.raises(ChurnError, match=r"features were computed from another version of training_data\.csv"):
            trained.run("training", **FEW)
        assert said_of(trained, caplog, *both, promotion__margin=1.0) == (
            "Training, because of changes since version 2: data: 1 file changed; -10 rows; "
            "parameters: training.folds 4 -> 5."
        )
        caplog.clear()
        with pytest.raises(NothingToDo, match="version 3"):  # refused by the gates, but trained
            trained.run(*both, **FEW)
    finally:
        source.write_text(content)
    # The champion was made of this.
    with pytest.raises(NothingToDo, match="version 2"):
        trained.run(*both, **FEW, training__folds=4)

    package = tmp_path / "src/churn"
    for name, digest in fingerprint.fingerprint({"sha256": ""}, {}).code.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes((fingerprint.PACKAGE / name).read_bytes())
        assert digest
    with (package / "model/encoder.py").open("a") as file:
        file.write("\n\nCHANGED = True\n")
    (tmp_path / "uv.lock").write_text('name = "xgboost"\nversion = "0.1"\n')
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
    said = said_of(trained, caplog, *both, training__folds=4)
    assert f"code: model/encoder.py; packages: xgboost {version('xgboost')} -> 0.1" in said


def test_without_the_parameter_all_is_trained(trained: Project) -> None:
    before = runs_of(trained)
    trained.run("feature_engineering", "training", **{**FEW, "training__only_if_changed": False})
    assert runs_of(trained) == before + 1


def test_a_run_that_makes_the_table_says_that_it_trains_in_any_case(caplog: pytest.LogCaptureFixture) -> None:
    parameters = {**base_parameters(), "training": {"only_if_changed": True}}
    hook = RetrainingHook()
    context = SimpleNamespace(config_loader={"parameters": parameters, "globals": {"model": {"name": "churn"}}})
    hook.after_context_created(cast("Any", context))
    pipelines = register_pipelines()
    hook.before_pipeline_run({}, pipelines["inference"], Catalog())
    assert caplog.messages == []
    hook.before_pipeline_run({}, pipelines["data_generation"] + pipelines["training"], Catalog())
    (message,) = caplog.messages
    assert message.startswith("training.only_if_changed has no effect")
