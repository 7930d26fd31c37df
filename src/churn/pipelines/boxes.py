"""A box for each pipeline, as kedro-viz shows them."""

from collections import defaultdict
from typing import Any

from kedro.pipeline import Pipeline


class BoxedPipeline(Pipeline):
    """Pipelines of which each has a namespace of its own, which kedro-viz shows as a box that a click opens.

    The namespace is a part of the names of nodes alone, and one may leave it out: ``--nodes fit_parts`` means
    ``Training.fit_parts``. Data sets and parameters keep their names.
    """

    @classmethod
    def of(cls, pipeline: Pipeline, name: str) -> "BoxedPipeline":
        """The pipeline in a box, which is labelled with its registered name in words: ``Data generation``.

        kedro-viz takes the namespace as the label.
        """
        return cls(pipeline, namespace=name.replace("_", " ").capitalize(), prefix_datasets_with_namespace=False)

    def __add__(self, other: Any) -> Any:
        total = super().__add__(other)
        return total if total is NotImplemented else BoxedPipeline(total)

    def __radd__(self, other: Any) -> Any:
        return self + other if isinstance(other, Pipeline) else super().__radd__(other)

    def only_nodes(self, *node_names: str) -> Pipeline:
        """The nodes of these names, each with its namespace or, where no other node has the same name, without it.

        Raises:
            ValueError: If there is no such node.
        """
        known = defaultdict(list)
        for node in self.nodes:
            known[node.short_name].append(node.name)
        return super().only_nodes(*(known[name][0] if len(known.get(name, [])) == 1 else name for name in node_names))

    def only_nodes_with_namespaces(self, node_namespaces: list[str]) -> Pipeline:
        """The nodes of these namespaces.

        Raises:
            ValueError: If there is no such namespace.
        """
        chosen = super().only_nodes_with_namespaces(node_namespaces)
        return _Box(chosen, handed_on={_stored(name) for name in (self - chosen).all_inputs()})


class _Box(Pipeline):
    """Some of the boxes, with what the others read of them as an output, under whichever name.

    To Kedro ``champion@decision`` and ``champion@model`` are two, and what a pipeline stores under the first, reads itself
    and hands on under the second is no output of it. kedro-viz would not draw the arrow from training to inference.
    """

    def __init__(self, pipeline: Pipeline, handed_on: set[str]) -> None:
        super().__init__(pipeline)
        self._handed_on = handed_on

    def outputs(self) -> set[str]:
        return super().outputs() | {name for name in self.all_outputs() if _stored(name) in self._handed_on}


def _stored(name: str) -> str:
    """What a data set is called without the way in which it is read or written."""
    return name.partition("@")[0]
