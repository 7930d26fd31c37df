"""Channels of notifications: a webhook, and a topic of Amazon SNS.

What a channel says about a failure has no secret: nothing that follows the host of a webhook, no keys, no ARNs. Texts of
libraries and of servers, which repeat such things, are not passed on unless they are known to be free of them.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from churn.config import EventKind, Notifications
from churn.config.secrets import MASK, behind_host
from churn.web.outgoing import LONGEST_SHOWN, PASSING, beginning, cause_of, is_wrong_address, plain, send_once

# Bytes of a server's answer that are read.
LONGEST_ANSWER = 4_096
# Longest wait between two attempts, in seconds.
LONGEST_WAIT = 60.0
_AWS_NAMES = re.compile(r"arn:[^\s\"'<>]+|\b\d{12}\b|\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}\b")


@dataclass(frozen=True)
class Event:
    """An event to notify people of.

    Attributes:
        kind: Kind of the event.
        text: The message, one or two sentences.
        subject: What makes an event equal to another one, if not the text: an error may differ each time.
    """

    kind: EventKind
    text: str
    subject: str = ""

    @property
    def key(self) -> str:
        """Hash of kind and subject or text, equal for equal events."""
        return hashlib.sha256(f"{self.kind} {self.subject or self.text}".encode(errors="replace")).hexdigest()


class SendError(Exception):
    """A message was not accepted. The text may be shown: it has no secret."""


class Channel(Protocol):
    """A channel that events are sent to."""

    name: str

    def send(self, event: Event) -> None:
        """Send an event.

        Raises:
            SendError: If it is not accepted.
        """
        ...


class Webhook:
    """A POST of ``{"text": ...}``, as Slack, Mattermost and others accept it, with the kind in the header ``X-Churn-Event``."""

    name = "webhook"

    def __init__(self, url: str, settings: Notifications) -> None:
        """Set the address."""
        self._url, self._settings = url.strip(), settings
        whole, parts = behind_host(self._url)
        self._secrets = {each.casefold() for each in whole | parts if len(each) > 2}

    def send(self, event: Event) -> None:
        """Post an event. Temporary failures are retried after waits that double.

        Raises:
            SendError: If the event is not accepted.
        """
        import requests

        fault = SendError("no attempt was made")
        with requests.Session() as session:
            for attempt in range(self._settings.attempts):
                if attempt:
                    time.sleep(min(self._settings.wait * 2.0 ** (attempt - 1), LONGEST_WAIT))
                try:
                    status, answer = self._post(session, event)
                except requests.RequestException as error:
                    fault = SendError(cause_of(error, self._settings.timeout))
                    if is_wrong_address(error):
                        break
                    continue
                if status < 300:
                    return
                fault = SendError(f"it answered {status}{answer}")
                if status not in PASSING:
                    break
        raise fault from None

    def _post(self, session: Any, event: Event) -> tuple[int, str]:
        """Post an event once; return the status, and what to show of the answer."""
        text = plain(event.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        # Receivers can detect a repetition by the key.
        headers = {"X-Churn-Event": event.kind, "Idempotency-Key": event.key}
        answer = send_once(
            session, "POST", self._url, timeout=self._settings.timeout, json={"text": text}, headers=headers
        )
        try:
            return answer.status_code, self._shown(answer) if answer.status_code >= 300 else ""
        finally:
            answer.close()

    def _shown(self, answer: Any) -> str:
        """Return the beginning of an answer, unless it may repeat the address."""
        if answer.headers.get("Content-Encoding"):
            return ""
        deadline = time.monotonic() + self._settings.timeout
        content = b""
        while len(content) < LONGEST_ANSWER and time.monotonic() < deadline:
            try:
                part = answer.raw.read1(LONGEST_ANSWER - len(content))
            except Exception:  # the status says enough
                return ""
            if not part:
                break
            content += part
        text = content.decode(errors="replace")
        known = unquote(text).casefold() + text.casefold()
        if any(secret in known for secret in self._secrets):
            return "; its text repeats the address and is not shown"
        shown = beginning(text)
        return f": {shown}" if shown else ""


class Topic:
    """An Amazon SNS topic, with the keys or the role that botocore finds."""

    name = "SNS"

    def __init__(self, arn: str, settings: Notifications) -> None:
        """Set the ARN of the topic."""
        self._arn, self._settings = arn.strip(), settings

    def send(self, event: Event) -> None:
        """Publish an event, with its kind as an attribute that subscriptions can filter by.

        Raises:
            SendError: If the event is not accepted.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._publish(event)
        except ClientError as error:
            answer = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise SendError(f"it answered {status}: {plain(str(answer.get('Code')), 60)}") from None
        except BotoCoreError as error:
            raise SendError(_AWS_NAMES.sub(MASK, plain(str(error), LONGEST_SHOWN))) from None

    def _publish(self, event: Event) -> None:
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
            Message=plain(event.text),
            MessageAttributes={"event": {"DataType": "String", "StringValue": event.kind}},
        )


class InTime:
    """A channel whose messages take a limited time, whatever a server does.

    Time-outs of libraries apply to each part of an answer, so a server that sends a byte now and then would hold a run for
    ever. A message that takes longer is given up, and no other one is sent by the channel until that one has ended.
    """

    def __init__(self, channel: Channel, settings: Notifications) -> None:
        """Set the channel."""
        self.name, self._channel = channel.name, channel
        waits = sum(min(settings.wait * 2.0**attempt, LONGEST_WAIT) for attempt in range(settings.attempts - 1))
        self.seconds = (settings.attempts + 1) * settings.timeout + waits
        self._sending: threading.Thread | None = None

    def send(self, event: Event) -> None:
        """Send an event, in `seconds` at most.

        Raises:
            SendError: If it is not accepted in time.
        """
        if self._sending is not None and self._sending.is_alive():
            raise SendError("an earlier message has not ended yet")
        faults: list[Exception] = []

        def send() -> None:
            try:
                self._channel.send(event)
            except Exception as error:
                faults.append(error)

        # A daemon: a process that ends does not wait for the server either.
        self._sending = threading.Thread(target=send, name=f"notification by {self.name}", daemon=True)
        self._sending.start()
        self._sending.join(self.seconds)
        if self._sending.is_alive():
            raise SendError(f"no complete answer within {self.seconds:g} seconds")
        if faults:
            raise faults[0]


def channels_of(credentials: Mapping[str, Any], settings: Notifications) -> list[Channel]:
    """Return the configured channels.

    Args:
        credentials: Entry ``notifications`` of ``credentials.yml``: ``webhook``, a URL, and ``sns_topic``, an ARN.
        settings: Attempts, waits and time-out.
    """
    known: dict[str, Callable[[str, Notifications], Channel]] = {"webhook": Webhook, "sns_topic": Topic}
    return [
        InTime(make(str(credentials[name]), settings), settings)
        for name, make in known.items()
        if credentials.get(name)
    ]
