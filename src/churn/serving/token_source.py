"""Tokens follow the credentials: a change of the files is used without a restart, and a faulty one is not."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from churn.config.loader import ConfigLoader
from churn.config.secrets import REDACTION
from churn.errors import ChurnError, FaultsError
from churn.serving.application import Service
from churn.serving.tokens import Tokens

logger = logging.getLogger(__name__)

UNREADABLE = "the tokens cannot be read anew, and those of before hold; the log says why"


@dataclass(frozen=True)
class TokenSource:
    """Where the tokens of a project are.

    Attributes:
        options: Arguments of `churn.config.loader.ConfigLoader`.
        seen: State of the files from which the tokens were read first.
    """

    options: Mapping[str, Any]
    seen: Any

    @classmethod
    def of(cls, loader: ConfigLoader) -> "TokenSource":
        """Return the source of a loader; call it before the tokens are read."""
        return cls(loader.options, loader.files())

    def state(self) -> Any:
        """Return the present state of the files."""
        return self._loader().files()

    def read(self) -> Mapping[str, Any]:
        """Return the entry ``serve`` of the credentials.

        Raises:
            Exception: If the files cannot be read.
        """
        return self._loader()["credentials"].get("serve") or {}

    def _loader(self) -> ConfigLoader:
        return ConfigLoader(**self.options)


class FollowedTokens:
    """Puts tokens that have changed in the place of those of a service."""

    def __init__(self, source: TokenSource, service: Service) -> None:
        """Set where they are, and who uses them."""
        self._source, self._service = source, service
        self._seen = source.seen
        self._said = ""
        self._forced = False

    def force(self) -> None:
        """Read them at the next look, also if no file has changed."""
        self._forced = True

    def look(self) -> None:
        """Read the tokens if their files have changed. A fault is logged once, and the tokens of before hold."""
        try:
            state = self._source.state()
            if state == self._seen and not self._forced:
                return
            self._forced = False
            entry = self._source.read()
            tokens = Tokens(entry)
            REDACTION.learn({"serve": entry})  # not before: parts of a faulty entry may be words of every message
            self._use(tokens)
        except Exception as error:
            self._refuse(error)
            return
        self._seen, self._said, self._service.token_fault = state, "", None

    def _use(self, tokens: Tokens) -> None:
        before = self._service.tokens
        tokens.check_place(self._service.settings.host)
        if len(before) and not len(tokens):
            # A file that is being written may be empty for a moment.
            raise ChurnError(
                "no token is left, so that everybody would be let in; restart the service if that is meant"
            )
        if tokens != before:
            self._service.tokens = tokens
            logger.info("The tokens were read anew: %d, for %s", len(tokens), ", ".join(tokens.names) or "nobody")

    def _refuse(self, error: Exception) -> None:
        # Texts of libraries may show a line of the file.
        said = type(error).__name__
        if isinstance(error, FaultsError):
            said = "; ".join(error.faults)
        elif isinstance(error, ChurnError):
            said = str(error)
        if said != self._said:
            logger.warning("The tokens cannot be read anew, those of before hold: %s", REDACTION.text(said))
        self._said, self._service.token_fault = said, UNREADABLE
