"""A server on this machine that hears notifications."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from churn.config import Notifications
from churn.operations.channels import Webhook
from churn.operations.notifications import Notifier

QUICK = Notifications(wait=0.01, timeout=1.0)


PUBLISHED = b"""<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId>
</PublishResult><ResponseMetadata><RequestId>2</RequestId></ResponseMetadata></PublishResponse>"""


class Listener:
    """A server on this machine that keeps what it is told, and answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.heard: list[tuple[str | None, str]] = []
        self.statuses: list[int] = []
        self.answer = PUBLISHED
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                listener.heard.append((self.headers["X-Churn-Event"], body))
                self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
                self.send_header("Content-Length", str(len(listener.answer)))
                self.end_headers()
                self.wfile.write(listener.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def events(self) -> list[tuple[str | None, str]]:
        return [(kind, json.loads(body)["text"]) for kind, body in self.heard]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def notifier(folder: Path, listener: Listener, now: list[float] | None = None, **settings: Any) -> Notifier:
    known = QUICK.model_copy(update=settings)
    return Notifier(known, [Webhook(listener.url, known)], str(folder), lambda: now[0] if now else 0.0)
