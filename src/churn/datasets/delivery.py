"""The published run that is delivered, and the deliveries."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from churn.datasets.results import InResults
from churn.delivery import Deliveries, Outcome, PublishedAccounts, PublishedRun, Run, Target, deliver, make_target
from churn.errors import ChurnError
from churn.scoring.pointer import LEDGER
from churn.stores import DamagedError, open_store

logger = logging.getLogger(__name__)

OUTCOMES, REJECTED = "deliveries.json", "rejected"


class PublishedRunDataset(InResults, AbstractDataset[NoReturn, PublishedRun]):
    """The run to which ``latest.json`` points, with its scores and its retention list; loads only.

    Unlike `ResultsDataset`, it never follows another run: what is delivered is what is current.
    """

    # The files of a run never change, so those that the checks before it have read need no second look.
    _checked: tuple[Run, Mapping[str, Any], PublishedAccounts] | None = None

    def load(self) -> PublishedRun:
        """Compare the files of the run with their hashes, and return it; the accounts are read in batches.

        Raises:
            ChurnError: If nothing was published yet, or a file does not match the manifest.
        """
        pointer, manifest = self._results.pointer(), self._results.manifest()
        run_id = str(manifest["run_id"])
        run = Run(run_id, pointer.sequence, str(manifest.get("as_of") or ""), str(manifest.get("published_at") or ""))
        if self._checked is None or self._checked[:2] != (run, manifest["files"]):
            accounts = PublishedAccounts(self._store, run, manifest["files"])
            self._checked = run, manifest["files"], accounts
        return PublishedRun(
            self._checked[2],
            self._is_partial(run_id, manifest["files"]),
            lambda: self._results.pointer().run_id == run_id,
        )

    def _is_partial(self, run_id: str, files: Mapping[str, Any]) -> bool:
        """Return whether earlier runs have scored some files of the table."""
        if LEDGER not in files:
            return False
        ledger = self._results.document(run_id, LEDGER)
        if not isinstance(ledger, dict):
            raise DamagedError(f"{LEDGER} of the run {run_id} is not a ledger; score again")
        return any(isinstance(entry, dict) and entry.get("run_id") not in (None, run_id) for entry in ledger.values())

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: results are published by the pipeline inference."""
        raise DatasetError("the published run cannot be saved")

    def _exists(self) -> bool:
        return self._results.exists()


class DeliveriesDataset(AbstractDataset[Deliveries, list[dict[str, Any]]]):
    """The deliveries of a run: saving sends them, loading returns the outcomes of the last ones."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder for ledgers and rejected rows.

        Args:
            filepath: A folder on this machine.
            credentials: For each target, by its name, its address and keys.
            metadata: For plugins; not read here.
        """
        self._folder, self._credentials = Path(filepath), credentials or {}
        self._store = open_store(filepath)
        self.outcomes: list[Outcome] | None = None  # of the last deliveries made here
        self.metadata = metadata

    def targets(self, settings: Any) -> list[Target]:
        """Return the targets of the parameters `delivery`; no connection is made."""
        return [make_target(each, self._credentials, self._folder) for each in settings.targets]

    def rejected(self, name: str) -> Path:
        """Return the file for the rows that a target rejects."""
        return self._folder / f"{REJECTED}-{name}.jsonl"

    def save(self, data: Deliveries) -> None:
        """Deliver to each target, one after the other. The failure of one is logged, and an outcome like the others.

        Raises:
            ChurnError: If the folder is not on this machine.
        """
        if not self._store.is_local:
            raise ChurnError(
                f"stores.delivery = {self._store.uri}: the ledgers of targets are on this machine; set the path of a folder"
            )
        self.outcomes = []
        for target in self.targets(data.settings):
            name = target.settings.name
            outcome = deliver(target, data.run, data.settings, rejects=self.rejected(name))
            self.outcomes.append(outcome)
            if outcome.status == "failed":
                logger.error("%s: the delivery failed: %s", name, outcome.reason)
            else:
                logger.info("%s: %s", name, outcome)
            for example in outcome.examples:
                logger.info("%s: for example %s", name, ", ".join(f"{key} {value}" for key, value in example.items()))
        self._store.write_json([outcome.as_dict() for outcome in self.outcomes], OUTCOMES)

    def load(self) -> list[dict[str, Any]]:
        """Return the last outcomes, see `Outcome.as_dict`.

        Raises:
            ChurnError: If nothing was delivered yet.
        """
        outcomes: list[dict[str, Any]] = self._store.read_json(OUTCOMES)
        return outcomes

    def _exists(self) -> bool:
        return self._store.exists(OUTCOMES)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}
