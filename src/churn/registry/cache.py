"""Verified local copies of models, by content hash.

A copy saves the download. It also allows scoring while the registry does not answer: the cache stores the last known version of
each model URI.
"""

import shutil
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from churn.stores import Entry
from churn.stores.occupied import is_abandoned, occupied
from churn.stores.state import StateFile

# Number of copies that are kept, the most recently used ones.
KEPT = 5
NAMES = "names.json"


class KnownVersion(BaseModel):
    """The version that a model URI named when the registry answered last.

    Attributes:
        version: Its number in the registry.
        run_id: The run that made it.
        sha256: Content hash of the model.
        seen_at: When the registry answered, in ISO 8601.
    """

    version: str | None
    run_id: str | None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    seen_at: str


class ModelCache:
    """A folder with one folder per model, named by its content hash.

    The cache only saves time: a folder that cannot be read or written never ends a run.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._known = StateFile[dict[str, KnownVersion]](self._folder / NAMES, dict[str, KnownVersion], dict)

    def find(self, sha256: str) -> Path | None:
        """Return the copy with a content hash; ``None`` if there is none. Loading verifies it like any other model."""
        folder = self._folder / sha256
        if not folder.is_dir():
            return None
        with suppress(OSError):  # it may be read-only
            folder.touch()
        return folder

    def keep(self, sha256: str, model: Path) -> None:
        """Store a copy of a verified model folder. A copy that cannot be written is skipped without an error."""
        target, aside = self._folder / sha256, self._folder / f".{uuid.uuid4().hex}"
        try:
            if target.exists():
                return
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside.mkdir()
            with occupied(aside):
                shutil.copytree(model, aside, dirs_exist_ok=True)
                aside.replace(target)
            self._tidy()
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)

    def drop(self, sha256: str) -> None:
        """Remove the copy with a content hash, for example a damaged one."""
        shutil.rmtree(self._folder / sha256, ignore_errors=True)

    def copies(self) -> dict[str, Entry]:
        """Return size, and time of the last use, of each copy by content hash."""
        return {
            folder.name: Entry(sum(file.lstat().st_size for file in folder.rglob("*")), folder.stat().st_mtime)
            for folder in self._copies()
        }

    def _copies(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [folder for folder in self._folder.iterdir() if folder.is_dir() and not folder.name.startswith(".")]

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

    def remember(self, name: str, version: str | None, run_id: str | None, sha256: str) -> None:
        """Store the current version of a model URI. If it cannot be stored, this is logged, and the run goes on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known = KnownVersion(version=version, run_id=run_id, sha256=sha256, seen_at=now)
        self._known.note(lambda names: {**names, name: known})

    def recall(self, name: str) -> KnownVersion | None:
        """Return the last known version of a model URI; ``None`` if there is none."""
        return self._known.read().get(name)

    def remembered(self) -> frozenset[str]:
        """Return the content hashes of the last known versions of all model URIs."""
        return frozenset(known.sha256 for known in self._known.read().values())
