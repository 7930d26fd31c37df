"""The ASGI application: who may ask, limits, and the form of answers. `churn.serving.routes` has what is asked."""

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from churn.config import Serve
from churn.config.secrets import is_loopback
from churn.errors import ChurnError
from churn.serving.champion import Champion, InUse
from churn.serving.forms import JSON, Answer, Refusal, Scope, later
from churn.serving.metrics import Metrics
from churn.serving.published import PublishedScores
from churn.serving.request_log import Answered, RequestLog
from churn.serving.scorer import Scorer
from churn.serving.tokens import Client, Tokens
from churn.web.http_guard import Rates, client_of

logger = logging.getLogger(__name__)

# Bodies up to this size are scored where they are received; larger ones in a thread, so that small ones need not wait.
AT_ONCE = 64 << 10
# Of a body that is too large, so many times the limit is read, so that its sender gets an answer.
READ_BEYOND = 4
SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
HSTS = {"strict-transport-security": "max-age=31536000"}

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Gone(Exception):  # noqa: N818, nobody is there to be answered
    """The client has closed the connection."""


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        method: Its method.
        path: Its path, not decoded, without the query.
        headers: Header fields; of one that occurs several times, the last.
        address: Address of the client.
        receive: Receives the body.
        begun: When it came, by `time.perf_counter`.
        id: Its name, in the answer and in the log of requests.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    address: str
    receive: Receive
    begun: float
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def header(self, name: str) -> str:
        """Return a header field; empty if there is none."""
        return self.headers.get(name.encode(), b"").decode("latin-1")


Handler = Callable[["Service", Asked, str], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """A route.

    Attributes:
        name: Its name in metrics.
        scope: Scope that a client needs; ``None`` for nobody's secrets.
        handlers: Handlers by method.
        works: Whether it counts among the requests that are handled at once.
    """

    name: str
    scope: Scope | None
    handlers: Mapping[str, Handler]
    works: bool = False


NOWHERE = Route("other", None, {})


class Service:
    """The state of a worker, and its ASGI application.

    Attributes:
        tokens: Who may ask for what; may be replaced at any time.
        token_fault: Why the tokens cannot be read anew; None if they can.
        reload: Called when the process is told to read its files anew.
        draining: Whether the worker is about to end: it answers, and says that it is not ready.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        settings: Serve,
        model_name: str,
        tokens: Tokens,
        champion: Champion,
        scorer: Scorer,
        *,
        published: PublishedScores | None = None,
        log: RequestLog | None = None,
        hint: Callable[[], None] = lambda: None,
        rates: Rates | None = None,
    ) -> None:
        """Declare the parts.

        Args:
            routes: Routes by their path, see `churn.serving.routes.routes`.
            settings: Limits.
            model_name: Name of the model in the registry.
            tokens: Who may ask for what.
            champion: The model in use.
            scorer: Scores requests.
            published: Published scores; ``None`` for none.
            log: Log of requests; ``None`` for none.
            hint: Called for each event: something may have changed.
            rates: Limits the requests of those without a token; of a default size if ``None``.
        """
        self.settings, self.model_name, self.tokens = settings, model_name, tokens
        self.champion, self.scorer, self.published, self.log, self.hint = champion, scorer, published, log, hint
        self.metrics = Metrics(champion, log)
        if log is not None:
            champion.on_use = log.describe
            if champion.current is not None:
                log.describe(champion.current.model)
        self.token_fault: str | None = None
        self.reload = hint
        self.draining = False
        self._of_tokens = Rates(settings.burst, settings.rate)
        self._of_strangers = rates or Rates()
        self._in_hand = 0
        self._pool = ThreadPoolExecutor(1, "scores")
        self._secure = {**SECURITY, **(HSTS if settings.certificate else {})}
        self._routes = routes
        # Documents that depend on the model in use only. The model belongs to `Champion`, which decides when it goes.
        self._documents: WeakKeyDictionary[InUse, dict[str, Answer]] = WeakKeyDictionary()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        asked = Asked(
            scope["method"],
            scope["raw_path"].decode("latin-1") if scope.get("raw_path") is not None else scope["path"],
            dict(scope["headers"]),
            scope["client"][0] if scope.get("client") else "",
            receive,
            time.perf_counter(),
        )
        route, rest = self._route_of(asked.path)
        try:
            answer = await self._answer(asked, route, rest)
        except Gone:
            return
        except Refusal as refusal:
            answer = refusal.answer(plain_error=asked.path.startswith("/v2"))
        except Exception as error:  # its message may hold values of an account
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error(
                "%s failed: %s in %s:%d", route.name, type(error).__name__, Path(place.filename).name, place.lineno
            )
            answer = Refusal(500, "internal", "the service has failed; its log says where").answer()
        headers = {**self._secure, "content-type": answer.kind, "x-request-id": asked.id, **answer.headers}
        headers["content-length"] = str(len(answer.body))
        if self.draining:
            headers["connection"] = "close"
        raw = [(name.lower().encode("latin-1"), text.encode("latin-1", "replace")) for name, text in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if asked.method == "HEAD" else answer.body})
        self.metrics.answered(route.name, answer.status, time.perf_counter() - asked.begun)

    def _route_of(self, path: str) -> tuple[Route, str]:
        """Return the route of a path, and what of it follows the last slash of the route."""
        before, slash, rest = path.rpartition("/")
        found = self._routes.get(path) or self._routes.get(before + slash)
        return (found if rest else None) or NOWHERE, rest

    async def _answer(self, asked: Asked, route: Route, rest: str) -> Answer:
        method = "GET" if asked.method == "HEAD" else asked.method
        client = self._let_in(asked, route)
        handler = route.handlers.get(method)
        if handler is None and route is NOWHERE:
            raise Refusal(404, "not_found", "there is no such path; /docs lists those that there are")
        if handler is None:
            allowed = ", ".join([*route.handlers, *(["HEAD"] if "GET" in route.handlers else [])])
            raise Refusal(405, "not_allowed", f"{route.name} is asked with {allowed}", headers={"Allow": allowed})
        if not route.works:
            return await handler(self, asked, rest)
        if client.name and not self._of_tokens.allow(client.name):
            raise later(429, "too_many_requests", "this token has sent too many requests (serve.rate)")
        if self._in_hand >= self.settings.concurrency:
            raise later(503, "busy", "the service is busy; come again (serve.concurrency)")
        self._in_hand += 1
        try:
            return await handler(self, asked, rest)
        finally:
            self._in_hand -= 1

    def _let_in(self, asked: Asked, route: Route) -> Client:
        """Return who asks.

        Raises:
            Refusal: If the client gives no token, a wrong one, or one without the scope.
        """
        tokens = self.tokens
        client = tokens.client_of(asked.header("authorization"))
        if not len(tokens) and not _names_this_machine(asked.header("host")):
            # A page in a browser here can reach this service under a name of its own.
            raise Refusal(
                421, "wrong_host", "without a token, the service is called localhost or by a loopback address"
            )
        if client is not None and (bool(client.name) if route.scope is None else route.scope in client.scopes):
            return client
        if not self._of_strangers.allow(client_of(asked.address)):
            raise later(429, "too_many_requests", "too many requests from this address")
        if route.scope is None:
            return client or Client("", frozenset())
        if client is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise Refusal(401, "unauthorized", "a valid token is needed: Authorization: Bearer ...", headers=headers)
        raise Refusal(403, "forbidden", f"the token has no scope {route.scope}")

    async def body_of(self, asked: Asked) -> bytes:
        """Return the body of a request with JSON.

        Raises:
            Refusal: If it is too large, or of another type.
            Gone: If the client has gone.
        """
        kind = asked.header("content-type").partition(";")[0].strip().lower()
        if kind != JSON and not kind.endswith("+json"):
            raise Refusal(415, "not_json", "the body must have the type application/json (Content-Type)")
        if asked.header("content-encoding").strip().lower() not in ("", "identity"):
            raise Refusal(415, "encoded", "the body must not be compressed (Content-Encoding)")
        most, parts, size = self.settings.bytes, list[bytes](), 0
        while True:
            message = await asked.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            size += len(part)
            if size <= most:
                parts.append(part)
            elif size > READ_BEYOND * most:
                break
            if not message.get("more_body", False):
                break
        if size > most:
            raise Refusal(
                413,
                "too_large",
                f"the body is larger than {most:,} bytes (serve.bytes)",
                headers={"Connection": "close"},
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def work(self, body: bytes, do: Callable[[], Answer]) -> Answer:
        """Do what a body asks for: at once, or in a thread if it is large."""
        if len(body) <= AT_ONCE:
            return do()
        return await asyncio.get_running_loop().run_in_executor(self._pool, do)

    def used(self) -> InUse:
        """Return the model in use.

        Raises:
            Refusal: If there is none.
        """
        try:
            return self.champion.require()
        except ChurnError as error:
            raise later(503, "no_model", str(error), 5) from None

    def note(self, asked: Asked, used: InUse, scores: list[Any], faulty: int, as_of: date | None = None) -> None:
        """Count and log scores."""
        self.metrics.scored(len(scores), faulty)
        if self.log is not None and scores:
            self.log.add(Answered(asked.id, time.time(), used.model.version, scores, as_of))

    def document(self, name: str, used: InUse, make: Callable[[], Answer]) -> Answer:
        """Return a document that depends on the model in use only, made once."""
        known = self._documents.setdefault(used, {})
        if name not in known:
            known[name] = make()
        return known[name]

    @property
    def state(self) -> dict[str, Any]:
        """What ``/readyz`` says: whether it is ready, and what is not as it should be."""
        champion, told = self.champion, dict[str, Any]()
        ready = champion.current is not None and not self.draining
        if champion.current is not None:
            told["version"] = champion.current.model.version
        if champion.error is not None:
            told["registry"] = champion.error
        elif champion.current is not None and champion.looked_at is None:
            told["registry"] = "not asked yet; the version is the last known one"
        if champion.refused is not None:
            told["refused"] = champion.refused
        if self.published is not None and self.published.error is not None:
            told["published_scores"] = self.published.error
        if self.log is not None and self.log.error is not None:
            told["request_log"] = self.log.error
        if self.token_fault is not None:
            told["tokens"] = self.token_fault
        status = "ending" if self.draining else "ready" if ready else "not ready"
        return {"status": status if len(told) <= 1 or not ready else "ready, with faults", **told}

    def close(self) -> None:
        """End the threads of the application."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _names_this_machine(host: str) -> bool:
    return is_loopback(f"http://{host}") if host else False
