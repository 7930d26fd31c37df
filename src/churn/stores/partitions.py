"""The files of a table."""

from typing import Any

from churn.errors import ChurnError
from churn.stores import Store, open_store

# Ends of the names of tables, in any case. The content decides whether a file is compressed.
FORMATS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst", ".zip", ".parquet")


class Partitions:
    """One file, or all table files in a folder. A path whose last part has no extension is a folder.

    Files are ignored if their name, or that of a folder in their path, begins with a dot or an underscore: they are
    incomplete, or belong to other programs.

    Attributes:
        store: Store of the files.
        uri: Path or URL as given.
    """

    def __init__(self, filepath: str, credentials: dict[str, Any] | None = None) -> None:
        """Open the store of the path.

        Raises:
            ChurnError: If it is a file of an unknown format.
        """
        self.uri = filepath
        last = filepath.rstrip("/").rsplit("/", 1)[-1]
        self.is_folder = "." not in last
        self.store: Store = open_store(filepath.rstrip("/"), credentials)
        if not self.is_folder and not filepath.lower().endswith(FORMATS):
            raise ChurnError(
                f"{filepath}: an account table is a .csv or .parquet file (or .tsv, .csv.gz, .csv.zst, .zip), or a folder of "
                "them without a dot in its name"
            )

    def names(self) -> list[str]:
        """Return the names of the files in reading order, relative to the folder; an empty name for a single file.

        Raises:
            ChurnError: If there is no file.
        """
        names = self._found()
        if not names:
            raise ChurnError(
                f"{self.uri} holds no table; put .csv or .parquet files there (or .tsv, .csv.gz, .csv.zst, .zip)"
                if self.is_folder
                else f"{self.uri} does not exist"
            )
        return names

    def exists(self) -> bool:
        """Return whether there is a file, without a cache."""
        return bool(self._found())

    def address(self, name: str) -> str:
        """Return the path or URL of one of the files."""
        return self.store.address(name)

    def signatures(self) -> dict[str, str]:
        """Return the signature of each file by name, see `Store.signatures`; empty if there is no file."""
        return {name: sign for name, sign in self.store.signatures().items() if not self.is_folder or _is_part(name)}

    def _found(self) -> list[str]:
        if not self.is_folder:
            return [""] if self.store.exists() else []
        return sorted(filter(_is_part, self.store.names()))


def _is_part(name: str) -> bool:
    return name.lower().endswith(FORMATS) and not any(part.startswith((".", "_")) for part in name.split("/"))
