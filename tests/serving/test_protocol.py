"""Connections over real sockets: they stay open between requests, and no client can keep others out."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pandas as pd
import pytest
import requests

from churn.config import Parameters
from churn.model import ChurnModel
from churn.serving.worker import serve
from churn.web import http_guard
from churn.web.listening import listen
from tests.serving.driving import Driven, records_of
from tests.sockets import ends

PATIENCE = 60.0


class Listening:
    """A service that listens, in a thread of the test."""

    def __init__(self, driven: Driven) -> None:
        self._socket = listen("127.0.0.1", 0, "serve")
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._task: asyncio.Task[None] = self._loop.create_task(serve(driven.service, self._socket, started.set))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert started.wait(PATIENCE)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._socket.close()


@pytest.fixture
def listening(parameters: Parameters, model: ChurnModel) -> Iterator[Listening]:
    made = Listening(Driven(parameters, model, serve={"seconds": 0.6, "connections": 8, "bytes": 4096}))
    yield made
    made.close()


def test_a_connection_carries_many_requests(listening: Listening, accounts: pd.DataFrame) -> None:
    rows = records_of(accounts.head(1))
    with requests.Session() as session:
        for _ in range(30):
            assert session.post(f"{listening.url}/v1/score", json={"rows": rows}, timeout=PATIENCE).status_code == 200
    with listening.connect() as client:
        client.sendall(
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 49
            + b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert ends(client).count(b"HTTP/1.1 200") == 50


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\nabc",
        b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /livez HTTP/1.1\r\nx: " + b"y" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 5000 + b"\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n"
        + b"y" * 100_000,
    ],
)
def test_what_is_never_completed_or_no_http_is_closed(
    listening: Listening, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_guard, "HEADER_TIME", 0.3)
    with listening.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
        assert b"HTTP/1.1 500" not in ends(client)
    assert requests.get(f"{listening.url}/livez", timeout=PATIENCE).status_code == 200


def test_bytes_that_drip_do_not_prolong_a_request(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "HEADER_TIME", 0.3)
    deadline = time.monotonic() + PATIENCE
    with listening.connect() as client, contextlib.suppress(ConnectionError):
        client.sendall(b"GET /livez HTTP/1.1\r\n")
        while time.monotonic() < deadline:
            client.sendall(b"x: y\r\n")
            time.sleep(0.05)
    assert time.monotonic() < deadline


def test_connections_that_say_nothing_keep_nobody_out(listening: Listening, accounts: pd.DataFrame) -> None:
    silent = [listening.connect() for _ in range(40)]
    body = json.dumps({"rows": records_of(accounts.head(1))})
    headers = {"Content-Type": "application/json"}
    for _ in range(5):
        answer = requests.post(f"{listening.url}/v1/score", data=body, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 200
    for client in silent:
        client.close()
