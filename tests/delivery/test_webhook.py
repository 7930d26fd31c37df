"""Webhooks: signed, limited by what the receiver asks for, and taken once whatever happens on the way."""

import json
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from churn.config import WebhookTarget
from churn.delivery import make_target
from churn.delivery.http_client import HttpClient
from churn.delivery.target import TargetError
from churn.delivery.webhook import signature
from tests.delivery.killing import kills_of_webhook, twice
from tests.delivery.receiving import SECRET, Answer, Receiver, Server
from tests.delivery.test_sending import LISTED, SCORES, numbers
from tests.delivery.worlds import World, with_scores


def test_the_receiver_has_what_was_published_and_gets_what_changes(hook: World, receiver: Receiver) -> None:
    run_id = hook.publish(SCORES, LISTED)
    assert numbers(hook.deliver()) == (1000, 0, 0, 0)
    assert len(receiver.requests) == 10
    first = LISTED.slice(0, 1).to_pylist()[0]
    account = receiver.accounts[first["account_id"]]
    assert account["reason_1"] == first["reason_1"]
    assert (account["run_id"], account["as_of"]) == (run_id, "2026-11-28")
    assert numbers(hook.deliver()) == (0, 0, 1000, 0)
    assert len(receiver.requests) == 10
    hook.publish(with_scores(SCORES.slice(2), 0, 0.125), LISTED)
    assert numbers(hook.deliver()) == (0, 1, 997, 2)
    kinds = [json.loads(body)["type"] for *_, body in receiver.requests[10:]]
    assert kinds == ["accounts.scored", "accounts.removed"]
    assert len(receiver.accounts) == 998
    assert not twice(receiver)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification, https://github.com/standard-webhooks/standard-webhooks."""
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    body = b'{"test": 2432232314}'
    assert signature(secret, message, 1614265330, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_keys_sign_while_a_receiver_changes_from_one_to_the_other(hook: World, receiver: Receiver) -> None:
    hook.credentials["secret"] = ["another key, the new one", SECRET]
    hook.publish(SCORES.slice(0, 5), LISTED)
    assert numbers(hook.deliver())[0] == 5


@pytest.mark.parametrize("status", [429, 503, 500, 408])
def test_a_receiver_that_is_busy_is_asked_again(hook: World, receiver: Receiver, status: int) -> None:
    receiver.script = [Answer(status), Answer(status)]
    hook.publish(SCORES.slice(0, 5), LISTED)
    assert numbers(hook.deliver())[0] == 5
    assert len({headers["idempotency-key"] for _, _, headers, _ in receiver.requests}) == 1
    assert len(receiver.requests) == 3


def test_an_answer_that_is_lost_is_no_second_delivery(hook: World, receiver: Receiver) -> None:
    def taken_and_cut(accounts: list[dict[str, Any]]) -> Answer:
        return Answer(cut=True)

    receiver.script = [Answer(), taken_and_cut]
    hook.publish(SCORES.slice(0, 250), LISTED)
    assert numbers(hook.deliver())[0] == 250
    assert len(receiver.requests) == 4
    assert not twice(receiver)


def test_a_batch_on_its_way_goes_first_and_as_it_was(hook: World, receiver: Receiver) -> None:
    """Its answer never came, and the results are others now: what the receiver may have is not sent under another key."""
    hook.target["attempts"] = 1
    receiver.script = [Answer(), Answer(cut=True)]
    hook.publish(SCORES.slice(0, 250), LISTED)
    assert hook.deliver().status == "failed"
    lost = receiver.requests[-1]
    hook.publish(with_scores(SCORES.slice(0, 250), slice(0, 120), 0.125), LISTED)
    assert numbers(hook.deliver()) == (50, 120, 80, 0)
    again = receiver.requests[2]
    assert (again[2]["idempotency-key"], again[3]) == (lost[2]["idempotency-key"], lost[3])
    assert not twice(receiver)
    assert receiver.accounts[SCORES["account_id"][0].as_py()]["probability"] == 0.125


def test_rejected_accounts_are_listed_and_tried_again(hook: World, receiver: Receiver) -> None:
    ids = SCORES["account_id"].to_pylist()
    some = [{"id": ids[3], "reason": "no such customer: caf\u00e9\x1b[31m"}, {"id": "of nobody", "reason": "?"}]
    receiver.script = [Answer(200, {"rejected": some})]
    hook.publish(SCORES.slice(0, 50), LISTED)
    outcome = hook.deliver()
    assert (outcome.status, outcome.counts.rejected) == ("delivered", 1)
    (row,) = map(json.loads, hook.rejects.read_text().splitlines())
    assert row == {"id": ids[3], "action": "upsert", "words": "no such customer: caf\u00e9[31m"}
    assert numbers(hook.deliver()) == (1, 0, 49, 0)
    assert not hook.rejects.exists()


def test_a_batch_that_is_refused_for_some_accounts_is_sent_without_them(hook: World, receiver: Receiver) -> None:
    bad = set(SCORES["account_id"].to_pylist()[10:13])

    def validate(accounts: list[dict[str, Any]]) -> Answer:
        rejected = [{"id": each["account_id"]} for each in accounts if each["account_id"] in bad]
        return Answer(422 if rejected else 200, {"rejected": rejected})

    receiver.script = [validate, validate]
    hook.publish(SCORES.slice(0, 50), LISTED)
    outcome = hook.deliver()
    assert (outcome.status, outcome.counts.rejected) == ("delivered", 3)
    assert len(receiver.accounts) == 47


def test_a_batch_that_is_too_large_is_halved(hook: World, receiver: Receiver) -> None:
    receiver.script = [lambda accounts: Answer(413 if len(accounts) > 30 else 200)] * 20
    hook.publish(SCORES.slice(0, 200), LISTED)
    assert numbers(hook.deliver())[0] == 200
    assert len(receiver.accounts) == 200
    assert not twice(receiver)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(302, Location="http://127.0.0.1:1/elsewhere"), "302; redirects are not followed"),
        (Answer(401, {"error": "who are you?"}), "401: .*who are you"),
        (Answer(404), "404"),
        (Answer(400, {"error": "no such field"}), "400: .*no such field"),
    ],
)
def test_a_refusal_ends_the_delivery_with_the_words_of_the_receiver(
    hook: World, receiver: Receiver, answer: Answer, words: str
) -> None:
    receiver.script = [answer]
    hook.publish(SCORES.slice(0, 5), LISTED)
    outcome = hook.deliver()
    assert outcome.status == "failed"
    assert re.search(words, outcome.reason)
    assert len(receiver.requests) == 1
    assert hook.deliver().status == "delivered"


def test_what_the_headers_ask_for_is_waited_for(receiver: Receiver) -> None:
    now, waits = [1_700_000_000.0], []

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 3))
        now[0] += seconds

    later = datetime.fromtimestamp(now[0], UTC)

    class Scripted(Server):
        def answer(self, headers: dict[str, str], body: bytes) -> Answer:
            return script.pop(0)

    script = [
        *(
            Answer(429, Retry_After="7"),
            Answer(503, Retry_After=format_datetime(later + timedelta(seconds=20), usegmt=True)),
        ),
        Answer(200, X_RateLimit_Remaining="0", X_RateLimit_Reset="30"),
        Answer(200, X_RateLimit_Remaining="0", X_RateLimit_Reset=str(int(now[0]) + 60)),
        Answer(200, RateLimit_Remaining="0", RateLimit_Reset="5"),
        Answer(200, X_RateLimit_Remaining="12", X_RateLimit_Reset="3000"),
        *(
            Answer(429, Retry_After="nonsense"),
            Answer(429, Retry_After="-3"),
            Answer(200),
            Answer(429, Retry_After="3600"),
        ),
    ]
    server = Scripted()
    settings = WebhookTarget(name="hook", kind="webhook", wait=2.0)
    client = HttpClient(settings, sleep, lambda: now[0])
    for _ in range(5):
        client.send("POST", server.url, b"{}", dict)
    # 7 s, then until 20 s after the beginning; 30 s; until 60 s after the beginning; 5 s; none; 2 s and 4 s of its own.
    assert waits == [7.0, 13.0, 30.0, 10.0, 5.0, 2.0, 4.0]
    with pytest.raises(TargetError, match=r"wait for 3,600 seconds.*longest_wait"):
        client.send("POST", server.url, b"{}", dict)
    server.close()


def test_a_receiver_that_never_finishes_its_answer_holds_nobody(tmp_path: Path) -> None:
    import socket
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _ = listening.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(100):
                client.sendall(b"X-A: b\r\n")
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    credentials = {"webhook": f"http://127.0.0.1:{listening.getsockname()[1]}", "secret": SECRET}
    world = World(tmp_path, credentials, kind="webhook", attempts=1, timeout=0.4)
    world.publish(SCORES.slice(0, 5), LISTED)
    began = time.monotonic()
    outcome = world.deliver()
    listening.close()
    assert outcome.status == "failed"
    assert "no complete answer" in outcome.reason
    assert time.monotonic() - began < 5


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def replace_by_text(file: Path) -> None:
    file.write_text("this is no database, but a text of more than a hundred characters" * 3)


@pytest.mark.parametrize("damage", [cut_short, replace_by_text])
def test_a_damaged_ledger_is_set_aside_and_nothing_sent_unasked(
    hook: World, receiver: Receiver, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    hook.target["first"] = "send"
    hook.publish(SCORES, LISTED)
    hook.deliver(first="dry_run")
    damage(hook.state / "crm.sqlite")
    with caplog.at_level(logging.WARNING):
        outcome = hook.deliver(first="dry_run")
    assert outcome.status == "dry_run"
    assert "damaged" in outcome.reason
    assert "was damaged and is now crm.sqlite.damaged-" in caplog.text
    assert len(receiver.requests) == 10
    assert hook.deliver(first="dry_run").status == "dry_run"
    assert numbers(hook.deliver(first="send"))[0] == 1000
    assert numbers(hook.deliver(first="dry_run")) == (0, 0, 1000, 0)


def test_a_delivery_that_was_overtaken_ends(hook: World, receiver: Receiver) -> None:
    def overtake(accounts: list[dict[str, Any]]) -> Answer:
        receiver.script.clear()
        receiver._lock.release()
        try:
            assert numbers(hook.deliver())[0] == 900
        finally:
            receiver._lock.acquire()
        return Answer()

    receiver.script = [Answer(), overtake]
    hook.publish(SCORES, LISTED)
    outcome = hook.deliver()
    assert outcome.status == "failed"
    assert "another delivery" in outcome.reason
    assert len(receiver.accounts) == 1000
    assert not twice(receiver)


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({}, ["secret is empty", "webhook is empty"]),
        ({"webhook": "ftp://x/y", "secret": SECRET}, ["no address"]),
        ({"webhook": "http://crm.example.com/x", "secret": SECRET}, ["use https"]),
        ({"webhook": "https://crm.example.com/x", "secret": "short"}, ["forged"]),
        ({"webhook": "https://crm.example.com/x", "secret": "whsec_!!"}, ["not base64"]),
        ({"webhook": "https://crm.example.com/x", "secret": [SECRET, "short"]}, ["forged"]),
    ],
)
def test_faulty_credentials_are_told_before_anything_runs(
    tmp_path: Path, credentials: dict[str, Any], words: list[str]
) -> None:
    settings = WebhookTarget(name="hook", kind="webhook")
    faults = make_target(settings, {"hook": credentials}, tmp_path).faults()
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))
    assert not any("crm.example.com/x" in fault for fault in faults)


def test_kills_at_random_moments_leave_what_the_next_delivery_completes(hook: World, receiver: Receiver) -> None:
    hits, faults = kills_of_webhook(hook, receiver, rows=2000, count=3, seed=21)
    assert faults == []
    assert hits
