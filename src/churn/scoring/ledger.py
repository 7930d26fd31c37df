"""Which files of a table are new, by what they hold.

A *ledger* says of each file of a table which run scored it, and the hash of the model that it used:
``{name: {"sha256": ..., "run_id": ..., "model": ...}}``. It is published with the results of each run.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

Ledger = dict[str, dict[str, Any]]


class CurrentLedger(NamedTuple):
    """The ledger of the current results.

    Attributes:
        run_id: Whose results are current; ``None`` before any are.
        ledger: Which run scored each file; empty where the run noted nothing.
    """

    run_id: str | None
    ledger: Ledger


class Selection(NamedTuple):
    """Files to be scored.

    Attributes:
        names: Which, in the order of the table.
        source: What results name as their input: ``name``, and ``bytes``, ``sha256`` and ``files`` of what is scored.
        ledger: Of the whole table as it will be; ``run_id`` is ``None`` where this run scores the file.
    """

    names: list[str]
    source: dict[str, Any]
    ledger: Ledger


def select(
    fingerprint: Mapping[str, Any], ledger: Ledger, model: str, *, incremental: bool = False, rescore: bool = False
) -> Selection:
    """Choose the files that have to be scored.

    Args:
        fingerprint: Of the table: ``name``, ``bytes``, ``sha256``, and ``files`` with the hash of each if it is a folder.
        ledger: Of the current results.
        model: SHA-256 of the model that scores.
        incremental: Whether files whose content was scored before, under whatever name, are left out.
        rescore: Whether, of these, those are taken all the same that another model scored, or one that was not noted.
    """
    files: dict[str, str] = fingerprint.get("files") or {"": fingerprint["sha256"]}
    scored = {
        entry["sha256"]: {"run_id": entry["run_id"], "model": entry.get("model")}
        for entry in ledger.values()
        if incremental and not (rescore and entry.get("model") != model)
    }
    now = {"run_id": None, "model": model}
    # Two new files of the same content are two files; their ids will not be unique, which the check says.
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
    """One hash for several files: that of the list of their hashes and names as ``sha256sum`` writes it."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    return hashlib.sha256(lines.encode()).hexdigest()
