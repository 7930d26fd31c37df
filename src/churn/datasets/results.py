"""Published results, which become visible completely or not at all.

The data files are written to ``<results>/<run id>/``, then ``manifest.json`` with their hashes. At last the pointer
``<results>/latest.json`` is replaced. Readers follow the pointer, so if a run fails half-way, the previous results stay
current.
"""

import re
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from churn.errors import ChurnError
from churn.retention.spreadsheet import spreadsheet_safe
from churn.scoring import CurrentLedger, Publication, Scores
from churn.stores import Stored, open_store
from churn.tables.csv import write_csv
from churn.tables.stored import StoredTable

POINTER = "latest.json"
MANIFEST = "manifest.json"
PREDICTIONS = "inference_result"
RETENTION_LIST = "retention_list"
PROFILE = "input_profile.json"
LEDGER = "partitions.json"

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9]+)+")


def checked_run_id(run_id: Any, source: str) -> str:
    """Return a run id, which is the name of a folder of results.

    Raises:
        ChurnError: If it is not a UUID, and could be a path to another folder.
    """
    try:
        same = str(uuid.UUID(str(run_id))) == run_id
    except ValueError:
        same = False
    if not same:
        raise ChurnError(f"{source}: {str(run_id)[:80]!r} is not a run id; a run id is a UUID")
    return str(run_id)


class ResultsDataset(AbstractDataset[Scores, Publication]):
    """The results to which ``latest.json`` points; saving publishes new ones under a new run id."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.published: dict[str, Any] | None = None  # manifest of the last results saved here
        self.metadata = metadata

    def save(self, data: Scores) -> None:
        """Publish scores: write the data files, read them back and compare, then write the manifest and the pointer.

        The scores are computed and written in batches. If there is nothing to score, nothing is published.

        Raises:
            ChurnError: If a file cannot be written, differs when it is read back, or computing the scores fails; the
                previous results stay current.
        """
        if data.is_empty:
            self.published = None
            return
        run_id = str(uuid.uuid4())
        now = datetime.now(UTC)
        written = self._write_table(((batch, batch) for batch in data.batches()), run_id, PREDICTIONS)
        record = data.record()
        listed = record.retention_list
        written |= self._write_table([(spreadsheet_safe(listed), listed)], run_id, RETENTION_LIST)
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
            "listed": len(listed),
            "model": record.model,
            "input": record.source,
            "files": {name: stored._asdict() for name, stored in written.items()},
        }
        self._store.write_json(manifest, f"{run_id}/{MANIFEST}")
        pointer = {
            "run_id": run_id,
            "manifest": f"{run_id}/{MANIFEST}",
            "published_at": now.isoformat(timespec="microseconds"),
        }

        def unless_later(present: dict[str, Any] | None) -> dict[str, Any] | None:
            """Return the pointer, or None if a run that published later has set it already."""
            if record.follows is not None and (present or {}).get("run_id") != record.follows:
                raise ChurnError(
                    f"{self._store.uri}: another run published results meanwhile, and may have scored the same files; nothing "
                    "was published. Run again: only what is new since then is scored"
                )
            is_later = present is not None and present.get("published_at", "") > pointer["published_at"]
            return None if is_later else pointer

        self._store.update_json(unless_later, POINTER)
        self.published = manifest

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
        )

    def _predictions(self, name: str) -> StoredTable:
        return StoredTable(self._store, name)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the current results.

        Raises:
            ChurnError: If nothing was published yet.
        """
        if not self._store.exists(POINTER):
            raise ChurnError(
                f"nothing was published in {self._store.uri} yet; score accounts with kedro run --pipelines inference"
            )
        run_id = checked_run_id(self._store.read_json(POINTER).get("run_id"), self._store.address(POINTER))
        manifest: dict[str, Any] = self._store.read_json(f"{run_id}/{MANIFEST}")
        for name in (manifest.get("run_id"), *manifest.get("files", ())):
            if name != run_id and not _FILE_NAME.fullmatch(str(name)):
                raise ChurnError(
                    f"{self._store.address(f'{run_id}/{MANIFEST}')} names {name!r}, which is not a result file; score again"
                )
        return manifest

    def folder(self, run_id: str) -> str:
        """Return the path or URL of a run's results."""
        return self._store.address(checked_run_id(run_id, "the run id"))

    def document(self, run_id: str, name: str) -> Any:
        """Read a JSON document of a run."""
        return self._store.read_json(f"{checked_run_id(run_id, 'the run id')}/{name}")

    def _exists(self) -> bool:
        return self._store.exists(POINTER)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


class LedgerDataset(AbstractDataset[NoReturn, CurrentLedger]):
    """The ledger of the current results: the run that scored each file of the table; loads only."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._results = ResultsDataset(filepath=filepath, credentials=credentials)
        self.metadata = metadata

    def load(self) -> CurrentLedger:
        """Return the ledger; empty if nothing was published yet, or by a version of the project without ledgers."""
        if not self._results.exists():
            return CurrentLedger(None, {})
        manifest = self._results.manifest()
        run_id = manifest["run_id"]
        stored = self._results.document(run_id, LEDGER) if LEDGER in manifest["files"] else {}
        return CurrentLedger(
            run_id, {name: {**entry, "run_id": entry["run_id"] or run_id} for name, entry in stored.items()}
        )

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error: the ledger is published with the results."""
        raise DatasetError("the ledger cannot be saved by itself; it is published with the results")

    def _exists(self) -> bool:
        # An empty ledger is a ledger too.
        return True

    def _describe(self) -> dict[str, Any]:
        return self._results._describe()


class HealthReportDataset(AbstractDataset[dict[str, Any], NoReturn]):
    """The health report of a published run, saved with its results: ``run_id``, ``metrics`` and the page ``html``."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.metadata = metadata

    def save(self, data: dict[str, Any]) -> None:
        """Write ``health_metrics.json`` and ``health_report.html`` into the run's folder."""
        run_id = checked_run_id(data["run_id"], "the run id")
        page = data["html"].encode()
        self._store.write_json(data["metrics"], f"{run_id}/health_metrics.json")
        self._store.write(lambda file: file.write(page), f"{run_id}/health_report.html")

    def load(self) -> NoReturn:
        """Raise an error: no pipeline reads the report."""
        raise DatasetError("the health report is not an input of any pipeline")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}
