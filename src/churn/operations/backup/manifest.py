"""The manifest of a backup: what it holds, and with which versions it was made."""

import re
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from churn.errors import ChurnError
from churn.stores import Store

MANIFEST = "manifest.json"
# Number of the layout; a restore reads its own and the earlier ones.
FORMAT = 1

Part = Literal["models", "staging", "results", "settings", "watch"]
# In the order in which they are put in place: what others refer to comes first, the pointer to the results at the end.
PARTS: tuple[Part, ...] = get_args(Part)
# Folders of a backup; `models` has two.
DATABASE, ARTIFACTS = "database", "artifacts"
FOLDERS: dict[Part, tuple[str, ...]] = {
    "models": (DATABASE, ARTIFACTS),
    "staging": ("staging",),
    "results": ("results",),
    "settings": ("settings",),
    "watch": ("watch",),
}
POINTER = "latest.json"
RUN_MANIFEST = "manifest.json"
PACKAGES = ("kedro-churn", "mlflow", "xgboost", "kedro")


class BackedUpFile(BaseModel):
    """A file of a backup.

    Attributes:
        bytes: Its size.
        sha256: Hash of its content.
        modified: Time of its last change in nanoseconds since 1970, for a file of a local disk. The trigger recognises a table
            by size and time.
    """

    bytes: int
    sha256: str
    modified: int | None = None


class Tracked(BaseModel):
    """State of MLflow's database in a backup.

    Attributes:
        kind: The file in the folder `database`: a SQLite database, or a dump of PostgreSQL; ``None`` if it has none.
        artifacts: URI or path of the folder of artifacts, which the database has in its addresses; empty if a server has them.
        digest: Hash of runs, versions and aliases; ``None`` if it was not readable here.
        runs: Number of runs.
        versions: Number of registered versions.
    """

    kind: Literal["sqlite", "postgresql"] | None
    artifacts: str = ""
    digest: str | None = None
    runs: int | None = None
    versions: int | None = None


class Manifest(BaseModel):
    """What a backup holds.

    Attributes:
        format: Number of the layout.
        created_at: When the backup was made.
        environment: Environment of the project.
        versions: Versions of the packages that wrote the files.
        tracking: State of MLflow's database.
        latest: Run whose results are current; ``None`` if nothing was published yet.
        files: Every file by its name in the backup.
        left_out: What the backup does not hold, one sentence each.
    """

    format: int
    created_at: datetime
    environment: str
    versions: dict[str, str]
    tracking: Tracked
    latest: str | None
    files: dict[str, BackedUpFile]
    left_out: list[str] = []

    def of(self, folder: str) -> dict[str, BackedUpFile]:
        """Return the files of a folder of the backup, by their names in it."""
        start = f"{folder}/"
        return {name.removeprefix(start): file for name, file in self.files.items() if name.startswith(start)}


def read_manifest(backup: Store) -> Manifest:
    """Return the manifest of a backup.

    Raises:
        ChurnError: If the folder is no backup, an unfinished one, or one of a later version.
    """
    if not backup.exists(MANIFEST):
        raise ChurnError(
            f"{backup.uri} is not a whole backup: it has no {MANIFEST}, which is written last; choose another one"
        )
    content: Any = backup.read_json(MANIFEST)
    number = content.get("format") if isinstance(content, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ChurnError(
            f"{backup.address(MANIFEST)}: format {number}, this version of churn reads {FORMAT}; restore it with the version "
            f"that made it: {content.get('versions')}"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ChurnError(
            f"{backup.address(MANIFEST)} is damaged: {where}: {first['msg']}; choose another backup"
        ) from None
    known = {folder for folders in FOLDERS.values() for folder in folders}
    for name in manifest.files:
        folder, *rest = PurePosixPath(name).parts
        # A name must not lead out of the folder that it is restored into.
        if folder not in known or not rest or ".." in rest or "\\" in name or PurePosixPath(name).as_posix() != name:
            raise ChurnError(
                f"{backup.address(MANIFEST)} names {name!r}, which is no file of a backup; it is not restored"
            )
    return manifest


def versions() -> dict[str, str]:
    """Return the versions of the packages that write models and databases."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the image that scores has XGBoost under another name
            continue
    return found


def release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, for comparisons: ``3.17.0`` is ``(3, 17, 0)``."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
