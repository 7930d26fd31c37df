"""A night of `churn watch` in fast motion: a thousand looks, a minute apart, while nearly everything fails now and then."""

import errno
import gc
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client import generate_latest

from churn.config import Notifications, Watch
from churn.operations.channels import Event, SendError
from churn.operations.kedro_job import KINDS, Ended, Kind
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_facts import Facts, Published
from churn.operations.watch_metrics import metrics_of

pytestmark = pytest.mark.slow

LOOKS = int(os.environ.get("CHURN_NIGHT_LOOKS", "1000"))
SEEDS = [int(seed) for seed in os.environ.get("CHURN_NIGHT_SEEDS", "1,2,3").split(",")]
SETTINGS = Watch(quiet=90.0, attempts=3, backoff=120.0, scores_within=4.0)
# So much more memory and so many more files than after the first fifth are chance.
MORE_MEMORY, MORE_FILES = 16 << 20, 2


class Killed(BaseException):
    """The process of the watch has gone."""


class NightRun:
    """A run of so many looks."""

    def __init__(self, night: "Night", kind: Kind, version: str, lasts: int, code: int) -> None:
        self.night, self.kind, self.version, self.left, self.code = night, kind, version, lasts, code
        self.adopted = False

    def pass_time(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.night.has_ended(self)

    def ended(self) -> Ended | None:
        if self.left > 0:
            return None
        return Ended(None) if self.adopted else Ended(self.code)

    def wait(self) -> None:
        raise AssertionError("a look does not wait")


class Night:
    """The tables, the runs, the disk and the clock of a night, and a record of what was done."""

    def __init__(self, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.chance, self._monkeypatch = folder, random.Random(seed), monkeypatch
        self.now = 1.8e9
        self.versions: dict[Kind, int] = dict.fromkeys(KINDS, 1)
        self.unreachable = self.disk_full = 0  # looks that they last
        self.faults: Counter[str] = Counter()
        self.run: NightRun | None = None
        self.begun: Counter[tuple[Kind, str]] = Counter()
        self.done: Counter[tuple[Kind, str]] = Counter()
        # How often a version may be run again, because what was known of it was lost.
        self.forgiven: Counter[tuple[Kind, str]] = Counter()
        self.most_at_once = 0
        self.published: Published | None = None
        self.sent: list[Event] = []
        self.name = "night"
        real = os.fsync
        monkeypatch.setattr("churn.stores.local.os.fsync", lambda file: self._sync(real, file))
        self.start_watch()

    def _sync(self, real: Any, file: int) -> None:
        if self.disk_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    # --- as a channel of notifications

    def send(self, event: Event) -> None:
        if self.chance.random() < 0.3:
            raise SendError("it answered 503")
        self.sent.append(event)

    # --- as a job

    def start(self, kind: Kind, trace_id: str) -> NightRun:
        assert self.run is None or self.run.ended() is not None, "two runs at once"
        version = str(self.versions[kind])
        self.begun[kind, version] += 1
        # Some versions always fail, others at the first attempt.
        number = int(version)
        fails = number % 7 == 0 or (number % 3 == 0 and self.begun[kind, version] == 1)
        self.run = NightRun(self, kind, version, self.chance.choice([1, 1, 2, 5]), 1 if fails else 0)
        if self.chance.random() < 0.08:
            self.faults["killed at a start"] += 1
            raise Killed
        return self.run

    def left(self) -> NightRun | None:
        if self.run is None or self.run.ended() is not None:
            return None
        self.run.adopted = True
        return self.run

    def has_ended(self, run: NightRun) -> None:
        if run.code == 0:
            self.done[run.kind, run.version] += 1
            if run.kind == "inference":
                self.published = Published(f"run {run.version}", self.now)

    # --- the watch

    def files(self, kind: Kind) -> dict[str, str]:
        if self.unreachable and self.chance.random() < 0.7:
            raise OSError("the store does not answer")
        return {"table.csv": str(self.versions[kind])}

    def facts(self) -> Facts:
        return Facts({"table.csv": str(self.versions["monitoring"])}, self.published)

    def start_watch(self) -> None:
        notifier = Notifier(Notifications(), [self], str(self.folder), lambda: self.now)
        sources: dict[Kind, Any] = {kind: lambda kind=kind: self.files(kind) for kind in KINDS}
        self.watch = Watcher(sources, self, SETTINGS, self.folder, notifier, lambda: self.now, self.facts)
        self.registry = metrics_of(self.watch, lambda: self.now)

    def forget(self) -> None:
        """The watch may not know what was done of the present versions."""
        for kind in KINDS:
            self.forgiven[kind, str(self.versions[kind])] += 1

    def kill(self) -> None:
        """The watch is killed and started again; its run goes on."""
        # The result of a run that has outlived its watch is not known, so it is checked again; what was noted on a full disk
        # is lost.
        self.forget()
        self.start_watch()

    def disturb(self) -> None:
        """Let something happen, or not."""
        dice = self.chance.random()
        if dice < 0.10:
            kind = self.chance.choice(KINDS)
            self.versions[kind] += 1
        elif dice < 0.13:
            self.unreachable = self.chance.randint(1, 10)
            self.faults["store"] += 1
        elif dice < 0.15:
            self.disk_full = self.chance.randint(1, 10)
            self.faults["disk"] += 1
        elif dice < 0.17:
            name = self.chance.choice(["state.json", "dead_letters.json", "notifications.json"])
            content = self.chance.choice([b"", b"{", b"[]", b'{"training": 1}', b"\x00\xff"])
            (self.folder / name).write_bytes(content)
            self.faults["damaged"] += 1
        elif dice < 0.19:
            self.kill()
            self.faults["killed"] += 1
        elif dice < 0.20:
            self.now += self.chance.choice([-1e9, -86400.0, -3600.0, 3600.0, 86400.0, 1e9])
            self.faults["clock"] += 1

    def look(self) -> None:
        self.now += 60
        self.unreachable, self.disk_full = max(0, self.unreachable - 1), max(0, self.disk_full - 1)
        if self.run is not None and self.run.left > 0:
            self.run.pass_time()
        try:
            self.watch.look()
        except Killed:
            self.kill()
        except (OSError, ValueError):
            pass

    def settle(self) -> None:
        """The morning: nothing fails any more, and what is pending is run."""
        self.unreachable = self.disk_full = 0
        for _ in range(200):
            self.look()


@pytest.fixture
def _silence() -> Iterator[None]:
    """Keep no log: pytest would hold all of it in memory."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_silence")
@pytest.mark.parametrize("seed", SEEDS)
def test_every_change_of_a_night_is_handled_once_or_given_up(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night, process = Night(tmp_path, seed, monkeypatch), psutil.Process()
    before = (0, 0)
    for number in range(LOOKS):
        night.disturb()
        night.look()
        if number % 50 == 0:
            assert generate_latest(night.registry)
        if number == LOOKS // 5:
            gc.collect()
            before = process.memory_info().rss, process.num_fds()
    gc.collect()
    after = process.memory_info().rss, process.num_fds()
    night.settle()
    shown = f"seed {seed}, faults {dict(night.faults)}"

    assert after[0] - before[0] < MORE_MEMORY, shown
    assert after[1] - before[1] <= MORE_FILES, shown
    assert LOOKS < 1000 or {"store", "disk", "damaged", "killed", "clock", "killed at a start"} == set(night.faults), (
        shown
    )
    # The night may have damaged the letters after they were written; the log of the watch and the notifications remain.
    told = " ".join([*night.watch.given_up, *(event.text for event in night.sent)]).casefold()
    written = "".join(file.read_text(errors="replace") for file in tmp_path.glob("dead_letters.json*"))
    for kind in KINDS:
        # What is there in the morning is handled: it was run, or scoring has monitored it, or it was given up.
        state = night.watch.state.of(kind)
        version = (kind, str(night.versions[kind]))
        assert not state.waits, f"{shown}: {version} waits"
        fails = night.versions[kind] % 7 == 0
        assert night.done[version] or fails or kind == "monitoring", f"{shown}: {version} was not run"
        if fails and night.begun[version] and not night.forgiven[version]:
            assert f"{kind} was given up" in told or f'"{kind}"' in written, f"{shown}: {version} was not told"
    for version, times in night.begun.items():
        lives = 1 + night.forgiven[version]
        assert night.done[version] <= lives, f"{shown}: {version} was run {night.done[version]} times"
        assert times <= SETTINGS.attempts * lives, f"{shown}: {version} was begun {times} times"
    once = [version for version in night.begun if not night.forgiven[version] and night.done[version]]
    assert len(once) > LOOKS // 100, shown
    assert {night.done[version] for version in once} == {1}, shown
    assert night.sent
