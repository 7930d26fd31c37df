"""A model as a folder: UBJSON, JSON, and the SHA-256 of both, which is verified before they are parsed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from churn.errors import ChurnError

BOOSTER_FILE = "booster.ubj"
MODEL_FILE = "model.json"
CHECKSUM_FILE = "checksums.json"


def digest(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def checksums_of(files: Mapping[str, bytes]) -> bytes:
    """Return the content of the checksum file for a model's files."""
    return json.dumps({name: digest(files[name]) for name in sorted(files)}, indent=1).encode() + b"\n"


def read_verified(folder: Path, expected_sha256: str | None) -> dict[str, bytes]:
    """Read the model's files and verify their hashes.

    Raises:
        ChurnError: If a file is missing, or does not match its hash or the expected one.
    """
    try:
        checksums = (folder / CHECKSUM_FILE).read_bytes()
        files = {name: (folder / name).read_bytes() for name in (BOOSTER_FILE, MODEL_FILE)}
    except OSError as error:
        raise ChurnError(f"{folder} is not a churn model: {error.strerror} ({error.filename})") from error
    if checksums_of(files) != checksums:
        raise ChurnError(
            f"{folder}: the model's files do not match {CHECKSUM_FILE}; the model is damaged or was changed, and is not "
            "loaded. Restore its files, or train again"
        )
    if expected_sha256 is not None and digest(checksums) != expected_sha256:
        raise ChurnError(
            f"{folder}: the model is not the one that was registered "
            f"(SHA-256 {digest(checksums)[:12]}..., expected {expected_sha256[:12]}...), and is not loaded"
        )
    return files
