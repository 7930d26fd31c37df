"""Published results: whole or not at all.

``<results>/<run id>/`` receives the data files, then ``manifest.json`` with their hashes; last of all
``<results>/latest.json`` is replaced and points to them. Readers follow the pointer, so a run that dies half-way
leaves the previous results current.
"""

import uuid
from datetime import UTC, date, datetime
from typing import Any, NoReturn

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from churn.datasets._store import Store, write_csv
from churn.errors import ChurnError
from churn.publication import Publication
from churn.retention_list import spreadsheet_safe

POINTER = "latest.json"
MANIFEST = "manifest.json"
PREDICTIONS = "inference_result"
RETENTION_LIST = "retention_list"
PROFILE = "input_profile.json"


class ResultsDataset(AbstractDataset[Publication, Publication]):
    """The results that ``latest.json`` points to; saving publishes new ones under a new run id."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = Store(filepath, credentials)
        self.metadata = metadata

    def save(self, data: Publication) -> None:
        """Publish: data files, then the manifest, then the pointer."""
        run_id = str(uuid.uuid4())
        now = datetime.now(UTC)
        names = [*self._write_table(data.predictions, data.predictions, f"{run_id}/{PREDICTIONS}")]
        if data.retention_list is not None:
            for_people = spreadsheet_safe(data.retention_list)
            names += self._write_table(for_people, data.retention_list, f"{run_id}/{RETENTION_LIST}")
        self._store.write_json(data.profile, f"{run_id}/{PROFILE}")
        files = {
            name: {"bytes": self._store.size(f"{run_id}/{name}"), "sha256": self._store.sha256(f"{run_id}/{name}")}
            for name in (*names, PROFILE)
        }
        manifest = {
            "run_id": run_id,
            "published_at": now.isoformat(timespec="seconds"),
            "as_of": data.as_of.isoformat(),
            "rows": len(data.predictions),
            "at_risk": int((data.predictions["prediction"] == 1).sum()),
            "threshold": data.profile["threshold"],
            **_recommendation(data.retention_list),
            "model": data.model,
            "input": data.source,
            "files": files,
        }
        self._store.write_json(manifest, f"{run_id}/{MANIFEST}")
        self._store.write_json({"run_id": run_id, "manifest": f"{run_id}/{MANIFEST}"}, POINTER)

    def _write_table(self, for_csv: pd.DataFrame, for_parquet: pd.DataFrame, stem: str) -> list[str]:
        """Write a table as CSV and as Parquet; the names of the files."""
        import pyarrow as pa
        from pyarrow import parquet

        text = pa.Table.from_pandas(for_csv, preserve_index=False)
        exact = pa.Table.from_pandas(for_parquet, preserve_index=False)
        self._store.write(lambda file: write_csv(text, file), f"{stem}.csv")
        self._store.write(lambda file: parquet.write_table(exact, file), f"{stem}.parquet")
        name = stem.rsplit("/", 1)[-1]
        return [f"{name}.csv", f"{name}.parquet"]

    def load(self) -> Publication:
        """The current results, after checking their hashes.

        Raises:
            ChurnError: If nothing was published yet, or a file does not match the manifest.
        """
        from pyarrow import parquet

        manifest = self.manifest()
        run_id = manifest["run_id"]
        for name, expected in manifest["files"].items():
            if self._store.sha256(f"{run_id}/{name}") != expected["sha256"]:
                raise ChurnError(f"{self._store.uri}/{run_id}/{name} does not match its manifest; score again")
        with self._store.reading(f"{run_id}/{PREDICTIONS}.parquet") as file:
            predictions = parquet.read_table(file).to_pandas()
        return Publication(
            predictions=predictions,
            profile=self._store.read_json(f"{run_id}/{PROFILE}"),
            model=manifest["model"],
            source=manifest["input"],
            as_of=date.fromisoformat(manifest["as_of"]),
            run_id=run_id,
        )

    def manifest(self) -> dict[str, Any]:
        """The manifest of the current results.

        Raises:
            ChurnError: If nothing was published yet.
        """
        if not self._store.exists(POINTER):
            raise ChurnError(
                f"nothing was published in {self._store.uri} yet; score accounts with kedro run --pipelines inference"
            )
        manifest: dict[str, Any] = self._store.read_json(self._store.read_json(POINTER)["manifest"])
        return manifest

    def folder(self, run_id: str) -> str:
        """Path or URL of a run's results."""
        return f"{self._store.uri}/{run_id}"

    def document(self, run_id: str, name: str) -> Any:
        """A JSON document of a run."""
        return self._store.read_json(f"{run_id}/{name}")

    def _exists(self) -> bool:
        return self._store.exists(POINTER)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}


def _recommendation(listed: pd.DataFrame | None) -> dict[str, Any]:
    """How many accounts to act on, and what that is expected to bring."""
    if listed is None:
        return {}
    chosen = listed["recommended_action"] == "yes"
    return {"to_act_on": int(chosen.sum()), "expected_profit": round(float(listed["expected_profit"][chosen].sum()), 2)}


class HealthReportDataset(AbstractDataset[dict[str, Any], NoReturn]):
    """The health of a published run, saved beside its results: ``run_id``, ``metrics`` and the page ``html``."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Declare the folder of results by its path or URL."""
        self._store = Store(filepath, credentials)
        self.metadata = metadata

    def save(self, data: dict[str, Any]) -> None:
        """Write ``health_metrics.json`` and ``health_report.html`` into the run's folder."""
        run_id = data["run_id"]
        page = data["html"].encode()
        self._store.write_json(data["metrics"], f"{run_id}/health_metrics.json")
        self._store.write(lambda file: file.write(page), f"{run_id}/health_report.html")

    def load(self) -> NoReturn:
        """Refused: the report is for people."""
        raise DatasetError("the health report is not an input of any pipeline")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._store.uri}
