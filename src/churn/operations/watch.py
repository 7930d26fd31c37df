"""The trigger behind `churn watch`: starts training and scoring when their inputs change.

It compares the current state of the inputs, files and everything else that a result depends on, with the state that was handled
last, and starts a run once the state has not changed for a while. An event only causes an immediate check, so events may arrive
twice, late or not at all. The trigger stores its progress and continues after a restart.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from churn.config import Watch
from churn.errors import ChurnError, NotTrackedError
from churn.operations.kedro_job import KINDS, Job, Kind
from churn.operations.notifications import Event, Notifier
from churn.stores import Store

logger = logging.getLogger(__name__)
STATE, DEAD, LOCK = "state.json", "dead_letters.json", "lock"
# Exit codes of a run that is complete and not repeated.
DONE = (0, NotTrackedError.exit_code)


class Progress(BaseModel):
    """Progress of the trigger with one kind of run.

    Attributes:
        seen: Hash of the inputs at the last check; ``None`` if there were none.
        since: Time at which `seen` was first seen, in seconds since 1970.
        handled: Hash of the inputs that were handled last.
        attempts: Number of failed attempts with the inputs in `seen`.
        not_before: Earliest time of the next attempt, in seconds since 1970.
    """

    seen: str | None = None
    since: float = 0.0
    handled: str | None = None
    attempts: int = 0
    not_before: float = 0.0


class Watcher:
    """Decides which runs to start, and starts one at a time.

    Attributes:
        progress: Progress with each kind of run.
        given_up: Messages about the runs that were given up since the start.
    """

    def __init__(
        self,
        sources: Mapping[Kind, Callable[[], Mapping[str, str]]],
        job: Job,
        settings: Watch,
        store: Store,
        notifier: Notifier,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set the sources and the job.

        Args:
            sources: For each kind of run, a function that returns the signatures of its current inputs by name; an empty
                mapping if there is nothing to run on.
            job: Starts a run and waits for it.
            settings: Waits and attempts.
            store: Folder with the state of the trigger.
            notifier: Sends an event if a run is given up.
            clock: Returns the seconds since 1970.
        """
        self._sources, self._job, self._settings = sources, job, settings
        self._store, self._notifier, self._clock = store, notifier, clock
        noted = store.read_json(STATE) if store.exists(STATE) else {}
        self.progress = {kind: Progress.model_validate(noted.get(kind, {})) for kind in KINDS}
        self.given_up: list[str] = []

    def look(self) -> float | None:
        """Check the inputs of every kind of run, and start the runs that are due.

        Returns:
            Seconds until a run is due; ``None`` if none is pending.
        """
        waits = [self._deal_with(kind) for kind in KINDS]
        return min((wait for wait in waits if wait is not None), default=None)

    def _deal_with(self, kind: Kind) -> float | None:
        state, now = self.progress[kind], self._clock()
        made_of = self._sources[kind]()
        there = hash_of(made_of) if made_of else None
        if there != state.seen:
            state.seen, state.since, state.attempts, state.not_before = there, now, 0, 0.0
            self._note()
        if there is None or there == state.handled:
            return None
        ready = max(state.since + self._settings.quiet, state.not_before)
        if now < ready:
            return ready - now
        logger.info("%s starts", kind.capitalize())
        code = self._job(kind)
        if code is None:
            return None
        if code in DONE:
            state.handled, state.attempts = there, 0
            self._note()
            return None
        return self._failed(kind, there, code, sorted(made_of))

    def _failed(self, kind: Kind, there: str, code: int, made_of: list[str]) -> float | None:
        state = self.progress[kind]
        state.attempts += 1
        if state.attempts < self._settings.attempts:
            wait = self._settings.backoff * 2.0 ** (state.attempts - 1)
            state.not_before = self._clock() + wait
            logger.warning("%s ended with exit code %s; next attempt in %g seconds", kind.capitalize(), code, wait)
            self._note()
            return wait
        record = {
            "kind": kind,
            "at": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            "exit_code": code,
            "attempts": state.attempts,
            "made_of": made_of,
        }
        self._store.update_json(lambda known: [*(known or []), record], DEAD)
        text = f"{kind} was given up after {state.attempts} attempts, the last with exit code {code}, until something changes"
        logger.error("%s", text)
        self.given_up.append(text)
        self._notifier.tell(Event("failed", f"{text}."))
        state.handled, state.attempts = there, 0
        self._note()
        return None

    def _note(self) -> None:
        self._store.write_json({kind: state.model_dump() for kind, state in self.progress.items()}, STATE)


class LastKnown:
    """The champion's version, or the last known one while MLflow does not answer: scoring also works without MLflow."""

    def __init__(self, ask: Callable[[], str | None]) -> None:
        """Set the function that returns the version."""
        self._ask = ask
        self._known: str | None = None

    def __call__(self) -> str | None:
        """Return the version; ``None`` if there is no champion.

        Raises:
            Exception: From the function, if no version is known yet.
        """
        try:
            self._known = self._ask()
        except Exception as error:
            if self._known is None:
                raise
            logger.warning("MLflow does not return the champion, still using version %s: %s", self._known, error)
        return self._known


def hash_of(made_of: Mapping[str, str]) -> str:
    """Return one hash of the signatures of all inputs."""
    return hashlib.sha256(json.dumps(sorted(made_of.items())).encode()).hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the trigger, so that two of them cannot start the same runs.

    Raises:
        ChurnError: If another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ChurnError(f"churn watch is already running with the state in {folder}; stop it first") from None
        yield
