"""Published results: whole or not at all.

``<results>/<run id>/`` receives the data files, then ``manifest.json`` with their hashes; last of all
``<results>/latest.json`` is replaced and points to them. Readers follow the pointer, so a run that dies half-way
leaves the previous results current.
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
    """A run id, which names a folder of results.

    Raises:
        ChurnError: If it is no UUID, and could lead elsewhere.
    """
    try:
        same = str(uuid.UUID(str(run_id))) == run_id
    except ValueError:
        same = False
    if not same:
        raise ChurnError(f"{source}: {str(run_id)[:80]!r} is no run id; a run id is a UUID")
    return str(run_id)


class ResultsDataset(AbstractDataset[Scores, Publication]):
    """The results that ``latest.json`` points to; saving publishes new ones under a new run id."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = open_store(filepath, credentials)
        self.published: dict[str, Any] | None = None  # the manifest of what was saved here last
        self.metadata = metadata

    def save(self, data: Scores) -> None:
        """Publish: data files, read back and compared, then the manifest, then the pointer.

        The scores are taken and written a batch at a time. Where there is nothing to score, nothing is published.

        Raises:
            ChurnError: If a file cannot be written, or is not stored as it was written, or the scores cannot be had to
                their end; the previous results stay.
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
        # Without this run's own id, so that the same scores are the same bytes.
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
            """The pointer, unless a run that published later has set it already."""
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
        """Write a table as CSV and as Parquet, each batch for both; what was written, by the name of the file."""
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
        """The current results, after checking their hashes; the scores are read a batch at a time.

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
        """The manifest of the current results.

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
                    f"{self._store.address(f'{run_id}/{MANIFEST}')} names {name!r}, which is no file of it"
                )
        return manifest

    def folder(self, run_id: str) -> str:
        """Path or URL of a run's results."""
        return self._store.address(checked_run_id(run_id, "the run id"))

    def document(self, run_id: str, name: str) -> Any:
        """A JSON document of a run."""
        return self._store.read_json(f"{checked_run_id(run_id, 'the run id')}/{name}")

    def _exists(self) -> bool:
        return self._store.exists(POINTER)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


class LedgerDataset(AbstractDataset[NoReturn, CurrentLedger]):
    """Which run scored each file of the table, as of the current results; loads only."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._results = ResultsDataset(filepath=filepath, credentials=credentials)
        self.metadata = metadata

    def load(self) -> CurrentLedger:
        """The ledger, empty where nothing was published yet, or by a version of the project that kept none."""
        if not self._results.exists():
            return CurrentLedger(None, {})
        manifest = self._results.manifest()
        run_id = manifest["run_id"]
        stored = self._results.document(run_id, LEDGER) if LEDGER in manifest["files"] else {}
        return CurrentLedger(
            run_id, {name: {**entry, "run_id": entry["run_id"] or run_id} for name, entry in stored.items()}
        )

    def save(self, data: NoReturn) -> NoReturn:
        """Refused: the ledger is published with the results."""
        raise DatasetError("the ledger is not saved by itself; it is published with the results")

    def _exists(self) -> bool:
        # An empty ledger is one.
        return True

    def _describe(self) -> dict[str, Any]:
        return self._results._describe()


class HealthReportDataset(AbstractDataset[dict[str, Any], NoReturn]):
    """The health of a published run, saved beside its results: ``run_id``, ``metrics`` and the page ``html``."""

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
        """Refused: the report is for people."""
        raise DatasetError("the health report is not an input of any pipeline")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}
