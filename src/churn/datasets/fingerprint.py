"""What a table's files held, without reading them as a table."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.errors import ChurnError
from churn.scoring.ledger import hash_of_files
from churn.stores.partitions import Partitions


class FingerprintDataset(AbstractDataset[NoReturn, dict[str, Any]]):
    """Name, size and SHA-256 of a table; loads only. Results name their input by it."""

    def __init__(
        self,
        *,
        filepath: str,
        rows: bool = False,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the table.

        Args:
            filepath: Path or URL.
            rows: Whether its rows are counted too.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.
        """
        self._files = Partitions(filepath, credentials)
        self._rows = rows
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """``name`` (the last part of the path), ``bytes`` and ``sha256``, and ``rows`` where they are counted.

        Of a folder, the hash is that of a list of its files with theirs, as ``sha256sum`` writes it, and ``files`` has the
        hash of each.

        Raises:
            ChurnError: If the file does not exist.
        """
        store = self._files.store
        found = {name: self._look(name) for name in self._files.names()}
        hashes = {name: digest for name, (digest, _) in found.items()}
        described: dict[str, Any] = {
            "name": self._files.uri.rstrip("/").rsplit("/", 1)[-1],
            "bytes": sum(map(store.size, hashes)),
        }
        if self._rows:
            counts = [count for _, count in found.values()]
            described["rows"] = None if None in counts else sum(filter(None, counts))
        if not self._files.is_folder:
            return {**described, "sha256": hashes[""]}
        return {**described, "sha256": hash_of_files(hashes), "files": hashes}

    def signatures(self) -> dict[str, str]:
        """What tells whether a file has changed, without reading it, by its name; none where there is no file."""
        return self._files.signatures()

    def _look(self, name: str) -> tuple[str, int | None]:
        """Hash and rows of a file; a packed file's are not counted."""
        address, store = self._files.address(name), self._files.store
        if not self._rows or address.endswith(".gz"):
            return store.sha256(name), None
        if address.endswith(".parquet"):
            from pyarrow import ArrowInvalid, parquet

            with store.reading(name) as file:
                try:
                    return store.sha256(name), int(parquet.ParquetFile(file).metadata.num_rows)
                except ArrowInvalid as error:
                    raise ChurnError(f"{address} cannot be read as an account table: {error}") from error
        # Without the header; a cell with line breaks counts as several rows.
        lines, last = 0, b""

        def look(chunk: bytes) -> None:
            nonlocal lines, last
            lines, last = lines + chunk.count(b"\n"), chunk[-1:]

        digest = store.sha256(name, look)
        return digest, max(0, lines - 1 + (last not in (b"", b"\n")))

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: the content is written through the table's own entry."""
        raise DatasetError("a fingerprint is not saved; save the file it describes")

    def _exists(self) -> bool:
        return self._files.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._files.uri}
