"""What the tests share: a small account table, a model trained on it, and a project in a folder of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
import yaml

from churn.config import AccountSchema, FeatureEngineering, Parameters, Simulation, Training, check_parameters
from churn.model import ChurnModel
from tests.lanes import pytest_collection_modifyitems, pytest_xdist_make_scheduler

# Hooks of pytest.
__all__ = ["pytest_collection_modifyitems", "pytest_xdist_make_scheduler"]

ROOT = Path(__file__).parents[1]


def base_parameters() -> dict[str, Any]:
    """The raw parameters of the base environment."""
    merged: dict[str, Any] = {}
    for file in sorted((ROOT / "conf/base").glob("parameters*.yml")):
        merged |= yaml.safe_load(file.read_text())
    # The portfolio has tests of its own, and the runs of tests/e2e have it.
    merged["training"]["portfolio"] = "quick"
    return merged


def pytest_report_header() -> str:
    """Say which S3 server the tests start; see make test-minio."""
    return f"S3 server of the tests: {os.environ.get('CHURN_TEST_STORE', 'seaweedfs')}"


@pytest.fixture(scope="session")
def parameters() -> Parameters:
    return check_parameters(base_parameters())


@pytest.fixture(scope="session")
def schema(parameters: Parameters) -> AccountSchema:
    return parameters.accounts


@pytest.fixture(scope="session")
def labelled(schema: AccountSchema) -> pd.DataFrame:
    """4,000 simulated accounts with their label, as they would come from a file."""
    from churn.pipelines.data_generation.simulation import simulate_accounts

    simulated = simulate_accounts(4_000, 7, Simulation(base_rate=0.25))
    return simulated.accounts.assign(**{schema.label.column: simulated.churned})


@pytest.fixture(scope="session")
def canonical(labelled: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    from churn.tables import check_accounts

    return check_accounts(labelled, schema, subject="accounts", labelled=True).accounts


def train(
    accounts: pd.DataFrame, schema: AccountSchema, features: FeatureEngineering, training: Training, **held_out: Any
) -> ChurnModel:
    """A model as the training pipeline makes it."""
    from churn.training import train_model

    return train_model(accounts, schema, features, training, **held_out)


@pytest.fixture(scope="session")
def model(canonical: pd.DataFrame, parameters: Parameters) -> ChurnModel:
    return train(canonical, parameters.accounts, parameters.feature_engineering, parameters.training)


class InMemory:
    """A table in batches that are there already."""

    def __init__(self, *frames: pd.DataFrame) -> None:
        self._frames = frames
        self.columns = [str(name) for name in frames[0].columns]

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return iter(self._frames)

    def only(self, names: Iterable[str]) -> Self:
        return self


def in_batches(table: pd.DataFrame, rows: int) -> InMemory:
    """A table in batches of so many rows."""
    return InMemory(*(table.iloc[start : start + rows] for start in range(0, max(len(table), 1), rows)))


@dataclass
class Project:
    """The project with configuration, data and MLflow in a folder of its own."""

    folder: Path
    mlflow: Path | None = None  # the folder of MLflow, if it is not in the other one

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def staging(self) -> Path:
        return self.folder / "data-staging"

    @property
    def artifacts(self) -> Path:
        return self.mlflow or self.folder / "mlflow-artifacts"

    @property
    def results(self) -> Path:
        return self.folder / "ml-result"

    def configure(self, environment: str, kind: str, content: dict[str, Any]) -> None:
        """Write a YAML file of an environment."""
        file = self.conf / environment / f"{kind}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content))

    def run(self, *pipelines: str, env: str | None = None, **params: Any) -> None:
        """Run pipelines in this process."""
        from kedro.framework.session import KedroSession
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(ROOT)
        with KedroSession.create(
            project_path=ROOT, env=env, conf_source=str(self.conf), runtime_params=nested(params)
        ) as session:
            session.run(pipeline_names=list(pipelines) or None)

    def kedro(self, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own, with this project's configuration."""
        if arguments[0] == "run":
            arguments = ("run", "--conf-source", str(self.conf), *arguments[1:])
        return run_process(sys.executable, "-m", "kedro", *arguments, cwd=cwd)

    def run_folder(self) -> Path:
        """The folder that latest.json points to."""
        import json

        return self.results / json.loads((self.results / "latest.json").read_text())["run_id"]


def clean_environment() -> dict[str, str]:
    """The environment of a process of its own, without what MLflow noted in this one."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_TRACKING", "CHURN_"))}
    return {**known, "COLUMNS": "200", "DO_NOT_TRACK": "1"}


def run_process(
    *command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None, timeout: float = 300, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a clean environment, or the given one, and keep what it says."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment() if env is None else env,
        capture_output=True,
        text=True,
        timeout=timeout,
        **{"check": False, **options},
    )


def telling_environment() -> dict[str, str]:
    """The same for a process that says which node runs, for tests that wait for one."""
    return {**clean_environment(), "CHURN_VERBOSE": "1"}


def nested(params: dict[str, Any]) -> dict[str, Any]:
    """Dotted names, written with double underscores, as nested dictionaries."""
    tree: dict[str, Any] = {}
    for name, value in params.items():
        *path, last = name.split("__")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def make_project(folder: Path, *, baselines: bool = True, portfolio: str = "quick", **simulation: Any) -> Project:
    """A project in a folder, with fewer rows unless told otherwise."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    project = Project(folder)
    stores = {
        "staging": "data-staging",
        "artifacts": "mlflow-artifacts",
        "results": "ml-result",
        "cache": "cache",
        "metrics": "ml-result/training",
        "reports": "ml-result/training",
    }
    for environment in ("local", "telco"):
        content = {
            "stores": {name: str(folder / environment.replace("local", "") / path) for name, path in stores.items()}
        }
        file = project.conf / environment / "globals.yml"
        known = yaml.safe_load(file.read_text()) if file.exists() else {}
        project.configure(environment, "globals", known | content)
    project.configure(
        "local",
        "parameters",
        {
            "simulation": {"training_rows": 3000, "scoring_rows": 1000, **simulation},
            # Fitting the models of scikit-learn is a third of the time of a small training; `finished` has them.
            "training": {"evaluation": {"baselines": baselines}, "portfolio": portfolio},
        },
    )
    return project


def files_in(folder: Path) -> list[str]:
    """The names of all files in a folder and below; none if it does not exist. A run makes its folders before it begins."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database before anything is in it. MLflow takes seconds to make one, and a copy does as well."""
    import mlflow

    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


def with_database(project: Project, empty_database: Path) -> Project:
    """The project with a database of MLflow."""
    folder = project.folder / "mlflow-artifacts"
    folder.mkdir()
    shutil.copy(empty_database, folder)
    return project


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    return with_database(make_project(tmp_path, baselines=False), empty_database)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Project]:
    """A small project after a run of all pipelines; not to be changed, which is checked at the end."""
    project = with_database(make_project(tmp_path_factory.mktemp("finished")), empty_database)
    project.run()
    before = content_of(project)
    yield project
    after = content_of(project)
    assert after == before, f"a test has changed the finished project that others read: {before ^ after}"


def content_of(project: Project) -> set[object]:
    """What must not change: the names of the files, and what MLflow's database holds."""
    from churn.operations.backup.databases import SqliteDatabase

    # The last is written by MLflow whenever it loads a registered model.
    names = [name for name in files_in(project.folder) if not name.endswith((".lock", "/registered_model_meta"))]
    return {*names, SqliteDatabase(project.artifacts / "mlflow.db").content()}


def copy_of(finished: Project, folder: Path, artifacts: Path) -> Project:
    """A copy of the finished project that may be changed, with MLflow's folder apart."""
    from churn.services.database import prepared

    shutil.copytree(finished.staging, folder / "data-staging")
    shutil.copytree(finished.results, folder / "ml-result")
    shutil.copytree(finished.folder / "mlflow-artifacts", artifacts)
    project = make_project(folder)
    content = yaml.safe_load((project.conf / "local/globals.yml").read_text())
    content["stores"]["artifacts"] = str(artifacts)
    project.configure("local", "globals", content)
    with prepared(f"sqlite:///{artifacts}/mlflow.db", "churn_model", str(artifacts)):
        pass  # the database names the artifacts of the copy from now on
    project.mlflow = artifacts
    return project


@pytest.fixture
def copied(finished: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished project that may be changed. MLflow's folder is apart: failed runs are noted there too."""
    return copy_of(finished, tmp_path, tmp_path_factory.mktemp("copied") / "mlflow-artifacts")


@pytest.fixture
def tracking(tmp_path: Path, empty_database: Path) -> Iterator[None]:
    """MLflow tracks in a file of the test, in its default experiment."""
    import mlflow

    shutil.copy(empty_database, tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    # Runs of other tests in this process leave theirs behind.
    mlflow.set_experiment(experiment_id="0")
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture(autouse=True)
def _no_run_left_open() -> Iterator[None]:
    yield
    if "mlflow" in sys.modules:
        import mlflow

        assert mlflow.active_run() is None


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "churn")


def make_checkout(folder: Path) -> Path:
    """A copy of the project without data, environment or overrides: what a clone holds."""
    for name in ("conf", "src", "notebooks", "data/examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (folder / "conf/local").glob("*.yml"):
        file.unlink()
    for name in ("pyproject.toml", ".telemetry", "Makefile"):
        shutil.copy(ROOT / name, folder)
    return folder
