"""Training and scoring as soon as there is something new: what `churn watch` does.

It looks at what is there, not at what it is told: an event only makes it look at once. So events may come twice, late or not at
all, and after a restart it goes on where it was. What is there, files and whatever else the result is made of, is compared with
what was dealt with last; it is taken when nothing of it has changed for a while.
"""

import hashlib
import hmac
import importlib.util
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from churn.errors import ChurnError, NotTrackedError
from churn.notifications import Event, Notifier
from churn.parameters import Watch
from churn.stores import Store

logger = logging.getLogger(__name__)

Kind = Literal["training", "inference"]
# In this order: what is trained is scored with.
KINDS: tuple[Kind, ...] = ("training", "inference")
STATE, DEAD, LOCK = "state.json", "dead_letters.json", "lock"
# Exit codes after which there is nothing left to do.
DONE = (0, NotTrackedError.exit_code)
# Seconds that a job gets to end after Ctrl-C.
GRACE = 8.0
LARGEST_EVENT = 1 << 20
LEAST_TOKEN = 16
NEEDED = ("apscheduler", "starlette", "uvicorn")


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


class Job(Protocol):
    """Runs what is to be run."""

    def __call__(self, kind: Kind) -> int | None:
        """Run it; gives the exit code, or none if it was stopped."""
        ...


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


COMMANDS: dict[Kind, tuple[str, str]] = {
    "training": ("feature_engineering,training", "training.only_if_changed=true"),
    "inference": ("inference,monitoring", "inference.incremental=true,inference.rescore=true"),
}


class KedroJob:
    """A `kedro run` in a process of its own."""

    def __init__(self, options: Sequence[str], parameters: str = "") -> None:
        """Declare what every run gets: environment and configuration, and parameters as ``--params`` takes them."""
        self._options, self._parameters = list(options), parameters
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._lock = threading.Lock()

    def __call__(self, kind: Kind) -> int | None:
        """Run it; see `Job`."""
        pipelines, parameters = COMMANDS[kind]
        parameters = ",".join(filter(None, (self._parameters, parameters)))
        command = [
            sys.executable,
            "-m",
            "kedro",
            "run",
            *self._options,
            "--pipelines",
            pipelines,
            "--params",
            parameters,
        ]
        with self._lock:
            if self._stopping:
                return None
            # Of a group of its own, so that Ctrl-C reaches it once, from here.
            self._process = subprocess.Popen(command, start_new_session=True)  # noqa: S603
        code = self._process.wait()
        return None if self._stopping else code

    def stop(self) -> None:
        """End what runs, as Ctrl-C does; nothing is half published."""
        with self._lock:
            self._stopping = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()


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


def application(token: str, hint: Callable[[], None], watcher: Watcher) -> Any:
    """What answers over HTTP: ``POST /events``, which makes the watch look, and ``GET /health``.

    Args:
        token: What a sender has to give as ``Authorization: Bearer ...``; empty for no events.
        hint: Called for each event.
        watcher: Whose progress is told.
    """
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def events(request: Request) -> JSONResponse:
        given = request.headers.get("authorization", "")
        if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"error": "unauthorized"}, 401, {"WWW-Authenticate": "Bearer"})
        size = 0
        async for part in request.stream():  # what it says is not needed, but whoever sends wants it to be taken
            size += len(part)
            if size > LARGEST_EVENT:
                return JSONResponse({"error": "too large"}, 413)
        hint()
        return JSONResponse({"status": "accepted"}, 202)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse(
            {
                "status": "ok",
                "runs": {
                    kind: {"waiting": state.seen not in (None, state.handled), "attempts": state.attempts}
                    for kind, state in watcher.progress.items()
                },
            }
        )

    return Starlette(
        routes=[Route("/events", events, methods=["POST"]), Route("/health", health, methods=["GET"])],
    )


def check_installed() -> None:
    """Refuse to go on without the packages of the extra.

    Raises:
        ChurnError: If one is not installed.
    """
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ChurnError(
            f"churn watch needs {', '.join(lacking)}: uv sync --extra watch, or pip install 'churn[watch]'"
        )


def schedule(look: Callable[[], float | None], poll: float) -> tuple[Any, Callable[[], None]]:
    """A scheduler that looks at once when it is started, every while and when it is told to, one look at a time.

    Args:
        look: Gives in how many seconds to look again, if before long.
        poll: Seconds from look to look.

    Returns:
        The scheduler, to be started, and what tells it to look.
    """
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.background import BackgroundScheduler

    # One thread: one thing at a time. Of each kind one look may wait while another goes on, which may have seen too little;
    # more are left out, with a warning that would be one for each event.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    scheduler = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 2, "misfire_grace_time": None},
        timezone=UTC,
    )

    def soon(name: str, seconds: float) -> None:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        scheduler.add_job(look_and_see, "date", run_date=at, id=name, replace_existing=True)

    def look_and_see() -> None:
        try:
            wait = look()
        except Exception as error:  # a store that does not answer is asked again
            logger.warning("What there is could not be looked at: %s", error)
            return
        if wait is not None:
            soon("again", wait)

    scheduler.add_job(look_and_see, "interval", seconds=poll, id="poll", next_run_time=datetime.now(UTC))
    return scheduler, lambda: soon("event", 0.0)


def watch(watcher: Watcher, job: KedroJob, settings: Watch, token: str) -> None:
    """Look now, at every event and every while, until a signal ends it.

    Raises:
        ChurnError: If the token is too short to be one, the port is taken, or a package is missing.
    """
    check_installed()
    import uvicorn

    if token and len(token) < LEAST_TOKEN:
        raise ChurnError(f"CHURN_WATCH_TOKEN has fewer than {LEAST_TOKEN} characters; openssl rand -hex 32 makes one")
    scheduler, hint = schedule(watcher.look, settings.poll)
    app = application(token, hint, watcher)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    try:
        listening = socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise ChurnError(
            f"watch.host = '{settings.host}', watch.port = {settings.port}: nothing can listen there ({error.strerror}); "
            "set another port"
        ) from None
    scheduler.start()
    logger.info(
        "Watching; looks every %g seconds%s, health at http://%s:%s/health",
        settings.poll,
        f" and at each event at http://{settings.host}:{settings.port}/events" if token else "",
        settings.host,
        settings.port,
    )
    # The server takes these signals while it runs, and passes them on when it has ended: to end what else there is.
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listening])
    finally:
        job.stop()
        # Not waited for here, with a lock that a look needs which wants another one: the interpreter waits for it at its end.
        scheduler.shutdown(wait=False)
        for each, handler in before.items():
            signal.signal(each, handler)
