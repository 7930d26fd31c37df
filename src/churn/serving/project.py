"""The setup of the service from a project, read without a session of Kedro."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException

from churn.config import check_parameters
from churn.config.loader import ConfigLoader
from churn.config.mlflow_environment import use_project_settings
from churn.config.secrets import REDACTION, check_credentials
from churn.retention.wording import check_reasons
from churn.services.database_file import anchored, place_of
from churn.serving.token_source import TokenSource
from churn.serving.worker import Setup
from churn.web.log_format import FORMAT, use_log_format


def setup_of(loader: ConfigLoader, project: Path, workers: int | None = None) -> Setup:
    """Return the setup of a project and its environment.

    Sets what MLflow reads from the environment, and masks secrets in the log.

    Args:
        loader: The configuration.
        project: Folder of the project.
        workers: Number of workers; ``None`` for `serve.workers`.

    Raises:
        FaultsError: If credentials are empty, well-known or short.
        ParametersError: If a parameter is wrong, or a sentence for reasons is.
    """
    source = TokenSource.of(loader)  # before they are read
    credentials: dict[str, Any] = {}
    with suppress(MissingConfigException):
        credentials = loader["credentials"]
    mlflow = loader["mlflow"]
    server = mlflow["server"]
    tracking_uri = _address(server["mlflow_tracking_uri"], project)
    use_log_format(loader.variable(FORMAT))
    REDACTION.learn(credentials, tracking_uri)
    for handler in logging.getLogger().handlers:
        handler.addFilter(REDACTION)
    check_credentials(credentials, tracking_uri)
    use_project_settings()
    os.environ |= {name: str(value) for name, value in (credentials.get(server.get("credentials")) or {}).items()}
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri

    parameters = check_parameters(loader["parameters"])
    if workers is not None:
        parameters = parameters.model_copy(update={"serve": parameters.serve.model_copy(update={"workers": workers})})
    check_reasons(parameters)
    known = loader["globals"]
    stores, name = known["stores"], known["model"]["name"]
    experiment = (mlflow.get("tracking") or {}).get("experiment") or {}
    location = (experiment.get("create_experiment_kwargs") or {}).get("artifact_location")
    entry = (known.get("credentials") or {}).get("results")
    return Setup(
        parameters=parameters,
        model_uri=parameters.model_uri or f"models:/{name}@champion",
        model_name=name,
        tracking_uri=tracking_uri,
        cache=project / str(stores["cache"]),
        results=_place(stores["results"], project),
        experiment=experiment.get("name", "Default"),
        artifacts=place_of(location, project) if location else None,
        requests=_place(stores.get("requests") or f"{stores['results']}/requests", project),
        credentials=credentials.get(entry) if entry else None,
        tokens=credentials.get("serve") or {},
        log_format=loader.variable(FORMAT),
        token_source=source,
    )


def _address(address: str, project: Path) -> str:
    """Return the address of MLflow; one that is a path is relative to the project."""
    return (
        anchored(address, project)
        if ":" in address or address.startswith("databricks")
        else (project / address).as_uri()
    )


def _place(place: str, project: Path) -> str:
    return place if "://" in str(place) else str(project / str(place))
