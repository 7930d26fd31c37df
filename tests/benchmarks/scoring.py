"""Time of scoring a long table, beside a script without a framework and beside the way most people begin with.

Run with ``python -m tests.benchmarks.scoring``. All use the boosters of one model, read the same CSV file
and take turns in one process, so that no start counts:

- *ours*: what `kedro run --pipelines inference` does once it runs: checks, scores, profile, retention list, hashes;
  without reasons, and with reasons for the top 10 %;
- *limit*: the fastest script we could write for this one table and nothing else: no checks, one matrix, CSV and Parquet out;
- *reference*: whole frames with pandas, `get_dummies`, re-indexed columns, CSV out.

The bounds are for 1,000,000 accounts. Longer tables are scored by *ours* without reasons and *limit* alone, in one round:
the frames of *reference* would need more memory than many machines have.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import xgboost as xgb
from pyarrow import csv, parquet

from churn.config import Parameters, Reasons, check_parameters
from churn.datasets import AccountBatchesDataset
from churn.model import ChurnModel
from churn.stores import open_store
from tests.benchmarks.results import Result, in_turns, parser, ratio, report
from tests.benchmarks.runs import publish
from tests.benchmarks.simulated import trained, write_accounts
from tests.conftest import base_parameters

ROWS = (30_000, 1_000_000, 10_000_000)
BOUND_ROWS = 1_000_000
SCRIPT_LIMIT, REASONS_LIMIT, REFERENCE_LEAST = 1.25, 3.0, 1.5


def ours(model: ChurnModel, parameters: Parameters, table: Path, results: Path, *, reasons: bool) -> None:
    """What a run of inference does, with reasons for all on the list or for none."""
    given = Reasons(texts=parameters.reasons.texts, minimum_probability=0.0 if reasons else 1.0)
    dataset = AccountBatchesDataset(filepath=str(table), schema=parameters.accounts.model_dump(mode="json"))
    publish(dataset, model, parameters.model_copy(update={"reasons": given}), results)


def limit(model: ChurnModel, table: Path, results: Path) -> None:
    """Read, put into one matrix, predict, write."""
    encoder = model.encoder
    read = csv.read_csv(
        table,
        convert_options=csv.ConvertOptions(
            column_types={**dict.fromkeys(encoder.numeric, pa.float32()), model.schema.id: pa.string()},
            include_columns=[model.schema.id, *encoder.columns],
        ),
    )
    names = encoder.feature_names
    matrix = np.zeros((len(read), len(names)), dtype=np.float32)
    numbers = {name: read[name].to_numpy() for name in encoder.numeric}
    for made in encoder.ratios:
        numbers[made.name] = numbers[made.numerator] / numbers[made.denominator]
    for name, values in numbers.items():
        matrix[:, names.index(name)] = np.where(np.isnan(values), np.float32(encoder.medians[name]), values)
    for name, vocabulary in encoder.vocabularies.items():
        codes = pc.index_in(read[name], pa.array(vocabulary)).fill_null(-1).to_numpy()
        known = np.flatnonzero(codes >= 0)
        matrix[known, names.index(f"{name}={vocabulary[0]}") + codes[known]] = 1.0
    probability = model.trees.booster.inplace_predict(matrix)
    scores = pa.table(
        {
            "account_id": read[model.schema.id],
            "probability": probability,
            "prediction": (probability >= model.threshold).astype(np.int8),
        }
    )
    csv.write_csv(scores, results / "scores.csv")
    parquet.write_table(scores, results / "scores.parquet")


def reference(model: ChurnModel, table: Path, results: Path) -> None:
    """Whole frames, dummies, columns as they were in training."""
    frame = pd.read_csv(table)
    dummies = pd.get_dummies(frame.drop(columns="account_id"), prefix_sep="=", dtype=float)
    features = dummies.reindex(columns=model.encoder.feature_names, fill_value=0)
    probability = model.trees.booster.predict(xgb.DMatrix(features.to_numpy(np.float32)))
    frame[["account_id"]].assign(prediction=(probability >= 0.5).astype(int), probability=probability).to_csv(
        results / "result.csv", index=False
    )


def measured(model: ChurnModel, parameters: Parameters, rows: int, rounds: int) -> list[Result]:
    """What scoring so many accounts takes."""
    decision = parameters.decision.model_copy(update={"list_length": max(rows // 10, 1)})
    parameters = parameters.model_copy(update={"decision": decision})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_accounts(open_store(scratch), rows)
        table = folder / "inference_data.csv"
        ways: dict[str, Callable[[], None]] = {
            "limit": lambda: limit(model, table, folder),
            "ours": lambda: ours(model, parameters, table, folder / "ours", reasons=False),
        }
        if rows <= BOUND_ROWS:
            ways |= {
                "with reasons": lambda: ours(model, parameters, table, folder / "ours", reasons=True),
                "reference": lambda: reference(model, table, folder),
            }
        times = in_turns(ways, rounds if rows <= BOUND_ROWS else 1)
    work = f"scoring {rows:,} accounts, CSV in, CSV and Parquet out"
    results = [Result(work, ratio(times["ours"], times["limit"]), "x `limit`", SCRIPT_LIMIT)]
    if rows <= BOUND_ROWS:
        explained = ratio(times["with reasons"], times["limit"])
        results.append(Result(f"{work}, with reasons for the top 10 %", explained, "x `limit`", REASONS_LIMIT))
        beginners = ratio(times["reference"], times["ours"])
        results.append(
            Result(
                f"`reference` scoring {rows:,} accounts, CSV in, CSV out", beginners, "x ours", REFERENCE_LEAST, True
            )
        )
    if rows != BOUND_ROWS:
        results = [result._replace(bound=None) for result in results]
    return [*results, Result(f"{work}: time", median(times["ours"]), "s")]


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__)
    default = " ".join(map(str, ROWS))
    options.add_argument("--rows", type=int, nargs="+", default=ROWS, help=f"accounts to score ({default})")
    arguments = options.parse_args()
    parameters = check_parameters(base_parameters())
    model = trained(parameters)
    results = [result for rows in arguments.rows for result in measured(model, parameters, rows, arguments.rounds)]
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
