"""Training and scoring as soon as there is something new: what `churn watch` does.

It looks at what is there, not at what it is told: an event only makes it look at once. So events may come twice, late or not at
all, and after a restart it goes on where it was. What is there, files and whatever else the result is made of, is compared with
what was dealt with last; it is taken when nothing of it has changed for a while.
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
# Exit codes after which there is nothing left to do.
DONE = (0, NotTrackedError.exit_code)


class Progress(BaseModel):
    """How far the watch is with a kind of run.

    Attributes:
        seen: What was there at the last look, as a hash; none for nothing.
        since: Since when, in seconds since 1970.
        handled: What was dealt with last.
        attempts: How often that has failed.
        not_before: When it may be tried next, in seconds since 1970.
    """

    seen: str | None = None
    since: float = 0.0
    handled: str | None = None
    attempts: int = 0
    not_before: float = 0.0


class Watcher:
    """Decides what to do, one thing at a time.

    Attributes:
        progress: How far it is.
        given_up: What it has given up since it was started.
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
        """Declare what is watched.

        Args:
            sources: For each kind what it would be made of now: what tells whether that has changed, by its name. Empty where
                there is nothing to be done.
            job: Runs it.
            settings: How long to wait, and how often to try.
            store: Where it is noted how far the watch is.
            notifier: Tells of what was given up.
            clock: Seconds since 1970.
        """
        self._sources, self._job, self._settings = sources, job, settings
        self._store, self._notifier, self._clock = store, notifier, clock
        noted = store.read_json(STATE) if store.exists(STATE) else {}
        self.progress = {kind: Progress.model_validate(noted.get(kind, {})) for kind in KINDS}
        self.given_up: list[str] = []

    def look(self) -> float | None:
        """Look at everything, and run what is to be run; gives in how many seconds to look again, if before long."""
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
        logger.info("%s begins", kind.capitalize())
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
            logger.warning("%s ended with exit code %s; again in %g seconds", kind.capitalize(), code, wait)
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
    """The champion, or the one that was last known while MLflow does not answer: scores are published without it too."""

    def __init__(self, ask: Callable[[], str | None]) -> None:
        """Declare how it is asked for."""
        self._ask = ask
        self._known: str | None = None

    def __call__(self) -> str | None:
        """Its version; ``None`` where there is none.

        Raises:
            Exception: As asking did, where none was known before.
        """
        try:
            self._known = self._ask()
        except Exception as error:
            if self._known is None:
                raise
            logger.warning("The champion is taken for version %s still: %s", self._known, error)
        return self._known


def hash_of(made_of: Mapping[str, str]) -> str:
    """One hash for all that something is made of."""
    return hashlib.sha256(json.dumps(sorted(made_of.items())).encode()).hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse a second watch of the same project; two would train at the same time.

    Raises:
        ChurnError: If there is one already.
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
            raise ChurnError(f"churn watch runs already with the state in {folder}; stop that one first") from None
        yield
