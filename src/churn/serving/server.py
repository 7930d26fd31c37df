"""The service: one process that answers, or several and one that keeps them alive."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from churn.config import Serve
from churn.errors import ChurnError
from churn.serving.imports import import_xgboost
from churn.serving.metrics import SHARED
from churn.serving.tokens import Tokens
from churn.serving.worker import Setup, Worker
from churn.web.listening import check_installed, inherited, listen

logger = logging.getLogger(__name__)

NEEDED = ("httptools", "prometheus_client", "uvicorn")
# A worker that ends sooner is started again after a pause.
LEAST_LIFE, PAUSE = 5.0, 1.0
# Seconds for workers to end, beyond those for the requests that they have in hand.
GRACE = 3.0


def run(setup: Setup) -> None:
    """Answer requests until a signal ends the process.

    Raises:
        ChurnError: If a package is missing, a token is too short or needed, a file for TLS cannot be read, or the port is
            in use.
    """
    check_installed("serve", NEEDED)
    given = inherited("serve")
    if given is not None:
        setup = _placed(setup, *given.getsockname()[:2])
    settings = setup.parameters.serve
    tokens = Tokens(setup.tokens)
    tokens.check_place(settings.host)
    _check_files(settings)
    if settings.workers > 1 and sys.platform == "win32":
        raise ChurnError(f"serve.workers = {settings.workers}: on Windows the service has one worker")
    with given or listen(settings.host, settings.port, "serve") as listening:
        host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
        logger.info(
            "Scores at %s://%s:%d/v1/score, described at /docs%s; the log of requests is in %s",
            "https" if settings.certificate else "http",
            host,
            settings.port,
            f", for {len(tokens)} tokens" if len(tokens) else ", without a token: for this machine only",
            setup.requests if settings.log.sample > 0 else "no place",
        )
        if settings.workers == 1:
            import_xgboost()
            Worker(setup).run(listening)
        else:
            Workers(setup, listening).run()


def _placed(setup: Setup, host: str, port: int) -> Setup:
    """Return a setup with the place of a socket that a parent holds: the place decides whether a token is needed."""
    serve = setup.parameters.serve.model_copy(update={"host": host, "port": port})
    return replace(setup, holds=True, parameters=setup.parameters.model_copy(update={"serve": serve}))


def _check_files(settings: Serve) -> None:
    for name in ("certificate", "key"):
        path = getattr(settings, name)
        if path is not None and not os.access(path, os.R_OK):
            raise ChurnError(f"serve.{name} = '{path}': there is no file that can be read; name a PEM file")


class Workers:
    """Several processes that accept connections of one socket."""

    def __init__(self, setup: Setup, listening: socket.socket) -> None:
        """Set what they have to know, and the socket."""
        self._setup, self._listening = setup, listening
        self._running: dict[subprocess.Popen[bytes], float] = {}
        self._told = threading.Event()

    def run(self) -> None:
        """Keep the workers alive until a signal comes, and pass that on."""
        came: list[int] = []

        def end(number: int, _: object) -> None:
            came.append(number)
            self._told.set()

        def pass_on(number: int, _: object) -> None:
            for process, since in list(self._running.items()):
                # One that has just begun has read its files, and may not handle the signal yet.
                if time.monotonic() - since > LEAST_LIFE:
                    process.send_signal(number)

        before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, pass_on)
        try:
            with _shared_metrics():
                for _ in range(self._setup.parameters.serve.workers):
                    self._start()
                while not self._told.wait(0.2):
                    self._replace()
                self._end(came[0])
        finally:
            for process in self._running:
                process.kill()
            for each, handler in before.items():
                signal.signal(each, handler)

    def _start(self) -> None:
        descriptor = self._listening.fileno()
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "churn.serving.worker", str(descriptor)],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        self._running[process] = time.monotonic()
        assert process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):  # it has ended already, which is seen below
            process.stdin.write(pickle.dumps(self._setup))
            process.stdin.flush()  # and not closed: that is the sign to end

    def _replace(self) -> None:
        for process, since in list(self._running.items()):
            if process.poll() is None:
                continue
            from prometheus_client.multiprocess import mark_process_dead

            logger.warning("A worker has ended with code %d and is started again", process.returncode)
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            self._forget(process)
            if time.monotonic() - since < LEAST_LIFE and self._told.wait(PAUSE):
                return
            self._start()

    def _forget(self, process: "subprocess.Popen[bytes]") -> None:
        del self._running[process]
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()

    def _end(self, number: int) -> None:
        # Ctrl-C in a terminal has reached them already; a second one does no harm.
        for process in self._running:
            process.send_signal(number)
        settings = self._setup.parameters.serve
        deadline = time.monotonic() + settings.drain + settings.seconds + GRACE
        for process in list(self._running):
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
                self._forget(process)


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """Give the workers a folder for the counters that they share."""
    with tempfile.TemporaryDirectory(prefix="churn-serve-") as folder:
        os.environ[SHARED] = str(Path(folder))
        try:
            yield
        finally:
            del os.environ[SHARED]
