"""What the watch does when, with tables, runs and a clock of the tests' own."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from churn.errors import ChurnError
from churn.operations.watch_project import LastKnown
from churn.operations.watch_state import alone
from churn.web.listening import check_installed
from churn.web.look_loop import LookLoop
from tests.operations.worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_table_is_taken_when_nothing_of_it_has_changed_for_a_while(world: World) -> None:
    assert world.later(0) is None
    world.files["training"] = {"a": "1"}
    assert world.later(60) == 10
    world.files["training"] = {"a": "2"}  # still being written
    assert world.later(6) == 10
    assert world.later(6) == 4
    assert not world.ran
    assert world.later(4) is None
    assert world.ran == ["training"]
    assert world.later(60) is None
    assert len(world.ran) == 1


def test_what_changes_while_it_runs_is_dealt_with_afterwards(world: World) -> None:
    world.files["inference"] = {"a": "1"}
    world.later(0)
    world.meanwhile = lambda: world.files.update(inference={"a": "1", "b": "2"})
    world.later(10)
    world.meanwhile = lambda: None
    assert world.later(1) == 10
    world.later(10)
    assert world.ran == ["inference"] * 2


def test_a_failure_is_tried_again_later_and_later_and_then_given_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.files["training"] = {"b": "1", "a": "1"}
    world.codes = [1, -9, 1]
    world.later(0)
    assert world.later(10) == 60
    assert world.later(59) == 1
    assert world.later(1) == 120
    world.restart()
    assert world.later(119) == 1
    assert world.later(1) is None
    assert len(world.ran) == 3
    (record,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert (record["kind"], record["exit_code"], record["attempts"]) == ("training", 1, 3)
    assert record["made_of"] == ["a", "b"]
    assert "training was given up after 3 attempts" in caplog.text
    assert world.later(600) is None
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert len(world.ran) == 4


def test_a_run_that_cannot_be_started_counts_as_an_attempt(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise ChurnError("training cannot be started: no memory")

    world.files["training"] = {"a": "1"}
    world.meanwhile = refuse
    world.later(0)
    assert world.later(10) == 60
    world.restart()
    assert world.later(60) == 120
    world.later(120)
    (record,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert (record["kind"], record["exit_code"], record["attempts"]) == ("training", None, 3)
    assert "no memory" in caplog.text
    world.meanwhile = lambda: None
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert world.events[-1] == "training ok"


def test_while_it_stops_nothing_starts_and_no_attempt_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.files["training"] = {"a": "1"}
    world.later(0)
    with monkeypatch.context() as stopping:
        stopping.setattr(world, "start", lambda *_: None)
        assert world.later(10) is None
    world.restart()
    world.later(0)
    assert world.events == ["training ok"]


def test_other_data_is_not_made_to_wait_for_what_failed(world: World) -> None:
    world.files["training"] = {"a": "1"}
    world.codes = [1]
    world.later(0)
    assert world.later(10) == 60
    world.files["training"] = {"a": "2"}
    assert world.later(5) == 10
    assert world.later(10) is None
    assert world.ran == ["training"] * 2


def test_published_but_not_tracked_is_done(world: World) -> None:
    world.files["inference"] = {"a": "1"}
    world.codes = [3]
    world.later(0)
    world.later(10)
    assert world.later(600) is None
    assert len(world.ran) == 1


def test_a_new_champion_scores_after_the_training(world: World) -> None:
    """The champion is among what scores are made of."""
    world.files |= {"training": {"a": "1"}, "inference": {}}
    world.meanwhile = lambda: world.files.update(inference={"b": "1", "(champion)": "1"})
    world.later(0)
    assert world.later(10) == 10
    assert world.ran == ["training"]
    assert world.later(10) is None
    assert world.ran == ["training", "inference"]
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert world.ran[2:] == ["training"]


def test_what_was_stopped_is_not_done(world: World) -> None:
    world.files["training"] = {"a": "1"}
    world.codes = [None]
    world.later(0)
    world.later(10)
    world.restart()
    world.later(10)
    assert len(world.ran) == 2


def test_a_restart_goes_on_where_it_was(world: World) -> None:
    world.files["training"] = {"a": "1"}
    world.later(0)
    world.later(10)
    world.restart()
    assert world.later(60) is None
    assert len(world.ran) == 1


def test_the_champion_is_the_last_known_while_nobody_says_otherwise() -> None:
    answers: list[str | Exception | None] = [OSError("down"), None, "1", OSError("down"), "2"]

    def ask() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    champion = LastKnown(ask)
    with pytest.raises(OSError, match="down"):
        champion()
    assert [champion() for _ in range(4)] == [None, "1", "1", "2"]


class Looks:
    """Looks that a test lets go on one after the other."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)
        self.count = 0
        self.wait: float | None = None

    def __call__(self) -> float | None:
        self.count += 1
        self.begun.release()
        assert self.ended.acquire(timeout=30)
        return self.wait


@pytest.fixture
def looks() -> Iterator[tuple[Looks, Callable[[], None]]]:
    looks = Looks()
    loop = LookLoop(looks, 3600.0)
    loop.start()
    assert looks.begun.acquire(timeout=30)
    yield looks, loop.tell
    looks.wait = None
    loop.stop()
    looks.ended.release(1000)


def test_it_looks_every_while_and_again_after_a_look_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    done, at = threading.Event(), list[float]()

    def look() -> None:
        at.append(time.monotonic())
        if len(at) == 2:
            raise RuntimeError("no answer")
        if len(at) == 4:
            done.set()

    loop = LookLoop(look, 0.2)
    loop.start()
    assert done.wait(30)
    loop.stop()
    assert min(later - earlier for earlier, later in itertools.pairwise(at)) > 0.15
    assert "A look has failed, the next one tries again: no answer" in caplog.text


def test_a_look_that_took_longer_than_the_while_is_followed_by_one_at_once() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def look() -> None:
        begun.release()
        assert go_on.acquire(timeout=30)

    loop = LookLoop(look, 0.01)
    loop.start()
    assert begun.acquire(timeout=30)
    time.sleep(0.05)
    assert not begun.acquire(blocking=False)  # one at a time
    go_on.release()
    assert begun.acquire(timeout=30)
    loop.stop()
    go_on.release()


def test_a_stopped_watch_ends_with_the_look_that_goes_on() -> None:
    looks = Looks()
    looks.wait = 0.0
    loop = LookLoop(looks, 3600.0)
    before = set(threading.enumerate())
    loop.start()
    (thread,) = set(threading.enumerate()) - before
    assert looks.begun.acquire(timeout=30)
    loop.stop()
    loop.stop()
    assert thread.is_alive()
    looks.ended.release(2)
    thread.join(30)
    assert not thread.is_alive()
    assert looks.count == 1


def test_an_event_during_a_look_leads_to_another_one_and_many_to_one(looks: tuple[Looks, Callable[[], None]]) -> None:
    look, hint = looks
    look.ended.release()
    for expected in (2, 3, 4):
        hint()
        assert look.begun.acquire(timeout=30)  # goes on now, and may have listed already what comes next
        assert look.count == expected
        if expected < 4:
            look.ended.release()
    for _ in range(20):
        hint()
        time.sleep(0.01)
    look.ended.release()
    assert look.begun.acquire(timeout=30)
    look.ended.release(100)
    time.sleep(1)
    assert look.count <= 6


def test_a_look_that_wants_another_one_gets_it(looks: tuple[Looks, Callable[[], None]]) -> None:
    look, _ = looks
    look.wait = 0.0
    for _ in range(5):
        look.ended.release()
        assert look.begun.acquire(timeout=30)


def test_there_is_one_watch_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ChurnError, match="churn watch is already running"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(ChurnError, match="churn watch needs no_such_package: uv sync --extra watch"):
        check_installed("watch", ("json", "no_such_package"))
