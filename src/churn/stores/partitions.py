"""The files that a table consists of."""

from typing import Any

from churn.errors import ChurnError
from churn.stores import Store, open_store

FORMATS = (".csv", ".csv.gz", ".parquet")


class Partitions:
    """One file, or every table file in a folder: a path whose last part has no ending.

    Files whose name, or that of a folder they are in, begins with a dot or an underscore are none: they are being written,
    or are notes of other programs.

    Attributes:
        store: Where they lie.
        uri: Path or URL as it was given.
    """

    def __init__(self, filepath: str, credentials: dict[str, Any] | None = None) -> None:
        """Declare the place.

        Raises:
            ChurnError: If it is a file of an unknown kind.
        """
        self.uri = filepath
        last = filepath.rstrip("/").rsplit("/", 1)[-1]
        self.is_folder = "." not in last
        self.store: Store = open_store(filepath.rstrip("/"), credentials)
        if not self.is_folder and not filepath.endswith(FORMATS):
            raise ChurnError(
                f"{filepath}: an account table is a .csv, .csv.gz or .parquet file, or a folder of them without a dot in its "
                "name"
            )

    def names(self) -> list[str]:
        """Names of the files in the order in which they are read, relative to the folder; the empty name is the file.

        Raises:
            ChurnError: If there is none.
        """
        names = self._found()
        if not names:
            raise ChurnError(
                f"{self.uri} holds no table; put .csv, .csv.gz or .parquet files there"
                if self.is_folder
                else f"{self.uri} does not exist"
            )
        return names

    def exists(self) -> bool:
        """Whether there is a file, asked anew."""
        return bool(self._found())

    def address(self, name: str) -> str:
        """Path or URL of one of the files."""
        return self.store.address(name)

    def signatures(self) -> dict[str, str]:
        """What tells whether a file has changed, without reading it, by its name; none where there is no file."""
        return {name: sign for name, sign in self.store.signatures().items() if not self.is_folder or _is_part(name)}

    def _found(self) -> list[str]:
        if not self.is_folder:
            return [""] if self.store.exists() else []
        return sorted(filter(_is_part, self.store.names()))


def _is_part(name: str) -> bool:
    return name.endswith(FORMATS) and not any(part.startswith((".", "_")) for part in name.split("/"))
