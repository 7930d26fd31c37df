"""Fingerprints of tables: size and hash of their files."""

from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.scoring.ledger import hash_of_files
from churn.stores.partitions import Partitions
from churn.tables.files import ACCOUNTS, parquet_file


class FingerprintDataset(AbstractDataset[NoReturn, dict[str, Any]]):
    """Name, size and SHA-256 of a table, by which results identify their input; loads only."""

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
            rows: Whether to count the rows too.
            credentials: Arguments of the fsspec file system.
            metadata: For plugins; not read here.
        """
        self._files = Partitions(filepath, credentials)
        self._rows = rows
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """Return ``name`` (the last part of the path), ``bytes``, ``sha256``, and ``rows`` if they are counted.

        The hash of a folder is that of the list of its files and their hashes in the format of ``sha256sum``; ``files`` has
        the hash of each.

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
        """Return for each file a value that changes with its content, without reading it; empty if there is no file."""
        return self._files.signatures()

    def _look(self, name: str) -> tuple[str, int | None]:
        """Return the hash and the number of rows of a file; rows of a compressed file are not counted."""
        address, store = self._files.address(name), self._files.store
        if not self._rows or store.compression(name) is not None:
            return store.sha256(name), None
        if address.lower().endswith(".parquet"):
            with parquet_file(store, name, ACCOUNTS) as table:
                return store.sha256(name), int(table.metadata.num_rows)
        # Without the header; line breaks within quotes end no row.
        lines, quotes, last = 0, 0, b""

        def look(chunk: bytes) -> None:
            nonlocal lines, quotes, last
            parts = chunk.split(b'"')
            lines += sum(part.count(b"\n") for part in parts[quotes % 2 :: 2])
            quotes, last = quotes + len(parts) - 1, chunk[-1:]

        digest = store.sha256(name, look)
        return digest, max(0, lines - 1 + (last not in (b"", b"\n")))

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the table is saved through its own catalog entry."""
        raise DatasetError("a fingerprint cannot be saved; save the file it describes")

    def _exists(self) -> bool:
        return self._files.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._files.uri}
