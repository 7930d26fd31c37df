"""The inputs that `churn watch` checks in a project."""

import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kedro.framework.context import KedroContext

from churn.config import check_parameters, idle_parameters
from churn.errors import ChurnError
from churn.operations.kedro_job import KedroJob, Kind
from churn.operations.notifications import notifier_of
from churn.operations.status.tracked import moment
from churn.operations.watch import Watcher
from churn.operations.watch_facts import Facts, Published
from churn.operations.watch_server import watch
from churn.operations.watch_state import alone
from churn.registry.fingerprint import fingerprint_of_training

logger = logging.getLogger(__name__)

# Keys beside the names of files, which never have this form.
CODE, CHAMPION = "(code and parameters)", "(champion)"


class LastKnown:
    """The champion's version, or the last known one while MLflow does not answer: scoring also works without MLflow.

    Attributes:
        known: The version that was known last; ``None`` if there was none.
    """

    def __init__(self, ask: Callable[[], str | None]) -> None:
        """Set the function that returns the version."""
        self._ask = ask
        self.known: str | None = None

    def __call__(self) -> str | None:
        """Return the version; ``None`` if there is no champion.

        Raises:
            Exception: From the function, if no version is known yet.
        """
        try:
            self.known = self._ask()
        except Exception as error:
            if self.known is None:
                raise
            logger.warning("MLflow does not return the champion, still using version %s: %s", self.known, error)
        return self.known


class CurrentScores:
    """The current scores, as far as they can be read."""

    def __init__(self, results: Any, trained_at: Callable[[str], float | None]) -> None:
        """Set the data set of the results, and the function that returns when a version of the model was trained."""
        self._results, self._trained_at = results, trained_at
        self._times: dict[str, float] = {}

    def __call__(self, champion: str | None) -> Published | None:
        """Return them; ``None`` if nothing was published yet.

        Raises:
            Exception: If the results cannot be read.
        """
        if not self._results.exists():
            return None
        manifest = self._results.manifest()
        run_id = str(manifest["run_id"])
        health = self._health(run_id)
        rows, alarms = manifest.get("rows"), health.get("alarms")
        return Published(
            run_id=run_id,
            at=moment(manifest.get("published_at")),
            rows=rows if isinstance(rows, int) else None,
            health=str(health.get("status")) if health else None,
            alarms=len(alarms) if isinstance(alarms, list) else None,
            champion_since=self._since(champion) if champion else None,
        )

    def _health(self, run_id: str) -> dict[str, Any]:
        try:
            health = self._results.document(run_id, "health_metrics.json")
        except ValueError:  # not monitored yet
            return {}
        return health if isinstance(health, dict) else {}

    def _since(self, champion: str) -> float | None:
        try:
            if champion not in self._times and (at := self._trained_at(champion)) is not None:
                self._times = {champion: at}
        except Exception as error:  # scoring also works without MLflow
            logger.debug("MLflow does not return the time of version %s: %s", champion, error)
        return self._times.get(champion)


class Waiting:
    """Says once why scoring waits, although there are accounts to score: gates have refused the only model."""

    def __init__(self, model_name: str) -> None:
        """Set the name of the registered model."""
        self._model, self._said = model_name, ""

    def tell(self) -> None:
        """Log it, unless it was the last that was said; nothing if no model was trained yet."""
        from churn.registry.uri import last_unpromoted

        try:
            refused = last_unpromoted(self._model)
        except Exception as error:  # it is only told
            logger.debug("MLflow does not return the version that was trained last: %s", error)
            return
        said = str(refused or "")
        if said and said != self._said:
            logger.warning("Inference waits, as there is no champion: %s", said)
        self._said = said


def watch_project(context: KedroContext, job: KedroJob, *, once: bool = False) -> None:
    """Run the trigger on the inputs of training, scoring and monitoring in a project.

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
    model_name = loader["globals"]["model"]["name"]
    folder = context.project_path / loader["globals"]["stores"]["cache"] / "watch"
    catalog: Any = context.catalog

    def training() -> Mapping[str, str]:
        files = catalog["training_accounts@fingerprint"].signatures()
        # The run itself hashes the content of the table; the signatures suffice here.
        rest = fingerprint_of_training({"sha256": ""}, known.accounts, known.feature_engineering, known.training)
        return {**files, CODE: rest.sha256} if files else {}

    waiting = Waiting(model_name)
    reigning = LastKnown(catalog["reigning_version"].load)

    def inference() -> Mapping[str, str]:
        files = catalog["scoring_accounts@fingerprint"].signatures()
        champion = reigning() if files else None
        if files and champion is None:
            waiting.tell()
        return {**files, CHAMPION: champion} if champion else {}

    def outcomes() -> Mapping[str, str]:
        found: Mapping[str, str] = catalog["scoring_outcomes@fingerprint"].signatures()
        return found

    def monitoring() -> Mapping[str, str]:
        files = outcomes()
        return files if files and catalog["results@latest"].exists() else {}

    def trained_at(version: str) -> float | None:
        import mlflow

        created = mlflow.MlflowClient().get_model_version(model_name, version).creation_timestamp
        return None if created is None else float(created) / 1000

    scores = CurrentScores(catalog["results@latest"], trained_at)

    def facts() -> Facts:
        if reigning.known is None:
            with suppress(Exception):  # the look itself says so
                reigning()
        return Facts(outcomes(), scores(reigning.known))

    sources: dict[Kind, Callable[[], Mapping[str, str]]] = {
        "training": training,
        "inference": inference,
        "monitoring": monitoring,
    }
    job.folder = folder
    with alone(folder):
        watcher = Watcher(sources, job, settings, folder, notifier_of(context), facts=facts)
        if not once:
            watch(watcher, job, settings, token)
            return
        # A run must not go on without the trigger if that is stopped.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            _look_until_done(watcher)
        finally:
            job.stop()
            watcher.reap()
            signal.signal(signal.SIGTERM, before)
        if watcher.given_up:
            raise ChurnError("; ".join(watcher.given_up))


def _look_until_done(watcher: Watcher) -> None:
    """Look, and run what is due, until nothing is pending.

    Raises:
        Exception: From the last look, if it failed; the runs that could be started have ended by then.
    """
    while True:
        fault: Exception | None = None
        wait: float | None = None
        try:
            wait = watcher.look()
        except Exception as error:
            fault = error
        if watcher.wait():
            continue
        if fault is not None:
            raise fault
        if wait is None:
            return
        time.sleep(wait)
