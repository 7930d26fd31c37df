"""Names in the options of a run are checked together, and the closest one is suggested."""

from collections.abc import Sequence

import pytest
from kedro.pipeline import Pipeline

from churn.cli.options import check_options
from churn.errors import FaultsError
from churn.pipeline_registry import register_pipelines


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    return register_pipelines()


def faults(registered: dict[str, Pipeline], /, **options: str | Sequence[str]) -> list[str]:
    try:
        check_options(options, registered)
    except FaultsError as error:
        return error.faults
    return []


@pytest.mark.parametrize(
    ("options", "named", "meant"),
    [
        ({"pipeline": "trianing"}, "--pipeline trianing", "training"),
        ({"pipelines": ["inference", "monitorng"]}, "--pipelines monitorng", "monitoring"),
        ({"node_names": ["fit_part"]}, "--nodes fit_part", "fit_parts"),
        ({"from_nodes": ["Training.fit_part"]}, "--from-nodes Training.fit_part", "Training.fit_parts"),
        ({"to_nodes": ["asemble_model"]}, "--to-nodes asemble_model", "assemble_model"),
        ({"namespaces": ["Trainin"]}, "--namespaces Trainin", "Training"),
        ({"from_inputs": ["train_featurs"]}, "--from-inputs train_featurs", "train_features"),
        ({"to_outputs": ["modl_card"]}, "--to-outputs modl_card", "model_card"),
        ({"load_versions": {"encodr": "1"}}, "--load-versions encodr", "encoder"),
        ({"runner": "SequentialRuner"}, "--runner SequentialRuner", "SequentialRunner"),
        ({"runner": "kedro.runners.ThreadRunner"}, "--runner kedro.runners.ThreadRunner", "ThreadRunner"),
    ],
)
def test_the_closest_name_is_suggested(
    pipelines: dict[str, Pipeline], options: dict[str, str | Sequence[str]], named: str, meant: str
) -> None:
    (fault,) = faults(pipelines, **options)
    assert fault == f"{named}: there is no such name; did you mean {meant}?"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pipeline": None, "pipelines": [], "node_names": (), "runner": None},
        {"pipeline": "__default__"},
        {"pipelines": ["training", "inference"], "from_nodes": ["fit_parts"], "to_nodes": ["Inference.score_accounts"]},
        {"from_inputs": ["train_features", "encoder"], "to_outputs": ["results@publish", "results"]},
        {"namespaces": ["Feature engineering"]},
        {"runner": "kedro.runner.ThreadRunner"},
    ],
)
def test_names_that_exist_pass(pipelines: dict[str, Pipeline], options: dict[str, str | Sequence[str]]) -> None:
    assert faults(pipelines, **options) == []


def test_a_name_of_another_pipeline_says_which(pipelines: dict[str, Pipeline]) -> None:
    found = faults(pipelines, pipelines=["training"], node_names=["fit_encoder"], to_outputs=["health_report"])
    assert found == [
        "--nodes fit_encoder: not in the pipelines of this run; it is in feature_engineering",
        "--to-outputs health_report: not in the pipelines of this run; it is in monitoring",
    ]


def test_a_name_that_resembles_none_lists_the_few_that_exist(pipelines: dict[str, Pipeline]) -> None:
    (fault,) = faults(pipelines, pipeline="xyz")
    assert all(name in fault for name in pipelines if name != "__default__")
    assert "__default__" not in fault
    (fault,) = faults(pipelines, node_names=["0"])
    assert "make viz" in fault


def test_all_names_are_listed_together_but_nodes_only_of_known_pipelines(pipelines: dict[str, Pipeline]) -> None:
    found = faults(pipelines, pipelines=["trianing", "x"], runner="Y", node_names=["fit_parts"])
    assert [fault.split(":")[0] for fault in found] == ["--pipelines trianing", "--pipelines x", "--runner Y"]
