"""Notifications: an event is sent to every configured channel.

The same event is not sent again within the cool-down. A channel that fails logs a warning and never fails the run.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from pydantic import Field

from churn.config import Notifications, check_parameters
from churn.config.secrets import REDACTION
from churn.operations.channels import Channel, Event, SendError, channels_of
from churn.stores.state import StateFile
from churn.web.outgoing import plain

logger = logging.getLogger(__name__)

FILE = "notifications.json"
# Seconds since 1970.
Moment = Annotated[float, Field(allow_inf_nan=False)]


class Notifier:
    """Sends events to the channels."""

    def __init__(
        self,
        settings: Notifications,
        channels: Sequence[Channel],
        folder: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set channels and limits.

        Args:
            settings: Events to send, attempts, waits and cool-down.
            channels: Channels to send to, in addition to the log.
            folder: Folder with the times of the last notifications.
            clock: Returns the seconds since 1970.
        """
        self._settings, self._channels, self._clock = settings, channels, clock
        self._file: StateFile[dict[str, float]] = StateFile(Path(folder) / FILE, dict[str, Moment], dict)
        # What this process has sent counts too, if the file cannot be written.
        self._sent_here: dict[str, float] = {}

    def tell(self, event: Event, *, quietly: bool = False) -> bool:
        """Send an event, unless it is not selected or is within its cool-down.

        Args:
            event: The event.
            quietly: Whether to be silent about an event within its cool-down, for a caller that asks at each look.

        Returns:
            Whether every channel accepted the event.
        """
        event = replace(event, text=plain(REDACTION.text(event.text)))
        if event.kind not in self._settings.events:
            return False
        kind = event.kind.replace("_", " ")
        # The text of a failure is that of an error, which is raised or logged anyway.
        shown = kind if event.kind == "failed" else event.text
        # Without channels the log is the only one, so the cool-down applies to it too.
        if self._was_sent(event.key):
            if not quietly and (shown == event.text or self._channels):
                logger.info("Not sent again within the cool-down: %s", shown)
            return False
        if shown == event.text:
            logger.info("%s: %s", kind.capitalize(), event.text)
        arrived = [self._sent(channel, event) for channel in self._channels]
        if any(arrived) or not arrived:
            self._note(event.key)
        return all(arrived)

    def settled(self, event: Event) -> bool:
        """Send an event that is told again and again; return whether nothing remains to be done.

        That is so if every channel accepted it, if it was sent within the cool-down, or if it is not selected.
        """
        return event.kind not in self._settings.events or self._was_sent(event.key) or self.tell(event)

    def _sent(self, channel: Channel, event: Event) -> bool:
        try:
            channel.send(event)
        except SendError as error:
            logger.warning("The notification by %s failed: %s", channel.name, REDACTION.text(str(error)))
            return False
        except Exception as error:  # no failure of a channel may fail the run; its text may have secrets
            logger.warning("The notification by %s failed: %s", channel.name, type(error).__name__)
            return False
        return True

    def _recent(self, known: dict[str, float]) -> dict[str, float]:
        """Return the times within the cool-down. A time ahead, of a clock that was wrong, counts as now."""
        now = self._clock()
        return {
            key: min(told, now) for key, told in known.items() if now - min(told, now) < 60 * self._settings.cool_down
        }

    def _was_sent(self, key: str) -> bool:
        self._sent_here = self._recent(self._sent_here)
        known = self._file.read()
        if key in known and known[key] > self._clock():
            # Noted, as a cool-down that always begins now would never end.
            self._file.note(self._recent)
        return key in self._recent(known) or key in self._sent_here

    def _note(self, key: str) -> None:
        now = self._clock()
        self._sent_here[key] = now
        self._file.note(lambda known: {**self._recent(known), key: now})


def notifier_of(context: KedroContext) -> Notifier:
    """Return the notifier of a project, from its parameters and credentials."""
    loader: Any = context.config_loader
    settings = check_parameters(loader["parameters"]).notifications
    try:
        entry = loader["credentials"].get("notifications") or {}
    except MissingConfigException:
        entry = {}
    folder = context.project_path / loader["globals"]["stores"]["cache"]
    return Notifier(settings, channels_of(entry, settings), folder.as_posix())
