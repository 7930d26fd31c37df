"""Published runs of any size, and targets that hold what was delivered."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from churn.config import Delivery
from churn.delivery import Outcome, PublishedAccounts, PublishedRun, Run, deliver, make_target
from churn.stores import open_store

BANDS = ("low", "medium", "high")


def scores_of(rows: int, seed: int = 1) -> pa.Table:
    """Scores as inference publishes them."""
    rng = np.random.default_rng(seed)
    probability = rng.random(rows, dtype=np.float32)
    bands = np.digitize(probability, (0.2, 0.5))
    return pa.table(
        {
            "account_id": pa.array([f"{number:08x}-4b57-4d1c-9e0a-{number * 7:012x}" for number in range(rows)]),
            "probability": probability,
            "prediction": (probability >= 0.5).astype(np.int8),
            "risk_band": pa.DictionaryArray.from_arrays(bands.astype(np.int8), list(BANDS)),
            "model_version": pa.array(["3"] * rows),
        }
    )


def list_of(scores: pa.Table, length: int) -> pa.Table:
    """A retention list of the accounts with the largest scores."""
    order = np.argsort(-scores["probability"].to_numpy(), kind="stable")[:length]
    listed = scores.take(order)
    probability = listed["probability"].to_numpy().astype(float)
    profit = np.round(probability * 150 - 20, 2)
    return pa.table(
        {
            "account_id": listed["account_id"],
            "probability": listed["probability"],
            "risk_band": listed["risk_band"],
            "account_value": np.full(len(order), 600.0),
            "expected_profit": profit,
            "recommended_action": np.where(profit > 0, "yes", "no"),
            "reason_1_code": ["LOGIN_COUNT_P1M_LOW"] * len(order),
            "reason_1": [f"Logins in the past month: {number % 50}; typical 310" for number in range(len(order))],
            "model_version": listed["model_version"],
            "as_of": ["2026-11-28"] * len(order),
        }
    )


def publish(results: Path, scores: pa.Table, listed: pa.Table | None = None, *, partial: bool = False) -> str:
    """Publish a run as `ResultsDataset` does; return its id."""
    run_id = str(uuid.uuid4())
    folder = results / run_id
    folder.mkdir(parents=True)
    listed = list_of(scores, min(len(scores), 1000)) if listed is None else listed
    parquet.write_table(scores, folder / "inference_result.parquet")
    parquet.write_table(listed, folder / "retention_list.parquet")
    ledger = {"a.csv": {"sha256": "1", "run_id": str(uuid.uuid4()) if partial else None}}
    (folder / "partitions.json").write_text(json.dumps(ledger))
    files = {
        file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}
        for file in folder.iterdir()
    }
    manifest = {
        "run_id": run_id,
        "published_at": "2026-11-28T01:02:03+00:00",
        "as_of": "2026-11-28",
        "rows": len(scores),
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    pointer = results / "latest.json"
    sequence = json.loads(pointer.read_text())["sequence"] + 1 if pointer.exists() else 1
    pointer.write_text(json.dumps({"run_id": run_id, "sequence": sequence}))
    return run_id


def accounts_of(results: Path) -> PublishedAccounts:
    """The accounts of the current run."""
    pointer = json.loads((results / "latest.json").read_text())
    manifest = json.loads((results / pointer["run_id"] / "manifest.json").read_text())
    run = Run(pointer["run_id"], pointer["sequence"], manifest["as_of"], manifest["published_at"])
    return PublishedAccounts(open_store(str(results)), run, manifest["files"])


class World:
    """A folder with published results, and one target."""

    def __init__(self, folder: Path, credentials: dict[str, Any], **target: Any) -> None:
        self.folder, self.results = folder, folder / "ml-result"
        self.state, self.rejects = folder / "state", folder / "state/rejected.jsonl"
        self.credentials = credentials
        self.is_current = True
        self.target = {"name": "crm", **target}

    def publish(self, scores: pa.Table, listed: pa.Table | None = None, *, partial: bool = False) -> str:
        return publish(self.results, scores, listed, partial=partial)

    def deliver(self, *, first: str = "send", partial: bool = False, **settings: Any) -> Outcome:
        known = Delivery.model_validate({"targets": [self.target], "first": first, **settings})
        target = make_target(known.targets[0], {self.target["name"]: self.credentials}, self.state)
        run = PublishedRun(accounts_of(self.results), partial, lambda: self.is_current)
        return deliver(target, run, known, rejects=self.rejects)


def with_scores(scores: pa.Table, places: Any, value: float) -> pa.Table:
    """Scores in which some accounts have another probability."""
    probability = scores["probability"].to_numpy().copy()
    probability[places] = value
    return scores.set_column(1, "probability", pa.array(probability))


def rows_of(url: str, table: str, key: str = "account_id") -> dict[str, dict[str, Any]]:
    """All rows of a table by their key, read without the code under test."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        quoted = connection.dialect.identifier_preparer.quote(table)
        rows = connection.execute(sa.text(f"SELECT * FROM {quoted}")).mappings().all()  # noqa: S608
    return {str(row[key]): dict(row) for row in rows}


def executed(url: str, *statements: str) -> None:
    """Execute statements in a database, each in a transaction."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.NullPool)
    for statement in statements:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
