"""A line for each stage of a run, with its time, and a progress bar on a terminal."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from churn.config.console import steps
from churn.hooks.logs import CONSOLE, DETAIL, LOG_FILE, LOGS

logger = logging.getLogger(__name__)

# Name of the stage of nodes that are in no box.
OTHER = "Run"


@dataclass
class _Stage:
    """The nodes of one box: what they still have to save, and the seconds that they took.

    Attributes:
        open: Outputs that are not saved yet, by node; a node without outputs has an empty set until it has run.
        seconds: Sum of the times of its nodes, from reading their inputs to saving their outputs.
        nodes: Number of nodes.
    """

    open: dict[str, set[str]] = field(default_factory=dict)
    seconds: float = 0.0
    nodes: int = 0

    @property
    def done(self) -> int:
        """Number of nodes that have finished."""
        return self.nodes - len(self.open)


class StagesHook:
    """Logs a line when the last node of a stage has finished, and one when the run stops before its end.

    A stage is a pipeline. Nodes of two stages may take turns, as Kedro orders them by what they need, so the time of a stage is
    the sum of the times of its nodes. Nodes may run in several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bar = ExitStack()
        self._logs: Path | None = None
        self._begin(Pipeline([]))

    def _begin(self, pipeline: Pipeline) -> None:
        self._stages: dict[str, _Stage] = {}
        self._since: dict[str, float] = {}
        self._started = time.monotonic()
        self._show: Callable[..., None] = lambda *_, **__: None
        for node in pipeline.nodes:
            stage = self._stages.setdefault(node.namespace or OTHER, _Stage())
            stage.open[node.name] = set(node.outputs)
            stage.nodes += 1

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep details from the console, and find the folder of the log file."""
        loader: Any = context.config_loader
        self._logs = context.project_path / loader["globals"]["stores"]["cache"] / LOGS
        CONSOLE.adjust()

    @hook_impl(trylast=True)
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Begin with the stages of this run, once all checks have passed."""
        self._bar.close()
        self._begin(pipeline)
        if self._logs is not None:
            LOG_FILE.open(self._logs)
        if not CONSOLE.verbose:
            self._show = self._bar.enter_context(steps())

    @hook_impl(tryfirst=True)
    def before_dataset_loaded(self, node: Node) -> None:
        """Start the time of a node with its first input."""
        self._start(node)

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node) -> None:
        """Start the time of a node without inputs, and show it."""
        self._start(node)

    def _start(self, node: Node) -> None:
        with self._lock:
            if node.name not in self._since:
                self._since[node.name] = time.monotonic()
                self._draw(node)

    @hook_impl(trylast=True)
    def after_node_run(self, node: Node) -> None:
        """Finish a node that has no outputs."""
        if not node.outputs:
            self._saved(node, None)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Finish a node with its last output: tables in batches are computed while they are saved."""
        self._saved(node, dataset_name)

    def _saved(self, node: Node, output: str | None) -> None:
        with self._lock:
            name = node.namespace or OTHER
            stage = self._stages.get(name)
            if stage is None:
                return
            now = time.monotonic()
            stage.seconds += now - self._since.get(node.name, now)
            self._since[node.name] = now
            left = stage.open.get(node.name)
            if left is None:  # a node may save an output several times, each a part of it
                return
            left.discard(str(output))
            if left:
                return
            del stage.open[node.name]
            self._draw(node)
            if not stage.open:
                logger.info("%s: %s in %s", name, _counted(stage.nodes), in_words(stage.seconds))

    def _draw(self, node: Node) -> None:
        stage = self._stages.get(node.namespace or OTHER)
        if stage is not None:
            doing = node.short_name.replace("_", " ")
            self._show(node.namespace or OTHER, stage.nodes, stage.done, doing=doing)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Hide the bar, and log the time of a run of several stages."""
        self._bar.close()
        if len(self._stages) > 1:
            nodes = sum(stage.nodes for stage in self._stages.values())
            logger.info("All stages: %s in %s", _counted(nodes), in_words(time.monotonic() - self._started))

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Hide the bar, and log where the run has stopped."""
        self._bar.close()
        logger.info("The run has failed:", exc_info=error, extra={DETAIL: True})
        where = f"; {LOG_FILE.shown} has the details" if LOG_FILE.shown else ""
        for name, stage in self._stages.items():
            for node in stage.open.keys() & self._since.keys():
                after = in_words(time.monotonic() - self._since[node])
                logger.info("%s: stopped in %s after %s%s", name, node.rpartition(".")[2], after, where)


def _counted(nodes: int) -> str:
    return f"{nodes} step{'' if nodes == 1 else 's'}"


def in_words(seconds: float) -> str:
    """Return a duration for people: ``0.4 s``, ``12.3 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
