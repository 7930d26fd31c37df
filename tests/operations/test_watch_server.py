"""The HTTP side of the watch, over real sockets: what it answers, and what clients cannot do to it."""

import asyncio
import contextlib
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from churn.config import Notifications, Watch
from churn.errors import ChurnError
from churn.operations import http_guard
from churn.operations.http_guard import Connections, Rates, client_of, most_connections
from churn.operations.kedro_job import KedroJob, Kind
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_facts import Facts, Published
from churn.operations.watch_metrics import metrics_of
from churn.operations.watch_server import LookLoop, application, listen, serve, server_of
from tests.conftest import ROOT, clean_environment
from tests.operations.watching import TOKEN

# Far above what is waited for, for machines that are busy.
PATIENCE = 60.0


class Service:
    """A server as `churn watch` starts it, with its watcher."""

    def __init__(self, folder: Path, token: str = TOKEN, host: str = "127.0.0.1", most: int = 64) -> None:
        self.files: dict[Kind, dict[str, str]] = {"training": {}}
        self.facts = Facts()
        self.now = 1000.0
        self.fails: Exception | None = None
        self.hints: list[int] = []
        self.fault: str | None = None
        notifier = Notifier(Notifications(), [], str(folder), lambda: self.now)
        self.watcher = Watcher(
            {"training": self.list},
            KedroJob([]),
            Watch(quiet=1e6),
            folder,
            notifier,
            lambda: self.now,
            lambda: self.facts,
        )
        self.connections = Connections(most)
        registry = metrics_of(self.watcher, lambda: self.now)
        app = application(
            token,
            lambda: self.hints.append(1),
            self.watcher,
            fault=lambda: self.fault,
            registry=registry,
            rates=Rates(burst=1e9),
            clock=lambda: self.now,
        )
        self.server = server_of(app, self.connections)
        listening = listen(host, 0)
        self.port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self.thread = threading.Thread(
            target=lambda: asyncio.run(serve(self.server, listening, lambda: None)), daemon=True
        )
        self.thread.start()
        until(lambda: self.server.started)

    def list(self) -> dict[str, str]:
        if self.fails:
            raise self.fails
        return self.files["training"]

    def look(self) -> None:
        with contextlib.suppress(Exception):
            self.watcher.look()

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=PATIENCE)

    def metrics(self) -> dict[tuple[str, ...], float]:
        found = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                found[(sample.name, *sample.labels.values())] = sample.value
        return found

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def until(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.close()


def connected(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=PATIENCE)


def ends(client: socket.socket) -> bytes:
    """What a connection brings until the server closes it."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            got += part
    return got


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


def test_clients_that_say_nothing_keep_nobody_out(service: Service) -> None:
    files = psutil.Process().num_fds()
    silent = [connected(service.port) for _ in range(300)]
    assert service.get("/health").status_code == 200
    until(lambda: len(service.connections) <= service.connections.most_of_one)
    # Two ends of each in this process: those here, and those that the server keeps.
    until(lambda: psutil.Process().num_fds() - files <= len(silent) + service.connections.most + 8)
    for client in silent:
        client.close()
    until(lambda: len(service.connections) == 0)
    assert psutil.Process().num_fds() - files < 8


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: a\r\n",  # a header without an end
        b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",  # a body without one
        b"POST /events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_what_is_never_completed_is_closed(service: Service, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "HEADER_TIME", 0.2)
    monkeypatch.setattr(http_guard, "WHOLE_TIME", 0.4)
    with connected(service.port) as client:
        client.sendall(sent)
        ends(client)
    until(lambda: len(service.connections) == 0)


def test_bytes_that_drip_do_not_prolong_a_request(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "HEADER_TIME", 0.3)
    with connected(service.port) as client:
        client.sendall(b"GET /health HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                client.sendall(b"x: y\r\n")
                time.sleep(0.05)
    assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\n" + b"x: " + b"y" * (1 << 20),
        b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"y" * (6 << 20),
        b"\x16\x03\x01\x02\x00\x01\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 500,
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"\x00" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_is_too_much_or_not_http_is_answered_or_closed(
    service: Service, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(service.port) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
        answer = ends(client)
    assert answer.count(b"HTTP/1.1 ") <= 1  # one request for each connection
    assert service.get("/health").status_code == 200
    until(lambda: len(service.connections) == 0)
    assert "Traceback" not in caplog.text


def test_a_client_that_leaves_in_the_middle_leaves_no_traceback(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        with connected(service.port) as client:
            client.sendall(b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    until(lambda: len(service.connections) == 0)
    assert service.get("/health").status_code == 200
    assert not caplog.records


def test_room_is_made_by_the_oldest_that_has_not_said_what_it_wants() -> None:
    class Fake:
        def __init__(self, client: str, *, has_header: bool = False) -> None:
            self.client, self.has_header, self.aborted = client, has_header, False

        def abort(self) -> None:
            self.aborted = True
            connections.remove(self)  # type: ignore[arg-type]

    def admit(*args: Any, **kwargs: Any) -> tuple[bool, Any]:
        guard = Fake(*args, **kwargs)
        return connections.admit(guard), guard  # type: ignore[arg-type]

    connections = Connections(4)
    (_, busy), (_, first), (came, third) = admit("a", has_header=True), admit("a"), admit("a")
    assert came
    assert first.aborted  # of its own client, who has half of the places
    assert not busy.aborted
    (came, _), (_, other) = admit("b"), admit("c")
    assert came
    assert len(connections) == 4
    assert admit("d")[0]
    assert third.aborted
    assert not other.aborted
    full = Connections(2)
    connections = full
    admit("a", has_header=True)
    admit("b", has_header=True)
    assert not admit("c")[0]


def test_a_client_has_so_many_requests_a_second() -> None:
    now = [0.0]
    rates = Rates(burst=3, rate=2, clock=lambda: now[0])
    assert [rates.allow("a") for _ in range(4)] == [True, True, True, False]
    assert rates.allow("b")
    now[0] += 0.5
    assert [rates.allow("a") for _ in range(2)] == [True, False]
    now[0] -= 100  # a clock that goes back
    assert not rates.allow("a")
    for number in range(5000):
        rates.allow(str(number))
    assert len(rates._left) <= http_guard.MOST_CLIENTS


def test_tokens_cannot_be_tried_fast_but_a_store_may_send_many_events(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    folder = tmp_path
    watcher = Watcher({}, KedroJob([]), Watch(), folder, Notifier(Notifications(), [], str(folder)))
    hints: list[int] = []
    app = application(TOKEN, lambda: hints.append(1), watcher, rates=Rates(burst=5, rate=0))
    client = TestClient(app)
    wrong = [client.post("/events", headers={"Authorization": f"Bearer {n:016}"}).status_code for n in range(8)]
    assert wrong == [401] * 5 + [429] * 3
    assert client.get("/health").status_code == 429
    right = [client.post("/events", headers={"Authorization": f"Bearer {TOKEN}"}).status_code for _ in range(20)]
    assert right == [202] * 20
    assert len(hints) == 20


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("a socket", "a socket"),
    ],
)
def test_clients_are_told_apart(address: str | None, client: str) -> None:
    assert client_of(address) == client


def test_few_files_mean_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((100, 12), (1024, 64), (10, 4), (resource.RLIM_INFINITY, 64)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert most_connections() == most


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


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "not a host", "no-such-host.invalid", "a" * 300])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ChurnError, match=re.escape(f"watch.host = '{host}'")):
        listen(host, 0)


def test_it_ends_with_connections_of_every_kind_open(tmp_path: Path) -> None:
    service = Service(tmp_path)
    clients = [connected(service.port) for _ in range(6)]
    clients[0].sendall(b"GET /health HTTP/1.1\r\n")
    for client in clients[1:3]:
        client.sendall(b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    until(lambda: len(service.connections) == 6)
    service.server.should_exit = True
    service.thread.join(PATIENCE)
    assert not service.thread.is_alive()
    for client in clients:
        client.close()


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
    monkeypatch.setattr("churn.operations.watch_server.time.monotonic", lambda: now + 1000)
    assert "has not ended for" in str(loop.fault)
    monkeypatch.undo()
    loop.stop()
    go_on.set()
    loop.stop(PATIENCE)
    assert loop.fault == "no looks are made"


FEW_FILES = """
import asyncio, resource, signal, sys, threading, logging
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
from churn.config import Notifications, Watch
from churn.operations import watch_server
from churn.operations.kedro_job import KedroJob
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
logging.basicConfig(level="INFO", stream=sys.stdout)
folder = Path(sys.argv[1])
watcher = Watcher({}, KedroJob([]), Watch(), folder, Notifier(Notifications(), [], str(folder)))
watch_server.watch(watcher, KedroJob([]), Watch(port=int(sys.argv[2])), "")
print("ended")
"""


@pytest.mark.e2e
def test_with_100_open_files_300_silent_clients_neither_stop_it_nor_fill_the_log(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", FEW_FILES, str(tmp_path), str(port)],
            cwd=ROOT,
            env=clean_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=PATIENCE).status_code == 200
        return False

    try:
        until(answers)
        clients = [connected(port) for _ in range(300)]
        for _ in range(20):
            assert answers()
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait(PATIENCE) == 0
        took = time.monotonic() - asked
        for client in clients:
            client.close()
    finally:
        process.kill()
        process.wait()
    shown = (tmp_path / "log").read_text()
    assert "Traceback" not in shown
    assert shown.count("\n") < 20, shown
    assert "ended" in shown
    # On a quiet machine within 2 seconds; the limit is that of the service.
    assert took < 30
