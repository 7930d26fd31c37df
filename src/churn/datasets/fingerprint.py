"""What a file held, without reading it as a table."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.stores import open_store


class FingerprintDataset(AbstractDataset[NoReturn, dict[str, Any]]):
    """Name, size and SHA-256 of a file; loads only. Results name their input by it."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """``name`` (the last part of the path), ``bytes`` and ``sha256``.

        Raises:
            ChurnError: If the file does not exist.
        """
        digest = self._store.sha256()
        return {"name": self._store.uri.rsplit("/", 1)[-1], "bytes": self._store.size(), "sha256": digest}

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: the content is written through the table's own entry."""
        raise DatasetError("a fingerprint is not saved; save the file it describes")

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}
