"""Who is let in, what is too much, and what every answer has."""

import asyncio
import json
import logging
from typing import Any

import pandas as pd
import pytest

from churn.config import Parameters
from churn.errors import FaultsError
from churn.model import ChurnModel
from churn.serving.tokens import Tokens
from churn.web.http_guard import Rates
from tests.serving.driving import Driven, called, records_of

SCORE, READ, ADMIN, OLD = "s" * 20, "r" * 20, "a" * 20, "o" * 20
TOKENS = {
    "crm": {"token": [SCORE, OLD], "scopes": ["score"]},
    "desk": {"token": READ, "scopes": "read"},
    "ops": {"token": ADMIN},
    "nobody": {"token": ""},
}


@pytest.fixture
def guarded(parameters: Parameters, model: ChurnModel) -> Driven:
    return Driven(parameters, model, TOKENS)


def test_each_scope_opens_its_paths(guarded: Driven, accounts: pd.DataFrame) -> None:
    rows = {"rows": records_of(accounts.head(1))}
    asks: dict[str, tuple[str, str, Any, set[str]]] = {
        "score": ("POST", "/v1/score", rows, {SCORE, OLD, ADMIN}),
        "infer": ("POST", "/v2/models/churn/infer", {"inputs": []}, {SCORE, OLD, ADMIN}),
        "model": ("GET", "/v1/model", None, {READ, ADMIN}),
        "account": ("GET", "/v1/accounts/x", None, {READ, ADMIN}),
        "metadata": ("GET", "/v2/models/churn", None, {READ, ADMIN}),
        "events": ("POST", "/events", {}, {ADMIN}),
    }
    for method, path, content, allowed in asks.values():
        assert guarded.ask(method, path, content).status == 401
        assert guarded.ask(method, path, content, token="x" * 20).status == 401
        assert guarded.ask(method, path, content, headers={"authorization": f"Basic {ADMIN}"}).status == 401
        for token in (SCORE, OLD, READ, ADMIN):
            status = guarded.ask(method, path, content, token=token).status
            assert (status == 403) == (token not in allowed), (path, token)
    assert guarded.ask("POST", "/v1/score", rows, headers={"authorization": f"bEARER  {SCORE} "}).status == 200
    assert guarded.hints == 1
    for path in (
        "/livez",
        "/readyz",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
    ):
        assert guarded.get(path).status == 200, path


def test_tokens_that_are_no_tokens_are_refused_at_the_start() -> None:
    for entry, says in (
        ({"token": "short"}, "fewer than 16"),
        ({"token": SCORE, "scopes": ["write"]}, "no scope write"),
        ({"token": SCORE, "scope": "read"}, "may have token and scopes"),
        (SCORE, "give it as"),
    ):
        with pytest.raises(FaultsError, match=says) as error:
            Tokens({"tokens": {"crm": entry}})
        assert SCORE not in str(error.value)
    with pytest.raises(FaultsError, match="occurs twice"):
        Tokens({"tokens": {"a": {"token": SCORE}, "b": {"token": SCORE}}})
    assert len(Tokens({"tokens": {"default": {"token": "", "scopes": ["read"]}}})) == 0
    assert len(Tokens(None)) == 0


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104
        "::",
        "10.0.0.1",
        "scores.example",
        "203.0.113.7",
    ],
)
def test_beyond_this_machine_a_token_is_needed(host: str) -> None:
    with pytest.raises(FaultsError, match="CHURN_SERVE_TOKEN"):
        Tokens({}).check_place(host)
    Tokens({"tokens": TOKENS}).check_place(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.1.2.3"])
def test_on_this_machine_none_is_needed(host: str) -> None:
    Tokens({}).check_place(host)


def test_without_a_token_a_page_in_a_browser_cannot_ask(driven: Driven, accounts: pd.DataFrame) -> None:
    rows = records_of(accounts.head(1))
    assert driven.score(rows, headers={"host": "evil.example"}).status == 421
    assert driven.get("/v1/model", headers={"host": ""}).status == 421
    assert driven.score(rows, headers={"content-type": "text/plain"}).status == 415
    for host in ("localhost:8788", "127.0.0.1", "[::1]:8788"):
        assert driven.score(rows, headers={"host": host}).status == 200


def test_tokens_cannot_be_tried_fast(parameters: Parameters, model: ChurnModel, accounts: pd.DataFrame) -> None:
    driven = Driven(parameters, model, TOKENS, rates=Rates(burst=5, rate=0))
    tries = [driven.get("/v1/model", token=f"{number:020}") for number in range(8)]
    assert [each.status for each in tries] == [401] * 5 + [429] * 3
    assert tries[-1].headers["retry-after"] == "1"
    assert driven.get("/livez").status == 429
    assert driven.get("/livez", address="10.1.1.1").status == 200
    assert driven.score(records_of(accounts.head(1)), token=SCORE).status == 200


def test_a_token_has_its_rate(parameters: Parameters, model: ChurnModel, accounts: pd.DataFrame) -> None:
    driven = Driven(parameters, model, TOKENS, serve={"burst": 3, "rate": 1e-9})
    rows = records_of(accounts.head(1))
    answers = [driven.score(rows, token=SCORE) for _ in range(5)]
    assert [each.status for each in answers] == [200] * 3 + [429] * 2
    assert answers[-1].headers["retry-after"]
    assert driven.score(rows, token=OLD).status == 429  # the same name
    assert driven.score(rows, token=ADMIN).status == 200


def test_a_full_service_sheds_load(driven: Driven, accounts: pd.DataFrame) -> None:
    driven.service.settings = driven.service.settings.model_copy(update={"concurrency": 2})
    body = json.dumps({"rows": records_of(accounts.head(1))}).encode()

    async def crowd() -> list[Any]:
        go_on = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            async def late() -> Any:
                await go_on.wait()
                return await receive()

            await driven.service(scope, late, send)

        waiting = [asyncio.ensure_future(called(slow, "POST", "/v1/score", body)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await called(driven.service, "POST", "/v1/score", body)
        lives = await called(driven.service, "GET", "/livez")
        go_on.set()
        return [*await asyncio.gather(*waiting), refused, lives]

    *served, refused, lives = asyncio.run(crowd())
    assert [each.status for each in served] == [200, 200]
    assert (refused.status, refused.headers["retry-after"], lives.status) == (503, "1", 200)
    assert driven.score(records_of(accounts.head(1))).status == 200


def test_too_much_is_told(driven: Driven, accounts: pd.DataFrame) -> None:
    driven.service.settings = driven.service.settings.model_copy(update={"bytes": 2000, "rows": 3})
    rows = records_of(accounts.head(4))
    many = driven.ask("POST", "/v1/score", {"rows": [{}] * 4})
    assert (many.status, many.json["error"]["code"]) == (413, "too_many_rows")
    large = driven.ask("POST", "/v1/score", {"rows": rows * 2}, parts=9)
    assert (large.status, large.json["error"]["code"], large.headers["connection"]) == (413, "too_large", "close")
    assert driven.ask("POST", "/v1/score", b"x" * 100_000, parts=50).status == 413
    assert driven.ask("POST", "/events", b"x" * 5000, parts=5).status == 413
    assert driven.score(rows[:1]).status == 200


def test_a_client_that_leaves_is_not_answered(driven: Driven) -> None:
    async def leaves() -> Any:
        async def receive() -> Any:
            return {"type": "http.disconnect"}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/score", "raw_path": b"/v1/score", "headers": headers}
        await driven.service({**scope, "client": None}, receive, send)
        return sent

    assert asyncio.run(leaves()) == []
    assert driven.service._in_hand == 0


def test_paths_and_methods(driven: Driven) -> None:
    assert driven.get("/nothing").status == 404
    assert driven.get("/v1/accounts/").status == 404
    assert driven.get("/v1/accounts/a/b").status == 404
    answer = driven.get("/v1/score")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = driven.ask("DELETE", "/v1/model")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    head = driven.ask("HEAD", "/v1/model")
    assert (head.status, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(driven.get("/v1/model").content)


def test_every_answer_is_safe_to_show(driven: Driven) -> None:
    for path in ("/v1/model", "/docs", "/nothing", "/metrics", "/openapi.json"):
        headers = driven.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert len(headers["x-request-id"]) == 32
    page = driven.get("/docs").content.decode()
    assert "<script" not in page
    assert "http://" not in page.replace("http://127.0.0.1", "")  # works offline
    assert "https://" not in page


def test_a_fault_of_the_service_says_where_and_nothing_of_the_account(
    driven: Driven, accounts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{**records_of(accounts.head(1))[0], "account_id": "SECRET-77"}]

    def broken(*_: Any) -> None:
        raise KeyError("SECRET-77")

    monkeypatch.setattr(driven.service.scorer, "score", broken)
    with caplog.at_level(logging.DEBUG):
        answer = driven.score(rows)
    assert answer.status == 500
    assert "KeyError in test_access.py" in caplog.text
    assert "SECRET-77" not in caplog.text + answer.content.decode()
    assert driven.service._in_hand == 0


def test_no_id_reaches_the_log(driven: Driven, accounts: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        driven.score([{**records_of(accounts.head(1))[0], "account_id": "SECRET-77", "login_count_p1m": "SECRET-77"}])
        driven.get("/v1/accounts/SECRET-77")
    assert "SECRET-77" not in caplog.text
