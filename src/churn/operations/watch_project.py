"""The inputs that `churn watch` checks in a project."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from kedro.framework.context import KedroContext

from churn.config import check_parameters, idle_parameters
from churn.errors import ChurnError
from churn.operations.kedro_job import KedroJob, Kind
from churn.operations.notifications import notifier_of
from churn.operations.watch import LastKnown, Watcher, alone
from churn.operations.watch_server import watch
from churn.registry.fingerprint import fingerprint_of_training
from churn.stores import open_store

logger = logging.getLogger(__name__)

# Keys beside the names of files, which never have this form.
CODE, CHAMPION = "(code and parameters)", "(champion)"


def watch_project(context: KedroContext, job: KedroJob, *, once: bool = False) -> None:
    """Run the trigger on the training and the scoring inputs of a project.

    Args:
        context: Context of the project and its environment.
        job: Starts runs in the same environment.
        once: Check once, start the runs that are due, and return.

    Raises:
        ChurnError: If another process runs the trigger, or, with `once`, a run was given up.
    """
    loader: Any = context.config_loader
    known = check_parameters(loader["parameters"])
    settings = known.watch
    for name, sentence in idle_parameters(known, own_table=False).items():
        if name.startswith("watch."):  # its runs name the others
            logger.warning(sentence)
    token = (loader["credentials"].get("watch") or {}).get("token") or ""
    folder = context.project_path / loader["globals"]["stores"]["cache"] / "watch"
    catalog: Any = context.catalog

    def training() -> Mapping[str, str]:
        files = catalog["training_accounts@fingerprint"].signatures()
        # The run itself hashes the content of the table; the signatures suffice here.
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
