"""The pipelines as boxes: who hands what to whom, which names stay as they are, and what kedro-viz draws of it."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from kedro.pipeline import Pipeline, node

from churn.pipeline_registry import register_pipelines
from churn.pipelines import data_generation, delivery, feature_engineering, inference, monitoring, training
from churn.pipelines.boxes import BoxedPipeline, DefaultPipeline
from tests.conftest import run_process

LABELS = {
    "data_generation": "Data generation",
    "feature_engineering": "Feature engineering",
    "training": "Training",
    "inference": "Inference",
    "monitoring": "Monitoring",
    "delivery": "Delivery",
}
# What each pipeline hands to others, and to whom.
HANDED_ON = {
    "Data generation": {
        "training_accounts": {"Feature engineering"},
        "oracle": {"Training"},
        "scoring_accounts": {"Inference"},
        "scoring_outcomes": {"Monitoring"},
    },
    "Feature engineering": {
        name: {"Training"}
        for name in (
            *("train_accounts", "test_accounts", "train_features", "test_features"),
            *("encoder", "training_source", "training_split"),
        )
    },
    "Training": {"champion": {"Inference"}},
    "Inference": {"results": {"Monitoring", "Delivery"}},
    "Monitoring": {},
    "Delivery": {},
}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    return register_pipelines()


def test_every_node_lies_in_the_box_of_its_pipeline(pipelines: dict[str, Pipeline]) -> None:
    assert set(pipelines) == {*LABELS, "campaign", "simulate_campaign", "__default__"}
    for name, label in LABELS.items():
        assert {each.namespace for each in pipelines[name].nodes} == {label}
    assert {each.namespace for each in pipelines["__default__"].nodes} == set(LABELS.values())
    assert pipelines["__default__"].nodes == sum(pipelines[name] for name in LABELS).nodes


def test_data_sets_and_parameters_keep_their_names(pipelines: dict[str, Pipeline]) -> None:
    for module in (data_generation, feature_engineering, training, inference, monitoring, delivery):
        made = module.create_pipeline()
        boxed = pipelines[module.__name__.rpartition(".")[2]]
        assert boxed.all_inputs() == made.all_inputs()
        assert boxed.all_outputs() == made.all_outputs()
    assert not any("." in name for name in pipelines["__default__"].datasets())


def test_pipelines_hand_on_what_they_should(pipelines: dict[str, Pipeline]) -> None:
    made: dict[str, str] = {}
    read: dict[str, set[str]] = defaultdict(set)
    for each in pipelines["__default__"].nodes:
        made |= {name.partition("@")[0]: each.namespace for name in each.outputs}
        for name in each.inputs:
            read[name.partition("@")[0]].add(each.namespace)
    handed_on: dict[str, dict[str, set[str]]] = {label: {} for label in LABELS.values()}
    for name, label in made.items():
        if others := read[name] - {label}:
            handed_on[label][name] = others
    assert handed_on == HANDED_ON


@pytest.mark.parametrize("combined", ["training", "__default__", "training,inference"])
def test_a_node_is_found_by_its_name_with_and_without_the_box(pipelines: dict[str, Pipeline], combined: str) -> None:
    whole = Pipeline([])
    for name in combined.split(","):
        whole += pipelines[name]  # as a session does
    for name in ("fit_parts", "Training.fit_parts"):
        assert [each.name for each in whole.filter(node_names=[name]).nodes] == ["Training.fit_parts"]
    onward = whole.filter(from_nodes=["describe_model"])
    assert [each.name for each in onward.nodes] == ["Training.describe_model", "Training.render_card"]
    assert whole.filter(to_nodes=["fit_parts"]).nodes == whole.filter(to_nodes=["Training.fit_parts"]).nodes
    with pytest.raises(ValueError, match=r"does not contain nodes named \['fit_party'\]"):
        whole.filter(node_names=["fit_party"])


def test_the_default_run_is_without_the_boxes_that_an_environment_does_not_use(
    pipelines: dict[str, Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Pipeline([]) + pipelines["__default__"]  # as a session does

    def run(**chosen: list[str]) -> set[str | None]:
        return {each.namespace for each in whole.filter(tags=None, from_nodes=None, **chosen).nodes}

    monkeypatch.setattr(DefaultPipeline, "left_out", frozenset({"Delivery"}))
    assert run() == set(LABELS.values()) - {"Delivery"}
    assert run(node_namespaces=["Delivery"]) == {"Delivery"}
    assert {each.namespace for each in (Pipeline([]) + pipelines["delivery"]).filter(tags=None).nodes} == {"Delivery"}
    monkeypatch.setattr(DefaultPipeline, "left_out", frozenset())
    assert run() == set(LABELS.values())


def test_a_name_that_two_boxes_have_needs_its_box() -> None:
    boxes = [BoxedPipeline.of(Pipeline([node(len, "a", out, name="write")]), out) for out in ("one", "two_b")]
    both = sum(boxes, BoxedPipeline([]))
    assert [each.name for each in both.only_nodes("Two b.write").nodes] == ["Two b.write"]
    with pytest.raises(ValueError, match="Did you mean"):
        both.only_nodes("write")


@pytest.mark.e2e
def test_kedro_viz_draws_the_boxes_and_what_lies_between(checkout: Path) -> None:
    shown = viz_of(checkout)
    names = {each["id"]: each["name"] for each in shown["nodes"] if each["type"] == "data"}
    boxes = {each: box for each, box in shown["modular_pipelines"].items() if each != "__root__"}
    assert {box["name"] for box in boxes.values()} == set(LABELS.values())
    inside: dict[str, set[str]] = {}
    for label, box in boxes.items():
        outputs = {names[each] for each in box["outputs"]}
        inside[label] = {names[each["id"]] for each in box["children"] if each["id"] in names}
        assert set(HANDED_ON[label]) <= outputs, "an arrow out of the box is missing"
        assert not inside[label] & outputs
        for others in (others for others in HANDED_ON if others != label):
            needed = {name for name, readers in HANDED_ON[others].items() if label in readers}
            assert needed <= {names[each] for each in box["inputs"] if each in names}
    assert {"booster", "churn_model", "training_metrics", "model_card"} <= inside["Training"]
    assert inside["Monitoring"] == {"health"}
    # From top to bottom.
    layers = ["source", "staging", "features", "model", "evaluation", "champion", "results", "delivery", "health"]
    assert shown["layers"] == layers


def viz_of(checkout: Path) -> dict[str, Any]:
    """What kedro-viz shows of a project, from the pages that it writes for a web server."""
    built = run_process(sys.executable, "-m", "kedro", "viz", "build", cwd=checkout)
    assert built.returncode == 0, built.stdout + built.stderr
    shown: dict[str, Any] = json.loads((checkout / "build/api/main").read_text())
    return shown


def test_a_box_begins_when_those_that_it_reads_from_have_ended(pipelines: dict[str, Pipeline]) -> None:
    """Also in parts and sums of them, in which Kedro runs them."""
    whole = pipelines["__default__"]
    for made in (
        whole,
        whole.filter(),
        whole.filter(from_nodes=["fit_parts"]),
        pipelines["inference"] + pipelines["training"],
    ):
        order = made.filter().nodes
        ends = max(at for at, each in enumerate(order) if each.namespace == "Training")
        begins = min(at for at, each in enumerate(order) if each.namespace == "Inference")
        assert ends < begins
        waits = made.filter().node_dependencies
        for child in (each for each in order if each.namespace == "Inference"):
            assert {each for each in order if each.namespace == "Training"} <= waits[child]


def test_boxes_that_hand_data_back_take_turns() -> None:
    def box(name: str, *links: tuple[str, str]) -> Pipeline:
        return BoxedPipeline.of(
            Pipeline([node(lambda read: read, given, made, name=made) for given, made in links]), name
        )

    there_and_back = box("one", ("a", "b"), ("c", "d")) + box("two", ("b", "c"))
    assert [each.short_name for each in there_and_back.nodes] == ["b", "c", "d"]
    assert [each.short_name for each in there_and_back.filter(to_outputs=["c"]).nodes] == ["b", "c"]
