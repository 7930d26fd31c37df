"""What reaches the console."""

import logging

# Said by libraries at every run, and nothing a user of this project could act on.
_NOISE = (
    # MLflow on a class of kedro-mlflow's that this project does not use.
    "Add type hints to the `predict` method",
    # Kedro recommends an option that it has deprecated itself.
    "Using synchronous mode for loading and saving data",
)


class QuietFilter(logging.Filter):
    """Drops the known noise of libraries. Kedro allows no class of a project's own in ``conf/logging.yml``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        message = record.getMessage()
        return not any(noise in message for noise in _NOISE)


def quieten() -> None:
    """Put the filter where the noise comes from."""
    for name in ("py.warnings", "kedro.runner.sequential_runner"):
        logging.getLogger(name).addFilter(QuietFilter())
