"""Events reach those who asked for them, once, over real connections, and no failure of theirs ends a run."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from churn.config import Notifications
from churn.config.secrets import REDACTION
from churn.operations.notifications import Event, Notifier, Topic, Webhook, channels_of
from tests.conftest import Project

QUICK = Notifications(wait=0.01, timeout=1.0)
PUBLISHED = b"""<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>1</MessageId>
</PublishResult><ResponseMetadata><RequestId>2</RequestId></ResponseMetadata></PublishResponse>"""


class Listener:
    """A server on this machine that keeps what it is told, and answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.heard: list[tuple[str | None, str]] = []
        self.statuses: list[int] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                listener.heard.append((self.headers["X-Churn-Event"], body))
                self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
                self.send_header("Content-Length", str(len(PUBLISHED)))
                self.end_headers()
                self.wfile.write(PUBLISHED)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def events(self) -> list[tuple[str | None, str]]:
        return [(kind, json.loads(body)["text"]) for kind, body in self.heard]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def notifier(folder: Path, listener: Listener, now: list[float] | None = None, **settings: Any) -> Notifier:
    known = QUICK.model_copy(update=settings)
    return Notifier(known, [Webhook(listener.url, known)], str(folder), lambda: now[0] if now else 0.0)


def test_an_event_is_posted_as_slack_takes_it(tmp_path: Path, listener: Listener) -> None:
    assert notifier(tmp_path, listener).tell(Event("scored", "5 accounts \u00e9 were scored."))
    assert listener.events == [("scored", "5 accounts \u00e9 were scored.")]


def test_a_fault_that_passes_is_waited_for(tmp_path: Path, listener: Listener) -> None:
    listener.statuses = [503, 429, 500]
    assert notifier(tmp_path, listener).tell(Event("trained", "x"))
    assert len(listener.heard) == 4


def test_a_fault_that_stays_is_a_warning_and_nothing_is_noted(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.statuses = [503] * 4
    under_test = notifier(tmp_path, listener)
    assert not under_test.tell(Event("trained", "x"))
    assert "The notification by webhook failed: it answered 503" in caplog.text
    assert len(listener.heard) == 4
    listener.statuses = [400]  # which does not pass
    assert not under_test.tell(Event("trained", "x"))
    assert len(listener.heard) == 5
    assert under_test.tell(Event("trained", "x"))
    listener.close()
    assert not under_test.tell(Event("trained", "y"))


def test_the_same_is_told_again_after_a_while_only(tmp_path: Path, listener: Listener) -> None:
    now = [1000.0]
    for under_test in (notifier(tmp_path, listener, now), notifier(tmp_path, listener, now)):  # as another process
        under_test.tell(Event("health_alarm", "a"))
        under_test.tell(Event("failed", "a"))
    assert [kind for kind, _ in listener.heard] == ["health_alarm", "failed"]
    now[0] += 60 * 60
    assert under_test.tell(Event("health_alarm", "a"))
    assert len(json.loads((tmp_path / "notifications.json").read_text())) == 1  # what is over is forgotten
    (tmp_path / "notifications.json").write_text("{")
    assert under_test.tell(Event("health_alarm", "a"))
    every = notifier(tmp_path, listener, now, cool_down=0.0)
    assert every.tell(Event("health_alarm", "a"))
    assert every.tell(Event("health_alarm", "a"))


def test_what_is_not_wanted_is_not_told(tmp_path: Path, listener: Listener) -> None:
    assert not notifier(tmp_path, listener, events=("failed",)).tell(Event("scored", "x"))
    assert not listener.heard


def test_no_secret_is_told(tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    secret = "https://hooks.example.com/services/T00/B00/not-to-be-seen"
    REDACTION.learn({"notifications": {"webhook": secret}})
    with caplog.at_level(logging.INFO):
        notifier(tmp_path, listener).tell(Event("failed", f"cannot reach {secret}"))
    assert listener.events == [("failed", "cannot reach ***")]
    assert secret not in caplog.text


def test_a_topic_of_sns_is_published_to(tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", listener.url.removesuffix("/hook"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    arn = "arn:aws:sns:eu-central-1:123456789012:churn"
    channels = channels_of({"webhook": "", "sns_topic": arn}, QUICK)
    assert [type(channel) for channel in channels] == [Topic]
    listener.statuses = [500]
    assert Notifier(QUICK, channels, str(tmp_path)).tell(Event("not_promoted", "It is worse."))
    sent = parse_qs(listener.heard[-1][1])
    assert (sent["Action"], sent["TopicArn"], sent["Message"]) == (["Publish"], [arn], ["It is worse."])
    assert sent["Subject"] == ["churn: not promoted"]
    assert sent["MessageAttributes.entry.1.Value.StringValue"] == ["not_promoted"]
    assert len(listener.heard) == 2


def test_without_an_address_the_log_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert channels_of({}, QUICK) == []
    with caplog.at_level(logging.INFO):
        assert Notifier(QUICK, [], str(tmp_path)).tell(Event("scored", "5 accounts."))
    assert "Scored: 5 accounts." in caplog.text


def test_a_failure_is_not_repeated_in_the_log(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for under_test in (notifier(tmp_path, listener), Notifier(QUICK, [], str(tmp_path))):
            under_test.tell(Event("failed", "training failed: age: 3 values are missing"))
            under_test.tell(Event("failed", "training failed: age: 3 values are missing"))
    assert listener.events == [("failed", "training failed: age: 3 values are missing")]
    assert "age" not in caplog.text
    assert caplog.messages == ["Not sent again within the cool-down: failed"]


def test_runs_tell_what_they_made(project: Project, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_WEBHOOK", listener.url)
    few: dict[str, Any] = {"training__booster__n_estimators": 20}
    project.run("data_generation", simulation__drift=1.0)
    assert not listener.heard
    project.run("feature_engineering", "training", **few)
    project.run("inference")
    project.run("monitoring", monitoring__psi_watch=1e-9, monitoring__psi_alarm=1e-9)
    project.run("feature_engineering", "training", training__booster__n_estimators=21, promotion__margin=1.0)
    kinds = [kind for kind, _ in listener.events]
    assert kinds == ["trained", "promoted", "scored", "health_alarm", "trained", "not_promoted"]
    told = dict(listener.events)
    assert "1,000 accounts were scored with model version 1" in told["scored"]
    assert "gates refused it" in told["not_promoted"]

    (project.staging / "training_data.csv").write_text("account_id\n1\n")
    with pytest.raises(Exception, match="missing columns"):
        project.run("feature_engineering")
    kind, text = listener.events[-1]
    assert kind == "failed"
    assert text.startswith("feature_engineering failed: ")
    assert "missing columns" in text
