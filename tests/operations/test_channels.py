"""Channels take messages as others read them, show no secret, and are held by no server."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import psutil
import pytest

from churn.config.secrets import REDACTION
from churn.operations.channels import Event, InTime, Topic, Webhook, channels_of
from churn.operations.notifications import Notifier
from tests.operations.listening import QUICK, Listener, notifier
from tests.stack import free_ports


def test_an_event_is_posted_as_slack_takes_it(tmp_path: Path, listener: Listener) -> None:
    assert notifier(tmp_path, listener).tell(Event("scored", "5 accounts \u00e9 were scored."))
    assert listener.events == [("scored", "5 accounts \u00e9 were scored.")]


def test_a_fault_that_passes_is_waited_for(tmp_path: Path, listener: Listener) -> None:
    listener.statuses = [503, 429, 500]
    assert notifier(tmp_path, listener).tell(Event("trained", "x"))
    assert len(listener.heard) == 4


def test_a_topic_of_sns_is_published_to(tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", listener.url.removesuffix("/hook"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    arn = "arn:aws:sns:eu-central-1:123456789012:churn"
    channels = channels_of({"webhook": "", "sns_topic": arn}, QUICK)
    assert [channel.name for channel in channels] == [Topic.name]
    listener.statuses = [500]
    assert Notifier(QUICK, channels, str(tmp_path)).tell(Event("not_promoted", "It is worse."))
    sent = parse_qs(listener.heard[-1][1])
    assert (sent["Action"], sent["TopicArn"], sent["Message"]) == (["Publish"], [arn], ["It is worse."])
    assert sent["Subject"] == ["churn: not promoted"]
    assert sent["MessageAttributes.entry.1.Value.StringValue"] == ["not_promoted"]
    assert len(listener.heard) == 2


SECRET = "https://user-name:pass-word@127.0.0.1:{port}/services/T0/B0/nOtToBeSeen42?token=alsoSecret77&x=y"


class Hostile:
    """A server of raw sockets: what it does with each connection is up to a function."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.requests: list[bytes] = []
        self._serve, self._open = serve, True
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self._open:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self.requests.append(client.recv(65536))
            self._serve(client)

    def close(self) -> None:
        self._open = False
        self._listening.close()


@contextlib.contextmanager
def hostile(serve: Callable[[socket.socket], None]) -> Iterator[Hostile]:
    server = Hostile(serve)
    yield server
    server.close()


def echo(status: str) -> Callable[[socket.socket], None]:
    def serve(client: socket.socket) -> None:
        text = b"no hook at /services/T0/B0/nOtToBeSeen42 with NOTTOBESEEN42, token%3DalsoSecret77"
        client.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)

    return serve


def drip(start: bytes, part: bytes) -> Callable[[socket.socket], None]:
    def serve(client: socket.socket) -> None:
        client.sendall(start)
        while True:
            client.sendall(part)
            time.sleep(0.02)

    return serve


def flood(start: bytes) -> Callable[[socket.socket], None]:
    def serve(client: socket.socket) -> None:
        client.sendall(start)
        while True:
            client.sendall(b"x" * 65536)

    return serve


def everything_logged(caplog: pytest.LogCaptureFixture) -> tuple[logging.Handler, list[str]]:
    """A handler as the project has them, and what it shows, of all libraries and at all levels."""
    seen: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.emit = lambda record: seen.append(handler.format(record))  # type: ignore[method-assign]
    handler.addFilter(REDACTION)
    return handler, seen


@pytest.mark.parametrize("status", ["404 Not Found", "503 Busy", "302 Found", "400 nOtToBeSeen42", None])
def test_nothing_behind_the_host_is_shown(tmp_path: Path, status: str | None, caplog: pytest.LogCaptureFixture) -> None:
    handler, seen = everything_logged(caplog)
    root = logging.getLogger()
    root.addHandler(handler)
    caplog.set_level(logging.DEBUG)
    try:
        with hostile(echo(status or "200 OK")) as server:
            url = SECRET.format(port=server.port).replace("https", "http")
            if status is None:  # nobody listens
                url = SECRET.format(port=free_ports(1)[0]).replace("https", "http")
            REDACTION.learn({"notifications": {"webhook": url}})
            settings = QUICK.model_copy(update={"attempts": 2})
            channel = InTime(Webhook(url, settings), settings)
            assert not Notifier(settings, [channel], str(tmp_path)).tell(Event("trained", "x"))
            logging.getLogger("a.library").warning("Retrying: %s", url.partition("127.0.0.1")[2])
            try:
                raise OSError(f"Max retries exceeded with url: {url.partition('127.0.0.1:')[2]}")
            except OSError:
                logging.getLogger("a.library").exception("It failed")
    finally:
        root.removeHandler(handler)
    shown = "\n".join(seen)
    assert "The notification by webhook failed: " in shown
    assert (f"it answered {status[:3]}" if status else "no connection: Connection refused") in shown
    for secret in ("nottobeseen42", "alsosecret77", "/services/", "pass-word", "/T0/"):
        assert secret not in shown.casefold(), shown


@pytest.mark.parametrize(
    "address",
    [
        "not an address",
        "http://",
        "ftp://127.0.0.1/nOtToBeSeen42",
        "http://[::1/nOtToBeSeen42",
        "http://no-such-host.invalid/nOtToBeSeen42",
    ],
)
def test_an_address_that_is_wrong_is_not_shown(tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture) -> None:
    (channel,) = channels_of({"webhook": address}, QUICK.model_copy(update={"attempts": 1}))
    assert not Notifier(QUICK, [channel], str(tmp_path)).tell(Event("trained", "x"))
    assert "The notification by webhook failed" in caplog.text
    assert "nOtToBeSeen42" not in caplog.text


@pytest.mark.parametrize(
    "serve",
    [
        drip(b"", b""),
        drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        drip(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 404 Gone\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(b"H", b"T"),
        flood(b"HTTP/1.1 404 Gone\r\nContent-Length: 100000000000\r\n\r\n"),
        flood(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000000000\r\n\r\n"),
        flood(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 100000000000\r\n\r\n"),
        flood(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_a_server_that_never_ends_holds_nobody(tmp_path: Path, serve: Callable[[socket.socket], None]) -> None:
    settings = QUICK.model_copy(update={"attempts": 1, "timeout": 0.2})
    with hostile(serve) as server:
        (channel,) = channels_of({"webhook": f"http://127.0.0.1:{server.port}/x"}, settings)
        before = psutil.Process().memory_info().rss
        # Would not return at all.
        Notifier(settings, [channel], str(tmp_path)).tell(Event("trained", "x"))
        assert psutil.Process().memory_info().rss - before < 64 << 20


def test_one_message_at_a_time_waits_for_a_server_that_never_ends(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    settings = QUICK.model_copy(update={"attempts": 1, "timeout": 0.2})
    with hostile(drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")) as server:
        (channel,) = channels_of({"webhook": f"http://127.0.0.1:{server.port}/x"}, settings)
        under_test = Notifier(settings, [channel], str(tmp_path))
        threads = threading.active_count()
        for number in range(5):
            assert not under_test.tell(Event("trained", str(number)))
        assert threading.active_count() <= threads + 3
    assert "no complete answer within 0.4 seconds" in caplog.text


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a < b & c > d <!channel> <@U1>", "a &lt; b &amp; c &gt; d &lt;!channel&gt; &lt;@U1&gt;"),
        ("a\x00b\x1b[31mc\x7f\u202ed\u2066e\rf\n- g", "ab[31mcdef\n- g"),
        ("&lt;", "&amp;lt;"),
        ("x" * 100_000, "x" * 2999 + "\u2026"),
        ("\ud800half", "half"),
    ],
)
def test_what_is_posted_is_text_and_nothing_else(tmp_path: Path, listener: Listener, text: str, sent: str) -> None:
    assert notifier(tmp_path, listener).tell(Event("failed", text))
    assert listener.events == [("failed", sent)]


def test_errors_of_sns_have_neither_keys_nor_arns(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arn = "arn:aws:sns:eu-central-1:123456789012:churn-secret"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", listener.url.removesuffix("/hook"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAABCDEFGHIJKLMNOP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    listener.answer = (
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>User: "
        b"arn:aws:iam::123456789012:user/x with AKIAABCDEFGHIJKLMNOP may not SNS:Publish on resource: "
        + arn.encode()
        + b"</Message>"
        b"</Error></ErrorResponse>"
    )
    listener.statuses = [403]
    channels = channels_of({"sns_topic": arn}, QUICK)
    assert not Notifier(QUICK, channels, str(tmp_path)).tell(Event("trained", "x"))
    assert "The notification by SNS failed: it answered 403: AuthorizationError" in caplog.text
    for text in ("not an arn", "arn:aws:sns:::", "arn:aws:sns:no region:123456789012:x"):
        assert not Notifier(QUICK, channels_of({"sns_topic": text}, QUICK), str(tmp_path)).tell(Event("trained", "y"))
    for secret in ("123456789012", "AKIAABCDEFGHIJKLMNOP", "churn-secret"):
        assert secret not in caplog.text
