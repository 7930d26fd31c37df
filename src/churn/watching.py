"""What `kedro watch` watches in a project."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kedro.framework.context import KedroContext

from churn.errors import ChurnError
from churn.hooks import notifier_of
from churn.parameters import check_parameters
from churn.stores import open_store
from churn.watch import KedroJob, Kind, Watcher, alone, watch


def watch_project(context: KedroContext, options: Sequence[str], *, once: bool = False) -> None:
    """Watch the tables of a project.

    Args:
        context: The project and its environment.
        options: Of ``kedro run`` for the same.
        once: Look once only.

    Raises:
        ChurnError: If another process watches them, or a run failed for good while looking once.
    """
    loader: Any = context.config_loader
    settings = check_parameters(loader["parameters"]).watch
    token = (loader["credentials"].get("watch") or {}).get("token") or ""
    folder = context.project_path / loader["globals"]["stores"]["cache"] / "watch"
    catalog: Any = context.catalog

    def is_stale() -> bool:
        try:
            scored_with = catalog["results@latest"].manifest()["model"]["version"]
        except ChurnError:
            return True  # nothing is published yet
        return bool(scored_with != catalog["reigning_version"].load())

    job = KedroJob(options)
    tables: dict[Kind, Callable[[], Mapping[str, str]]] = {
        "training": catalog["training_accounts@fingerprint"].signatures,
        "inference": catalog["scoring_accounts@fingerprint"].signatures,
    }
    with alone(folder):
        watcher = Watcher(tables, job, is_stale, settings, open_store(folder.as_posix()), notifier_of(context))
        if not once:
            watch(watcher, job, settings, token)
            return
        try:
            while (wait := watcher.look()) is not None:
                time.sleep(wait)
        finally:
            job.stop()
