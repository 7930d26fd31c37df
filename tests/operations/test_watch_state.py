"""The progress of the watch survives damaged files, full disks, kills and wrong clocks."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from churn.config import Notifications, Watch
from churn.errors import ChurnError
from churn.operations.kedro_job import TRACE_ID, Ended, KedroJob, Kind
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_facts import Published
from tests.conftest import ROOT, clean_environment
from tests.operations.worlds import FakeRun, World

PATIENCE = 60.0


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


# --- with real processes ----------------------------------------------------------------------------------------


class ScriptJob(KedroJob):
    """A job whose runs are short scripts."""

    def __init__(self, folder: Path, script: str = "pass") -> None:
        super().__init__([], folder=folder)
        self.script = script

    def command(self, kind: Kind) -> list[str]:
        return [sys.executable, "-c", self.script]


# A trigger of its own, whose run waits for a file.
TRIGGER = """
import sys, time
from pathlib import Path
from churn.config import Notifications, Watch
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_state import alone
from tests.operations.test_watch_state import ScriptJob, UNTIL
folder = Path(sys.argv[1])
with alone(folder):
    watcher = Watcher({"training": lambda: {"a": "1"}}, ScriptJob(folder, UNTIL.format(folder=folder)), Watch(quiet=0.0),
                      folder, Notifier(Notifications(), [], str(folder)))
    watcher.look()
    time.sleep(600)
"""
UNTIL = """
import os, pathlib, time
folder = pathlib.Path("{folder}")
(folder / ("began-" + str(os.getpid()))).touch()
while not (folder / "go-on").exists():
    time.sleep(0.02)
"""


def until(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.e2e
def test_a_run_keeps_its_lock_when_the_watch_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    killed = subprocess.Popen(
        [sys.executable, "-c", TRIGGER, str(tmp_path)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )
    until(lambda: list(tmp_path.glob("began-*")))
    (began,) = tmp_path.glob("began-*")
    child = psutil.Process(int(began.name.removeprefix("began-")))
    killed.kill()
    killed.wait()
    try:
        job = ScriptJob(tmp_path, UNTIL.format(folder=tmp_path))
        watcher = Watcher(
            {"training": lambda: {"a": "1"}},
            job,
            Watch(quiet=0.0, backoff=0.0),
            tmp_path,
            Notifier(Notifications(), [], str(tmp_path)),
        )
        for _ in range(5):
            watcher.look()
        assert child.is_running()
        assert len(list(tmp_path.glob("began-*"))) == 1
        assert watcher.running is not None
        assert "it goes on, and nothing else starts" in caplog.text
        woken: list[int] = []
        job.on_end = lambda: woken.append(1)
        (tmp_path / "go-on").touch()
        until(lambda: woken)  # by the end of a process that is not its child
        watcher.look()
        until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        assert watcher.wait()
        watcher.look()
        assert not watcher.state.of("training").waits
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert not job.is_held()


def test_two_watches_never_run_at_once(tmp_path: Path) -> None:
    first, second = ScriptJob(tmp_path, "import time; time.sleep(600)"), ScriptJob(tmp_path)
    run = first.start("training", "a")
    assert run is not None
    assert second.left() is not None
    with pytest.raises(ChurnError, match="another run goes on"):
        second.start("inference", "b")
    first.stop()
    assert run.ended() == Ended(-signal.SIGINT, stopped=True) or run.ended() == Ended(1, stopped=True)
    assert second.left() is None
    done = second.start("inference", "b")
    assert done is not None
    done.wait()
    assert done.ended() == Ended(0)


def test_a_run_that_ignores_the_interrupt_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("churn.operations.kedro_job.GRACE", 0.2)
    script = f"""
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("{tmp_path}/part").write_text(str(other.pid))
pathlib.Path("{tmp_path}/part").rename("{tmp_path}/other")
time.sleep(600)
"""
    job = ScriptJob(tmp_path, script)
    run = job.start("training", "a")
    until((tmp_path / "other").exists)
    other = int((tmp_path / "other").read_text())
    job.stop()
    assert run is not None
    assert run.ended() == Ended(-signal.SIGKILL, stopped=True)
    until(lambda: not psutil.pid_exists(other) or psutil.Process(other).status() == psutil.STATUS_ZOMBIE)
    assert job.start("training", "b") is None


def test_a_run_knows_its_id(tmp_path: Path) -> None:
    job = ScriptJob(tmp_path, f"import os, sys; sys.exit(os.environ['{TRACE_ID}'] != 'abc')")
    run = job.start("training", "abc")
    assert run is not None
    run.wait()
    assert run.ended() == Ended(0)


def test_a_run_that_cannot_be_started_is_a_failed_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = KedroJob([], folder=world.folder)
    monkeypatch.setattr(job, "command", lambda _: ["/no/such/program"])
    world.watcher._job = job
    world.files["training"] = {"a": "1"}
    for _ in range(20):
        world.later(600)
    (letter,) = json.loads((world.folder / "dead_letters.json").read_text())
    assert letter["attempts"] == 3
    assert re.search("no exit code", world.watcher.given_up[0])


def test_commands() -> None:
    job = KedroJob(["--env", "minio"], "training.threads=2")
    assert job.command("monitoring")[3:] == [
        "run",
        "--env",
        "minio",
        "--pipelines",
        "monitoring",
        "--params",
        "training.threads=2",
    ]
    assert KedroJob([]).command("monitoring")[3:] == ["run", "--pipelines", "monitoring"]
    assert "training.threads=2,training.only_if_changed=true" in job.command("training")
