"""What can be asked: the routes of the service and their handlers."""

from importlib.metadata import version
from urllib.parse import unquote_to_bytes

from churn.registry.fingerprint import DISTRIBUTION
from churn.serving.application import Asked, Gone, Route, Service
from churn.serving.description import described_model, openapi, page
from churn.serving.forms import Answer, Refusal, json_answer, later
from churn.serving.inference_protocol import model_metadata, read_tensors, server_metadata, tensors_of
from churn.serving.scorer import parsed, read_wish


async def _score(service: Service, asked: Asked, rest: str) -> Answer:
    body = await service.body_of(asked)
    used = service.used()

    def answer() -> Answer:
        wish = read_wish(parsed(body), service.settings.rows)
        scored = service.scorer.score(used, wish)
        content = service.scorer.content(used, wish, scored, asked.id)
        service.note(asked, used, scored.scores, len({fault.row for fault in scored.faults}), wish.as_of)
        return json_answer(content)

    return await service.work(body, answer)


async def _infer(service: Service, asked: Asked, rest: str) -> Answer:
    body = await service.body_of(asked)
    used = service.used()

    def answer() -> Answer:
        wish, name, wanted = read_tensors(parsed(body), service.settings.rows)
        scored = service.scorer.score(used, wish)
        content = tensors_of(service.model_name, used, scored.scores, name or asked.id, wanted)
        service.note(asked, used, scored.scores, 0)
        return json_answer(content)

    return await service.work(body, answer)


async def _account(service: Service, asked: Asked, rest: str) -> Answer:
    try:
        account = unquote_to_bytes(rest).decode()
    except UnicodeDecodeError:
        raise Refusal(400, "invalid_request", "the id is not UTF-8 text") from None
    if service.published is None or service.published.run_id is None:
        reason = service.published.error if service.published is not None else None
        raise later(503, "no_scores", f"there are no published scores: {reason or 'nothing was published yet'}", 5)
    found = service.published.find(account)
    if found is None:
        raise Refusal(404, "unknown_account", "the account has no published score")
    return json_answer(found)


async def _model(service: Service, asked: Asked, rest: str) -> Answer:
    used = service.used()
    return service.document("model", used, lambda: json_answer(described_model(service.model_name, used)))


async def _metadata(service: Service, asked: Asked, rest: str) -> Answer:
    return json_answer(model_metadata(service.model_name, service.used()))


async def _server(service: Service, asked: Asked, rest: str) -> Answer:
    return json_answer(server_metadata(version(DISTRIBUTION)))


async def _live(service: Service, asked: Asked, rest: str) -> Answer:
    return json_answer({"live": True, "status": "ok"})


async def _ready(service: Service, asked: Asked, rest: str) -> Answer:
    state = service.state
    ready = state["status"].startswith("ready")
    return json_answer({"ready": ready, **state}, 200 if ready else 503)


async def _model_ready(service: Service, asked: Asked, rest: str) -> Answer:
    ready = service.state["status"].startswith("ready")
    return json_answer({"name": service.model_name, "ready": ready}, 200 if ready else 503)


async def _metrics(service: Service, asked: Asked, rest: str) -> Answer:
    content, kind = service.metrics.page()
    return Answer(content, kind=kind)


async def _openapi(service: Service, asked: Asked, rest: str) -> Answer:
    used = service.used()
    return service.document("openapi", used, lambda: json_answer(openapi(service.model_name, used, service.settings)))


async def _docs(service: Service, asked: Asked, rest: str) -> Answer:
    used = service.used()
    return service.document("docs", used, lambda: page(service.model_name, used, service.settings))


async def _event(service: Service, asked: Asked, rest: str) -> Answer:
    size = 0
    while True:  # the content is not needed, but senders expect it to be read
        message = await asked.receive()
        if message["type"] == "http.disconnect":
            raise Gone
        size += len(message.get("body", b""))
        if size > service.settings.bytes:
            raise Refusal(413, "too_large", "the event is too large", headers={"Connection": "close"})
        if not message.get("more_body", False):
            break
    service.hint()
    return json_answer({"status": "accepted"}, 202)


def routes(model_name: str) -> dict[str, Route]:
    """Return the routes by their path; a path with a slash at its end has something behind it."""
    infer = Route("infer", "score", {"POST": _infer}, works=True)
    model = f"/v2/models/{model_name}"
    return {
        "/v1/score": Route("score", "score", {"POST": _score}, works=True),
        "/v1/accounts/": Route("account", "read", {"GET": _account}, works=True),
        "/v1/model": Route("model", "read", {"GET": _model}),
        "/v2": Route("server_metadata", None, {"GET": _server}),
        "/v2/health/live": Route("live", None, {"GET": _live}),
        "/v2/health/ready": Route("ready", None, {"GET": _ready}),
        model: Route("model_metadata", "read", {"GET": _metadata}),
        f"{model}/ready": Route("model_ready", None, {"GET": _model_ready}),
        f"{model}/infer": infer,
        "/events": Route("events", "admin", {"POST": _event}),
        "/livez": Route("live", None, {"GET": _live}),
        "/readyz": Route("ready", None, {"GET": _ready}),
        "/metrics": Route("metrics", None, {"GET": _metrics}),
        "/openapi.json": Route("openapi", None, {"GET": _openapi}),
        "/docs": Route("docs", None, {"GET": _docs}),
    }
