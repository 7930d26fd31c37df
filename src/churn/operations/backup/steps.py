"""The steps of a restore: each puts a folder of the backup in its place."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from churn.operations.backup.manifest import DATABASE, Manifest

# Ends of the names of folders beside a place: the new content before it is in place, and the old one afterwards.
NEW, OLD = ".restoring", ".before-"


@dataclass
class Restored:
    """What a restore has done.

    Attributes:
        manifest: Manifest of the backup.
        placed: Folders of the backup that were put in place.
        present: Folders whose content was in place already.
        kept: Paths that were there before: replaced folders under new names, and files that were not replaced.
        open: What is left to do, one sentence each.
    """

    manifest: Manifest
    placed: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


class Step:
    """A folder of the backup and its place."""

    def __init__(self, name: str, done: Restored) -> None:
        """Set the name of the folder, and where to note what was done."""
        self.name, self._done = name, done
        self.faults: list[str] = []

    def prepare(self) -> None:
        """Do what does not change the place yet."""

    def place(self) -> None:
        """Put the content in place."""

    def _placed(self) -> None:
        self._done.placed.append(self.name)


class Present(Step):
    """A folder whose content is in place already."""

    def place(self) -> None:
        """Note that there was nothing to do."""
        self._done.present.append(self.name)


class Folder(Step):
    """A folder of this machine: written beside its place, then renamed."""

    def __init__(
        self,
        name: str,
        done: Restored,
        folder: Path,
        stamp: str,
        write: Callable[[Path], None],
        fault: str | None,
    ) -> None:
        super().__init__(name, done)
        # What is replaced is the folder, not a link to it.
        self._folder, self._stamp, self._write = folder.resolve(), stamp, write
        self._new = self._folder.with_name(f".{self._folder.name}{NEW}")
        if fault:
            self.faults.append(fault)

    def prepare(self) -> None:
        """Write the content beside the place."""
        # Of a restore that was interrupted.
        shutil.rmtree(self._new, ignore_errors=True)
        self._new.mkdir(parents=True, mode=0o700)
        self._write(self._new)

    def place(self) -> None:
        """Rename the old content away, or remove it if there is none, and the new one into its place."""
        if self._folder.exists():
            if self.faults:
                kept = self._folder.with_name(f"{self._folder.name}{OLD}{self._stamp}")
                self._folder.rename(kept)
                self._done.kept.append(str(kept))
            else:
                shutil.rmtree(self._folder)  # nothing in it that could be lost
        self._new.rename(self._folder)
        self._placed()


class Objects(Step):
    """A bucket, or files that are added to a folder: copied one by one."""

    def __init__(
        self, name: str, done: Restored, copy: Callable[[str], object], missing: list[str], last: str = ""
    ) -> None:
        super().__init__(name, done)
        self._copy = copy
        # The pointer comes after what it names.
        self._missing = sorted(missing, key=lambda each: (each == last, each))

    def place(self) -> None:
        """Copy what is missing, the file that names others at the end."""
        for name in self._missing:
            self._copy(name)
        self._placed()


class Load(Step):
    """A database that a server may have open."""

    def __init__(self, done: Restored, load: Callable[[], None], fault: str | None) -> None:
        super().__init__(DATABASE, done)
        self._load = load
        if fault:
            self.faults.append(fault)

    def place(self) -> None:
        """Load the database."""
        self._load()
        self._placed()
