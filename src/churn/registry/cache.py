"""Verified local copies of models, by content hash.

A copy saves the download. It also allows scoring while the registry does not answer: the cache stores the last known version of
each model URI.
"""

import json
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from churn.stores import Entry
from churn.stores.occupied import is_abandoned, occupied

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
            with _occupied(aside):
                shutil.copytree(model, aside, dirs_exist_ok=True)
                aside.replace(target)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            return
        self._tidy()

    def copies(self) -> dict[str, Entry]:
        """Return size, and time of the last use, of each copy by content hash."""
        return {
            folder.name: Entry(sum(file.lstat().st_size for file in folder.rglob("*")), folder.stat().st_mtime)
            for folder in self._copies()
        }

    def remembered(self) -> frozenset[str]:
        """Return the content hashes of the last known versions of all model URIs."""
        known = [place.get("sha256") for place in self._names().values() if isinstance(place, dict)]
        return frozenset(sha256 for sha256 in known if isinstance(sha256, str))

    def _copies(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [folder for folder in self._folder.iterdir() if folder.is_dir() and not folder.name.startswith(".")]

    def drop(self, sha256: str) -> None:
        """Remove the copy with a content hash, for example a damaged one."""
        shutil.rmtree(self._folder / sha256, ignore_errors=True)

    def _tidy(self) -> None:
        """Remove the copies that were not used for longest, and what killed processes have left."""
        copies = self._copies()
        for copy in copies:
            if copy.stat().st_mtime > time.time():  # a clock was ahead; else it would stay for ever, and new ones go
                copy.touch()
        for old in sorted(copies, key=lambda folder: folder.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        for aside in self._folder.glob(".*"):
            if aside.is_dir() and is_abandoned(aside):
                shutil.rmtree(aside, ignore_errors=True)
            elif is_abandoned(aside):
                aside.unlink(missing_ok=True)

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


@contextmanager
def _occupied(folder: Path) -> Iterator[None]:
    """Create a folder and mark it as in use while the block runs."""
    folder.mkdir(parents=True)
    with occupied(folder):
        yield
