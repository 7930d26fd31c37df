"""The trigger as a service: regular checks, and events and health over HTTP."""

import hmac
import importlib.util
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from churn.config import Watch
from churn.errors import ChurnError
from churn.operations.kedro_job import KedroJob
from churn.operations.watch import Watcher

logger = logging.getLogger(__name__)
LARGEST_EVENT = 1 << 20
LEAST_TOKEN = 16
NEEDED = ("starlette", "uvicorn")


def application(token: str, hint: Callable[[], None], watcher: Watcher) -> Any:
    """Return the ASGI application: ``POST /events``, which causes a check, and ``GET /health``.

    Args:
        token: Token that senders give as ``Authorization: Bearer ...``; if it is empty, events are refused.
        hint: Called for each event.
        watcher: Watcher whose progress ``/health`` returns.
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
        async for part in request.stream():  # the content is not needed, but senders expect it to be read
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
    """Check that the packages of the extra are installed.

    Raises:
        ChurnError: If one is not installed.
    """
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ChurnError(f"churn watch needs {', '.join(lacking)}: uv sync --extra watch")


class LookLoop:
    """Checks the inputs at the start, at regular intervals and on request, one check at a time, in its own thread."""

    def __init__(self, look: Callable[[], float | None], poll: float) -> None:
        """Set the check and its interval.

        Args:
            look: The check. Returns the seconds until the next one is due; ``None`` for the interval.
            poll: Interval from the start of a check to the start of the next one, in seconds.
        """
        self._look, self._poll = look, poll
        self._told = threading.Event()
        self._stopping = False
        # Not a daemon thread: at exit the interpreter waits for a check that is running.
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        """Start the checks."""
        self._thread.start()

    def tell(self) -> None:
        """Request a check as soon as the current one is over. Several requests in the meantime cause one check."""
        self._told.set()

    def stop(self) -> None:
        """Stop the checks, without waiting for one that is running."""
        self._stopping = True
        self._told.set()

    def _run(self) -> None:
        while True:
            # Before the check, which may miss changes made while it runs.
            self._told.clear()
            if self._stopping:
                return
            due = time.monotonic() + self._poll
            wait: float | None = None
            try:
                wait = self._look()
            except Exception as error:  # the next check asks the store again
                logger.warning("The tables could not be listed: %s", error)
            pause = due - time.monotonic()
            self._told.wait(max(0.0, pause if wait is None else min(pause, wait)))


def watch(watcher: Watcher, job: KedroJob, settings: Watch, token: str) -> None:
    """Check the inputs now, at every event and at regular intervals, until a signal ends the process.

    Raises:
        ChurnError: If the token is too short, the port is in use, or a package is missing.
    """
    check_installed()
    import uvicorn

    if token and len(token) < LEAST_TOKEN:
        raise ChurnError(
            f"CHURN_WATCH_TOKEN has fewer than {LEAST_TOKEN} characters; create one with openssl rand -hex 32"
        )
    looking = LookLoop(watcher.look, settings.poll)
    app = application(token, looking.tell, watcher)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    try:
        listening = socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise ChurnError(
            f"watch.host = '{settings.host}', watch.port = {settings.port}: cannot listen on this address ({error.strerror}); "
            "set another port"
        ) from None
    looking.start()
    logger.info(
        "Checks the tables every %g seconds%s; health at http://%s:%s/health",
        settings.poll,
        f" and at each event posted to http://{settings.host}:{settings.port}/events" if token else "",
        settings.host,
        settings.port,
    )
    # The server handles these signals while it runs and raises them again after its shutdown; the clean-up below must finish.
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listening])
    finally:
        job.stop()
        # Not joined here: a check may wait for a lock that is held here. The interpreter joins the thread at exit.
        looking.stop()
        for each, handler in before.items():
            signal.signal(each, handler)
