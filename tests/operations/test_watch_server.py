"""The HTTP side of the watch, over real sockets: what it answers, and what clients cannot do to it."""

import re
import socket
import threading
import time
from pathlib import Path

import pytest
import requests

from churn.errors import ChurnError
from churn.operations.watch_facts import Facts, Published
from churn.web.http_guard import Rates
from churn.web.listening import listen
from churn.web.look_loop import LookLoop
from tests.operations.serving import PATIENCE, Service
from tests.operations.watching import TOKEN


def test_events_are_taken_from_those_who_know_the_token(service: Service) -> None:
    url = f"{service.url}/events"
    for wrong in (
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer{TOKEN}",
        "Bearer é",
    ):
        answer = requests.post(url, json={}, headers={"Authorization": wrong.encode("latin-1")}, timeout=PATIENCE)
        assert answer.status_code == 401, wrong
    assert requests.post(url, json={}, timeout=PATIENCE).status_code == 401
    assert not service.hints
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR", "Bearer "):
        answer = requests.post(
            url, json={"Key": "a.csv"}, headers={"Authorization": f"{scheme} {TOKEN}"}, timeout=PATIENCE
        )
        assert answer.status_code == 202, scheme
    assert len(service.hints) == 5
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.post(url, data=b"x" * (2 << 20), headers=right, timeout=PATIENCE).status_code == 413
    assert len(service.hints) == 5
    assert requests.get(url, headers=right, timeout=PATIENCE).status_code == 405


def test_without_a_token_no_event_is_taken(tmp_path: Path) -> None:
    service = Service(tmp_path, token="")
    for given in ("Bearer", "Bearer ", "bearer x", ""):
        answer = requests.post(f"{service.url}/events", headers={"Authorization": given}, timeout=PATIENCE)
        assert answer.status_code == 401
    service.close()


def test_health_tells_of_the_looks(service: Service) -> None:
    assert service.get("/livez").status_code == 200
    assert service.get("/readyz").status_code == 503  # has not looked yet
    service.files["training"] = {"a": "1"}
    service.look()
    service.now += 30
    shown = service.get("/health")
    assert shown.status_code == 200
    content = shown.json()
    assert content["status"] == "ok"
    assert content["looks"]["age_seconds"] == 30.0
    assert content["runs"]["training"] == {"waiting": True, "attempts": 0}
    assert set(content["runs"]) == {"training", "inference", "monitoring"}
    assert service.get("/readyz").status_code == 200

    service.fails = OSError("the store does not answer")
    for expected in (200, 200, 503, 503):
        service.look()
        answer = service.get("/health")
        assert answer.status_code == expected
        assert answer.json()["looks"]["error"] == "the store does not answer"
    assert answer.json()["looks"]["age_seconds"] == 30.0
    assert (service.get("/readyz").status_code, service.get("/livez").status_code) == (503, 200)
    service.fails = None
    service.look()
    assert service.get("/health").json()["looks"] == {
        "last_good": "1970-01-01T00:17:10+00:00",
        "age_seconds": 0.0,
        "failed_since": 0,
        "error": None,
    }
    service.fault = "no looks are made"
    assert [service.get(path).status_code for path in ("/health", "/livez", "/readyz")] == [503] * 3


def test_metrics_have_what_is_known_and_nothing_else(service: Service) -> None:
    before = service.metrics()
    assert before["churn_runs_total", "training", "ok"] == 0
    assert before["churn_looks_total", "ok"] == 0
    absent = {
        "churn_scores_age_seconds",
        "churn_champion_age_seconds",
        "churn_scored_rows",
        "churn_health_status",
        "churn_alarms",
        "churn_last_good_look_timestamp_seconds",
    }
    assert not absent & {name for name, *_ in before}
    service.files["training"] = {"a": "1"}
    service.facts = Facts({}, Published("a", 940.0, 1234, "alarm", 2, 500.0))
    service.look()
    service.fails = OSError("down")
    service.look()
    service.watcher.on_end("training", "failed", 42.0)
    now = service.metrics()
    assert now["churn_runs_total", "training", "failed"] == 1
    assert now["churn_run_duration_seconds_sum", "training"] == 42
    assert now["churn_run_duration_seconds_bucket", "training", "60.0"] == 1
    assert now["churn_run_duration_seconds_bucket", "training", "30.0"] == 0
    assert (now["churn_looks_total", "ok"], now["churn_looks_total", "failed"]) == (1, 1)
    assert now["churn_last_good_look_timestamp_seconds",] == 1000
    assert (now["churn_pending_runs", "training"], now["churn_pending_runs", "inference"]) == (1, 0)
    assert (now["churn_scores_age_seconds",], now["churn_champion_age_seconds",]) == (60, 500)
    assert (now["churn_scored_rows",], now["churn_health_status",], now["churn_alarms",]) == (1234, 2, 2)
    # What cannot be known is not there: a status of another version, results that cannot be read.
    service.facts = Facts({}, Published("b", None, None, "strange", None, None))
    service.look()
    unknown = {"churn_champion_age_seconds", "churn_scored_rows", "churn_health_status", "churn_alarms"}
    assert not unknown & {name for name, *_ in service.metrics()}
    service.watcher._facts = lambda: 1 / 0  # type: ignore[assignment, return-value]
    service.look()
    assert "churn_scores_age_seconds" not in {name for name, *_ in service.metrics()}


def test_tokens_cannot_be_tried_fast_but_a_store_may_send_many_events(tmp_path: Path) -> None:
    service = Service(tmp_path, rates=Rates(burst=5, rate=0))

    def post(token: str) -> int:
        return requests.post(
            f"{service.url}/events", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
        ).status_code

    assert [post(f"{number:016}") for number in range(8)] == [401] * 5 + [429] * 3
    assert [service.get(path).status_code for path in ("/health", "/livez", "/readyz", "/metrics")] == [429] * 4
    assert [post(TOKEN) for _ in range(20)] == [202] * 20
    assert len(service.hints) == 20
    service.close()


HAS_IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text() != ""


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_ipv6(tmp_path: Path) -> None:
    service = Service(tmp_path / "loopback", host="::1")
    assert service.get("/livez").text == "ok"
    service.close()
    service = Service(tmp_path / "all", host="::")
    for host in ("127.0.0.1", "[::1]"):
        assert requests.get(f"http://{host}:{service.port}/livez", timeout=PATIENCE).text == "ok"
    service.close()


def test_a_name_is_that_of_ipv4() -> None:
    with listen("localhost", 0) as listening:
        assert listening.family == socket.AF_INET


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "not a host", "no-such-host.invalid", "a" * 300])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ChurnError, match=re.escape(f"watch.host = '{host}'")):
        listen(host, 0)


def test_looks_that_hang_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def look() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    loop = LookLoop(look, 1.0)
    assert loop.fault == "no looks are made"
    loop.start()
    assert begun.wait(PATIENCE)
    assert loop.fault is None
    now = time.monotonic()
    monkeypatch.setattr("churn.web.look_loop.time.monotonic", lambda: now + 1000)
    assert "has not ended for" in str(loop.fault)
    monkeypatch.undo()
    loop.stop()
    go_on.set()
    loop.stop(PATIENCE)
    assert loop.fault == "no looks are made"


def test_a_look_that_has_failed_is_repeated_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.web.look_loop.RETRY", 0.01)
    again, looks = threading.Event(), list[int]()

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            again.set()
            return
        raise OSError("no answer")

    loop = LookLoop(look, 604800.0)
    loop.start()
    assert again.wait(PATIENCE)
    loop.stop(PATIENCE)
    assert len(looks) == 3
