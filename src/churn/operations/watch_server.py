"""The watch as a service: its looks, its events and its health over HTTP."""

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
        raise ChurnError(f"churn watch needs {', '.join(lacking)}: uv sync --extra watch")


class LookLoop:
    """Looks at once when it is started, every while and when it is told to, one look at a time, in a thread of its own."""

    def __init__(self, look: Callable[[], float | None], poll: float) -> None:
        """Declare what is done, and how often.

        Args:
            look: Gives in how many seconds to look again, if before long.
            poll: Seconds from the start of a look to that of the next.
        """
        self._look, self._poll = look, poll
        self._told = threading.Event()
        self._stopping = False
        # Not a daemon: the interpreter waits at its end for a look that goes on.
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        """Look now, and go on."""
        self._thread.start()

    def tell(self) -> None:
        """Look as soon as the present look is over; told several times meanwhile, it looks once."""
        self._told.set()

    def stop(self) -> None:
        """Look no more. The look that goes on is not waited for."""
        self._stopping = True
        self._told.set()

    def _run(self) -> None:
        while True:
            # Before the look, which may have seen too little of what comes while it goes on.
            self._told.clear()
            if self._stopping:
                return
            due = time.monotonic() + self._poll
            wait: float | None = None
            try:
                wait = self._look()
            except Exception as error:  # a store that does not answer is asked again
                logger.warning("What there is could not be looked at: %s", error)
            pause = due - time.monotonic()
            self._told.wait(max(0.0, pause if wait is None else min(pause, wait)))


def watch(watcher: Watcher, job: KedroJob, settings: Watch, token: str) -> None:
    """Look now, at every event and every while, until a signal ends it.

    Raises:
        ChurnError: If the token is too short to be one, the port is taken, or a package is missing.
    """
    check_installed()
    import uvicorn

    if token and len(token) < LEAST_TOKEN:
        raise ChurnError(f"CHURN_WATCH_TOKEN has fewer than {LEAST_TOKEN} characters; openssl rand -hex 32 makes one")
    looking = LookLoop(watcher.look, settings.poll)
    app = application(token, looking.tell, watcher)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    try:
        listening = socket.create_server((settings.host, settings.port))
    except OSError as error:
        raise ChurnError(
            f"watch.host = '{settings.host}', watch.port = {settings.port}: nothing can listen there ({error.strerror}); "
            "set another port"
        ) from None
    looking.start()
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
        looking.stop()
        for each, handler in before.items():
            signal.signal(each, handler)
