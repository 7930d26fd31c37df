"""The configuration itself: every environment resolves, and nothing that is passed on is lost in memory."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines, settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import MemoryDataset

from churn.config.catalog import Catalog
from churn.config.loader import ConfigLoader
from churn.errors import FaultsError
from churn.settings import CONFIG_LOADER_ARGS
from tests.conftest import ROOT, make_project

ENVIRONMENTS = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())
NAMES = ("data_generation", "feature_engineering", "training", "inference", "monitoring", "delivery")


# What the environment with servers needs; nothing listens there.
VARIABLES = {
    "CHURN_S3_ENDPOINT": "http://127.0.0.1:1",
    "CHURN_TRAINING_ACCESS_KEY": "training",
    "CHURN_TRAINING_SECRET_KEY": "a-secret-of-training",
    "CHURN_SCORING_ACCESS_KEY": "scoring",
    "CHURN_SCORING_SECRET_KEY": "a-secret-of-scoring",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
}


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KedroContext]:
    bootstrap_project(ROOT)
    project = make_project(tmp_path_factory.mktemp(request.param))
    (project.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in VARIABLES.items()))
    with KedroSession.create(project_path=ROOT, env=request.param, conf_source=str(project.conf)) as session:
        yield session.load_context()


def catalog_of(context: KedroContext) -> Any:
    return context.catalog


def test_every_data_set_of_every_pipeline_resolves(context: KedroContext) -> None:
    catalog = catalog_of(context)
    for name, pipeline in pipelines.items():
        for dataset in sorted(pipeline.datasets()):
            if dataset in catalog:
                assert catalog.get(dataset) is not None, f"{name}: {dataset}"


def test_only_what_a_pipeline_makes_and_reads_itself_is_in_memory(context: KedroContext) -> None:
    catalog = catalog_of(context)
    for name in NAMES:
        made = {dataset for dataset in pipelines[name].all_outputs() if dataset not in catalog}
        read = {dataset for dataset in pipelines[name].all_inputs() if dataset not in catalog}
        assert made == read, name
        for other in set(NAMES) - {name}:
            assert not made & pipelines[other].datasets(), f"{name}, {other}"


def test_what_is_in_memory_is_handed_on_as_it_is() -> None:
    catalog = Catalog.from_config({"known": {"type": "MemoryDataset"}})
    assert "booster" not in catalog
    frame = pd.DataFrame({"a": [1]})
    catalog.get("booster", fallback_to_runtime_pattern=True).save(frame)
    assert catalog.load("booster") is frame
    assert "known" in catalog


def test_the_catalog_of_a_run_is_this_one(context: KedroContext) -> None:
    assert settings.DATA_CATALOG_CLASS is Catalog
    patterns = catalog_of(context).config_resolver.list_patterns()
    assert patterns == ["{split}_{content}@batches", "{split}_{content}@table", "{name}_plot", "{default}"]


def test_what_one_pipeline_hands_to_another_is_stored(context: KedroContext) -> None:
    catalog = catalog_of(context)
    for name in NAMES:
        for dataset in pipelines[name].inputs():
            if not dataset.startswith("param"):
                assert not isinstance(catalog.get(dataset), MemoryDataset), f"{name}: {dataset}"


def test_typed_parameters_are_built(context: KedroContext) -> None:
    from churn.config import AccountSchema

    assert isinstance(context.params["accounts"], AccountSchema)


def test_mlflow_is_set_up(context: KedroContext) -> None:
    address = context.mlflow.server.mlflow_tracking_uri
    assert address.startswith("sqlite:////") or address == VARIABLES["MLFLOW_TRACKING_URI"]


def test_the_registry_has_the_six_and_their_sum() -> None:
    bootstrap_project(ROOT)
    assert set(pipelines) == {*NAMES, "campaign", "simulate_campaign", "__default__"}
    assert len(pipelines["__default__"].nodes) == sum(len(pipelines[name].nodes) for name in NAMES)


def test_every_entry_has_a_layer_and_paths_come_from_globals() -> None:
    for file in (ROOT / "conf/base").glob("catalog_*.yml"):
        for name, entry in yaml.safe_load(file.read_text()).items():
            assert entry["metadata"]["kedro-viz"]["layer"], f"{file.name}: {name}"
            for described in (entry, entry.get("dataset", {})):
                if described.get("filepath"):
                    assert described["filepath"].startswith("${globals:"), f"{file.name}: {name}"
                    assert name == "source_accounts" or "credentials" in entry or "Artifact" in entry["type"], name


@pytest.mark.parametrize("file", sorted((ROOT / "conf").rglob("catalog*.yml")), ids=lambda file: file.name)
def test_entries_have_one_shape(file: Path) -> None:
    """Type, where it lies, options, credentials, metadata; and none that only says that it is in memory."""
    where = {"filepath", "model_uri", "dataset"}
    for name, entry in yaml.safe_load(file.read_text()).items():
        assert entry["type"] != "MemoryDataset", name
        for described in (entry, entry.get("dataset", {"type": None})):
            keys = list(described)
            ends = [key for key in ("credentials", "metadata") if key in keys]
            starts = ["type", *(key for key in keys if key in where)]
            assert keys[: len(starts)] == starts, name
            assert keys[len(keys) - len(ends) :] == ends, name


def test_no_environment_copies_a_catalog() -> None:
    files = sorted((ROOT / "conf").rglob("catalog*"))
    assert [path.parent.name for path in files] == ["base"] * 7 + ["spark"]


def test_spark_declares_the_data_sets_that_base_has() -> None:
    known: dict[str, Any] = {}
    for file in (ROOT / "conf/base").glob("catalog_*.yml"):
        known |= yaml.safe_load(file.read_text())
    for name, entry in yaml.safe_load((ROOT / "conf/spark/catalog.yml").read_text()).items():
        here, there = (each.get("dataset") or each.get("results", each) for each in (entry, known[name]))
        # Of what is made from tables, Spark has its own: folders for files.
        expected = there["filepath"].replace("/features/", "/features/spark/")
        assert here["filepath"] == expected.removesuffix(".parquet")
        assert entry.get("credentials") == known[name].get("credentials")
        assert entry["metadata"] == known[name]["metadata"]


def loaded(folder: Path, **variables: str) -> ConfigLoader:
    """The configuration of the environment with servers, with these variables in its .env alone."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    return ConfigLoader(folder / "conf", "minio", **CONFIG_LOADER_ARGS)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any of our variables."""
    for name in list(os.environ):
        if name.startswith(("CHURN_", "MLFLOW_TRACKING", "AWS_")):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("bare")
def test_missing_variables_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(FaultsError) as caught:
        loaded(tmp_path, CHURN_STAGING_BUCKET="x")
    message = str(caught.value)
    assert message.startswith("environment 'minio': 2 faults found, nothing was changed.")
    for name in ("CHURN_S3_ENDPOINT", "MLFLOW_TRACKING_URI"):
        assert f"{name} is not set; set it in the environment or in {tmp_path}/.env (make env creates it" in message


@pytest.mark.usefixtures("bare")
def test_credentials_come_from_the_environment_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_TRAINING_SECRET_KEY", "of-the-shell")
    loader = loaded(tmp_path, **VARIABLES, CHURN_RESULTS_BUCKET="elsewhere", CHURN_STAGING_BUCKET="")
    credentials = loader["credentials"]
    assert credentials["staging_store"]["secret"] == "of-the-shell"
    assert credentials["results_store"] == {
        "key": "scoring",
        "secret": "a-secret-of-scoring",
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:1", "region_name": "us-east-1", "verify": ""},
    }
    catalog = loader["catalog"]
    assert catalog["training_accounts@table"]["filepath"] == "s3://data-staging/training_data.csv"
    assert catalog["results@publish"] == {
        "type": "churn.datasets.ResultsDataset",
        "filepath": "s3://elsewhere",
        "credentials": "results_store",
        "metadata": {"kedro-viz": {"layer": "results"}},
    }
    assert loader["mlflow"]["tracking"]["experiment"]["create_experiment_kwargs"] == {"artifact_location": None}


@pytest.mark.usefixtures("bare")
def test_one_identity_is_used_for_both_stores(tmp_path: Path) -> None:
    known = {name: value for name, value in VARIABLES.items() if "TRAINING" not in name}
    credentials = loaded(tmp_path, **known)["credentials"]
    assert credentials["staging_store"] == credentials["results_store"]
    assert credentials["staging_store"]["key"] == "scoring"


@pytest.mark.usefixtures("bare")
def test_aws_needs_neither_endpoint_nor_keys(tmp_path: Path) -> None:
    credentials = loaded(tmp_path, CHURN_S3_ENDPOINT="", MLFLOW_TRACKING_URI="https://mlflow.internal")["credentials"]
    assert credentials["staging_store"]["key"] == ""
    assert credentials["staging_store"]["client_kwargs"]["endpoint_url"] == ""


def test_the_example_names_every_variable_and_no_secret() -> None:
    example = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    used = set(re.findall(r"\$\{env:(\w+)", "".join(file.read_text() for file in (ROOT / "conf/minio").glob("*.yml"))))
    assert used <= set(named)
    assert {named[name] for name in named if name.endswith(("_KEY", "_PASSWORD"))} == {""}


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
    from churn.hooks.preflight import anchor_mlflow

    loader = {"mlflow": {"server": {"mlflow_tracking_uri": "sqlite:///data/mlflow.db"}}}
    context = SimpleNamespace(project_path=tmp_path, config_loader=loader)
    monkeypatch.chdir("/")
    anchor_mlflow(context)
    expected = f"sqlite:///{tmp_path.as_posix()}/data/mlflow.db"
    assert context.config_loader["mlflow"]["server"]["mlflow_tracking_uri"] == expected


def test_configuration_is_read_again_when_a_file_a_variable_or_a_parameter_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path)

    def rows(**params: Any) -> Any:
        loader = ConfigLoader(str(project.conf), None, {"simulation": params}, **CONFIG_LOADER_ARGS)
        first, second = loader["parameters"]["simulation"], loader["parameters"]["simulation"]
        assert first == second
        first["training_rows"] = -1  # whoever changes what it was given changes nothing for others
        assert loader["parameters"]["simulation"] == second
        return second["training_rows"]

    assert rows() == rows() == 3000
    assert rows(training_rows=5) == 5
    assert rows() == 3000
    project.configure("local", "parameters", {"simulation": {"training_rows": 4000}})
    assert rows() == 4000
    project.configure("local", "parameters", {"simulation": {"training_rows": "${env:ROWS,7}"}})
    assert rows() == 7
    monkeypatch.setenv("ROWS", "8")
    assert rows() == "8"
    monkeypatch.delenv("ROWS")
    (tmp_path / ".env").write_text("ROWS=9\n")
    assert rows() == "9"
