"""Champion and last run, read from MLflow's database or server without importing MLflow, which takes seconds."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from churn.errors import ChurnError
from churn.registry.unpromoted import CHAMPION as ALIAS
from churn.registry.unpromoted import LAST_TAG, Unpromoted, card_of
from churn.services.database_file import file_of

SINCE_TAG = "champion_since"
PARENT_TAG = "mlflow.parentRunId"
# Seconds to wait for an answer of MLflow's server, or for a process that writes to its database.
TIMEOUT = 3.0
# Runs to look at for one that is no trial of a search.
MOST_RUNS = 200
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# The metrics of the champion to show, and the names under which earlier versions logged them.
METRICS = {
    "roc_auc": ("test_roc_auc",),
    "low": ("interval/test_roc_auc_low", "test_roc_auc_low"),
    "high": ("interval/test_roc_auc_high", "test_roc_auc_high"),
}


class Champion(NamedTuple):
    """The champion.

    Attributes:
        version: Number of the version.
        trained: When it was trained, in seconds since 1970.
        since: When it became the champion, in seconds since 1970; ``None`` if an earlier version of the project promoted it.
        roc_auc: ROC AUC on its test rows, and the ends of the confidence interval; ``None`` where not known.
    """

    version: str
    trained: float | None
    since: float | None
    roc_auc: float | None = None
    low: float | None = None
    high: float | None = None


class LastRun(NamedTuple):
    """The run that started last.

    Attributes:
        name: Its name in MLflow.
        status: ``FINISHED``, ``FAILED``, ``KILLED`` or ``RUNNING``.
        started: When it started, in seconds since 1970.
        ended: When it ended; ``None`` while it goes on.
    """

    name: str
    status: str
    started: float | None
    ended: float | None


class Tracked(NamedTuple):
    """What MLflow knows.

    Attributes:
        experiment: Id of the experiment; ``None`` if nothing was tracked yet.
        champion: The champion; ``None`` if there is none.
        last_run: The last run; ``None`` if there is none.
        last_trained: When the newest version was registered, in seconds since 1970; ``None`` if there is none.
        unpromoted: The version that was trained last, if it was not promoted and there is no champion; ``None`` otherwise.
    """

    experiment: str | None = None
    champion: Champion | None = None
    last_run: LastRun | None = None
    last_trained: float | None = None
    unpromoted: Unpromoted | None = None


def read_tracked(address: str, experiment: str, model: str, credentials: Mapping[str, str]) -> Tracked:
    """Return champion and last run.

    Args:
        address: Address of MLflow: a SQLite file, or a server.
        experiment: Name of the experiment.
        model: Name of the registered model.
        credentials: ``MLFLOW_TRACKING_USERNAME`` and ``_PASSWORD``, which the environment may set too.

    Raises:
        ChurnError: If MLflow does not answer, or its database cannot be read.
    """
    path = file_of(address)
    if path is not None:
        return _from_file(path, experiment, model)
    if address.startswith(("http://", "https://")):
        return _Server(address, credentials).tracked(experiment, model)
    raise ChurnError("only a SQLite file or a server of MLflow is read here")


def _from_file(path: Path, experiment: str, model: str) -> Tracked:
    if not path.exists():
        return Tracked()
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=TIMEOUT)) as database:
            found = database.execute(
                "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'", (experiment,)
            ).fetchone()
            identity = None if found is None else str(found[0])
            (newest,) = database.execute(
                "SELECT max(creation_time) FROM model_versions WHERE name = ?", (model,)
            ).fetchone()
            champion = _champion_of(database, model)
            return Tracked(
                identity,
                champion,
                None if found is None else _last_run_of(database, found[0]),
                _seconds(newest),
                _unpromoted_of(database, model) if champion is None else None,
            )
    except sqlite3.Error as error:
        raise ChurnError(f"MLflow's database {path} cannot be read: {error}") from error


def _champion_of(database: sqlite3.Connection, model: str) -> Champion | None:
    found = database.execute(
        "SELECT v.version, v.creation_time, v.run_id FROM registered_model_aliases a JOIN model_versions v "
        "ON v.name = a.name AND v.version = a.version WHERE a.name = ? AND a.alias = ?",
        (model, ALIAS),
    ).fetchone()
    if found is None:
        return None
    version, created, run_id = found
    since = database.execute(
        "SELECT value FROM model_version_tags WHERE name = ? AND version = ? AND key = ?", (model, version, SINCE_TAG)
    ).fetchone()
    metrics = database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run_id,))
    return _champion(version, created, since and since[0], dict(metrics.fetchall()))


def _unpromoted_of(database: sqlite3.Connection, model: str) -> Unpromoted | None:
    found = database.execute(
        "SELECT v.version, v.run_id, r.artifact_uri FROM registered_model_tags t JOIN model_versions v ON v.name = t.name "
        "AND CAST(v.version AS TEXT) = t.value LEFT JOIN runs r ON r.run_uuid = v.run_id WHERE t.name = ? AND t.key = ?",
        (model, LAST_TAG),
    ).fetchone()
    if found is None:
        return None
    version, run_id, artifacts = found
    tags = database.execute(
        "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", (model, version)
    )
    return Unpromoted.of(str(version), dict(tags.fetchall()), card_of(artifacts, str(run_id)))


def _last_run_of(database: sqlite3.Connection, experiment: int) -> LastRun | None:
    found = database.execute(
        "SELECT name, status, start_time, end_time FROM runs r WHERE experiment_id = ? AND lifecycle_stage = 'active' AND NOT "
        "EXISTS (SELECT 1 FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = ?) ORDER BY start_time DESC LIMIT 1",
        (experiment, PARENT_TAG),
    ).fetchone()
    return None if found is None else LastRun(str(found[0]), str(found[1]), _seconds(found[2]), _seconds(found[3]))


class _Server:
    """MLflow's server, asked by its REST interface."""

    def __init__(self, address: str, credentials: Mapping[str, str]) -> None:
        self._address = f"{address.rstrip('/')}/api/2.0/mlflow/"
        user, password = (
            os.environ.get(name) or credentials.get(name) or ""
            for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        )
        import requests

        self._session = requests.Session()
        self._session.auth = (user, password) if user else None
        # As MLflow's own client reads them.
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        self._session.headers.update({"Authorization": f"Bearer {token}"} if token and not user else {})
        self._verify: str | bool = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True

    def tracked(self, experiment: str, model: str) -> Tracked:
        found = self._ask("experiments/get-by-name", experiment_name=experiment)
        identity = None if found is None else str(found["experiment"]["experiment_id"])
        entry = self._ask("registered-models/alias", name=model, alias=ALIAS)
        champion = None
        if entry is not None:
            version = entry["model_version"]
            run = self._ask("runs/get", run_id=version.get("run_id") or "")
            metrics = [] if run is None else run["run"].get("data", {}).get("metrics", [])
            champion = _champion(
                version["version"],
                version.get("creation_timestamp"),
                _tag(version.get("tags"), SINCE_TAG),
                {each["key"]: each.get("value") for each in metrics},
            )
        registered = self._ask("registered-models/get", name=model) or {}
        latest = registered.get("registered_model", {}).get("latest_versions", [])
        newest = max((int(each.get("creation_timestamp", 0)) for each in latest), default=None)
        last = _tag(registered.get("registered_model", {}).get("tags"), LAST_TAG) if champion is None else None
        return Tracked(
            identity,
            champion,
            None if identity is None else self._last_run(identity),
            _seconds(newest),
            None if last is None else self._unpromoted(model, last),
        )

    def _unpromoted(self, model: str, version: str) -> Unpromoted | None:
        entry = (self._ask("model-versions/get", name=model, version=version) or {}).get("model_version", {})
        run_id = str(entry.get("run_id") or "")
        run = self._ask("runs/get", run_id=run_id) if run_id else None
        artifacts = None if run is None else run["run"]["info"].get("artifact_uri")
        tags = {each["key"]: each.get("value", "") for each in entry.get("tags") or []}
        return Unpromoted.of(version, tags, card_of(artifacts, run_id))

    def _last_run(self, experiment: str) -> LastRun | None:
        wanted = {
            "experiment_ids": [experiment],
            "max_results": MOST_RUNS,
            "order_by": ["attributes.start_time DESC"],
        }
        for run in (self._ask("runs/search", wanted) or {}).get("runs", []):
            if _tag(run.get("data", {}).get("tags"), PARENT_TAG) is None:
                info = run["info"]
                return LastRun(
                    str(info.get("run_name", "")),
                    str(info["status"]),
                    _seconds(info.get("start_time")),
                    _seconds(info.get("end_time")),
                )
        return None

    def _ask(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """Return the answer; ``None`` if what is asked for does not exist.

        Raises:
            ChurnError: If the server does not answer, or refuses.
        """
        import requests

        try:
            if body is None:
                answer = self._session.get(self._address + path, params=query, timeout=TIMEOUT, verify=self._verify)
            else:
                answer = self._session.post(self._address + path, json=body, timeout=TIMEOUT, verify=self._verify)
            content = answer.json() if answer.headers.get("Content-Type", "").startswith("application/json") else {}
        except (requests.RequestException, ValueError) as error:
            raise ChurnError(f"MLflow does not answer: {type(error).__name__}") from error
        if answer.status_code in (401, 403):
            raise ChurnError("MLflow refuses the user; check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        if isinstance(content, dict) and content.get("error_code") in ABSENT:
            return None
        if not answer.ok or not isinstance(content, dict):
            raise ChurnError(f"MLflow answers with {answer.status_code}")
        return content


def _champion(version: Any, created: Any, since: Any, metrics: Mapping[str, Any]) -> Champion:
    figures = {
        name: next((float(metrics[key]) for key in keys if isinstance(metrics.get(key), int | float)), None)
        for name, keys in METRICS.items()
    }
    return Champion(str(version), _seconds(created), moment(since), **figures)


def _tag(tags: Any, key: str) -> str | None:
    return next((each.get("value") for each in tags or [] if each.get("key") == key), None)


def _seconds(milliseconds: Any) -> float | None:
    try:
        return float(milliseconds) / 1000 if milliseconds else None
    except (TypeError, ValueError):
        return None


def moment(text: Any) -> float | None:
    """Return a time in ISO 8601 as seconds since 1970; ``None`` if it is none."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
