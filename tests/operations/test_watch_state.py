"""The progress of the watch survives damaged files, full disks, kills and wrong clocks."""

import errno
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from churn.config import Notifications, Watch
from churn.errors import ChurnError
from churn.operations.channels import Event
from churn.operations.kedro_job import Ended
from churn.operations.notifications import Notifier
from churn.operations.watch_facts import Published
from tests.operations.worlds import FakeRun, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file can be written completely."""

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("churn.stores.local.os.fsync", no_space)
        yield


def look(world: World, seconds: float = 60.0) -> None:
    with suppress(ChurnError):
        world.later(seconds)


@pytest.mark.parametrize("content", ["", "{", '"x"', "{}", '[{"kind": 1}]', "[1, 2]", "\x00\x00"])
def test_damaged_dead_letters_do_not_make_it_run_again(world: World, content: str) -> None:
    letters = world.folder / "dead_letters.json"
    letters.write_text(content)
    world.files["training"] = {"a": "1"}
    world.codes = [1] * 100
    for _ in range(30):
        world.later(600)
    assert world.ran == ["training"] * 3
    assert len(json.loads(letters.read_text())) == 1
    assert len(list(world.folder.glob("dead_letters.json.damaged-*"))) == 1


def test_dead_letters_that_cannot_be_written_do_not_make_it_run_again(world: World) -> None:
    (world.folder / "dead_letters.json").mkdir()
    ((world.folder / "dead_letters.json") / "x").touch()
    world.files["training"] = {"a": "1"}
    world.codes = [1] * 100
    for _ in range(30):
        world.later(600)
        world.restart()
    assert world.ran == ["training"] * 3


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"training": 5}',
        '{"training": {"attempts": -1}}',
        '{"training": {"since": NaN}}',
        '{"training": {"not_before": Infinity}}',
        '{"training": {"attempts": "many"}}',
        '{"running": {"kind": "baking"}}',
        '{"scores": []}',
    ],
)
def test_a_damaged_state_begins_anew(world: World, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (world.folder / "state.json").write_text(content)
    world.files["training"] = {"a": "1"}
    world.restart()
    assert caplog.text.count("was damaged") == 1
    world.later(0)
    world.later(10)
    world.restart()
    assert world.later(60) is None
    assert world.ran == ["training"]


def test_a_state_of_an_earlier_version_is_read(world: World) -> None:
    known = {"seen": "x", "since": 1.0, "handled": "x", "attempts": 0, "not_before": 0.0}
    (world.folder / "state.json").write_text(json.dumps({"training": known, "inference": known}))
    world.restart()
    assert world.watcher.state.of("training").handled == "x"
    assert world.watcher.state.of("monitoring").handled is None


def test_on_a_full_disk_nothing_starts_and_it_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.files["training"] = {"a": "1"}
    with full_disk(monkeypatch):
        for _ in range(30):
            look(world)
        assert world.ran == []
        assert "No space left on device" in str(world.watcher.looks.error)
        assert world.watcher.looks.failed > 3
        world.restart()
        for _ in range(5):
            look(world)
        assert world.ran == []
    assert caplog.text.count("Failed") <= 60
    world.later(60)
    assert world.ran == ["training"]
    assert world.watcher.looks.error is None


@pytest.mark.parametrize("codes", [[0], [1] * 50])
def test_a_disk_that_fills_up_during_a_run_does_not_make_it_run_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, codes: list[int]
) -> None:
    world.files["training"] = {"a": "1"}
    world.codes = list(codes)
    world.later(0)
    with monkeypatch.context() as patched:

        def fill() -> None:
            patched.setattr("churn.stores.local.os.fsync", lambda _: os.write(-1, b""))

        world.meanwhile = fill
        for _ in range(30):
            look(world, 600)
        assert world.ran == ["training"]
    world.meanwhile = lambda: None
    for _ in range(10):
        world.later(600)
    assert len(world.ran) == (1 if codes == [0] else 3)


def test_a_run_that_kills_the_watch_each_time_is_given_up(world: World) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    world.files["training"] = {"a": "1"}
    world.meanwhile = kill
    world.later(0)
    for _ in range(30):
        try:
            world.later(600)
        except Killed:
            world.restart()
    assert world.ran == ["training"] * 3
    (letter,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert (letter["attempts"], letter["exit_code"]) == (3, None)
    world.meanwhile = lambda: None
    world.files["training"] = {"a": "2"}
    world.later(0)
    world.later(10)
    assert len(world.ran) == 4


@pytest.mark.parametrize("ahead", [3600.0, 86400.0, 4e8, 1e300])
def test_times_ahead_count_as_now(world: World, ahead: float) -> None:
    world.files["training"] = {"a": "1"}
    world.codes = [1]
    world.now += ahead
    world.later(0)
    world.later(10)  # fails, and waits, by a clock that is wrong
    world.now -= ahead
    world.restart()
    waits = []
    while (wait := world.later(0)) is not None:
        waits.append(wait)
        world.now += wait
    assert world.ran == ["training"] * 2
    assert sum(waits) <= 70


def test_outcomes_start_monitoring_once_there_are_scores(world: World) -> None:
    outcomes = {"outcomes.csv": "1"}
    world.files["inference"] = {"a": "1"}

    def publish() -> None:
        world.published = Published("1", world.now)

    world.meanwhile = publish
    world.later(0)
    world.later(10)
    assert world.ran == ["inference"]
    world.meanwhile = lambda: None
    world.files["monitoring"] = outcomes
    world.later(0)
    world.later(10)
    assert world.ran == ["inference", "monitoring"]
    world.files["monitoring"] = {"outcomes.csv": "2"}
    world.later(0)
    world.later(10)
    assert world.ran == ["inference", "monitoring", "monitoring"]
    for _ in range(5):
        world.later(60)
    assert len(world.ran) == 3


def test_scoring_monitors_the_outcomes_that_were_there(world: World) -> None:
    world.files |= {"inference": {"a": "1"}, "monitoring": {"outcomes.csv": "1"}}
    world.watcher._sources = {  # type: ignore[assignment]
        **world.watcher._sources,
        "monitoring": lambda: world.files["monitoring"] if world.published else {},
    }

    def publish() -> None:
        world.published = Published("1", world.now)

    world.meanwhile = publish
    world.later(0)
    for _ in range(5):
        world.later(10)
    assert world.ran == ["inference"]
    world.files["monitoring"] = {"outcomes.csv": "2"}
    world.later(10)
    world.later(10)
    assert world.ran == ["inference", "monitoring"]


def test_no_scores_for_a_while_is_an_event_once_in_a_cool_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world = World(tmp_path, Watch(scores_within=26.0))

    def told() -> int:
        return sum(message.startswith("Scores late: ") for message in caplog.messages)

    hour = 3600.0
    world.later(25 * hour)
    assert told() == 0
    world.restart()  # does not begin anew
    world.later(2 * hour)
    assert told() == 1
    for _ in range(59):
        world.later(60)
    assert told() == 1
    world.later(120)
    assert told() == 2
    world.published = Published("a", world.now - 20 * hour)
    world.later(60)
    world.later(5 * hour)
    assert told() == 2
    world.later(2 * hour)
    assert told() == 3
    assert "run a" in caplog.messages[-1]
    # Scores from the future are as old as the look that first saw them.
    world.published = Published("b", world.now + 1e9)
    world.later(60)
    world.later(25 * hour)
    assert told() == 3
    world.later(2 * hour)
    assert told() == 4
    # Without the scores, what was known of them still counts.
    world.published = None
    world.later(2 * hour)
    assert told() == 5


def test_a_table_that_cannot_be_listed_does_not_keep_the_others_waiting(world: World) -> None:
    def fails() -> dict[str, str]:
        raise OSError("no answer")

    world.watcher._sources = {**world.watcher._sources, "training": fails}  # type: ignore[assignment]
    world.files["inference"] = {"a": "1"}
    for seconds in (0, 10):
        with pytest.raises(OSError, match="no answer"):
            world.later(seconds)
    assert world.ran == ["inference"]
    assert (world.watcher.looks.failed, world.watcher.looks.error) == (2, "no answer")


def test_looks_go_on_during_a_run(world: World) -> None:
    world.lasting = True
    world.files["training"] = {"a": "1"}
    world.later(0)
    world.later(10)
    assert world.watcher.running is not None
    world.files["inference"] = {"b": "1"}
    for _ in range(5):
        world.later(60)
    assert world.ran == ["training"]
    assert world.watcher.looks.last_good == world.now
    assert world.watcher.state.of("inference").waits
    assert world.run is not None
    world.run.end = Ended(0)
    world.later(0)
    assert world.ran == ["training", "inference"]
    assert world.events == ["training ok"]


def test_a_run_of_an_earlier_watch_is_waited_for_and_then_checked_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.lasting = True
    world.files["training"] = {"a": "1"}
    world.later(0)
    world.later(10)
    world.leftover = world.run
    world.restart()
    world.lasting = False
    world.files["inference"] = {"b": "1"}
    for _ in range(5):
        world.later(60)
    assert world.ran == ["training"]
    assert caplog.text.count("has ended without the training that it had started") == 1
    assert world.leftover is not None
    world.leftover.end = Ended(None)
    world.later(60)
    assert world.ran == ["training", "training", "inference"]
    assert world.watcher.state.of("training").attempts == 0


def test_a_run_of_an_earlier_watch_whose_state_is_lost_is_waited_for(world: World) -> None:
    world.leftover = FakeRun(None)
    world.files["training"] = {"a": "1"}
    world.later(0)
    world.later(10)
    assert world.ran == []
    world.leftover.end = Ended(None)
    world.later(10)
    assert world.ran == ["training"]


def test_a_lock_that_cannot_be_asked_for_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ChurnError("run.lock cannot be opened")

    monkeypatch.setattr(world, "left", fails)
    with pytest.raises(ChurnError, match="cannot be opened"):
        world.later(0)
    assert world.watcher.looks.error == "run.lock cannot be opened"


def test_looks_that_fail_are_told_once_in_a_cool_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    class Sent:
        name = "a list"

        def send(self, event: Event) -> None:
            sent.append(event.text)

    numbers = itertools.count()

    def fails() -> dict[str, str]:
        raise OSError(f"request {next(numbers)} was not answered")  # another text each time

    notifier = Notifier(Notifications(), [Sent()], str(world.folder), lambda: world.now)
    monkeypatch.setattr(world.watcher, "_notifier", notifier)
    monkeypatch.setattr(world.watcher, "_sources", {"training": fails})
    for _ in range(70):
        with suppress(OSError):
            world.later(60)
    assert sent == [f"churn watch cannot look: request {number} was not answered" for number in (2, 62)]
