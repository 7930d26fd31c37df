"""The configuration itself: every environment resolves, and nothing that is passed on is lost in memory."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import MemoryDataset

from ..conftest import ROOT, make_project

ENVIRONMENTS = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())
NAMES = ("data_generation", "feature_engineering", "training", "inference", "monitoring")


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KedroContext]:
    bootstrap_project(ROOT)
    conf = make_project(tmp_path_factory.mktemp(request.param)).conf
    with KedroSession.create(project_path=ROOT, env=request.param, conf_source=str(conf)) as session:
        yield session.load_context()


def catalog_of(context: KedroContext) -> Any:
    return context.catalog


def test_every_data_set_of_every_pipeline_resolves(context: KedroContext) -> None:
    catalog = catalog_of(context)
    for name, pipeline in pipelines.items():
        for dataset in sorted(pipeline.datasets()):
            assert catalog.get(dataset) is not None, f"{name}: {dataset}"


def test_nothing_is_in_memory_by_accident(context: KedroContext) -> None:
    declared = set(context.config_loader["catalog"])
    for pipeline in pipelines.values():
        for dataset in pipeline.datasets():
            if not dataset.startswith("param") and not dataset.endswith("_plot"):
                assert dataset in declared


def test_what_one_pipeline_hands_to_another_is_stored(context: KedroContext) -> None:
    catalog = catalog_of(context)
    for name in NAMES:
        for dataset in pipelines[name].inputs():
            if not dataset.startswith("param"):
                assert not isinstance(catalog.get(dataset), MemoryDataset), f"{name}: {dataset}"


def test_typed_parameters_are_built(context: KedroContext) -> None:
    from churn.parameters import Accounts

    assert isinstance(context.params["accounts"], Accounts)


def test_mlflow_is_set_up_without_a_server(context: KedroContext) -> None:
    assert context.mlflow.server.mlflow_tracking_uri.startswith("sqlite:////")


def test_the_registry_has_the_five_and_their_sum() -> None:
    bootstrap_project(ROOT)
    assert set(pipelines) == {*NAMES, "__default__"}
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in NAMES)


def test_every_entry_has_a_layer_and_paths_come_from_globals() -> None:
    for file in (ROOT / "conf/base").glob("catalog_*.yml"):
        for name, entry in yaml.safe_load(file.read_text()).items():
            assert entry["metadata"]["kedro-viz"]["layer"], f"{file.name}: {name}"
            for described in (entry, entry.get("dataset", {})):
                if described.get("filepath"):
                    assert described["filepath"].startswith("${globals:"), f"{file.name}: {name}"
                    assert name == "source_accounts" or "credentials" in entry or "Artifact" in entry["type"], name


def test_no_environment_copies_a_catalog() -> None:
    assert [path.parent.name for path in (ROOT / "conf").rglob("catalog*")] == ["base"] * 5


def test_environments_are_in_the_table() -> None:
    page = (ROOT / "conf/README.md").read_text()
    for name in ENVIRONMENTS:
        assert f"| `{name}` |" in page


def test_local_overrides_reach_the_run(tmp_path: Path) -> None:
    project = make_project(tmp_path, base_rate=0.3)
    bootstrap_project(ROOT)
    with KedroSession.create(
        project_path=ROOT, conf_source=str(project.conf), runtime_params={"simulation": {"drift": 0.5}}
    ) as session:
        simulation = session.load_context().params["simulation"]
    assert simulation.base_rate == 0.3  # conf/local
    assert simulation.training_rows == 3000  # conf/local
    assert simulation.drift == 0.5  # the command line
    assert simulation.missing_share == 0.04  # conf/base


def test_a_notebook_uses_the_same_database_as_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn.hooks import anchor_mlflow

    class Loader(dict[str, Any]):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.config_patterns: dict[str, list[str]] = {}

    loader = Loader(mlflow={"server": {"mlflow_tracking_uri": "sqlite:///data/mlflow.db"}})
    context = SimpleNamespace(project_path=tmp_path, config_loader=loader)
    monkeypatch.chdir("/")
    anchor_mlflow(context)
    expected = f"sqlite:///{tmp_path.as_posix()}/data/mlflow.db"
    assert context.config_loader["mlflow"]["server"]["mlflow_tracking_uri"] == expected
    assert (tmp_path / "data").is_dir()
