"""Who is told of what happens: one event, several ways out.

Nobody is told twice of the same within a while, and a way that does not work is a warning in the log, never the end of a run.
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
# Answers after which it is worth asking again.
PASSING = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Event:
    """Something that people want to know of.

    Attributes:
        kind: What kind of thing.
        text: What happened, in a sentence or two.
    """

    kind: EventKind
    text: str

    @property
    def key(self) -> str:
        """The same for the same event."""
        return hashlib.sha256(f"{self.kind} {self.text}".encode()).hexdigest()


class Channel(Protocol):
    """A way out for events."""

    name: str

    def send(self, event: Event) -> None:
        """Tell of an event; raises if that fails."""
        ...


class Webhook:
    """A POST of ``{"text": ...}``, as Slack, Mattermost and others take it; the kind is in the header ``X-Churn-Event``."""

    name = "webhook"

    def __init__(self, url: str, settings: Notifications) -> None:
        """Declare the address."""
        self._url, self._settings = url, settings

    def send(self, event: Event) -> None:
        """Post an event; answers that pass are asked for again, after longer and longer waits.

        Raises:
            requests.RequestException: If it is not taken.
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
            respect_retry_after_header=False,  # a server may say hours
        )
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            answer = session.post(
                self._url,
                json={"text": event.text},
                # Whoever takes it can tell a repetition by the key.
                headers={"X-Churn-Event": event.kind, "Idempotency-Key": event.key},
                timeout=self._settings.timeout,
                allow_redirects=False,
            )
        if answer.status_code >= 300:
            raise requests.HTTPError(f"it answered {answer.status_code}: {answer.text[:200]}")


class Topic:
    """A topic of Amazon SNS, with the keys or the role that botocore finds."""

    name = "SNS"

    def __init__(self, arn: str, settings: Notifications) -> None:
        """Declare the topic by its ARN."""
        self._arn, self._settings = arn, settings

    def send(self, event: Event) -> None:
        """Publish an event, with its kind as an attribute by which subscriptions may choose.

        Raises:
            botocore.exceptions.BotoCoreError: If it is not taken.
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
    """Tells of events."""

    def __init__(
        self,
        settings: Notifications,
        channels: Sequence[Channel],
        folder: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Declare how.

        Args:
            settings: Which events, how often, how long.
            channels: Where to, beside the log.
            folder: Where it is noted what was told when.
            clock: Seconds since 1970.
        """
        self._settings, self._channels, self._clock = settings, channels, clock
        self._store = open_store(folder)

    def tell(self, event: Event) -> bool:
        """Tell of an event, unless it is not wanted or was told a short while ago; gives whether it was told."""
        event = Event(event.kind, REDACTION.text(event.text))
        if event.kind not in self._settings.events:
            return False
        # As what was told once is told again when the log alone has it, the log is one of the ways.
        known = self._known()
        if self._clock() - known.get(event.key, float("-inf")) < 60 * self._settings.cool_down:
            logger.info("Told before, and not again yet: %s", event.text)
            return False
        logger.info("%s: %s", event.kind.replace("_", " ").capitalize(), event.text)
        arrived = [self._sent(channel, event) for channel in self._channels]
        if any(arrived) or not arrived:
            self._note(event.key)
        return all(arrived)

    def _sent(self, channel: Channel, event: Event) -> bool:
        try:
            channel.send(event)
        except Exception as error:  # whatever it is, the run was made and goes on
            logger.warning("Nobody could be told by %s: %s", channel.name, REDACTION.text(str(error)))
            return False
        return True

    def _known(self) -> dict[str, float]:
        try:
            found: dict[str, float] = self._store.read_json(FILE) if self._store.exists(FILE) else {}
        except ValueError:
            return {}  # damaged: something may be told twice
        return found

    def _note(self, key: str) -> None:
        now = self._clock()
        recent = {name: told for name, told in self._known().items() if now - told < 60 * self._settings.cool_down}
        try:
            self._store.write_json({**recent, key: now}, FILE)
        except ValueError as error:
            logger.warning("What was told cannot be noted, and may be told again: %s", error)


def channels_of(credentials: Mapping[str, Any], settings: Notifications) -> list[Channel]:
    """The ways that are configured.

    Args:
        credentials: Entry ``notifications`` of ``credentials.yml``: ``webhook``, an address, and ``sns_topic``, an ARN.
        settings: Attempts and time-outs.
    """
    known: dict[str, Callable[[str, Notifications], Channel]] = {"webhook": Webhook, "sns_topic": Topic}
    return [make(credentials[name], settings) for name, make in known.items() if credentials.get(name)]


def notifier_of(context: KedroContext) -> Notifier:
    """Who is told of what in a project."""
    loader: Any = context.config_loader
    settings = check_parameters(loader["parameters"]).notifications
    try:
        entry = loader["credentials"].get("notifications") or {}
    except MissingConfigException:
        entry = {}
    folder = context.project_path / loader["globals"]["stores"]["cache"]
    return Notifier(settings, channels_of(entry, settings), folder.as_posix())
