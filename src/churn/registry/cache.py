"""Verified local copies of models, by content hash.

A copy saves the download. It also allows scoring while the registry does not answer: the cache stores the last known version of
each model URI.
"""

import json
import shutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Number of copies that are kept, the most recently used ones.
KEPT = 5
NAMES = "names.json"


class ModelCache:
    """A folder with one folder per model, named by its content hash."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def find(self, sha256: str) -> Path | None:
        """Return the copy with a content hash; ``None`` if there is none. Loading verifies it like any other model."""
        folder = self._folder / sha256
        if not folder.is_dir():
            return None
        folder.touch()
        return folder

    def keep(self, sha256: str, model: Path) -> None:
        """Store a copy of a verified model folder. A copy that cannot be written is skipped without an error."""
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
        """Remove the copy with a content hash, for example a damaged one."""
        shutil.rmtree(self._folder / sha256, ignore_errors=True)

    def _tidy(self) -> None:
        copies = [folder for folder in self._folder.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
        for old in sorted(copies, key=lambda folder: folder.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def remember(self, name: str, place: Mapping[str, Any]) -> None:
        """Store the current version of a model URI."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            known = self._names() | {name: {**place, "seen_at": datetime.now(UTC).isoformat(timespec="seconds")}}
            aside = self._folder / f".{uuid.uuid4().hex}.json"
            aside.write_text(json.dumps(known, indent=1), encoding="utf-8")
            aside.replace(self._folder / NAMES)
        except OSError:
            return

    def recall(self, name: str) -> dict[str, Any] | None:
        """Return the last known version of a model URI, with ``seen_at``; ``None`` if there is none."""
        return self._names().get(name)

    def _names(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads((self._folder / NAMES).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known
