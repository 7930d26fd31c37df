"""Events reach those who asked for them, once, over real connections, and no failure of theirs ends a run."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from churn.config.secrets import REDACTION
from churn.hooks.notifications import NotificationHook
from churn.operations.channels import Event, Webhook, channels_of
from churn.operations.notifications import Notifier
from tests.conftest import Project
from tests.operations.listening import QUICK, Listener, notifier


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


def test_a_channel_with_a_fault_of_its_own_ends_nothing_and_its_text_stays_here(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Webhook):
        def send(self, event: Event) -> None:
            raise RuntimeError("https://hooks.example.com/T/B/not-to-be-seen")

    channels = [Faulty(listener.url, QUICK), Webhook(listener.url, QUICK)]
    assert not Notifier(QUICK, channels, str(tmp_path)).tell(Event("trained", "x"))
    assert [kind for kind, _ in listener.heard] == ["trained"]
    assert "The notification by webhook failed: RuntimeError" in caplog.text
    assert "not-to-be-seen" not in caplog.text


def test_the_same_is_told_again_after_a_while_only(tmp_path: Path, listener: Listener) -> None:
    now = [1000.0]
    for under_test in (notifier(tmp_path, listener, now), notifier(tmp_path, listener, now)):  # as another process
        under_test.tell(Event("health_alarm", "a"))
        under_test.tell(Event("failed", "a"))
    assert [kind for kind, _ in listener.heard] == ["health_alarm", "failed"]
    now[0] += 60 * 60
    assert under_test.tell(Event("health_alarm", "a"))
    assert len(json.loads((tmp_path / "notifications.json").read_text())) == 1  # what is over is forgotten
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


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"a": "b"}', '{"a": NaN}', '{"a": Infinity}', "\x00"])
def test_damaged_times_of_messages_end_nothing(
    tmp_path: Path, listener: Listener, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "notifications.json").write_text(content)
    under_test = notifier(tmp_path, listener)
    assert under_test.tell(Event("trained", "x"))
    assert not under_test.tell(Event("trained", "x"))
    assert caplog.text.count("was damaged") == 1
    assert not notifier(tmp_path, listener).tell(Event("trained", "x"))  # noted for other processes


def test_a_folder_that_cannot_be_written_ends_nothing(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    under_test = notifier(tmp_path / "file" / "folder", listener)
    for _ in range(5):
        under_test.tell(Event("trained", "x"))
    assert len(listener.heard) == 1


def test_times_ahead_count_as_now(tmp_path: Path, listener: Listener) -> None:
    event = Event("health_alarm", "a")
    now = [1000.0 + 4e8]
    assert notifier(tmp_path, listener, now).tell(event)
    now[0] = 1000.0
    assert not notifier(tmp_path, listener, now).tell(event)
    now[0] += 59 * 60
    assert not notifier(tmp_path, listener, now).tell(event)
    now[0] += 60
    assert notifier(tmp_path, listener, now).tell(event)


def test_what_cannot_be_told_does_not_end_a_run(caplog: pytest.LogCaptureFixture) -> None:
    class Made:
        def all_outputs(self) -> set[str]:
            return {"promotion_decision"}

    hook = NotificationHook()
    hook._notifier = Notifier(QUICK, [], "/tmp")  # noqa: S108
    hook.after_pipeline_run(Made(), {})  # type: ignore[arg-type]
    assert "The notification could not be made: KeyError" in caplog.text


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
