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

from churn.stores.state import StateFile

# Number of copies that are kept, the most recently used ones.
KEPT = 5
NAMES = "names.json"
# Seconds after which a copy that was not completed belongs to a process that was killed.
UNFINISHED = 3600.0


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
            shutil.copytree(model, aside)
            aside.replace(target)
            self._tidy()
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)

    def drop(self, sha256: str) -> None:
        """Remove the copy with a content hash, for example a damaged one."""
        shutil.rmtree(self._folder / sha256, ignore_errors=True)

    def _tidy(self) -> None:
        folders = [(folder, folder.stat().st_mtime) for folder in self._folder.iterdir() if folder.is_dir()]
        copies = sorted((pair for pair in folders if pair[0].name[0] != "."), key=lambda pair: pair[1], reverse=True)
        left = [pair for pair in folders if pair[0].name[0] == "." and time.time() - pair[1] > UNFINISHED]
        for old, _ in [*copies[KEPT:], *left]:
            shutil.rmtree(old, ignore_errors=True)

    def remember(self, name: str, version: str | None, run_id: str | None, sha256: str) -> None:
        """Store the current version of a model URI. If it cannot be stored, this is logged, and the run goes on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known = KnownVersion(version=version, run_id=run_id, sha256=sha256, seen_at=now)
        self._known.note(lambda names: {**names, name: known})

    def recall(self, name: str) -> KnownVersion | None:
        """Return the last known version of a model URI; ``None`` if there is none."""
        return self._known.read().get(name)
