"""A box for each pipeline, as kedro-viz shows them."""

from collections import defaultdict
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, ClassVar

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node


class BoxedPipeline(Pipeline):
    """A sum of pipelines, each in its own namespace, which kedro-viz shows as an expandable box.

    The namespace is a prefix of node names only and may be left out: ``--nodes fit_parts`` means
    ``Training.fit_parts``. Data sets and parameters keep their names.

    A box begins when the boxes that it reads from have ended. So a run that fails in one of them has all results of those before:
    a model that scoring does not find because gates have refused it has its metrics and its card.
    """

    @classmethod
    def of(cls, pipeline: Pipeline, name: str) -> "BoxedPipeline":
        """Return the pipeline in a box labelled with its registered name in words, for example ``Data generation``.

        kedro-viz uses the namespace as the label.
        """
        return cls(pipeline, namespace=name.replace("_", " ").capitalize(), prefix_datasets_with_namespace=False)

    def __add__(self, other: Any) -> Any:
        total = super().__add__(other)
        return total if total is NotImplemented else BoxedPipeline(total)

    def __radd__(self, other: Any) -> Any:
        return self + other if isinstance(other, Pipeline) else super().__radd__(other)

    @cached_property
    def node_dependencies(self) -> dict[Node, set[Node]]:
        """The nodes that each node waits for: those whose outputs it reads, and all of the boxes that its own box reads from."""
        waits = dict(super().node_dependencies)
        boxes: dict[str | None, set[str | None]] = {node.namespace: set() for node in waits}
        members: dict[str | None, set[Node]] = {name: set() for name in boxes}
        for node, others in waits.items():
            members[node.namespace].add(node)
            boxes[node.namespace] |= {each.namespace for each in others} - {node.namespace}
        if None in boxes or _has_cycle(boxes):  # nodes in no box, or boxes that hand data back, take turns
            return waits
        return {
            node: others.union(*(members[name] for name in boxes[node.namespace])) for node, others in waits.items()
        }

    def filter(self, *names: Any, **chosen: Any) -> Pipeline:
        """Return a part of the pipeline, see Kedro; in boxes."""
        return BoxedPipeline(super().filter(*names, **chosen).nodes)

    def only_nodes(self, *node_names: str) -> Pipeline:
        """Return the nodes with these names. The namespace may be left out where the name is unique.

        Raises:
            ValueError: If there is no such node.
        """
        known = defaultdict(list)
        for node in self.nodes:
            known[node.short_name].append(node.name)
        return super().only_nodes(*(known[name][0] if len(known.get(name, [])) == 1 else name for name in node_names))

    def only_nodes_with_namespaces(self, node_namespaces: list[str]) -> Pipeline:
        """Return the nodes of these namespaces.

        Raises:
            ValueError: If there is no such namespace.
        """
        chosen = super().only_nodes_with_namespaces(node_namespaces)
        return _Box(chosen, handed_on={_stored(name) for name in (self - chosen).all_inputs()})


class DefaultPipeline(BoxedPipeline):
    """The sum of all boxes, which is run without those that the environment does not use.

    Attributes:
        left_out: Their namespaces. They are of the environment, which is not known yet when the pipelines are made.
    """

    left_out: ClassVar[frozenset[str]] = frozenset()

    def __add__(self, other: Any) -> Any:
        # Kedro adds the pipelines of a run to an empty one.
        return self if isinstance(other, Pipeline) and not other.nodes else super().__add__(other)

    def filter(self, *names: Any, **chosen: Any) -> Pipeline:
        """Return a part of the pipeline, see Kedro; of all of it, without the boxes that are left out."""
        if self.left_out and not any([*names, *chosen.values()]):
            return BoxedPipeline([each for each in self.nodes if each.namespace not in self.left_out])
        return super().filter(*names, **chosen)


class _Box(Pipeline):
    """Some of the boxes. Its outputs include every data set that the other boxes read, under any transcoded name.

    Kedro treats ``champion@decision`` and ``champion@model`` as two data sets. A pipeline that saves the first and reads it
    itself does not have the second as an output, so kedro-viz would not draw the arrow from training to inference.
    """

    def __init__(self, pipeline: Pipeline, handed_on: set[str]) -> None:
        super().__init__(pipeline)
        self._handed_on = handed_on

    def outputs(self) -> set[str]:
        return super().outputs() | {name for name in self.all_outputs() if _stored(name) in self._handed_on}


def _has_cycle(graph: dict[str | None, set[str | None]]) -> bool:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        return True
    return False


def _stored(name: str) -> str:
    """Return the name of a data set without its transcoding suffix."""
    return name.partition("@")[0]
