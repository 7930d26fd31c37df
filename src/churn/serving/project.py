"""The setup of the service from a Kedro project."""

from pathlib import Path
from typing import Any

import mlflow
from kedro.framework.context import KedroContext

from churn.config import check_parameters
from churn.retention.wording import check_reasons
from churn.serving.worker import Setup
from churn.web.log_format import FORMAT


def setup_of(context: KedroContext, workers: int | None = None) -> Setup:
    """Return the setup of a project and its environment.

    Args:
        context: Context of the project.
        workers: Number of workers; ``None`` for `serve.workers`.

    Raises:
        ParametersError: If a parameter is wrong, or a sentence for reasons is.
    """
    loader: Any = context.config_loader
    parameters = check_parameters(loader["parameters"])
    if workers is not None:
        parameters = parameters.model_copy(update={"serve": parameters.serve.model_copy(update={"workers": workers})})
    check_reasons(parameters)
    known, credentials = loader["globals"], loader["credentials"]
    stores, name = known["stores"], known["model"]["name"]
    entry = (known.get("credentials") or {}).get("results")
    return Setup(
        parameters=parameters,
        model_uri=parameters.model_uri or f"models:/{name}@champion",
        model_name=name,
        tracking_uri=mlflow.get_tracking_uri(),
        cache=context.project_path / str(stores["cache"]),
        results=_place(stores["results"], context.project_path),
        requests=_place(stores.get("requests") or f"{stores['results']}/requests", context.project_path),
        credentials=credentials.get(entry) if entry else None,
        tokens=credentials.get("serve") or {},
        log_format=loader.variable(FORMAT),
    )


def _place(place: str, project: Path) -> str:
    return place if "://" in str(place) else str(project / str(place))
