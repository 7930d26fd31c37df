"""A refused champion is told to people once: by the log, and by the channels of the project."""

import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from churn.config import Notifications, Parameters
from churn.config.secrets import REDACTION
from churn.model import ChurnModel
from churn.operations.refusals import RefusalMessages
from churn.serving.champion import AGAIN
from churn.serving.refusals import Refusals
from tests.operations.listening import Listener
from tests.serving.driving import Driven


@pytest.fixture(autouse=True)
def _secrets() -> Iterator[None]:
    known = set(REDACTION._secrets)
    yield
    REDACTION._secrets = known


def waited(refusals: Refusals) -> None:
    if refusals._sending is not None:
        refusals._sending.join(30)


class Told:
    """Takes messages, and says whether they arrived."""

    def __init__(self, *, arrives: bool = True) -> None:
        self.messages: list[tuple[str, str]] = []
        self.arrives = arrives

    def __call__(self, version: str, text: str) -> bool:
        self.messages.append((version, text))
        return self.arrives


def test_once_for_each_refused_version(driven: Driven, model: ChurnModel) -> None:
    told = Told()
    driven.champion.on_refusal = refusals = Refusals(told)

    def look(version: str) -> None:
        driven.registry.alias = version
        driven.now += AGAIN
        driven.champion.look()
        waited(refusals)

    driven.registry.versions |= {"2": ValueError("damaged"), "3": ValueError("of another table")}
    for version in ("2", "2", "3", "3", "3"):
        look(version)
    assert told.messages == [
        ("2", "Version 2 of the model is refused by churn serve, version 1 stays in use: damaged"),
        ("3", "Version 3 of the model is refused by churn serve, version 1 stays in use: of another table"),
    ]
    look("1")
    look("3")  # again, after a rollback
    assert len(told.messages) == 3
    # What has not arrived is told again; that it fails does not stop the service.
    told.arrives = False
    look("2")
    look("2")
    assert len(told.messages) == 5
    refusals._tell = lambda *_: 1 / 0  # type: ignore[assignment,return-value]
    look("2")
    assert driven.get("/readyz").status == 200
    driven.registry.add("4", replace(model, threshold=0.2))
    look("4")
    assert driven.get("/v1/model").json["version"] == "4"


def test_a_slow_server_of_messages_keeps_no_look_waiting(driven: Driven) -> None:
    held, sent = threading.Event(), list[str]()

    def tell(version: str, text: str) -> bool:
        sent.append(version)
        return held.wait(30)

    driven.champion.on_refusal = refusals = Refusals(tell)
    driven.registry.versions["2"], driven.registry.alias = ValueError("damaged"), "2"
    for _ in range(3):
        driven.now += AGAIN
        driven.champion.look()
    assert sent == ["2"]
    held.set()
    waited(refusals)


@pytest.fixture
def messages(tmp_path: Path, parameters: Parameters) -> Callable[..., RefusalMessages]:
    settings = parameters.notifications.model_copy(update={"wait": 0.0, "timeout": 2.0, "attempts": 2})

    def made(url: str, **changes: Any) -> RefusalMessages:
        return RefusalMessages(settings.model_copy(update=changes), {"webhook": url}, str(tmp_path / "cache"))

    return made


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_workers_send_one_message_together(messages: Callable[..., RefusalMessages], listener: Listener) -> None:
    workers = [pickle.loads(pickle.dumps(messages(listener.url))) for _ in range(4)]  # noqa: S301
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda tell=tell, number=number: results.append(tell("7", f"Version 7 is refused: {number}"))
        )
        for number, tell in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
    assert [kind for kind, _ in listener.events] == ["champion_refused"]
    assert workers[0]("8", "Version 8 is refused")
    assert listener.events[1:] == [("champion_refused", "Version 8 is refused")]


def test_a_message_that_fails_is_sent_again_later(messages: Callable[..., RefusalMessages], listener: Listener) -> None:
    listener.statuses = [500, 500, 200]
    tell = messages(listener.url)
    assert not tell("7", "Version 7 is refused")
    assert tell("7", "Version 7 is refused")
    assert len(listener.heard) == 3


def test_an_event_that_is_not_selected_is_not_sent(
    messages: Callable[..., RefusalMessages], listener: Listener
) -> None:
    assert "champion_refused" in Notifications().events
    assert messages(listener.url, events=("failed",))("7", "Version 7 is refused")
    assert listener.heard == []
