"""What the console shows of a run, and what the log file has."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner, ThreadRunner
from rich.logging import RichHandler

from churn.config.console import VERBOSE
from churn.hooks.logs import KEPT_LOGS, Console, DetailFilter, LogFile
from churn.hooks.stages import StagesHook, in_words


def pipeline(fail: bool = False) -> Pipeline:
    """Two boxes whose nodes take turns."""

    def grow(value: int) -> Iterator[int]:
        yield value
        yield value + 1

    def end(*_: int) -> int:
        if fail:
            raise ValueError("no")
        return 1

    return Pipeline(
        [
            node(lambda value: value, "given", "first", name="start", namespace="Training"),
            node(grow, "first", "second", name="grow", namespace="Training"),
            node(lambda value: None, "second", None, name="look", namespace="Inference"),
            node(end, ["first", "second"], "third", name="end", namespace="Training"),
        ]
    )


@pytest.fixture
def stages(caplog: pytest.LogCaptureFixture) -> Iterator[StagesHook]:
    with caplog.at_level(logging.INFO, "churn.hooks.stages"):
        yield StagesHook()


def run(hook: StagesHook, runner: SequentialRunner | ThreadRunner, *, fail: bool = False) -> None:
    manager = _create_hook_manager()
    manager.register(hook)
    nodes = pipeline(fail)
    manager.hook.before_pipeline_run(run_params={}, pipeline=nodes, catalog=None)
    catalog = DataCatalog({"given": MemoryDataset(1)})
    try:
        runner.run(nodes, catalog, manager)
    except Exception as error:
        manager.hook.on_pipeline_error(error=error, run_params={}, pipeline=nodes, catalog=catalog)
        raise
    manager.hook.after_pipeline_run(run_params={}, run_result={}, pipeline=nodes, catalog=catalog)


@pytest.mark.parametrize("runner", [SequentialRunner(), ThreadRunner()])
def test_a_stage_is_a_line(
    stages: StagesHook, runner: SequentialRunner | ThreadRunner, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):  # a process may run several times
        caplog.clear()
        run(stages, runner)
        said = [record.getMessage() for record in caplog.records if record.name == "churn.hooks.stages"]
        assert sorted(text.partition(" in ")[0] for text in said) == [
            *("All stages: 4 steps", "Inference: 1 step", "Training: 3 steps")
        ]
        assert said[-1].startswith("All stages")


def test_a_run_that_fails_says_where(stages: StagesHook, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="no"):
        run(stages, SequentialRunner(), fail=True)
    shown = [
        record for record in caplog.records if record.name == "churn.hooks.stages" and DetailFilter().filter(record)
    ]
    assert shown[-1].getMessage().startswith("Training: stopped in end after ")
    assert not any(record.getMessage().startswith("Training: 3") for record in shown)
    # The traceback is a detail.
    details = [record for record in caplog.records if record.exc_info and not DetailFilter().filter(record)]
    assert len(details) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.97, "1 min 0 s"), (250, "4 min 10 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger with a handler for people, and Kedro's; both are restored."""
    root, kedro = logging.getLogger(), logging.getLogger("kedro")
    before, level = list(root.handlers), kedro.level
    root.handlers[:] = [RichHandler()]
    yield root
    root.handlers[:] = before
    kedro.setLevel(level)


@pytest.mark.parametrize(
    ("level", "variable", "shown"), [("WARNING", None, False), ("INFO", None, True), ("WARNING", "1", True)]
)
def test_details_are_shown_on_request(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, level: str, variable: str | None, shown: bool
) -> None:
    monkeypatch.delenv(VERBOSE, raising=False)
    if variable:
        monkeypatch.setenv(VERBOSE, variable)
    logging.getLogger("kedro").setLevel(level)
    console = Console()
    for _ in range(2):
        console.adjust()
    (handler,) = [each for each in root.handlers if isinstance(each, RichHandler)]
    record = logging.LogRecord("kedro.runner.runner", logging.INFO, "", 0, "Completed node", (), None)
    warning = logging.LogRecord("kedro.runner.runner", logging.WARNING, "", 0, "not run", (), None)
    assert bool(handler.filter(record)) is shown
    assert handler.filter(warning)
    assert handler.filter(logging.LogRecord("churn.tables", logging.INFO, "", 0, "read", (), None))
    assert len([each for each in handler.filters if isinstance(each, DetailFilter)]) <= 1
    assert logging.getLogger("kedro.runner").isEnabledFor(logging.INFO)


def test_the_log_file_has_the_details(root: logging.Logger, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(KEPT_LOGS + 3):
        (folder / f"2020-01-01T00-00-{number:02}-1.log").write_text("old")
    file = LogFile()
    logging.getLogger("kedro").setLevel(logging.INFO)
    try:
        file.open(folder)
        assert file.path is not None
        path = file.path
        logging.getLogger("kedro.runner").info("Completed node: %s", "Grüße")
        file.open(folder)  # the same session
        assert file.path == path
    finally:
        file.close()
    assert "INFO     kedro.runner: Completed node: Grüße" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o077 == 0
    kept = sorted(each.name for each in folder.iterdir())
    assert len(kept) == KEPT_LOGS
    assert path.name in kept


def test_without_a_place_to_write_there_is_no_log_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = LogFile()
    file.open(tmp_path / "file" / "logs")
    assert (file.path, file.shown) == (None, None)
