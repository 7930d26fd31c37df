"""Verified copies of models on this machine, by their content hash.

A copy spares the download, and it lets accounts be scored while the registry does not answer: the cache remembers which
version a name led to last.
"""

import json
import shutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Copies kept, the last used ones.
KEPT = 5
NAMES = "names.json"


class ModelCache:
    """A folder of model folders, each named by the content hash of its model."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def find(self, sha256: str) -> Path | None:
        """The copy with a content hash, if there is one. Loading it verifies it like any other."""
        folder = self._folder / sha256
        if not folder.is_dir():
            return None
        folder.touch()
        return folder

    def keep(self, sha256: str, model: Path) -> None:
        """Copy a verified model folder; what cannot be written is not kept, which is no error."""
        target, aside = self._folder / sha256, self._folder / f".{uuid.uuid4().hex}"
        if target.exists():
            return
        try:
            shutil.copytree(model, aside)
            aside.replace(target)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            return
        self._tidy()

    def drop(self, sha256: str) -> None:
        """Remove a copy, for example a damaged one."""
        shutil.rmtree(self._folder / sha256, ignore_errors=True)

    def _tidy(self) -> None:
        copies = [folder for folder in self._folder.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
        for old in sorted(copies, key=lambda folder: folder.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def remember(self, name: str, place: Mapping[str, Any]) -> None:
        """Note what a name leads to at present."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            known = self._names() | {name: {**place, "seen_at": datetime.now(UTC).isoformat(timespec="seconds")}}
            aside = self._folder / f".{uuid.uuid4().hex}.json"
            aside.write_text(json.dumps(known, indent=1), encoding="utf-8")
            aside.replace(self._folder / NAMES)
        except OSError:
            return

    def recall(self, name: str) -> dict[str, Any] | None:
        """What a name led to when it was last looked up, with ``seen_at``."""
        return self._names().get(name)

    def _names(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads((self._folder / NAMES).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known
