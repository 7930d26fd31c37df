"""What all targets have in common: what the delivery asks of a target, and the rows that a target rejects."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from churn.config import DeliveryTarget
from churn.delivery.columns import REMOVED, Fields, arrow_type, schema_of
from churn.delivery.content import Batch, Held
from churn.delivery.published import Run
from churn.web.outgoing import plain

if TYPE_CHECKING:
    import pyarrow as pa

# `new`: nothing was delivered to it yet; `known`: the ledger says what it holds; `lost`: the ledger was damaged, and what it
# holds cannot be read from the target.
State = Literal["new", "known", "lost"]
# Characters of the words of a target that are kept for a rejected row.
LONGEST_WORDS = 1_000


class TargetError(Exception):
    """The delivery to a target has ended; the others go on. The text may be shown: it has no secret."""


@dataclass(frozen=True)
class Occasion:
    """A delivery.

    Attributes:
        run: The run that is delivered.
        at: When the delivery began.
        token: Id of the delivery, by which an earlier one recognises that it was overtaken.
    """

    run: Run
    at: datetime
    token: str

    @property
    def values(self) -> dict[str, Any]:
        """Values of the columns of the run, by their sources, as Arrow scalars."""
        import pyarrow as pa

        published = self.run.published_at
        moments = {"published_at": datetime.fromisoformat(published) if published else None, "delivered_at": self.at}
        return {
            "run_id": pa.scalar(self.run.run_id, pa.string()),
            "as_of": pa.scalar(self.run.as_of or None, pa.string()).cast(arrow_type("date")),
            **{name: pa.scalar(moment, arrow_type("timestamp")) for name, moment in moments.items()},
        }


class Rejects:
    """The rows that a target has rejected, in a file that is made with the first of them.

    Attributes:
        path: The file.
        count: Number of rejected rows.
    """

    def __init__(self, path: Path, most: int) -> None:
        """Set the file, which replaces that of an earlier delivery, and the number of rows from which the target is given up."""
        self.path, self._most, self.count = path, most, 0
        self._file: IO[str] | None = None

    def add(self, account: str, words: str, action: str) -> None:
        """Add a row, with the words of the target.

        Raises:
            TargetError: If there are too many.
        """
        if self._file is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(handle, "w", encoding="utf-8")
        row = {"id": account, "action": action, "words": plain(words, LONGEST_WORDS)}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        self.count += 1
        if self.count > self._most:
            raise TargetError(
                f"it has rejected more than {self._most:,} rows, which {self.path} lists with its words; correct the columns, or "
                "raise rejects of the target"
            )

    def close(self, *, delivered: bool) -> None:
        """Close the file. That of an earlier delivery is removed if everything was delivered now and nothing rejected."""
        if self._file is not None:
            self._file.close()
            return
        if not delivered:
            return
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


class Session(ABC):
    """A connection to a target for one delivery. Nothing changes at the target before `begin`."""

    # Whether the target also gets all accounts, not only what has changed.
    wants_all = False
    # Whether the run has scored a part of the accounts only.
    partial = False

    @property
    @abstractmethod
    def state(self) -> State:
        """What is known of the target."""

    def faults(self) -> list[str]:
        """Return each difference between the target and what its parameters say; none by default."""
        return []

    @abstractmethod
    def begin(self, occasion: Occasion) -> None:
        """Begin to send: make what is missing, overtake earlier deliveries, and finish what one of them has left.

        Raises:
            TargetError: If that fails.
        """

    @abstractmethod
    def held(self) -> Held:
        """Return what the target holds."""

    @abstractmethod
    def upsert(self, batch: Batch) -> None:
        """Send new and changed accounts. When it returns, the target has taken them and the ledger says so.

        Raises:
            TargetError: If the delivery cannot go on.
        """

    @abstractmethod
    def remove(self, batch: Batch) -> None:
        """Tell which accounts are no longer delivered, see `upsert`."""

    def whole(self, rows: Any | None, held: Held) -> None:  # noqa: B027, only some want them
        """Take some of all accounts, and what the target holds of them from now on; for targets with `wants_all`.

        Args:
            rows: The accounts; ``None`` for those that the run has not scored.
            held: What the target holds of them.
        """

    def end(self) -> None:  # noqa: B027, nothing by default
        """Complete the delivery."""


class Target(ABC):
    """A target.

    Attributes:
        settings: Its parameters.
        flagged: Whether its columns have `REMOVED` unless its parameters name them.
    """

    flagged = False

    def __init__(self, settings: DeliveryTarget, credentials: Mapping[str, Any], folder: Path) -> None:
        """Set what is known of the target; no connection is made.

        Args:
            settings: Its parameters.
            credentials: Its entry in ``credentials.yml``.
            folder: Folder for state on this machine.
        """
        self.settings, self._credentials, self._folder = settings, credentials, folder

    @property
    @abstractmethod
    def batch_rows(self) -> int:
        """Rows of a batch."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for messages, without secrets."""

    @abstractmethod
    def faults(self) -> list[str]:
        """Return what is wrong with parameters and credentials, without asking the target."""

    @abstractmethod
    def session(self, fields: Fields, rejects: Rejects) -> AbstractContextManager[Session]:
        """Connect.

        Raises:
            TargetError: If the target does not answer.
        """


def removals(ids: "pa.Array", fields: Fields, occasion: Occasion) -> Batch:
    """Return accounts that are no longer delivered as rows: the id, `REMOVED`, and the values of the run."""
    import pyarrow as pa

    values = occasion.values
    named = [fields.id, *([fields.removed] if fields.removed else []), *fields.of_the_run]
    columns = []
    for field in named:
        if field is fields.id:
            columns.append(ids.cast(arrow_type(field.type)))
        elif field.source == REMOVED:
            columns.append(pa.repeat(True, len(ids)).cast(arrow_type(field.type)))
        else:
            columns.append(pa.repeat(values[field.source], len(ids)).cast(arrow_type(field.type)))
    rows = pa.table(columns, schema=schema_of(named))
    return Batch(rows, Held.of(ids, [0] * len(ids), [float("nan")] * len(ids)))
