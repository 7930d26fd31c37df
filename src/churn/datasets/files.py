"""Tables and documents as files that are replaced as a whole.

Why not ``pandas.ParquetDataset`` and ``json.JSONDataset``: where their save fails half-way, what stood there before is
gone, on a disk as on S3. And what a store answers is told in a sentence here, with the setting that may be wrong.
"""

from typing import Any

import pandas as pd
from kedro.io import AbstractDataset

from churn.errors import ChurnError
from churn.stores import open_store


class TableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A table in a Parquet file, with its types."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Read the table.

        Raises:
            ChurnError: If the file does not exist or is damaged.
        """
        import pyarrow as pa
        from pyarrow import parquet

        with self._store.reading() as file:
            try:
                frame: pd.DataFrame = parquet.read_table(file).to_pandas()
            except pa.ArrowInvalid as error:
                raise ChurnError(f"{self._store.uri} cannot be read as a table: {error}") from error
        return frame

    def save(self, data: pd.DataFrame) -> None:
        """Replace the table."""
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.Table.from_pandas(data, preserve_index=False)
        self._store.write(lambda file: parquet.write_table(table, file))

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}

    def preview(self, nrows: int = 5) -> Any:
        """First rows, for kedro-viz."""
        from kedro_datasets._typing import TablePreview

        return TablePreview(self.load().head(nrows).to_dict(orient="split"))


class DocumentDataset(AbstractDataset[Any, Any]):
    """A JSON document."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the file by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def load(self) -> Any:
        """Read the document.

        Raises:
            ChurnError: If the file does not exist or is not JSON.
        """
        return self._store.read_json()

    def save(self, data: Any) -> None:
        """Replace the document."""
        self._store.write_json(data)

    def _exists(self) -> bool:
        return self._store.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}

    def preview(self) -> Any:
        """The document, for kedro-viz."""
        import json

        from kedro_datasets._typing import JSONPreview

        return JSONPreview(json.dumps(self.load()))
