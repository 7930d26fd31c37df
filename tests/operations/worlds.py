"""Tables, runs and time for a watch, as tests want them."""

from pathlib import Path
from typing import Any

from churn.config import Notifications, Watch
from churn.operations.kedro_job import Ended, Kind
from churn.operations.notifications import Notifier
from churn.operations.watch import Watcher
from churn.operations.watch_facts import Facts, Published

SETTINGS = Watch(quiet=10.0, attempts=3, backoff=60.0)


class FakeRun:
    """A run that goes on until it is given an end."""

    def __init__(self, end: Ended | None) -> None:
        self.end = end

    def ended(self) -> Ended | None:
        return self.end

    def wait(self) -> None:
        assert self.end is not None


class World:
    """Tables, runs and time. It is the job too: its runs end at once, unless `lasting`."""

    def __init__(self, folder: Path, settings: Watch = SETTINGS) -> None:
        self.folder, self.settings = folder, settings
        self.now = 1000.0
        self.files: dict[Kind, dict[str, str]] = {"training": {}, "inference": {}, "monitoring": {}}
        self.codes: list[int | None] = []  # None: stopped
        self.ran: list[Kind] = []
        self.meanwhile: Any = lambda: None
        self.published: Published | None = None
        self.lasting = False
        self.run: FakeRun | None = None
        self.leftover: FakeRun | None = None
        self.events: list[str] = []
        self.watcher = self.started()

    def started(self) -> Watcher:
        """A watch of this world, as after a restart."""
        watcher = Watcher(
            {kind: lambda kind=kind: self.files[kind] for kind in self.files},  # type: ignore[misc]
            self,
            self.settings,
            self.folder,
            Notifier(Notifications(), [], str(self.folder), lambda: self.now),
            lambda: self.now,
            lambda: Facts(self.files["monitoring"], self.published),
        )
        watcher.on_end = lambda kind, result, _: self.events.append(f"{kind} {result}")
        return watcher

    def restart(self) -> None:
        self.watcher = self.started()

    def start(self, kind: Kind, trace_id: str) -> FakeRun:
        self.ran.append(kind)
        self.meanwhile()
        code = self.codes.pop(0) if self.codes else 0
        end = Ended(-2, stopped=True) if code is None else Ended(code)
        self.run = FakeRun(None if self.lasting else end)
        return self.run

    def left(self) -> FakeRun | None:
        return self.leftover if self.leftover is not None and self.leftover.ended() is None else None

    def later(self, seconds: float) -> float | None:
        self.now += seconds
        return self.watcher.look()
