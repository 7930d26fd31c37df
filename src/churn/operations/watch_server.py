"""The trigger as a service: regular checks, and events, health and metrics over HTTP."""

import asyncio
import hmac
import logging
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn.config import Watch
from churn.errors import ChurnError
from churn.operations.kedro_job import KINDS, KedroJob
from churn.operations.watch import Watcher
from churn.operations.watch_facts import MOST_FAILED
from churn.web.http_guard import AT_ONCE, LARGEST_BODY, Connections, Rates, client_of, most_connections
from churn.web.listening import BACKLOG, check_installed, listen
from churn.web.look_loop import LookLoop

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)
LEAST_TOKEN = 16
NEEDED = ("prometheus_client", "starlette", "uvicorn")
# Seconds to wait for a look that goes on when the trigger ends; runs have ended by then.
LAST_LOOK = 0.5


def application(
    token: str,
    hint: Callable[[], None],
    watcher: Watcher,
    *,
    fault: Callable[[], str | None] = lambda: None,
    registry: "CollectorRegistry | None" = None,
    rates: Rates | None = None,
    clock: Callable[[], float] = time.time,
) -> Any:
    """Return the ASGI application.

    It answers ``POST /events``, which causes a check, ``GET /health``, ``/livez`` and ``/readyz``, and ``GET /metrics``.

    Args:
        token: Token that senders give as ``Authorization: Bearer ...``; if it is empty, events are refused.
        hint: Called for each event.
        watcher: Watcher whose progress ``/health`` returns.
        fault: Returns why no looks are made; ``None`` if they are.
        registry: Metrics; ``None`` for none.
        rates: Limits the requests of clients without the token.
        clock: Returns the seconds since 1970.
    """
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    limits = rates or Rates()

    def busy(request: Request) -> Response | None:
        """Return the answer to a client that asks too often."""
        if limits.allow(client_of(request.client.host if request.client else None)):
            return None
        return JSONResponse({"error": "too many requests"}, 429, {"Retry-After": "1"})

    async def events(request: Request) -> Response:
        size = 0
        try:
            async for part in request.stream():  # the content is not needed, but senders expect it to be read
                size += len(part)
        except ClientDisconnect:
            return Response(status_code=400)
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode(), token.encode())
        if not token or scheme.lower() != "bearer" or not known:
            # A store with the token may send many events at once; others may not try tokens.
            return busy(request) or JSONResponse({"error": "unauthorized"}, 401, {"WWW-Authenticate": "Bearer"})
        if size > LARGEST_BODY:
            return JSONResponse({"error": "too large"}, 413)
        hint()
        return JSONResponse({"status": "accepted"}, 202)

    async def health(request: Request) -> Response:
        if answer := busy(request):
            return answer
        shown = health_of(watcher, fault(), clock())
        return JSONResponse(shown, 200 if shown["status"] == "ok" else 503)

    async def alive(request: Request) -> Response:
        reason = fault()
        return busy(request) or PlainTextResponse(reason or "ok", 503 if reason else 200)

    async def ready(request: Request) -> Response:
        reason = fault() or _unready(watcher)
        return busy(request) or PlainTextResponse(reason or "ok", 503 if reason else 200)

    async def metrics(request: Request) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        if answer := busy(request):
            return answer
        if registry is None:
            return Response(status_code=404)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    get = {"/health": health, "/livez": alive, "/readyz": ready, "/metrics": metrics}
    return Starlette(
        routes=[
            Route("/events", events, methods=["POST"]),
            *(Route(path, answer, methods=["GET"]) for path, answer in get.items()),
        ],
    )


def health_of(watcher: Watcher, fault: str | None, now: float) -> dict[str, Any]:
    """Return what ``/health`` shows; its status is ``ok`` or ``failing``."""
    looks, running = watcher.looks, watcher.running
    last = looks.last_good
    failing = fault is not None or looks.failed >= MOST_FAILED
    return {
        "status": "failing" if failing else "ok",
        "looks": {
            "last_good": None if last is None else datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds"),
            "age_seconds": None if last is None else round(max(0.0, now - last), 1),
            "failed_since": looks.failed,
            "error": fault or looks.error,
        },
        "running": None
        if running is None
        else {
            "kind": running.kind,
            "trace_id": running.trace_id,
            "seconds": round(max(0.0, now - running.since), 1),
        },
        "runs": {
            kind: {"waiting": state.waits, "attempts": state.attempts}
            for kind, state in ((kind, watcher.state.of(kind)) for kind in KINDS)
        },
    }


def _unready(watcher: Watcher) -> str | None:
    if watcher.looks.last_good is None:
        return "no look has succeeded yet"
    if watcher.looks.failed >= MOST_FAILED:
        return f"the last {watcher.looks.failed} looks have failed"
    return None


def server_of(app: Any, connections: Connections) -> Any:
    """Return the server: uvicorn, with guarded connections."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=connections.protocol(H11Protocol),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # a warning for each malformed request would fill the log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=AT_ONCE,
            # One request for each connection, so that the guard's times are those of a request.
            headers=[("Connection", "close")],
            timeout_graceful_shutdown=1,
        )
    )


async def serve(server: Any, listening: socket.socket, stop: Callable[[], None]) -> None:
    """Serve until a signal comes, and then call a function while the server ends."""
    told: dict[str, float] = {}

    def faulty(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log a fault of a connection, the same one once a minute at most: clients can cause many."""
        text = str(context.get("message"))
        if time.monotonic() - told.get(text, float("-inf")) > 60:
            told[text] = time.monotonic()
            logger.warning("HTTP: %s: %s", text, context.get("exception"))

    asyncio.get_running_loop().set_exception_handler(faulty)

    async def stop_with_server() -> None:
        while not server.started and not server.should_exit:
            await asyncio.sleep(0.02)
        with suppress(OSError):  # asyncio has shortened it to what it accepts at once
            listening.listen(BACKLOG)
        while not server.should_exit:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(stop)

    await asyncio.gather(server.serve(sockets=[listening]), stop_with_server())


def watch(watcher: Watcher, job: KedroJob, settings: Watch, token: str) -> None:
    """Check the inputs now, at every event and at regular intervals, until a signal ends the process.

    Raises:
        ChurnError: If the token is too short, the port is in use, or a package is missing.
    """
    check_installed("watch", NEEDED)
    from churn.operations.watch_metrics import metrics_of

    if token and len(token) < LEAST_TOKEN:
        raise ChurnError(
            f"CHURN_WATCH_TOKEN has fewer than {LEAST_TOKEN} characters; create one with openssl rand -hex 32"
        )
    looking = LookLoop(watcher.look, settings.poll)
    registry = metrics_of(watcher, time.time)
    app = application(token, looking.tell, watcher, fault=lambda: looking.fault, registry=registry)
    server = server_of(app, Connections(most_connections()))
    listening = listen(settings.host, settings.port)
    job.on_end = looking.tell

    def end(*_: object) -> None:
        server.should_exit = True

    def stop() -> None:
        looking.stop()  # first, as the end of the run would cause a look
        job.stop()

    # The server handles these signals while it runs and raises them again after its shutdown; the clean-up below must finish.
    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    shown = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    logger.info(
        "Checks the tables every %g seconds%s; health at http://%s:%s/health, metrics at /metrics",
        settings.poll,
        f" and at each event posted to http://{shown}:{settings.port}/events" if token else "",
        shown,
        settings.port,
    )
    looking.start()
    try:
        asyncio.run(serve(server, listening, stop))
    finally:
        stop()
        looking.stop(LAST_LOOK)
        watcher.reap()  # the attempt that was interrupted does not count
        for each, handler in before.items():
            signal.signal(each, handler)
