"""Published results, which become visible completely or not at all.

The data files are written to ``<results>/<run id>/``, then ``manifest.json`` with their hashes. At last the pointer
``<results>/latest.json`` is replaced. Readers follow the pointer, so if a run fails half-way, the previous results stay
current. `churn.scoring.pointer` describes the order of publications.
"""

import logging
import re
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from churn.errors import ChurnError
from churn.reporting.retention_page import render_retention_page
from churn.reporting.retention_workbook import retention_workbook
from churn.retention.explained import two_numbers
from churn.retention.spreadsheet import spreadsheet_safe
from churn.scoring import Publication, Record, Scores
from churn.scoring.pointer import (
    CAMPAIGN_ACCOUNTS,
    LEDGER,
    MANIFEST,
    POINTER,
    PREDICTIONS,
    REMEDY,
    Pointer,
    checked_run_id,
    is_run_id,
    next_pointer,
    read_pointer,
)
from churn.stores import DamagedError, Store, Stored, open_store
from churn.tables.csv import write_csv
from churn.tables.stored import StoredTable

logger = logging.getLogger(__name__)

RETENTION_LIST = "retention_list"
PROFILE = "input_profile.json"
# The card of the model that scored, which the health report links to.
MODEL_CARD = "model_card.html"

# For whom a file is, in the manifest. Ids in files for programs are exact, also those that a spreadsheet takes for formulas.
PAGE, WORKBOOK = f"{RETENTION_LIST}.html", f"{RETENTION_LIST}.xlsx"
PEOPLE = (f"{RETENTION_LIST}.csv", PAGE, WORKBOOK)

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9]+)+")


class ResultsDataset(AbstractDataset[Scores, Publication]):
    """The results to which ``latest.json`` points; saving publishes new ones under a new run id."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.published: dict[str, Any] | None = None  # manifest of the last results saved here
        self.follows: str | None = None  # run to load in place of the current one
        self.metadata = metadata

    def save(self, data: Scores) -> None:
        """Publish scores: write the data files, read them back and compare, then write the manifest and the pointer.

        The scores are computed and written in batches. If there is nothing to score, nothing is published.

        Raises:
            ChurnError: If a file cannot be written, differs when it is read back, or computing the scores fails; the
                previous results stay current.
        """
        self.published = None
        if data.is_empty:
            return
        run_id = str(uuid.uuid4())
        with self._store.working(run_id):
            try:
                manifest, record = self._write_run(data, run_id)
            except BaseException:
                if self._store.is_local:  # a bucket may be what has failed; churn prune removes what is left there
                    self._store.discard(run_id)
                raise
            self._point_to(manifest, record)
        self.published = manifest
        self._remove_abandoned()

    def _write_run(self, data: Scores, run_id: str) -> tuple[dict[str, Any], Record]:
        """Write the files of a run, which is not current yet; return its manifest."""
        now = datetime.now(UTC)
        written = self._write_table(((batch, batch) for batch in data.batches()), run_id, PREDICTIONS)
        record = data.record()
        listed = record.retention_list
        written |= self._write_table([(spreadsheet_safe(listed), listed)], run_id, RETENTION_LIST)
        if record.facts is not None:
            page, book = render_retention_page(record).encode(), retention_workbook(record)
            written[PAGE] = self._store.write(lambda file: file.write(page), f"{run_id}/{PAGE}")
            written[WORKBOOK] = self._store.write(lambda file: file.write(book), f"{run_id}/{WORKBOOK}")
        if record.campaign_accounts is not None:
            written |= self._write_exact(record.campaign_accounts, f"{run_id}/{CAMPAIGN_ACCOUNTS}")
        written[PROFILE] = self._store.write_json(record.profile, f"{run_id}/{PROFILE}")
        # The ledger does not contain this run's id, so that equal scores lead to equal bytes.
        written[LEDGER] = self._store.write_json(record.ledger, f"{run_id}/{LEDGER}")
        for name, stored in written.items():
            self._store.verify(f"{run_id}/{name}", stored)
        manifest = {
            "run_id": run_id,
            "published_at": now.isoformat(timespec="seconds"),
            "as_of": record.as_of.isoformat(),
            "rows": record.rows,
            "at_risk": record.at_risk,
            "threshold": record.profile["threshold"],
            "to_act_on": record.to_act_on,
            "expected_profit": record.expected_profit,
            "example_costs": list(record.example_costs),
            **_of_facts(record),
            "listed": len(listed),
            **({"campaign": record.campaign} if record.campaign else {}),
            "model": record.model,
            "input": record.source,
            "files": {
                name: {**stored._asdict(), "for": "people" if name in PEOPLE else "programs"}
                for name, stored in written.items()
            },
        }
        self._store.write_json(manifest, f"{run_id}/{MANIFEST}")
        return manifest, record

    def _point_to(self, manifest: dict[str, Any], record: Record) -> None:
        """Make a run current, unless it may not be.

        Raises:
            ChurnError: If another run has published since the one that this run follows, or the run was removed.
        """
        run_id, place = manifest["run_id"], self._store.address(POINTER)

        def advance(document: Any) -> dict[str, Any] | None:
            present = None
            try:
                present = None if document is None else read_pointer(document, place)
            except DamagedError as damage:
                logger.warning("%s; it is replaced", str(damage).partition(";")[0])
            if present is not None and present.run_id == run_id:
                return None  # an attempt whose answer was lost has arrived
            if record.follows is not None and (present is None or present.run_id != record.follows):
                raise ChurnError(
                    f"{self._store.uri}: another run published results meanwhile, and may have scored the same files; nothing "
                    "was published. Run again: only what is new since then is scored"
                )
            if (present is not None and run_id in present.removing) or not self._store.exists(f"{run_id}/{MANIFEST}"):
                raise ChurnError(
                    f"{self._store.address(run_id)} was removed before it became current, as by churn prune; nothing was "
                    "published. Run again"
                )
            return next_pointer(present, run_id, datetime.now(UTC).isoformat(timespec="microseconds"))

        self._store.update_json(advance, POINTER, mend=True)

    def overtaken_by(self) -> str | None:
        """Return the run that is current in place of the last one saved here; ``None`` if that one is, or none was saved."""
        if self.published is None:
            return None
        try:
            current = self.pointer().run_id
        except ChurnError as error:
            # It is published; whether it is still current is not known.
            logger.warning("%s cannot be read back: %s", self._store.address(POINTER), error)
            return None
        return None if current == self.published["run_id"] else current

    def _remove_abandoned(self) -> None:
        """Remove the folders of runs that were killed before they were complete, where that costs no requests."""
        try:
            for folder in self._store.abandoned(MANIFEST):
                if is_run_id(folder):
                    logger.info("Removed %s, which a run that was killed has left", self._store.address(folder))
                    self._store.discard(folder)
        except OSError as error:
            logger.warning("What killed runs have left in %s cannot be removed: %s", self._store.uri, error)

    def _write_table(
        self, batches: Iterable[tuple[pd.DataFrame, pd.DataFrame]], run_id: str, name: str
    ) -> dict[str, Stored]:
        """Write a table as CSV and as Parquet from pairs of batches; return what was stored, by file name."""
        import pyarrow as pa
        from pyarrow import parquet

        text_name, exact_name = f"{name}.csv", f"{name}.parquet"
        with (
            self._store.writing(f"{run_id}/{text_name}") as text,
            self._store.writing(f"{run_id}/{exact_name}") as exact,
            ExitStack() as closing,
        ):
            writer = None
            for for_csv, for_parquet in batches:
                table = pa.Table.from_pandas(for_parquet, preserve_index=False)
                same = for_csv is for_parquet
                as_text = table if same else pa.Table.from_pandas(for_csv, preserve_index=False)
                write_csv(as_text, text, header=writer is None)
                if writer is None:
                    writer = closing.enter_context(parquet.ParquetWriter(exact, table.schema))
                writer.write_table(table)
        return {text_name: text.stored(), exact_name: exact.stored()}

    def _write_exact(self, table: pd.DataFrame, name: str) -> dict[str, Stored]:
        """Write a table as Parquet only; return what was stored, by file name."""
        import pyarrow as pa
        from pyarrow import parquet

        with self._store.writing(name) as file:
            parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), file)
        return {name.rpartition("/")[2]: file.stored()}

    def load(self) -> Publication:
        """Verify the hashes of the current results and return them; the scores are read in batches.

        Raises:
            ChurnError: If nothing was published yet, or a file does not match the manifest.
        """
        manifest = self.manifest()
        run_id = manifest["run_id"]
        for name, expected in manifest["files"].items():
            if self._store.sha256(f"{run_id}/{name}") != expected["sha256"]:
                raise ChurnError(f"{self._store.address(f'{run_id}/{name}')} does not match its manifest; score again")
        return Publication(
            predictions=self._predictions(f"{run_id}/{PREDICTIONS}.parquet"),
            profile=self._store.read_json(f"{run_id}/{PROFILE}"),
            model=manifest["model"],
            source=manifest["input"],
            as_of=date.fromisoformat(manifest["as_of"]),
            run_id=run_id,
            campaign_accounts=StoredTable(self._store, f"{run_id}/{CAMPAIGN_ACCOUNTS}")
            if CAMPAIGN_ACCOUNTS in manifest["files"]
            else None,
            explained=manifest.get("explained", {}),
        )

    def _predictions(self, name: str) -> StoredTable:
        return StoredTable(self._store, name)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the current results, or of the run to follow.

        Raises:
            ChurnError: If nothing was published yet.
            DamagedError: If the pointer or the manifest is damaged.
        """
        run_id = self.follows or self.pointer().run_id
        place = self._store.address(f"{run_id}/{MANIFEST}")
        if not self._store.exists(f"{run_id}/{MANIFEST}"):
            raise DamagedError(
                f"{self._store.address(POINTER)} names the run {run_id}, but {place} does not exist; {REMEDY}"
            )
        manifest: Any = self._store.read_json(f"{run_id}/{MANIFEST}")
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise DamagedError(f"{place} is damaged: it lists no files; {REMEDY}")
        for name in (manifest.get("run_id"), *manifest["files"]):
            if name != run_id and not _FILE_NAME.fullmatch(str(name)):
                raise DamagedError(f"{place} names {name!r}, which is not a result file; score again")
        return manifest

    def pointer(self) -> Pointer:
        """Return the pointer to the current results.

        Raises:
            ChurnError: If nothing was published yet.
            DamagedError: If it is damaged.
        """
        if not self._store.exists(POINTER):
            raise ChurnError(
                f"nothing was published in {self._store.uri} yet; score accounts with kedro run --pipelines inference"
            )
        try:
            document = self._store.read_json(POINTER)
        except DamagedError as error:
            raise DamagedError(f"{error}; {REMEDY}") from None
        return read_pointer(document, self._store.address(POINTER))

    def folder(self, run_id: str) -> str:
        """Return the path or URL of a run's results."""
        return self._store.address(checked_run_id(run_id, "the run id"))

    def document(self, run_id: str, name: str) -> Any:
        """Read a JSON document of a run.

        Raises:
            DamagedError: If it does not exist or is not JSON.
        """
        name = f"{checked_run_id(run_id, 'the run id')}/{name}"
        if not self._store.exists(name):
            raise DamagedError(f"{self._store.address(name)} does not exist")
        return self._store.read_json(name)

    def _exists(self) -> bool:
        return self._store.exists(POINTER)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


def _of_facts(record: Record) -> dict[str, Any]:
    """Return what the manifest says of the list."""
    if record.facts is None:
        return {}
    profit, decision = record.facts.profit, record.facts.decision
    said = two_numbers(record.at_risk, record.to_act_on, record.profile["threshold"], decision, profit.currency)
    return {"expected_cost": record.facts.cost, "currency": profit.currency, "explained": said._asdict()}


class InResults:
    """Place of the results; for data sets that take nothing else."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = open_store(filepath, credentials)
        self._results = ResultsDataset(filepath=filepath, credentials=credentials)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


class HealthReportDataset(AbstractDataset[dict[str, Any], NoReturn]):
    """A health report, saved with the results of ``run_id``, or the log of ``day``.

    Its content is ``run_id``, ``day``, ``metrics``, the page ``html``, and ``card``, the page of the model's card or None.
    """

    def __init__(
        self,
        *,
        filepath: str,
        requests: dict[str, str] | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Declare the folder of results by its path or URL, and that of the log of requests with its ``filepath``."""
        self._store = open_store(filepath, credentials)
        self._requests = open_store(requests["filepath"], credentials) if requests else None
        self.saved: dict[str, Any] | None = None  # the last report saved here
        self.metadata = metadata

    def _place(self, data: dict[str, Any]) -> tuple[Store, str]:
        """Return the store of a report, and its folder there."""
        if (day := data.get("day")) is None:
            return self._store, checked_run_id(data["run_id"], "the run id")
        if self._requests is None:
            raise DatasetError("the report is of logged requests; name their folder in the catalog (requests)")
        return self._requests, date.fromisoformat(day).isoformat()

    def folder(self, data: dict[str, Any]) -> str:
        """Return the path or URL of the folder of a report."""
        store, folder = self._place(data)
        return store.address(folder)

    def save(self, data: dict[str, Any]) -> None:
        """Write metrics, page and, if there is one, the card into the folder of the run, or of the day."""
        store, folder = self._place(data)
        page = data["html"].encode()
        store.write_json(data["metrics"], f"{folder}/health_metrics.json")
        store.write(lambda file: file.write(page), f"{folder}/health_report.html")
        if card := data.get("card"):
            content = card.encode()
            store.write(lambda file: file.write(content), f"{folder}/{MODEL_CARD}")
        self.saved = data

    def load(self) -> NoReturn:
        """Raise an error: no pipeline reads the report."""
        raise DatasetError("the health report is not an input of any pipeline")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}
