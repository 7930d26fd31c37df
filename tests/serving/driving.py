"""A service without a network: an ASGI application is called as a server calls it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from churn.config import Parameters
from churn.model import ChurnModel, ModelSource
from churn.serving.application import Service
from churn.serving.champion import Champion
from churn.serving.routes import routes
from churn.serving.scorer import Scorer
from churn.serving.tokens import Tokens
from churn.web.http_guard import Rates


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


async def called(
    app: Any,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    parts: int = 1,
    address: str = "127.0.0.1",
) -> Answered | None:
    """Call an application; `None` if it does not answer."""
    size = max(1, -(-len(body) // parts))
    pieces = [body[start : start + size] for start in range(0, max(len(body), 1), size)]
    sent: list[Any] = []
    given = {"host": "127.0.0.1:8788", **({"content-type": "application/json"} if body else {}), **(headers or {})}

    async def receive() -> Any:
        if not pieces:
            return {"type": "http.disconnect"}
        part = pieces.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": b"",
        "headers": [(name.lower().encode(), text.encode("latin-1")) for name, text in given.items()],
        "client": (address, 1234),
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, end = sent
    return Answered(
        start["status"],
        {name.decode(): text.decode("latin-1") for name, text in start["headers"]},
        end["body"],
    )


@dataclass
class FakeRegistry:
    """A registry in memory: versions by number, and the one that has the alias."""

    versions: dict[str, Any] = field(default_factory=dict)
    alias: str | None = None
    silent: bool = False
    loads: int = 0
    kept: ChurnModel | None = None

    def add(self, version: str, model: ChurnModel) -> None:
        self.versions[version] = model.loaded_from(ModelSource("models:/churn@champion", version, "0" * 32))
        self.alias = version

    def version(self) -> tuple[str | None, str | None]:
        if self.silent or self.alias is None:
            raise OSError("MLflow does not answer")
        model = self.versions[self.alias]
        return self.alias, getattr(model, "sha256", f"hash of {self.alias}")

    def load(self) -> ChurnModel:
        self.loads += 1
        assert self.alias is not None
        model = self.versions[self.alias]
        if isinstance(model, Exception):
            raise model
        self.kept = model
        return model

    def keep(self, model: ChurnModel) -> None:
        self.kept = model

    def copy(self) -> ChurnModel | None:
        return self.kept


class Driven:
    """A service with a model, whose registry the test moves."""

    def __init__(
        self,
        parameters: Parameters,
        model: ChurnModel | None,
        tokens: Mapping[str, Any] | None = None,
        *,
        rates: Rates | None = None,
        serve: Mapping[str, Any] | None = None,
        **parts: Any,
    ) -> None:
        settings = parameters.serve.model_validate({**parameters.serve.model_dump(), **(serve or {})})
        self.registry, self.now, self.hints = FakeRegistry(), 1000.0, 0
        self.champion = Champion(self.registry, parameters.accounts, lambda: self.now)
        if model is not None:
            self.registry.add("1", model)
            self.champion.look()
            assert self.champion.current is not None
        scorer = Scorer(parameters.profit, parameters.decision, parameters.reasons)
        self.service = Service(
            routes("churn"),
            settings,
            "churn",
            Tokens({"tokens": tokens or {}}),
            self.champion,
            scorer,
            hint=self._told,
            rates=rates or Rates(burst=1e9),
            **parts,
        )

    def _told(self) -> None:
        self.hints += 1

    def ask(self, method: str, path: str, content: Any = None, token: str | None = None, **options: Any) -> Answered:
        body = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
        headers = {**options.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
        answer = asyncio.run(called(self.service, method, path, body, headers, **options))
        assert answer is not None
        return answer

    def get(self, path: str, **options: Any) -> Answered:
        return self.ask("GET", path, **options)

    def score(self, rows: Any, **options: Any) -> Answered:
        more = {name: options.pop(name) for name in ("reasons", "decision", "partial", "as_of") if name in options}
        return self.ask("POST", "/v1/score", {"rows": rows, **more}, **options)


def records_of(frame: Any) -> list[dict[str, Any]]:
    """Rows of a table as a client sends them: missing values are null."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


Asks = Callable[..., Answered]
