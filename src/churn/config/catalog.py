"""The catalog of a run."""

from typing import ClassVar

from kedro.io import DataCatalog


class Catalog(DataCatalog):
    """Kedro's catalog, which passes data sets without an entry from node to node without a copy.

    Kedro's own default copies frames and models at every load and save.
    """

    default_runtime_patterns: ClassVar = {"{default}": {"type": "kedro.io.MemoryDataset", "copy_mode": "assign"}}
