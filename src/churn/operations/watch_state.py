"""What `churn watch` keeps between restarts: its progress, and the runs that it gave up."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import BaseModel, Field

from churn.errors import ChurnError
from churn.operations.kedro_job import Kind
from churn.stores.state import StateFile

STATE, DEAD, LOCK = "state.json", "dead_letters.json", "lock"
# Records of runs that were given up; older ones are dropped.
MOST_LETTERS = 1_000
# Seconds since 1970.
Moment = Annotated[float, Field(allow_inf_nan=False)]


class Progress(BaseModel):
    """Progress of the trigger with one kind of run.

    Attributes:
        seen: Hash of the inputs at the last check; ``None`` if there were none.
        since: Time at which `seen` was first seen.
        handled: Hash of the inputs that were handled last.
        attempts: Number of attempts with the inputs in `seen` that have failed, or have not ended yet.
        not_before: Earliest time of the next attempt.
    """

    seen: str | None = None
    since: Moment = 0.0
    handled: str | None = None
    attempts: int = Field(default=0, ge=0)
    not_before: Moment = 0.0

    @property
    def waits(self) -> bool:
        """Whether there is a change that was not handled."""
        return self.seen not in (None, self.handled)


class Begun(BaseModel):
    """A run that has begun.

    Attributes:
        kind: Its kind.
        trace_id: Its id in logs and in MLflow.
        since: Time of its start.
        inputs: Hash of its inputs.
    """

    kind: Kind
    trace_id: str
    since: Moment
    inputs: str


class ScoresSeen(BaseModel):
    """The scores that were current at the last check.

    Attributes:
        run_id: Id of the run that published them.
        since: Time since which they are current: that of the publication, or that of the check which first saw them, if
            the publication has no time or one ahead.
    """

    run_id: str
    since: Moment


class WatchState(BaseModel):
    """The progress of the trigger.

    Attributes:
        training: Progress with training.
        inference: Progress with scoring.
        monitoring: Progress with monitoring.
        running: The run that has begun and whose end is not known.
        scores: The current scores.
        began: Time at which this state began.
    """

    training: Progress = Field(default_factory=Progress)
    inference: Progress = Field(default_factory=Progress)
    monitoring: Progress = Field(default_factory=Progress)
    running: Begun | None = None
    scores: ScoresSeen | None = None
    began: Moment | None = None

    def of(self, kind: Kind) -> Progress:
        """Return the progress with a kind of run."""
        progress: Progress = getattr(self, kind)
        return progress


class Letter(BaseModel):
    """A run that was given up.

    Attributes:
        kind: Its kind.
        at: Time, as ISO 8601 in UTC.
        exit_code: Exit code of the last attempt; ``None`` if it is not known.
        attempts: Number of attempts.
        made_of: Names of its inputs.
    """

    kind: str
    at: str
    exit_code: int | None
    attempts: int
    made_of: list[str]


def state_file(folder: Path) -> StateFile[WatchState]:
    """Return the file with the progress."""
    return StateFile(folder / STATE, WatchState, WatchState)


def dead_letters(folder: Path) -> StateFile[list[Letter]]:
    """Return the file with the runs that were given up."""
    return StateFile(folder / DEAD, list[Letter], list)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the trigger, so that two of them cannot start the same runs.

    Raises:
        ChurnError: If another process holds the lock, or it cannot be taken.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ChurnError(f"churn watch is already running with the state in {folder}; stop it first") from None
    except (OSError, NotImplementedError) as error:
        raise ChurnError(
            f"{folder / LOCK} cannot be locked: {error}; set stores.cache to a folder of this machine"
        ) from error
    try:
        for left in folder.glob(".*.part"):  # by a trigger that was killed while it wrote; nobody else writes here
            with suppress(OSError):
                left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
