"""The project's logging configuration, and a filter for noise of libraries."""

import logging
import os
from pathlib import Path

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


def use_project_logging(project_path: Path) -> None:
    """Read the project's ``conf/logging.yml``, which Kedro finds only if it is started in the project's folder."""
    here = Path("conf/logging.yml")
    file = project_path / here
    if "KEDRO_LOGGING_CONFIG" not in os.environ and not here.exists() and file.exists():
        import yaml
        from kedro.framework.project import configure_logging

        configure_logging(yaml.safe_load(file.read_text()))
