"""The parts of the state of a project. Each is read on its own: what cannot be read is unknown, with the reason."""

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from churn.config import check_parameters
from churn.config.health import Status
from churn.config.secrets import REDACTION
from churn.errors import ChurnError
from churn.operations.status.tracked import Tracked, moment, read_tracked
from churn.services.database_file import anchored
from churn.stores import Store, open_store

# Seconds after which a part that has not answered is unknown.
PATIENCE = 15.0
# Files of results, as `churn.scoring.pointer` names them; importing that takes a second.
POINTER, MANIFEST, HEALTH = "latest.json", "manifest.json", "health_metrics.json"
# Folders of the cache that are the project's; tools keep theirs beside them.
OWN_CACHE = ("models", "runs", "watch", "logs", "serve")
HOUR = 3600.0


class Unknown(Exception):  # noqa: N818, not an error of the command
    """A part that cannot be read; the message says why."""


def state_of(loader: Any, project: Path, now: float) -> dict[str, Any]:
    """Return the state of a project and its environment.

    Args:
        loader: The configuration.
        project: Folder of the project.
        now: Present time, in seconds since 1970.

    Returns:
        ``champion``, ``last_run``, ``scores``, ``health`` and ``disk``, each as plain JSON types, ``None`` if there is none
        yet, or ``{"unknown": reason}``; ``not_promoted``, the version that was trained last, if it was not promoted and there
        is no champion; ``alarms``, a list of sentences; ``in_order``, whether the scores can be used: they and the champion
        are known, no alarm is open, and nothing that is asked here is unknown. Times are seconds since 1970.

    Raises:
        ChurnError: If the configuration itself cannot be read.
    """
    known = loader["globals"]
    credentials = _credentials(loader)
    address = anchored(loader["mlflow"]["server"]["mlflow_tracking_uri"], project)
    REDACTION.learn(credentials, address)
    settings = check_parameters(loader["parameters"])
    stores = {
        name: _place(known["stores"].get(name), project)
        for name in ("staging", "artifacts", "results", "cache")
        if known["stores"].get(name)
    }
    results = _Results(stores["results"], credentials.get(known["credentials"]["results"] or ""))

    def tracked() -> Tracked:
        names = known["model"]
        return read_tracked(address, names["experiment"], names["name"], credentials.get("mlflow") or {})

    parts: dict[str, Callable[[], Any]] = {
        "tracked": tracked,
        "published": results.published,
        "letters": lambda: _letters(Path(stores["cache"]) / "watch/dead_letters.json"),
        "disk": lambda: _disk(stores, credentials, known["credentials"], project),
    }
    found = _together(parts)
    mlflow, published = found["tracked"], found["published"]
    state: dict[str, Any] = {
        "champion": _part(mlflow, lambda: mlflow.champion and mlflow.champion._asdict()),
        "not_promoted": _part(mlflow, lambda: mlflow.unpromoted and mlflow.unpromoted._asdict()),
        "last_run": _part(mlflow, lambda: mlflow.last_run and mlflow.last_run._asdict()),
        "scores": _part(published, lambda: published and published["scores"]),
        "health": _part(published, lambda: published and published["health"]),
        "disk": _part(found["disk"], lambda: found["disk"]),
    }
    state["alarms"] = _alarms(state, mlflow, found["letters"], settings.watch.scores_within, now)
    asked = [state[name] for name in ("champion", "last_run", "scores", "disk")]
    state["in_order"] = (
        bool(state["champion"] and state["scores"])
        and not state["alarms"]
        and not any(is_unknown(part) for part in (*asked, state["health"] or {}))
    )
    return state


def is_unknown(part: Any) -> bool:
    """Return whether a part of the state could not be read."""
    return isinstance(part, Mapping) and "unknown" in part


def _together(parts: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return all parts, read at the same time; those that fail or do not answer are `Unknown`."""
    found: dict[str, Any] = {name: Unknown(f"no answer within {PATIENCE:g} seconds") for name in parts}

    def read(name: str, part: Callable[[], Any]) -> None:
        try:
            found[name] = part()
        except Exception as error:  # whatever it is, the other parts are shown
            said = (str(error) or type(error).__name__).splitlines()[0]
            known = isinstance(error, ChurnError | Unknown)
            found[name] = Unknown(REDACTION.text(said if known else f"{type(error).__name__}: {said}"))

    # Daemons, so that one that waits does not keep the command from ending.
    threads = [threading.Thread(target=read, args=each, daemon=True) for each in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return dict(found)


def _part(source: Any, read: Callable[[], Any]) -> Any:
    return {"unknown": str(source)} if isinstance(source, Unknown) else read()


def _credentials(loader: Any) -> dict[str, Any]:
    from kedro.config import MissingConfigException

    try:
        found: dict[str, Any] = loader["credentials"]
    except MissingConfigException:
        return {}
    return found


def _place(path: Any, project: Path) -> str:
    return str(path) if "://" in str(path) else (project / str(path)).as_posix()


class _Results:
    """The published results."""

    def __init__(self, place: str, credentials: Any) -> None:
        self._place, self._credentials = place, credentials

    def published(self) -> dict[str, Any] | None:
        """Return scores and health; ``None`` if nothing was published.

        Raises:
            ChurnError: If they cannot be read.
        """
        store = open_store(self._place, self._credentials)
        if not store.exists(POINTER):
            return None
        run_id = _text(store.read_json(POINTER), "run_id", store.address(POINTER))
        manifest = store.read_json(f"{run_id}/{MANIFEST}")
        if not isinstance(manifest, dict):
            raise Unknown(f"{store.address(f'{run_id}/{MANIFEST}')} is damaged: it is not a JSON object")
        model = manifest.get("model")
        scores = {
            "run_id": run_id,
            "folder": store.address(run_id),
            "published": moment(manifest.get("published_at")),
            "as_of": manifest.get("as_of"),
            "rows": _whole(manifest.get("rows")),
            "at_risk": _whole(manifest.get("at_risk")),
            "to_act_on": _whole(manifest.get("to_act_on")),
            "model_version": model.get("version") if isinstance(model, dict) else None,
        }
        return {"scores": scores, "health": self._health(store, run_id)}

    def _health(self, store: Store, run_id: str) -> dict[str, Any] | None:
        name = f"{run_id}/{HEALTH}"
        if not store.exists(name):
            return None
        try:
            health = store.read_json(name)
        except ChurnError as damage:
            return {"unknown": REDACTION.text(str(damage))}
        if not isinstance(health, dict) or health.get("status") not in get_args(Status):
            return {"unknown": f"{store.address(name)} is damaged: it has no status"}
        real = health.get("realised_performance")
        return {
            "status": health["status"],
            "alarms": [str(each) for each in health.get("alarms") or []],
            "to_watch": [str(each) for each in health.get("to_watch") or []],
            "outcomes": _whole(real.get("outcomes")) if isinstance(real, dict) else 0,
            "roc_auc": real.get("roc_auc") if isinstance(real, dict) else None,
            "measured": _modified(store, run_id, name),
        }


def _modified(store: Store, run_id: str, name: str) -> float | None:
    with suppress(Exception):  # it only tells how old the report is
        return store.entries(run_id)[name].modified
    return None


def _text(document: Any, key: str, source: str) -> str:
    import uuid

    value = document.get(key) if isinstance(document, dict) else None
    with suppress(ValueError):
        if str(uuid.UUID(str(value))) == value:
            return str(value)
    raise Unknown(f"{source} is damaged: it names no run")


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _letters(file: Path) -> list[dict[str, Any]]:
    """Return the runs that the trigger has given up; the file is not changed if it is damaged."""
    try:
        letters = json.loads(file.read_bytes())
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise Unknown(f"{file} is damaged: {error}") from None
    if not isinstance(letters, list):
        raise Unknown(f"{file} is damaged: it is not a list")
    return [letter for letter in letters if isinstance(letter, dict)]


def _disk(stores: Mapping[str, str], credentials: Mapping[str, Any], names: Any, project: Path) -> dict[str, Any]:
    used: dict[str, Any] = {}
    for name, place in stores.items():
        if name == "cache":
            folders = [Path(place) / each for each in OWN_CACHE]
            used[name] = sum(_bytes_in(folder) for folder in folders)
        elif "://" in place:
            entry = names.get("staging" if name == "staging" else "results")
            try:
                used[name] = sum(
                    each.bytes for each in open_store(place, credentials.get(entry or "")).entries().values()
                )
            except Exception as error:
                used[name] = {"unknown": REDACTION.text(f"{type(error).__name__}: {error}".splitlines()[0])}
        else:
            used[name] = _bytes_in(Path(place))
    return {"used": used, "free": shutil.disk_usage(project).free}


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # removed in the meantime
            if path.is_file():
                total += path.lstat().st_size
    return total


def _alarms(state: Mapping[str, Any], mlflow: Any, letters: Any, scores_within: float | None, now: float) -> list[str]:
    """Return the open alarms as sentences without a full stop."""
    found = []
    health, scores, last = state["health"], state["scores"], state["last_run"]
    if health and not is_unknown(health) and health["status"] == "alarm":
        found += health["alarms"]
    published = scores.get("published") if scores else None
    if scores_within and published is not None and now - published > scores_within * HOUR:
        found.append(f"The scores are older than watch.scores_within, {scores_within:g} hours")
    if last and last.get("status") in ("FAILED", "KILLED"):
        found.append(f"The last run, {last['name']}, {'has failed' if last['status'] == 'FAILED' else 'was stopped'}")
    if isinstance(letters, Unknown):
        return [*found, f"Which runs churn watch has given up is not known: {letters}"]
    done = {
        "training": None if isinstance(mlflow, Unknown) else mlflow.last_trained,
        "inference": published,
        "monitoring": health.get("measured") if health else None,
    }
    for kind, at in done.items():
        given_up = [each for each in letters if each.get("kind") == kind and (moment(each.get("at")) or 0) > (at or 0)]
        if given_up:
            newest = given_up[-1]
            found.append(
                f"churn watch has given up {kind} on {str(newest.get('at'))[:16]} after {newest.get('attempts')} attempts, and "
                "none has succeeded since (docs/runbooks.md)"
            )
    return found
