"""What `churn watch` watches in a project."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from kedro.framework.context import KedroContext

from churn.config import check_parameters
from churn.errors import ChurnError
from churn.operations.kedro_job import KedroJob, Kind
from churn.operations.notifications import notifier_of
from churn.operations.watch import LastKnown, Watcher, alone
from churn.operations.watch_server import watch
from churn.registry.fingerprint import fingerprint_of_training
from churn.stores import open_store

# Beside the names of files, which never look like this.
CODE, CHAMPION = "(code and parameters)", "(champion)"


def watch_project(context: KedroContext, job: KedroJob, *, once: bool = False) -> None:
    """Watch what a project trains on and what it scores.

    Args:
        context: The project and its environment.
        job: Runs in the same.
        once: Look once only.

    Raises:
        ChurnError: If another process watches them, or a run was given up while looking once.
    """
    loader: Any = context.config_loader
    known = check_parameters(loader["parameters"])
    settings = known.watch
    token = (loader["credentials"].get("watch") or {}).get("token") or ""
    folder = context.project_path / loader["globals"]["stores"]["cache"] / "watch"
    catalog: Any = context.catalog

    def training() -> Mapping[str, str]:
        files = catalog["training_accounts@fingerprint"].signatures()
        # The content of the table is left to the run: here it need not be read.
        rest = fingerprint_of_training({"sha256": ""}, known.accounts, known.feature_engineering, known.training)
        return {**files, CODE: rest.sha256} if files else {}

    reigning = LastKnown(catalog["reigning_version"].load)

    def inference() -> Mapping[str, str]:
        files = catalog["scoring_accounts@fingerprint"].signatures()
        champion = reigning() if files else None
        return {**files, CHAMPION: champion} if champion else {}

    sources: dict[Kind, Callable[[], Mapping[str, str]]] = {"training": training, "inference": inference}
    with alone(folder):
        watcher = Watcher(sources, job, settings, open_store(folder.as_posix()), notifier_of(context))
        if not once:
            watch(watcher, job, settings, token)
            return
        try:
            while (wait := watcher.look()) is not None:
                time.sleep(wait)
        finally:
            job.stop()
        if watcher.given_up:
            raise ChurnError("; ".join(watcher.given_up))
