"""The pointer to the current results, and the order of publications.

The order is that in which the store accepts new pointers: each replaces the one that it was computed from, under the store's
conditional write (on a disk, under a lock), and adds 1 to its ``sequence``. Clocks of machines do not matter; ``published_at``
is for people. Of two runs that publish at the same time, the one that the store accepts later is current.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from churn.errors import ChurnError
from churn.stores import DamagedError

# Files in the folder of results: the pointer, and in the folder of each run what it wrote last and its ledger.
POINTER, MANIFEST, LEDGER = "latest.json", "manifest.json", "partitions.json"
# Name of the files with the scores, in the folder of a run, without their endings.
PREDICTIONS = "inference_result"
# The accounts of all campaigns so far, in the folder of a run.
CAMPAIGN_ACCOUNTS = "campaign_accounts.parquet"

REMEDY = "score again with kedro run --pipelines inference, which replaces it, or name a published run in it (docs/runbooks.md)"


@dataclass(frozen=True)
class Pointer:
    """Content of ``latest.json``.

    Attributes:
        run_id: Run whose results are current, and name of its folder.
        sequence: Number of the publication; 0 if the pointer has none, as those of version 0.2.
        removing: Runs that `churn prune` is removing; none of them can become current.
        document: The document that was read.
    """

    run_id: str
    sequence: int = 0
    removing: tuple[str, ...] = ()
    document: dict[str, Any] = field(default_factory=dict, compare=False)


def checked_run_id(run_id: Any, source: str) -> str:
    """Return a run id, which is the name of a folder of results.

    Raises:
        ChurnError: If it is not a UUID, and could be a path to another folder.
    """
    if not is_run_id(run_id):
        raise ChurnError(f"{source}: {str(run_id)[:80]!r} is not a run id; a run id is a UUID")
    return str(run_id)


def is_run_id(name: Any) -> bool:
    """Return whether a name is a run id: a UUID as text, in small letters."""
    try:
        return bool(str(uuid.UUID(str(name))) == name)
    except ValueError:
        return False


def read_pointer(document: Any, source: str) -> Pointer:
    """Return the pointer of a parsed document.

    A missing or unreadable sequence counts as 0: what it would order, the store has ordered already.

    Args:
        document: Content of ``latest.json``.
        source: Its path or URL, for messages.

    Raises:
        DamagedError: If it does not name a run.
    """
    if not isinstance(document, dict):
        raise DamagedError(f"{source} is damaged: it is not a JSON object; {REMEDY}")
    if "run_id" not in document:
        raise DamagedError(f"{source} is damaged: it names no run; {REMEDY}")
    try:
        run_id = checked_run_id(document["run_id"], source)
    except ChurnError as error:
        raise DamagedError(f"{error}; {REMEDY}") from None
    sequence, removing = document.get("sequence"), document.get("removing")
    return Pointer(
        run_id,
        sequence if isinstance(sequence, int) and not isinstance(sequence, bool) and sequence >= 0 else 0,
        tuple(name for name in removing if is_run_id(name)) if isinstance(removing, list) else (),
        document,
    )


def next_pointer(present: Pointer | None, run_id: str, published_at: str) -> dict[str, Any]:
    """Return the document that makes a run current after the present pointer; ``None`` for the first."""
    removing = list(present.removing) if present else []
    return {
        "run_id": run_id,
        "manifest": f"{run_id}/{MANIFEST}",
        "published_at": published_at,
        "sequence": (present.sequence if present else 0) + 1,
        **({"removing": removing} if removing else {}),
    }


def marked(present: Pointer, removing: Collection[str]) -> dict[str, Any]:
    """Return the pointer's document with other runs that are being removed."""
    kept = {name: value for name, value in present.document.items() if name != "removing"}
    return {**kept, **({"removing": sorted(removing)} if removing else {})}
