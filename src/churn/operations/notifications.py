"""Notifications: an event is sent to every configured channel.

The same event is not sent again within the cool-down. A channel that fails logs a warning and never fails the run.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext

from churn.config import EventKind, Notifications, check_parameters
from churn.config.secrets import REDACTION
from churn.stores import open_store

logger = logging.getLogger(__name__)

FILE = "notifications.json"
# HTTP statuses after which the request is repeated.
PASSING = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Event:
    """An event to notify people of.

    Attributes:
        kind: Kind of the event.
        text: The message, one or two sentences.
    """

    kind: EventKind
    text: str

    @property
    def key(self) -> str:
        """Hash of kind and text, equal for equal events."""
        return hashlib.sha256(f"{self.kind} {self.text}".encode()).hexdigest()


class Channel(Protocol):
    """A channel that events are sent to."""

    name: str

    def send(self, event: Event) -> None:
        """Send an event. Raises an exception if that fails."""
        ...


class Webhook:
    """A POST of ``{"text": ...}``, as Slack, Mattermost and others accept it, with the kind in the header ``X-Churn-Event``."""

    name = "webhook"

    def __init__(self, url: str, settings: Notifications) -> None:
        """Set the address."""
        self._url, self._settings = url, settings

    def send(self, event: Event) -> None:
        """Post an event. Temporary failures are retried with exponential backoff.

        Raises:
            requests.RequestException: If the event is not accepted.
        """
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        again = Retry(
            total=self._settings.attempts - 1,
            backoff_factor=self._settings.wait,
            status_forcelist=PASSING,
            allowed_methods={"POST"},
            raise_on_status=False,
            respect_retry_after_header=False,  # a server may ask for hours
        )
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            answer = session.post(
                self._url,
                json={"text": event.text},
                # Receivers can detect a repetition by the key.
                headers={"X-Churn-Event": event.kind, "Idempotency-Key": event.key},
                timeout=self._settings.timeout,
                allow_redirects=False,
            )
        if answer.status_code >= 300:
            raise requests.HTTPError(f"it answered {answer.status_code}: {answer.text[:200]}")


class Topic:
    """An Amazon SNS topic, with the keys or the role that botocore finds."""

    name = "SNS"

    def __init__(self, arn: str, settings: Notifications) -> None:
        """Set the ARN of the topic."""
        self._arn, self._settings = arn, settings

    def send(self, event: Event) -> None:
        """Publish an event, with its kind as an attribute that subscriptions can filter by.

        Raises:
            botocore.exceptions.BotoCoreError: If the event is not accepted.
        """
        from botocore.config import Config
        from botocore.session import get_session

        region = (self._arn.split(":") + [""] * 4)[3] or None
        config = Config(
            connect_timeout=self._settings.timeout,
            read_timeout=self._settings.timeout,
            retries={"total_max_attempts": self._settings.attempts, "mode": "standard"},
        )
        client = get_session().create_client("sns", region_name=region, config=config)
        client.publish(
            TopicArn=self._arn,
            Subject=f"churn: {event.kind.replace('_', ' ')}",
            Message=event.text,
            MessageAttributes={"event": {"DataType": "String", "StringValue": event.kind}},
        )


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
        self._store = open_store(folder)

    def tell(self, event: Event) -> bool:
        """Send an event, unless it is not selected or is within its cool-down.

        Returns:
            Whether every channel accepted the event.
        """
        event = Event(event.kind, REDACTION.text(event.text))
        if event.kind not in self._settings.events:
            return False
        # Without channels the log is the only one, so the cool-down applies to it too.
        known = self._known()
        kind = event.kind.replace("_", " ")
        # The text of a failure is that of an error, which is raised or logged anyway.
        shown = kind if event.kind == "failed" else event.text
        if self._clock() - known.get(event.key, float("-inf")) < 60 * self._settings.cool_down:
            if shown == event.text or self._channels:
                logger.info("Not sent again within the cool-down: %s", shown)
            return False
        if shown == event.text:
            logger.info("%s: %s", kind.capitalize(), event.text)
        arrived = [self._sent(channel, event) for channel in self._channels]
        if any(arrived) or not arrived:
            self._note(event.key)
        return all(arrived)

    def _sent(self, channel: Channel, event: Event) -> bool:
        try:
            channel.send(event)
        except Exception as error:  # no failure of a channel may fail the run
            logger.warning("The notification by %s failed: %s", channel.name, REDACTION.text(str(error)))
            return False
        return True

    def _known(self) -> dict[str, float]:
        try:
            found: dict[str, float] = self._store.read_json(FILE) if self._store.exists(FILE) else {}
        except ValueError:
            return {}  # damaged: an event may be sent twice
        return found

    def _note(self, key: str) -> None:
        now = self._clock()
        recent = {name: told for name, told in self._known().items() if now - told < 60 * self._settings.cool_down}
        try:
            self._store.write_json({**recent, key: now}, FILE)
        except ValueError as error:
            logger.warning("The notification could not be recorded and may be sent again: %s", error)


def channels_of(credentials: Mapping[str, Any], settings: Notifications) -> list[Channel]:
    """Return the configured channels.

    Args:
        credentials: Entry ``notifications`` of ``credentials.yml``: ``webhook``, a URL, and ``sns_topic``, an ARN.
        settings: Attempts, waits and time-out.
    """
    known: dict[str, Callable[[str, Notifications], Channel]] = {"webhook": Webhook, "sns_topic": Topic}
    return [make(credentials[name], settings) for name, make in known.items() if credentials.get(name)]


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
