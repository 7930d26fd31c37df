"""What a table's files held, without reading them as a table."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.datasets.partitions import Partitions
from churn.partitions import hash_of_files


class FingerprintDataset(AbstractDataset[NoReturn, dict[str, Any]]):
    """Name, size and SHA-256 of a table; loads only. Results name their input by it."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._files = Partitions(filepath, credentials)
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """``name`` (the last part of the path), ``bytes`` and ``sha256``.

        Of a folder, the hash is that of a list of its files with theirs, as ``sha256sum`` writes it, and ``files`` has the
        hash of each.

        Raises:
            ChurnError: If the file does not exist.
        """
        store = self._files.store
        hashes = {name: store.sha256(name) for name in self._files.names()}
        described = {"name": self._files.uri.rstrip("/").rsplit("/", 1)[-1], "bytes": sum(map(store.size, hashes))}
        if not self._files.is_folder:
            return {**described, "sha256": hashes[""]}
        return {**described, "sha256": hash_of_files(hashes), "files": hashes}

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: the content is written through the table's own entry."""
        raise DatasetError("a fingerprint is not saved; save the file it describes")

    def _exists(self) -> bool:
        return self._files.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._files.uri}
