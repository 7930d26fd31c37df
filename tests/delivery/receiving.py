"""A server that takes what a webhook sends, as docs/delivery.md asks of a receiver."""

import base64
import hashlib
import hmac
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a key of at least sixteen bytes"


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that were killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Answer:
    """What a server answers: a status, headers, and content; and whether the connection is cut in place of it."""

    def __init__(self, status: int = 200, content: Any = None, cut: bool = False, **headers: str) -> None:
        self.status, self.cut = status, cut
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.content = b"" if content is None else json.dumps(content).encode()


class Server:
    """A server on this machine; subclasses say what it answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.times: list[float] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the sender was killed
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.times.append(time.monotonic())
                outer.requests.append((self.command, self.path, headers, body))
                answer = outer.answer(headers, body)
                if answer.cut:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_POST = do_PATCH = do_GET = _take  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Receiver(Server):
    """Keeps accounts; what it has taken under a key, it does not take again."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        # How often each state of an account was taken.
        self.taken: Counter[tuple[str, str]] = Counter()
        self.keys: dict[str, bytes] = {}
        self.script: list[Answer | Callable[[list[dict[str, Any]]], Answer]] = []
        self._lock = threading.Lock()
        super().__init__()

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        right = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
        assert f"v1,{right}" in headers["webhook-signature"].split()
        assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
        event, key = json.loads(body), headers["idempotency-key"]
        accounts = event["data"]["accounts"]
        with self._lock:
            scripted = self.script.pop(0) if self.script else Answer()
            answer = scripted(accounts) if callable(scripted) else scripted
            if answer.status < 300 and key not in self.keys:
                self.keys[key] = body
                rejected = {each["id"] for each in json.loads(answer.content or b"{}").get("rejected", [])}
                for each in accounts:
                    if each["account_id"] not in rejected:
                        self._take(each, event["type"])
            elif key in self.keys:
                assert self.keys[key] == body, "a key with other content"
        return answer

    def _take(self, account: dict[str, Any], kind: str) -> None:
        quiet = ("run_id", "delivered_at", "as_of", "model_version")
        state = {name: value for name, value in account.items() if name not in quiet}
        self.taken[account["account_id"], f"{kind} {json.dumps(state, sort_keys=True)}"] += 1
        if kind == "accounts.removed":
            self.accounts.pop(account["account_id"], None)
        else:
            self.accounts[account["account_id"]] = account
