"""A process that answers requests: its parts, its threads, and its end.

``python -m churn.serving.worker DESCRIPTOR`` is such a process for `churn.serving.server`, which hands it the listening socket
and, on its standard input, the setup. It ends when that is closed, however the process at its other end has ended.
"""

import asyncio
import gc
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from churn.config import Parameters
from churn.config.mlflow_environment import use_project_settings
from churn.config.secrets import REDACTION
from churn.errors import ChurnError
from churn.services.database_file import file_of
from churn.serving.application import Service
from churn.serving.champion import Champion, ModelRegistry
from churn.serving.imports import import_xgboost
from churn.serving.published import PublishedScores
from churn.serving.refusals import Refusals, Tell
from churn.serving.request_log import RequestLog
from churn.serving.results import StoredResults
from churn.serving.routes import routes
from churn.serving.scorer import Scorer
from churn.serving.token_source import FollowedTokens, TokenSource
from churn.serving.tokens import Tokens
from churn.stores import open_store
from churn.web.http_guard import Connections, most_connections
from churn.web.listening import BACKLOG
from churn.web.log_format import use_log_file, use_log_format
from churn.web.look_loop import LookLoop

logger = logging.getLogger(__name__)

# Seconds after which a thread that computes lets that of the requests go on, if this wants to; Python's default is ten times
# as long, which looks at the registry and the log of requests would add to the time of an answer.
SWITCH = 0.0005
# Seconds in which the first request of a new connection is waited for at the end.
LINGER = 0.5


@dataclass(frozen=True)
class Setup:
    """What a worker has to know.

    Attributes:
        parameters: All parameters.
        model_uri: URI of the model, normally of an alias.
        model_name: Name of the model in the registry.
        tracking_uri: Address of MLflow.
        cache: Folder of this machine for copies of models and of scores.
        results: Path or URL of the published results.
        requests: Path or URL of the log of requests.
        experiment: Name of the experiment of the project in MLflow.
        artifacts: Address of the folder of its artifacts; ``None`` if MLflow's server chooses it.
        credentials: Credentials of these two; ``None`` for none.
        tokens: Entry ``serve`` of the credentials.
        token_source: Where to read it anew; ``None`` for nowhere.
        holds: Whether connections wait for the first model: the socket is that of a parent, and keeps them.
        tell: Tells people of a refused champion, see `churn.serving.refusals`; ``None`` for nobody.
        log_format: Form of the log, see `churn.web.log_format`.
    """

    parameters: Parameters
    model_uri: str
    model_name: str
    tracking_uri: str
    cache: Path
    results: str
    requests: str
    experiment: str = "Default"
    artifacts: str | None = None
    credentials: dict[str, Any] | None = None
    tokens: Mapping[str, Any] = field(default_factory=dict)
    log_format: str | None = None
    token_source: TokenSource | None = None
    tell: Tell | None = None
    holds: bool = False


def check_database(address: str, experiment: str, artifacts: str | None) -> None:
    """Check that MLflow's database can be opened, if it is a file; it is not made, as there is no model in an empty one.

    Raises:
        ChurnError: If there is none, or if it cannot be used.
    """
    file = file_of(address)
    if file is None:
        return
    if not file.exists():
        raise ChurnError(f"there is no model yet: {file} does not exist; kedro run --pipelines training trains one")
    from churn.services.database import prepared

    with prepared(address, experiment, artifacts):
        pass


class Worker:
    """The parts of a process that answers.

    Attributes:
        service: The application.
        champion: The model in use.
        published: The published scores.
        log: The log of requests; ``None`` if none are logged.
    """

    def __init__(self, setup: Setup) -> None:
        """Make the parts; nothing is read yet."""
        parameters = setup.parameters
        settings = parameters.serve
        registry = ModelRegistry(
            setup.model_uri,
            str(setup.cache / "models"),
            setup.tracking_uri,
            lambda: check_database(setup.tracking_uri, setup.experiment, setup.artifacts),
        )
        self.champion = Champion(registry, parameters.accounts)
        self.published = PublishedScores(StoredResults(setup.results, setup.credentials), setup.cache / "serve")
        self.log: RequestLog | None = None
        if settings.log.sample > 0:
            self.log = RequestLog(open_store(setup.requests, setup.credentials), parameters.accounts, settings.log)
        self._has_started = self._has_looked = False
        # Two, as the copy of long results must not keep a new champion waiting.
        self._looks = [LookLoop(self._look, settings.poll), LookLoop(self.published.look, settings.poll)]
        self.service = Service(
            routes(setup.model_name),
            settings,
            setup.model_name,
            Tokens(setup.tokens),
            self.champion,
            Scorer(parameters.profit, parameters.decision, parameters.reasons),
            published=self.published,
            log=self.log,
            hint=self.tell,
        )
        if setup.tell is not None:
            self.champion.on_refusal = Refusals(setup.tell)
        self._holds = setup.holds
        self._tokens: FollowedTokens | None = None
        if setup.token_source is not None:
            self._tokens = FollowedTokens(setup.token_source, self.service)
            self._looks.append(LookLoop(self._tokens.look, settings.poll))
            self.service.reload = self.reload

    def begin(self) -> None:
        """Begin with the copy of the last known model."""
        self.champion.begin()
        if self._tokens is not None:
            self._tokens.look()  # a worker that was started again must not begin with tokens that are void
        # What is there now stays: the collector need not go through it again and again while requests wait.
        gc.freeze()

    def start(self) -> None:
        """Start the threads."""
        self._has_started = True
        for each in self._looks:
            each.start()
        if self.log is not None:
            self.log.start()

    def _look(self) -> None:
        """Look for the champion; the first look imports MLflow, and what it has imported stays too."""
        self.champion.look()
        if not self._has_looked:
            self._has_looked = True
            gc.freeze()

    def tell(self) -> None:
        """Look at once."""
        for each in self._looks:
            each.tell()

    def reload(self) -> None:
        """Read the tokens anew, and look at once."""
        if self._tokens is not None:
            self._tokens.force()
        self.tell()

    def stop(self) -> None:
        """Write what is to be logged, and stop the threads."""
        for each in self._looks if self._has_started else ():
            each.stop()
        if self.log is not None:
            self.log.stop()
        self.service.close()
        self.published.close()

    def run(self, listening: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
        """Answer requests until a signal ends the process.

        Args:
            listening: The socket.
            ready: Called when requests are answered.
        """
        sys.setswitchinterval(SWITCH)
        self.begin()
        if self._holds and self.champion.current is None:
            self._look()

        def start() -> None:
            # Not before requests are answered: the first look imports MLflow, which takes seconds of this process.
            self.start()
            ready()

        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(serve(self.service, listening, start))
        finally:
            self.stop()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def server_of(service: Service) -> Any:
    """Return the server: uvicorn, with guarded connections."""
    import uvicorn

    from churn.serving.protocol import Limits

    settings = service.settings
    most = most_connections(settings.connections)
    # A balancer in front is one client with all connections.
    limits = Limits(Connections(most, most), settings.seconds, settings.bytes)
    return uvicorn.Server(
        uvicorn.Config(
            service,
            http=limits.protocol(),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # a warning for each malformed request would fill the log
            access_log=False,  # paths have the ids of accounts
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=settings.keep_alive,  # type: ignore[arg-type]
            timeout_graceful_shutdown=int(settings.seconds) + 1,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
        )
    )


async def serve(service: Service, listening: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Answer requests until SIGTERM or SIGINT.

    After SIGTERM, it says for `serve.drain` seconds that it is not ready, and still answers; a second signal ends that. Then it
    accepts no more connections, and answers what was sent on those that it has accepted.
    """
    server, loop = server_of(service), asyncio.get_running_loop()
    told = asyncio.Event()

    def end() -> None:
        if service.draining:
            server.should_exit = True
        service.draining = True
        told.set()

    def end_at_once() -> None:
        service.draining = True
        server.should_exit = True
        told.set()

    async def drain() -> None:
        while not server.started and not server.should_exit:
            await asyncio.sleep(0.01)
        with suppress(OSError):
            listening.listen(BACKLOG)
        ready()
        await told.wait()
        if not server.should_exit:
            await asyncio.sleep(service.settings.drain)
        for each in server.servers:
            each.close()
        await first_requests(server)
        server.should_exit = True

    def faulty(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        logger.debug("HTTP: %s: %s", context.get("message"), context.get("exception"))

    loop.set_exception_handler(faulty)
    if threading.current_thread() is threading.main_thread():
        # In place of uvicorn's own handlers, which close the socket at once.
        server.capture_signals = _no_signals
        loop.add_signal_handler(signal.SIGTERM, end)
        loop.add_signal_handler(signal.SIGINT, end_at_once)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, service.reload)
    draining = asyncio.ensure_future(drain())
    try:
        await server.serve(sockets=[listening])
    finally:
        draining.cancel()


async def first_requests(server: Any) -> None:
    """Wait until connections that were accepted just before the end have had an answer, `LINGER` seconds at most.

    uvicorn closes a connection at once if no request has arrived on it yet, although it may be on its way.
    """
    deadline = time.monotonic() + LINGER
    while time.monotonic() < deadline and not all(each.answered for each in server.server_state.connections):
        await asyncio.sleep(0.01)


class _no_signals:  # noqa: N801, in place of a function
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's own end, after everything was stopped and written.

    A thread that looks for a champion or a result may be in the code of a library then. The interpreter would break it off
    there, which aborts the process.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main() -> None:
    """Be a worker of `churn.serving.server`."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it is handled
    setup: Setup = pickle.load(sys.stdin.buffer)  # noqa: S301, from the process that started this one
    os.environ["MLFLOW_TRACKING_URI"] = setup.tracking_uri
    use_project_settings()
    import_xgboost()
    use_log_file()
    use_log_format(setup.log_format)
    REDACTION.learn({"serve": setup.tokens, "results": setup.credentials or {}}, setup.tracking_uri)
    for handler in logging.getLogger().handlers:
        handler.addFilter(REDACTION)

    def ends_with_parent() -> None:
        # Not by Python's own reader, whose lock the interpreter wants at its end.
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ends_with_parent, name="parent", daemon=True).start()
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        Worker(setup).run(listening)
    leave(0)


if __name__ == "__main__":
    main()
