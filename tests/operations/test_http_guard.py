"""What clients cannot do to the watch, over real sockets."""

import contextlib
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from churn.web import http_guard
from churn.web.http_guard import Connections, Rates, client_of, most_connections
from tests.conftest import ROOT, clean_environment
from tests.operations.serving import PATIENCE, Service, until
from tests.sockets import ends


def connected(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=PATIENCE)


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
            self.group, self.has_header, self.aborted = client, has_header, False

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
