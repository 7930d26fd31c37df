"""What a run asks for before it begins."""

import stat
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from kedro.io import MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro_datasets.json import JSONDataset

from churn.config import check_parameters
from churn.config.catalog import Catalog
from churn.errors import FaultsError, ParametersError
from churn.hooks.preflight import PreflightHook, make_private_folders
from tests.conftest import ROOT, base_parameters


@pytest.fixture(autouse=True)
def _project() -> None:
    bootstrap_project(ROOT)
    pipelines.set_requested(None)


def refused(pipeline: Pipeline, catalog: Catalog) -> FaultsError:
    with pytest.raises(FaultsError) as caught:
        PreflightHook().before_pipeline_run({}, pipeline, catalog)
    return caught.value


def first(name: str) -> Pipeline:
    """The pipeline that begins with what the nodes of training hand on under this name."""
    return Pipeline([node(len, name, "training_metrics", name="read")])


def stored(**entries: object) -> Catalog:
    return Catalog(
        {"training_metrics": MemoryDataset(), **{name: MemoryDataset(data) for name, data in entries.items()}}
    )


def test_an_input_with_a_wrong_name_is_refused_with_the_right_one() -> None:
    error = refused(first("sound_fetures"), stored())
    assert error.subject == "inputs of this run"
    assert error.faults == ["sound_fetures is in no catalog entry and no node makes it; did you mean sound_features?"]
    assert refused(first("qqq"), stored()).faults == ["qqq is in no catalog entry and no node makes it"]


def test_an_input_that_an_earlier_run_had_in_memory_names_the_node_to_begin_with() -> None:
    whole = pipelines["training"]
    error = refused(whole.only_nodes("hold_out_validation"), stored())
    assert error.faults == [
        "sound_features is in memory only and not kept between runs; --from-nodes check_leakage makes it"
    ]


def test_a_file_that_is_read_in_two_ways_is_named_once(tmp_path: Path) -> None:
    file = str(tmp_path / "table.json")
    catalog = stored()
    for name in ("accounts@table", "accounts@batches"):
        catalog[name] = JSONDataset(filepath=file)
    both = Pipeline([node(lambda *_: 1, ["accounts@table", "accounts@batches"], "training_metrics", name="read")])
    assert refused(both, catalog).faults == [f"accounts is not there yet ({file}); put it there"]


def test_an_output_with_a_wrong_name_is_refused() -> None:
    written = Pipeline([node(len, "given", "training_metrcs", name="write")])
    error = refused(written, stored(given=[1]))
    assert error.subject == "outputs of this run"
    assert error.faults == [
        "no catalog entry stores training_metrcs and no node reads it; did you mean training_metrics?"
    ]


def test_a_slice_may_end_with_what_another_node_reads() -> None:
    piece = pipelines["training"].only_nodes("hold_out_validation")
    PreflightHook().before_pipeline_run({}, piece, stored(sound_features=[1]))


def test_what_is_given_in_memory_is_an_input() -> None:
    PreflightHook().before_pipeline_run({}, first("frame"), stored(frame=[1]))


def checked(**blocks: Any) -> PreflightHook:
    hook = PreflightHook()
    hook._parameters = check_parameters({**base_parameters(), **blocks})
    return hook


def uses(*blocks: str) -> Pipeline:
    return Pipeline([node(lambda *_: 1, [f"params:{block}" for block in blocks], "training_metrics", name="use")])


def given(*blocks: str) -> Catalog:
    return stored(**{f"params:{block}": 1 for block in blocks})


def test_a_parameter_without_effect_is_told_by_the_runs_that_use_it(caplog: pytest.LogCaptureFixture) -> None:
    hook = checked(inference={"rescore": True}, decision={"capacity": 7})
    hook.before_pipeline_run({}, uses("training"), given("training"))
    assert caplog.messages == []
    hook.before_pipeline_run({}, uses("inference"), given("inference"))
    (message,) = caplog.messages
    assert message.startswith("inference.rescore = True has no effect")


def test_faulty_sentences_are_refused_before_a_run_that_would_train_first() -> None:
    hook = checked(reasons={"texts": [{"column": "nope", "low": "{value}"}]})
    hook.before_pipeline_run({}, uses("training"), given("training"))
    with pytest.raises(ParametersError, match="nope"):
        hook.before_pipeline_run({}, uses("training", "reasons"), given("training", "reasons"))


def test_folders_with_data_are_made_for_the_owner_only(tmp_path: Path) -> None:
    (tmp_path / "data/ml-result").mkdir(parents=True)
    (tmp_path / "data/ml-result").chmod(0o755)
    stores = {
        "staging": "data/telco/data-staging",
        "artifacts": str(tmp_path / "data/mlflow-artifacts"),
        "results": "data/ml-result",
        "reports": "s3://bucket/reports",
        "cache": ".cache",
    }
    make_private_folders(stores, tmp_path)
    made = ("data/telco/data-staging", "data/mlflow-artifacts", ".cache", ".cache/models", ".cache/runs")
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in made} == {0o700}
    # The rights of a folder that exists are the user's decision.
    assert stat.S_IMODE((tmp_path / "data/ml-result").stat().st_mode) == 0o755
    assert not list(tmp_path.glob("s3*"))
    (tmp_path / "file").write_text("no folder can be made here")
    make_private_folders({"staging": "file/staging", "cache": "file"}, tmp_path)
