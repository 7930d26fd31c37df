"""The project's logging, and the noise of libraries that is kept out of it."""

import logging
import os
from pathlib import Path

# Said by libraries at every run, and nothing a user of this project could act on.
_NOISE = (
    # MLflow on a class of kedro-mlflow's that this project does not use.
    "Add type hints to the `predict` method",
    # PySpark, whose functions of pandas frames this project does not use: it takes and gives Arrow.
    "PySpark does not yet fully support pandas",
    # kedro-viz, in a notebook, on a picture of runs that it draws from whole runs on the command line.
    "Workflow tracking is disabled",
    # Kedro on a node that failed; what went wrong stands in the last lines anyway, once.
    "failed with error:",
    "No nodes ran. Repeat the previous command",
    # Kedro recommends an option that it has deprecated itself.
    "Using synchronous mode for loading and saving data",
)

_NOISY = (
    "py.warnings",
    "kedro.pipeline.node",
    "kedro.runner.sequential_runner",
    "kedro_viz.integrations.kedro.run_hooks",
)


class QuietFilter(logging.Filter):
    """Drops the known noise of libraries. Kedro allows no class of a project's own in ``conf/logging.yml``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        message = record.getMessage()
        return not any(noise in message for noise in _NOISE)


def quieten() -> None:
    """Put the filter where the noise comes from."""
    for name in _NOISY:
        logging.getLogger(name).addFilter(QuietFilter())


def use_project_logging(project_path: Path) -> None:
    """Read the project's ``conf/logging.yml``, which Kedro finds only when started in the project's folder."""
    here = Path("conf/logging.yml")
    file = project_path / here
    if "KEDRO_LOGGING_CONFIG" not in os.environ and not here.exists() and file.exists():
        import yaml
        from kedro.framework.project import configure_logging

        configure_logging(yaml.safe_load(file.read_text()))
