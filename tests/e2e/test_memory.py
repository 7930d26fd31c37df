"""Scoring takes the same memory however long the table is."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from churn.config import Parameters
from churn.model import ChurnModel
from tests.conftest import run_process

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

# What the nodes of inference and their data sets do, in a process whose memory is its own.
SCORE = """
import resource, sys
from datetime import date
from pathlib import Path
from churn.tables import CheckedBatches, csv_file, reading
from churn.datasets import AccountBatchesDataset, ResultsDataset
from churn.model import ChurnModel
from churn.config import Decision, Profit, Reasons
from churn.scoring import select
from churn.scoring.run import ScoringRun

csv_file.PIECE_BYTES, reading.BATCH_ROWS = 1 << 18, 1 << 14
model, table, results = sys.argv[1:]
model = ChurnModel.load(Path(model))
batches = AccountBatchesDataset(filepath=table, schema=model.schema.model_dump(mode="json")).load()
run = ScoringRun(
    CheckedBatches(batches, model.schema, model, "accounts"),
    model,
    selection=select({"name": "t.csv", "sha256": ""}, {}, "m"),
    as_of=date(2026, 1, 1),
    profit=Profit(),
    decision=Decision(list_length=5_000),
    reasons=Reasons(),
)
ResultsDataset(filepath=results).save(run)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak_mebibytes(model: Path, table: Path, results: Path) -> int:
    done = run_process(sys.executable, "-c", SCORE, str(model), str(table), str(results), timeout=1200)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def write_table(accounts: pd.DataFrame, repeats: int, file: Path) -> None:
    """So many copies of the accounts, each with ids of its own."""
    for number in range(repeats):
        copy = accounts.assign(account_id=[f"{number}-{row}" for row in range(len(accounts))])
        copy.to_csv(file, mode="a", header=number == 0, index=False)


def test_a_table_ten_times_as_long(
    model: ChurnModel, canonical: pd.DataFrame, parameters: Parameters, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    accounts = canonical.drop(columns=parameters.accounts.label.column)
    peaks = []
    for repeats in (10, 100):
        write_table(accounts, repeats, tmp_path / f"{repeats}.csv")
        results = tmp_path / f"results-{repeats}"
        peaks.append(peak_mebibytes(tmp_path / "model", tmp_path / f"{repeats}.csv", results))
        (scores,) = results.glob("*/inference_result.parquet")
        assert len(pd.read_parquet(scores, columns=["prediction"])) == repeats * len(accounts)
    # The 360,000 rows more hold 90 MB as a table of numbers alone.
    assert peaks[1] < peaks[0] + 60
