"""Check the names that the options of `kedro run` give, before anything is loaded."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import kedro.runner
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

from churn.errors import FaultsError, closest

DEFAULT = "__default__"


def check_options(options: Mapping[str, Any], pipelines: Mapping[str, Pipeline]) -> None:
    """Check that the pipelines, nodes, namespaces, data sets and the runner of a run exist.

    Args:
        options: Options of `kedro run` by the names of its parameters.
        pipelines: Registered pipelines by name.

    Raises:
        FaultsError: Lists every name that does not exist, with the closest one that does.
    """
    if faults := list(_faults(options, pipelines)):
        raise FaultsError("options of this run", faults)


def _faults(options: Mapping[str, Any], pipelines: Mapping[str, Pipeline]) -> Iterator[str]:
    single = options.get("pipeline")
    yield from _unknown("--pipeline", [single] if single else [], pipelines)
    yield from _unknown("--pipelines", options.get("pipelines"), pipelines)
    runner = options.get("runner")
    if runner and not _is_runner(runner):
        known = [name for name in kedro.runner.__all__ if name.endswith("Runner") and not name.startswith("Abstract")]
        yield from _unknown("--runner", [runner], known)
    named = [name for name in [single, *(options.get("pipelines") or [])] if name]
    chosen = [pipelines[name] for name in named or [DEFAULT] if name in pipelines]
    if len(chosen) < len(named):
        return  # what the others do not have, the one that was meant may have
    nodes = [node for pipeline in chosen for node in pipeline.nodes]
    names = {name: None for node in nodes for name in (node.short_name, node.name)}
    for option, field in (("--nodes", "node_names"), ("--from-nodes", "from_nodes"), ("--to-nodes", "to_nodes")):
        yield from _unknown(option, options.get(field), names, _elsewhere(pipelines, nodes=True))
    boxes = {node.namespace: None for node in nodes if node.namespace}
    yield from _unknown("--namespaces", options.get("namespaces"), boxes)
    data = {form: None for pipeline in chosen for name in pipeline.datasets() for form in _forms(name)}
    for option, field in (
        ("--from-inputs", "from_inputs"),
        ("--to-outputs", "to_outputs"),
        ("--load-versions", "load_versions"),
    ):
        yield from _unknown(option, options.get(field), data, _elsewhere(pipelines, nodes=False))


def _unknown(
    option: str, given: Iterable[str] | None, known: Iterable[str], elsewhere: Mapping[str, str] | None = None
) -> Iterator[str]:
    names = list(known)
    for name in given or ():
        if name in names:
            continue
        fault = f"{option} {name}: there is no such name"
        if elsewhere and name in elsewhere:
            yield f"{option} {name}: not in the pipelines of this run; it is in {elsewhere[name]}"
        elif close := closest(name, names):
            yield f"{fault}; did you mean {close}?"
        else:
            shown = [each for each in names if each != DEFAULT]
            yield fault + (
                f"; choose from {', '.join(shown)}" if len(shown) <= 12 else "; make viz shows the pipelines"
            )


def _elsewhere(pipelines: Mapping[str, Pipeline], *, nodes: bool) -> dict[str, str]:
    """Return the pipeline of each node or data set."""
    found: dict[str, str] = {}
    for name, pipeline in pipelines.items():
        if name == DEFAULT:
            continue
        if nodes:
            each = [form for node in pipeline.nodes for form in (node.short_name, node.name)]
        else:
            each = [form for dataset in pipeline.all_outputs() for form in _forms(dataset)]
        for form in each:
            found.setdefault(form, name)
    return found


def _forms(name: str) -> tuple[str, ...]:
    """Return the names of a data set that Kedro accepts: with and without transcoding."""
    return tuple(dict.fromkeys((name.partition("@")[0], name)))


def _is_runner(name: str) -> bool:
    try:
        load_obj(name, "kedro.runner")
    except (AttributeError, ImportError):
        return False
    return True
