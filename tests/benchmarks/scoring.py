"""Time of scoring a long table, beside a script without a framework and beside the way most people begin with.

Run with ``python -m tests.benchmarks.scoring``. All use the boosters of one model, read the same CSV file and take turns:

- *ours*: what `kedro run --pipelines inference` does once it runs: checks, scores, profile, retention list, hashes;
  without reasons, and with reasons for the best tenth;
- *limit*: the fastest script we could write for this one table and nothing else: no checks, one matrix, CSV and Parquet out;
- *beginner*: whole frames with pandas, `get_dummies`, re-indexed columns, CSV out.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import xgboost as xgb
from pyarrow import csv, parquet

from churn.batches import CheckedBatches
from churn.datasets import AccountBatchesDataset, ResultsDataset
from churn.model import ChurnModel
from churn.parameters import Parameters, Reasons, check_parameters
from churn.partitions import select
from churn.scoring import ScoringRun
from churn.stores import open_store

from ..conftest import base_parameters
from .memory import write_accounts
from .reasons import trained

ROUNDS = 5
SCRIPT_LIMIT, REASONS_LIMIT, BEGINNER_LEAST = 1.25, 3.0, 1.5


def ours(model: ChurnModel, parameters: Parameters, table: Path, results: Path, *, reasons: bool) -> None:
    """The nodes of inference and their data sets."""
    roles = parameters.accounts.model_dump(mode="json")
    batches = AccountBatchesDataset(filepath=str(table), roles=roles).load()
    given = Reasons(texts=parameters.reasons.texts, minimum_probability=0.0 if reasons else 1.0)
    run = ScoringRun(
        CheckedBatches(batches, parameters.accounts, model, "accounts"),
        model,
        selection=select({"name": table.name, "sha256": ""}, {}, incremental=False),
        as_of=date(2026, 1, 1),
        profit=parameters.profit,
        decision=parameters.decision,
        reasons=given,
    )
    ResultsDataset(filepath=str(results)).save(run)


def limit(model: ChurnModel, table: Path, results: Path) -> None:
    """Read, put into one matrix, predict, write."""
    encoder = model.encoder
    read = csv.read_csv(
        table,
        convert_options=csv.ConvertOptions(
            column_types={**dict.fromkeys(encoder.numeric, pa.float32()), model.roles.id: pa.string()},
            include_columns=[model.roles.id, *encoder.columns],
        ),
    )
    names = encoder.feature_names
    matrix = np.zeros((len(read), len(names)), dtype=np.float32)
    numbers = {name: read[name].to_numpy() for name in encoder.numeric}
    for ratio in encoder.ratios:
        numbers[ratio.name] = numbers[ratio.numerator] / numbers[ratio.denominator]
    for name, values in numbers.items():
        matrix[:, names.index(name)] = np.where(np.isnan(values), np.float32(encoder.medians[name]), values)
    for name, vocabulary in encoder.vocabularies.items():
        codes = pc.index_in(read[name], pa.array(vocabulary)).fill_null(-1).to_numpy()
        known = np.flatnonzero(codes >= 0)
        matrix[known, names.index(f"{name}={vocabulary[0]}") + codes[known]] = 1.0
    probability = model.booster.inplace_predict(matrix)
    scores = pa.table(
        {
            "account_id": read[model.roles.id],
            "probability": probability,
            "prediction": (probability >= model.threshold).astype(np.int8),
        }
    )
    csv.write_csv(scores, results / "scores.csv")
    parquet.write_table(scores, results / "scores.parquet")


def beginner(model: ChurnModel, table: Path, results: Path) -> None:
    """Whole frames, dummies, columns as they were in training."""
    frame = pd.read_csv(table)
    dummies = pd.get_dummies(frame.drop(columns="account_id"), prefix_sep="=", dtype=float)
    features = dummies.reindex(columns=model.encoder.feature_names, fill_value=0)
    probability = model.booster.predict(xgb.DMatrix(features.to_numpy(np.float32)))
    frame[["account_id"]].assign(prediction=(probability >= 0.5).astype(int), probability=probability).to_csv(
        results / "result.csv", index=False
    )


def main() -> int:
    """Measure and print a table; 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="accounts to score")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of which the median counts")
    arguments = parser.parse_args()
    parameters = check_parameters(base_parameters())
    decision = parameters.decision.model_copy(update={"list_length": arguments.rows // 10})
    parameters = parameters.model_copy(update={"decision": decision})
    model = trained(parameters)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_accounts(open_store(scratch), arguments.rows)
        table = folder / "inference_data.csv"
        ways: dict[str, Callable[[], None]] = {
            "limit": lambda: limit(model, table, folder),
            "ours": lambda: ours(model, parameters, table, folder / "ours", reasons=False),
            "ours, with reasons for a tenth": lambda: ours(model, parameters, table, folder / "ours", reasons=True),
            "beginner": lambda: beginner(model, table, folder),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(each[1:]) for name, each in times.items()}  # the first round warms up
    ratios = {name: median / medians["limit"] for name, median in medians.items()}
    print(f"| {arguments.rows:,} accounts | seconds | times the limit |\n| --- | ---: | ---: |")
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {ratios[name]:.2f} |")
    return int(
        ratios["ours"] > SCRIPT_LIMIT
        or ratios["ours, with reasons for a tenth"] > REASONS_LIMIT
        or ratios["beginner"] < BEGINNER_LEAST * ratios["ours"]
    )


if __name__ == "__main__":
    sys.exit(main())
