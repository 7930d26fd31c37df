"""The project's logging configuration: what the console shows, the log file, and a filter for noise of libraries.

The console shows a line a stage, the project's own messages and all warnings. Everything else that Kedro says, two lines for each
node and one for each data set, is in the log file of the run, and on the console with ``kedro run --verbose``.
"""

import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from churn.config.console import VERBOSE, shown_path
from churn.config.secrets import REDACTION
from churn.web.log_format import LOGGING, LOGGING_FILE, JsonFormatter

# Messages that libraries log at every run and that users of this project cannot act on.
_NOISE = (
    # MLflow, about a class of kedro-mlflow that this project does not use.
    "Add type hints to the `predict` method",
    # PySpark, about functions on pandas frames; this project exchanges Arrow tables with Spark.
    "PySpark does not yet fully support pandas",
    # kedro-viz in a notebook: its view of runs needs whole runs on the command line.
    "Workflow tracking is disabled",
    # Kedro, about a node that failed; the last lines of the output have the error anyway.
    "failed with error:",
    "No nodes ran. Repeat the previous command",
    # MLflow, with a traceback, about an error of its database that ends the run and is then shown.
    "SQLAlchemy database error",
    # Kedro, which recommends an option that it has itself deprecated.
    "Using synchronous mode for loading and saving data",
)

_NOISY = (
    "py.warnings",
    "kedro.pipeline.node",
    "kedro.runner.sequential_runner",
    "mlflow.store.db.utils",
    "kedro_viz.integrations.kedro.run_hooks",
)


class QuietFilter(logging.Filter):
    """Drops the known noise of libraries. Kedro allows no project classes in ``conf/logging.yml``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown."""
        message = record.getMessage()
        return not any(noise in message for noise in _NOISE)


def quieten() -> None:
    """Add the filter to the loggers that the noise comes from."""
    for name in _NOISY:
        logging.getLogger(name).addFilter(QuietFilter())


# The logger whose records below WARNING are details, and the attribute of other records that are.
_DETAILED, DETAIL = "kedro", "detail"
# Number of log files that are kept, each of one process, and their folder in the cache.
KEPT_LOGS = 20
LOGS = "logs"


class DetailFilter(logging.Filter):
    """Drops details below WARNING, for handlers that show a run to people."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown."""
        is_detail = record.name.partition(".")[0] == _DETAILED or hasattr(record, DETAIL)
        return record.levelno >= logging.WARNING or not is_detail


class Console:
    """Whether the console shows details."""

    def __init__(self) -> None:
        self._configured: bool | None = None

    @property
    def verbose(self) -> bool:
        """Whether it does: with ``--verbose``, or ``kedro: {level: INFO}`` in ``conf/logging.yml``."""
        return bool(os.environ.get(VERBOSE)) or bool(self._configured)

    def adjust(self) -> None:
        """Keep details from the console unless it is verbose. May be called again, for another session of this process."""
        detailed = logging.getLogger(_DETAILED)
        if self._configured is None:
            self._configured = detailed.isEnabledFor(logging.INFO)
        for handler in logging.getLogger().handlers:
            if type(handler).__name__ == "RichHandler" or isinstance(handler.formatter, JsonFormatter):
                for old in [each for each in handler.filters if isinstance(each, DetailFilter)]:
                    handler.removeFilter(old)
                if not self.verbose:
                    handler.addFilter(DetailFilter())
        if not detailed.isEnabledFor(logging.INFO):
            detailed.setLevel(logging.INFO)


CONSOLE = Console()


class LogFile:
    """The log file of this process, with all details; none where it cannot be written.

    Attributes:
        path: Its path; ``None`` if there is none.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self._handler: logging.Handler | None = None

    @property
    def shown(self) -> str | None:
        """Its path, relative to the current folder if it is inside."""
        return None if self.path is None else shown_path(self.path.as_posix())

    def open(self, folder: Path) -> None:
        """Log to a new file in a folder, unless this process does already. The oldest files are removed."""
        root = logging.getLogger()
        if self.path is not None and self.path.parent == folder and self._handler in root.handlers:
            return
        self.close()
        path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}-{os.getpid()}.log"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # messages may quote a value of a table
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError:  # a read-only file system: the console has to do
            return
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(name)s: %(message)s"))
        handler.addFilter(REDACTION)
        root.addHandler(handler)
        self.path, self._handler = path, handler
        for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
            with suppress(OSError):
                old.unlink()

    def close(self) -> None:
        """Close it; the file stays."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
            self._handler.close()
        self.path, self._handler = None, None


LOG_FILE = LogFile()


def use_project_logging(project_path: Path) -> None:
    """Read the project's ``conf/logging.yml``, which Kedro finds only if it is started in the project's folder."""
    here = Path(LOGGING_FILE)
    file = project_path / here
    if LOGGING not in os.environ and not here.exists() and file.exists():
        import yaml
        from kedro.framework.project import configure_logging

        configure_logging(yaml.safe_load(file.read_text()))
