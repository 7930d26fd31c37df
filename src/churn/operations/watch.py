"""The trigger behind `churn watch`: starts training, scoring and monitoring when their inputs change.

It compares the current state of the inputs, files and everything else that a result depends on, with the state that was handled
last, and starts a run once the state has not changed for a while. An event only causes an immediate check, so events may arrive
twice, late or not at all. The trigger stores its progress before it starts a run, and continues after a restart.
"""

import hashlib
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from churn.config import Watch
from churn.errors import ChurnError, NotTrackedError
from churn.operations.channels import Event
from churn.operations.kedro_job import KINDS, Job, Kind, Run
from churn.operations.notifications import Notifier
from churn.operations.watch_facts import MOST_FAILED, Facts, Looks, Published
from churn.operations.watch_state import (
    MOST_LETTERS,
    Begun,
    Letter,
    Progress,
    ScoresSeen,
    dead_letters,
    state_file,
)
from churn.web.look_loop import shown_error

logger = logging.getLogger(__name__)
# Exit codes of a run that is complete and not repeated.
DONE = (0, NotTrackedError.exit_code)
# Longest wait before a further attempt, in seconds.
LONGEST_WAIT = 24 * 3600.0
Result = Literal["ok", "failed", "given_up", "stopped"]


@dataclass
class _Current:
    """The run that goes on."""

    run: Run
    begun: Begun | None
    made_of: list[str]
    outcomes: str | None
    adopted: bool = False


class Watcher:
    """Decides which runs to start, and starts one at a time.

    Attributes:
        state: Progress with each kind of run.
        given_up: Messages about the runs that were given up since the start, the last hundred.
        looks: How the looks have gone.
        published: The current scores at the last look; ``None`` if there are none, or they could not be read.
        on_end: Called with kind, result and duration in seconds, when a run has ended.
    """

    def __init__(
        self,
        sources: Mapping[Kind, Callable[[], Mapping[str, str]]],
        job: Job,
        settings: Watch,
        folder: Path,
        notifier: Notifier,
        clock: Callable[[], float] = time.time,
        facts: Callable[[], Facts] = Facts,
    ) -> None:
        """Set the sources and the job.

        Args:
            sources: For each kind of run, a function that returns the signatures of its current inputs by name; an empty
                mapping if there is nothing to run on.
            job: Starts runs.
            settings: Waits and attempts.
            folder: Folder with the state of the trigger.
            notifier: Sends an event if a run is given up, if looks fail, or if scores are late.
            clock: Returns the seconds since 1970.
            facts: Returns outcomes and current scores.
        """
        self._sources, self._job, self._settings = sources, job, settings
        self._notifier, self._clock, self._facts = notifier, clock, facts
        self._file, self._letters = state_file(folder), dead_letters(folder)
        self.state = self._file.read()
        if self.state.began is None:
            self.state.began = clock()
            self._note()
        self.given_up: deque[str] = deque(maxlen=100)
        self.looks = Looks()
        self.published: Published | None = None
        self.on_end: Callable[[Kind, Result, float], None] = lambda *_: None
        self._current: _Current | None = None

    @property
    def running(self) -> Begun | None:
        """The run that goes on; ``None`` if there is none, or its kind is not known."""
        return self._current.begun if self._current is not None else None

    def look(self) -> float | None:
        """Check the inputs of every kind of run, and start a run that is due.

        A kind whose inputs cannot be listed does not keep the others from running.

        Returns:
            Seconds until a run is due; ``None`` if none is pending.

        Raises:
            Exception: If inputs could not be listed, or progress not be stored; the first error.
        """
        errors: list[Exception] = []
        waits: list[float | None] = []
        facts = Facts()
        try:
            facts = self._facts()
        except Exception as error:
            errors.append(error)
        self._see_scores(facts)
        try:
            self._adopt()
            self.reap()
        except ChurnError as error:
            errors.append(error)
        for kind in KINDS:
            if kind not in self._sources:
                continue
            try:
                waits.append(self._deal_with(kind, self._sources[kind](), facts))
            except Exception as error:
                errors.append(error)
        self._looked(errors)
        if errors:
            raise errors[0]
        return min((wait for wait in waits if wait is not None), default=None)

    def wait(self) -> bool:
        """Wait for the run that goes on; return whether there was one."""
        if self._current is None:
            return False
        self._current.run.wait()
        return True

    def _deal_with(self, kind: Kind, made_of: Mapping[str, str], facts: Facts) -> float | None:
        state, now = self.state.of(kind), self._clock()
        there = hash_of(made_of) if made_of else None
        if there != state.seen:
            state.seen, state.since, state.attempts, state.not_before = there, now, 0, 0.0
            self._file.note(lambda _: self.state)
        self._bring_back(state, now)
        if there is None or there == state.handled:
            return None
        wait = max(state.since + self._settings.quiet, state.not_before) - now
        if wait > 0:
            return wait
        if self._current is not None:
            return None  # its end causes a look
        if state.attempts >= self._settings.attempts:
            # The process was killed during the last attempt.
            self._give_up(kind, there, None, sorted(made_of))
            return None
        return self._begin(kind, there, sorted(made_of), facts)

    def _begin(self, kind: Kind, there: str, made_of: list[str], facts: Facts) -> float | None:
        """Start a run; return the seconds until the next attempt, if it has failed already."""
        state, now = self.state.of(kind), self._clock()
        state.attempts += 1
        state.not_before = now + self._backoff(state.attempts)
        begun = self.state.running = Begun(kind=kind, trace_id=uuid.uuid4().hex, since=now, inputs=there)
        try:
            # Before the work: a process that is killed during each attempt gives up, too.
            self._file.write(self.state)
        except ChurnError as error:
            self._take_back(state)
            raise ChurnError(f"{kind} does not start, because its progress cannot be stored: {error}") from error
        try:
            run = self._job.start(kind, begun.trace_id)
        except ChurnError as error:
            logger.warning("%s", error)
            self.state.running = None
            self._failed(begun, None, made_of)
            return self._wait_of(kind)
        if run is None:
            self._take_back(state)
            self._note()
            return None
        logger.info("%s starts, trace_id %s", kind.capitalize(), begun.trace_id, extra={"trace_id": begun.trace_id})
        outcomes = hash_of(facts.outcomes) if kind == "inference" and facts.outcomes else None
        self._current = _Current(run, begun, made_of, outcomes)
        self.reap()
        return self._wait_of(kind)

    def _wait_of(self, kind: Kind) -> float | None:
        state = self.state.of(kind)
        return max(0.0, state.not_before - self._clock()) if self._current is None and state.waits else None

    def _take_back(self, state: Progress) -> None:
        state.attempts, state.not_before = max(0, state.attempts - 1), 0.0
        self.state.running = None

    def _backoff(self, attempts: int) -> float:
        return min(self._settings.backoff * 2.0 ** min(attempts - 1, 30), LONGEST_WAIT)

    def _bring_back(self, state: Progress, now: float) -> None:
        """Let times ahead, which were stored when the clock was wrong, count from now."""
        state.since = min(state.since, now)
        state.not_before = min(state.not_before, now + (self._backoff(state.attempts) if state.attempts else 0.0))

    def _adopt(self) -> None:
        """Find the run that an earlier trigger has left, or note that it has ended with it."""
        begun = self.state.running
        if self._current is not None:
            return
        run = self._job.left()
        if run is not None:
            logger.warning(
                "An earlier churn watch has ended without the %s that it had started%s; it goes on, and nothing else starts "
                "before it has ended",
                begun.kind if begun else "run",
                f", trace_id {begun.trace_id}" if begun else "",
            )
            self._current = _Current(run, begun, [], None, adopted=True)
        elif begun is not None:
            logger.warning(
                "%s, trace_id %s, ended with the churn watch that had started it; it counts as an attempt",
                begun.kind.capitalize(),
                begun.trace_id,
            )
            self.state.running = None
            self._note()

    def reap(self) -> bool:
        """Account for the run that goes on, if it has ended; return whether it has."""
        current = self._current
        ended = current.run.ended() if current is not None else None
        if current is None or ended is None:
            return False
        self._current = self.state.running = None
        begun = current.begun
        if begun is None:
            logger.info("The run of an earlier churn watch has ended")
            return True
        state = self.state.of(begun.kind)
        if current.adopted or (ended.stopped and ended.code not in DONE):
            if current.adopted:
                # Its result is not known, so it runs again: it ends at once if there is nothing left to do.
                logger.info("The %s of an earlier churn watch has ended; it is checked again", begun.kind)
            if state.seen == begun.inputs:
                self._take_back(state)
            self._note()
            if not current.adopted:
                self._tell_end(begun, "stopped")
            return True
        if ended.code not in DONE:
            self._failed(begun, ended.code, current.made_of)
            return True
        state.handled = begun.inputs
        if state.seen == begun.inputs:
            state.attempts, state.not_before = 0, 0.0
        if current.outcomes is not None:
            self.state.monitoring.handled = current.outcomes
        self._note()
        self._tell_end(begun, "ok")
        return True

    def _failed(self, begun: Begun, code: int | None, made_of: list[str]) -> None:
        state, how = self.state.of(begun.kind), f"exit code {code}" if code is not None else "no exit code"
        if state.seen != begun.inputs:  # changed meanwhile: what comes next has attempts of its own
            logger.warning("%s ended with %s; its inputs have changed meanwhile", begun.kind.capitalize(), how)
        elif state.attempts >= self._settings.attempts:
            self._give_up(begun.kind, begun.inputs, code, made_of)
            self._tell_end(begun, "given_up")
            return
        else:
            wait = self._backoff(state.attempts)
            state.not_before = self._clock() + wait
            logger.warning("%s ended with %s; next attempt in %g seconds", begun.kind.capitalize(), how, wait)
        self._note()
        self._tell_end(begun, "failed")

    def _give_up(self, kind: Kind, there: str, code: int | None, made_of: list[str]) -> None:
        state = self.state.of(kind)
        attempts = state.attempts
        # First, so that nothing below can make it run again.
        state.handled, state.attempts, state.not_before = there, 0, 0.0
        self._note()
        how = (
            f"exit code {code}"
            if code is not None
            else "no exit code, as its process was killed or could not be started"
        )
        text = f"{kind} was given up after {attempts} attempts, the last with {how}, until something changes"
        logger.error("%s", text)
        self.given_up.append(text)
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        letter = Letter(kind=kind, at=at, exit_code=code, attempts=attempts, made_of=made_of)
        self._letters.note(lambda known: [*known, letter][-MOST_LETTERS:])
        self._notifier.tell(Event("failed", f"{text}."))

    def _tell_end(self, begun: Begun, result: Result) -> None:
        self.on_end(begun.kind, result, max(0.0, self._clock() - begun.since))

    def _see_scores(self, facts: Facts) -> None:
        """Note since when the current scores are current, and send an event if they are late."""
        now, seen = self._clock(), self.state.scores
        if facts.published is not None and (seen is None or seen.run_id != facts.published.run_id):
            at = facts.published.at
            seen = self.state.scores = ScoresSeen(
                run_id=facts.published.run_id, since=now if at is None else min(at, now)
            )
            self._note()
        if seen is not None:
            seen.since = min(seen.since, now)
        self.published = facts.published
        self.state.began = min(self.state.began or now, now)
        hours = self._settings.scores_within
        if hours is None or now - (seen.since if seen else self.state.began) <= 3600 * hours:
            return
        known = f"the last are those of run {seen.run_id}" if seen else "there are none"
        self._notifier.tell(Event("scores_late", f"No new scores for {hours:g} hours: {known}."), quietly=True)

    def _looked(self, errors: list[Exception]) -> None:
        looks = self.looks
        if not errors:
            looks.last_good, looks.failed, looks.error, looks.good = self._clock(), 0, None, looks.good + 1
            return
        looks.failed, looks.bad = looks.failed + 1, looks.bad + 1
        looks.error = shown_error(errors[0])
        if looks.failed >= MOST_FAILED:
            subject = "churn watch cannot look"
            self._notifier.tell(Event("failed", f"{subject}: {looks.error}", subject), quietly=True)

    def _note(self) -> None:
        self._file.note(lambda _: self.state)


def hash_of(made_of: Mapping[str, str]) -> str:
    """Return one hash of the signatures of all inputs."""
    return hashlib.sha256(json.dumps(sorted(made_of.items())).encode()).hexdigest()
