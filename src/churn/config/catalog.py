"""The catalog of a run."""

from typing import ClassVar

from kedro.io import DataCatalog


class Catalog(DataCatalog):
    """Kedro's catalog; what the nodes of a pipeline hand on to each other without an entry is kept in memory as it is.

    Kedro itself would copy it at every hand-over, frames and models alike.
    """

    default_runtime_patterns: ClassVar = {"{default}": {"type": "kedro.io.MemoryDataset", "copy_mode": "assign"}}
