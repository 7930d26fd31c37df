"""The ledger of the current results: which run scored each file of the table."""

import logging
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.datasets.results import InResults
from churn.scoring import CurrentLedger
from churn.scoring.pointer import LEDGER, REMEDY
from churn.stores import DamagedError

logger = logging.getLogger(__name__)


class LedgerDataset(InResults, AbstractDataset[NoReturn, CurrentLedger]):
    """The ledger of the current results: the run that scored each file of the table; loads only."""

    def load(self) -> CurrentLedger:
        """Return the ledger; empty if nothing was published yet, or by a version of the project without ledgers.

        If pointer, manifest or ledger are damaged, it is empty too, with a warning: all files count as new, so that nothing
        stays unscored.
        """
        if not self._results.exists():
            return CurrentLedger(None, {})
        run_id: str | None = None
        try:
            manifest = self._results.manifest()
            run_id = manifest["run_id"]
            stored = self._results.document(run_id, LEDGER) if LEDGER in manifest["files"] else {}
            return CurrentLedger(run_id, _complete(stored, run_id))
        except DamagedError as damage:
            logger.warning("Which files were scored is not known, and all count as new: %s", damage)
            return CurrentLedger(run_id, {})

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the ledger is published with the results."""
        raise DatasetError("the ledger cannot be saved by itself; it is published with the results")

    def _exists(self) -> bool:
        # An empty ledger is a ledger too.
        return True


def _complete(stored: Any, run_id: str) -> dict[str, dict[str, Any]]:
    """Return a stored ledger with the id of its run.

    Raises:
        DamagedError: If it is not a ledger.
    """
    try:
        return {
            name: {**entry, "run_id": entry["run_id"] or run_id} for name, entry in stored.items() if entry["sha256"]
        }
    except (AttributeError, KeyError, TypeError):
        raise DamagedError(f"{LEDGER} of the run {run_id} is not a ledger; {REMEDY}") from None
