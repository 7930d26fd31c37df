"""The published results as the service reads them."""

from collections.abc import Iterator
from typing import Any

from churn.config.published import SCORE_COLUMNS
from churn.scoring.pointer import LEDGER, MANIFEST, POINTER, PREDICTIONS, is_run_id, read_pointer
from churn.serving.published import Run
from churn.stores import open_store
from churn.tables.stored import StoredTable


class StoredResults:
    """The store of results; implements `churn.serving.published.Results`."""

    def __init__(self, uri: str, credentials: dict[str, Any] | None) -> None:
        """Set the folder of results by its path or URL."""
        self._store = open_store(uri, credentials)

    def current(self) -> str | None:
        """Follow the pointer."""
        if not self._store.exists(POINTER):
            return None
        return read_pointer(self._store.read_json(POINTER), self._store.address(POINTER)).run_id

    def runs(self, run_id: str) -> list[Run]:
        """Return the runs that the ledger names, the oldest first, and the current one."""
        manifest = self._store.read_json(f"{run_id}/{MANIFEST}")
        ledger = self._store.read_json(f"{run_id}/{LEDGER}") if LEDGER in manifest["files"] else {}
        older = {entry["run_id"] for entry in ledger.values()} - {run_id, None}
        manifests = [self._store.read_json(f"{each}/{MANIFEST}") for each in older if is_run_id(each)]
        manifests.sort(key=lambda each: str(each.get("published_at")))
        return [Run(each["run_id"], each.get("as_of"), each.get("published_at")) for each in [*manifests, manifest]]

    def batches(self, run_id: str) -> Iterator[list[list[Any]]]:
        """Read the scores of a run."""
        table = StoredTable(self._store, f"{run_id}/{PREDICTIONS}.parquet")
        for batch in table.batches([table.columns[0], *SCORE_COLUMNS]):
            yield [batch[name].astype(str).tolist() if name == "risk_band" else batch[name].tolist() for name in batch]
