"""Notifications of `churn serve`: people are told that it refuses a champion."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException

from churn.config import Notifications, check_parameters
from churn.config.loader import ConfigLoader

if TYPE_CHECKING:
    from churn.operations.notifications import Notifier

LOCK = "refusals.lock"
# Seconds to wait for another worker that sends the same.
PATIENCE = 120.0


@dataclass
class RefusalMessages:
    """Sends the event ``champion_refused``. It can be handed to another process before it is used.

    Attributes:
        settings: Events, attempts, waits and cool-down.
        credentials: Entry ``notifications`` of the credentials.
        folder: Folder with the times of the last notifications, on this machine.
    """

    settings: Notifications
    credentials: Mapping[str, Any]
    folder: str
    _notifier: "Notifier | None" = field(default=None, init=False, repr=False)

    def __call__(self, version: str, text: str) -> bool:
        """Send a message about a version, unless it was sent already; return whether nothing remains to be done."""
        from filelock import FileLock, Timeout

        from churn.config.secrets import REDACTION
        from churn.operations.channels import Event, channels_of
        from churn.operations.notifications import Notifier

        if self._notifier is None:
            REDACTION.learn({"notifications": self.credentials})
            self._notifier = Notifier(self.settings, channels_of(self.credentials, self.settings), self.folder)
        Path(self.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # All workers refuse the version at about the same time.
            with FileLock(Path(self.folder) / LOCK, timeout=PATIENCE):
                return self._notifier.settled(Event("champion_refused", text, subject=f"version {version}"))
        except Timeout:
            return False


def refusal_messages(loader: ConfigLoader, project: Path) -> RefusalMessages:
    """Return what tells people of refused champions, from the configuration and the folder of a project."""
    settings = check_parameters(loader["parameters"]).notifications
    credentials: dict[str, Any] = {}
    with suppress(MissingConfigException):
        credentials = loader["credentials"].get("notifications") or {}
    return RefusalMessages(settings, credentials, (project / loader["globals"]["stores"]["cache"]).as_posix())
