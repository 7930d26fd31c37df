"""The watch as a service: its schedule, its events and its health over HTTP."""

import hmac
import importlib.util
import logging
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from churn.config import Watch
from churn.errors import ChurnError
from churn.operations.kedro_job import KedroJob
from churn.operations.watch import Watcher

logger = logging.getLogger(__name__)
LARGEST_EVENT = 1 << 20
LEAST_TOKEN = 16
NEEDED = ("apscheduler", "starlette", "uvicorn")


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
