"""MLflow's settings for this project, as variables of the environment. They are set before MLflow is imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Unless the environment says otherwise.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Load artifacts through the server, not from its bucket, whose address may be known to the server only.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    # Wait seconds for a server that does not answer, not four minutes as with MLflow's defaults.
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # A model needs the packages of `pip_requirements`, not the development environment.
    "MLFLOW_UV_AUTO_DETECT": "false",
}
# Settings that the environment cannot change.
ALWAYS = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


def use_project_settings() -> None:
    """Set the variables of this process, and of those that it starts."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(ALWAYS)


@contextmanager
def restored(variable: str) -> Iterator[str | None]:
    """Restore an environment variable at the end of the block. Yields its value; ``None`` if it is not set."""
    before = os.environ.get(variable)
    try:
        yield before
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before
