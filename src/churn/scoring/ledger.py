"""Find the files of a table that are new, by the hash of their content.

A *ledger* holds for each file of a table its hash, the run that scored it, and the hash of the model of that run:
``{name: {"sha256": ..., "run_id": ..., "model": ...}}``. It is published with the results of each run.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

Ledger = dict[str, dict[str, Any]]


class CurrentLedger(NamedTuple):
    """The ledger of the current results.

    Attributes:
        run_id: Run whose results are current; ``None`` if nothing was published yet.
        ledger: Ledger of that run; empty if it published none.
    """

    run_id: str | None
    ledger: Ledger


class Selection(NamedTuple):
    """Files to score.

    Attributes:
        names: Their names, in the order of the table.
        source: Description of the input for the results: ``name``, and ``bytes``, ``sha256`` and ``files`` of these files.
        ledger: New ledger of the whole table; ``run_id`` is ``None`` for the files that this run scores.
    """

    names: list[str]
    source: dict[str, Any]
    ledger: Ledger


def select(
    fingerprint: Mapping[str, Any], ledger: Ledger, model: str, *, incremental: bool = False, rescore: bool = False
) -> Selection:
    """Select the files to score.

    Args:
        fingerprint: Fingerprint of the table: ``name``, ``bytes``, ``sha256``, and for a folder ``files`` with the hash of
            each.
        ledger: Ledger of the current results.
        model: SHA-256 of the model that scores.
        incremental: Whether to leave out files whose content was scored before, under any name.
        rescore: With `incremental`, whether to score files again that another or an unknown model scored.
    """
    files: dict[str, str] = fingerprint.get("files") or {"": fingerprint["sha256"]}
    scored = {
        entry["sha256"]: {"run_id": entry["run_id"], "model": entry.get("model")}
        for entry in ledger.values()
        if incremental and not (rescore and entry.get("model") != model)
    }
    now = {"run_id": None, "model": model}
    # Two new files with the same content are both selected; the check then reports their repeated ids.
    chosen = {name: digest for name, digest in files.items() if digest not in scored}
    source = dict(fingerprint)
    if len(chosen) < len(files):
        source = {"name": fingerprint["name"], "sha256": hash_of_files(chosen), "files": chosen}
    return Selection(
        names=list(chosen),
        source=source,
        ledger={
            name or fingerprint["name"]: {"sha256": digest, **scored.get(digest, now)} for name, digest in files.items()
        },
    )


def hash_of_files(hashes: Mapping[str, str]) -> str:
    """Return one hash for several files: the SHA-256 of their hashes and names in the format of ``sha256sum``."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    return hashlib.sha256(lines.encode()).hexdigest()
