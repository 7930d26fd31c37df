"""Memory and time of training on a long table, beside a plain fit of as many trees in memory.

Run with ``python -m tests.benchmarks.training``. A table of simulated accounts in Parquet files is prepared and trained on
by two `kedro run`s, of which the largest resident memory is taken. The *plain fit* is a script that reads the encoded
rows that the first of them wrote into one matrix and grows as many trees as all folds together, with the same parameters,
and does nothing else: no folds, no linear part, no calibration, no measures, no plots, no registry. Each is timed as a
whole process. With the default size this takes ten minutes and more, and 25 GB of disk.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from churn.config import check_parameters
from tests.benchmarks.results import Result, parser, report
from tests.benchmarks.runs import Cost, kedro_run
from tests.benchmarks.simulated import write_partitions
from tests.conftest import ROOT, Project, base_parameters, clean_environment, make_project

ROWS = 20_000_000
# Of each fold; early stopping would go on for several times as many.
TREES = 60
MIB_LIMIT, PLAIN_LIMIT = 6 * 1024, 1.2

PLAIN = """
import sys
import numpy as np
import xgboost as xgb
from pyarrow import parquet
from churn.training.boosting import booster_parameters
from churn.config import check_parameters
from tests.conftest import base_parameters

features, trees = sys.argv[1], int(sys.argv[2])
file = parquet.ParquetFile(features)
names = [name for name in file.schema_arrow.names if name not in ("account_id", "is_churned")]
matrix = np.empty((file.metadata.num_rows, len(names)), dtype=np.float32)
labels, at = np.empty(len(matrix), dtype=np.int8), 0
for batch in file.iter_batches(columns=[*names, "is_churned"]):
    for position, name in enumerate(names):
        matrix[at : at + len(batch), position] = batch[name]
    labels[at : at + len(batch)] = batch["is_churned"]
    at += len(batch)
training = check_parameters(base_parameters()).training
fit = xgb.QuantileDMatrix(matrix, labels, max_bin=training.booster.max_bin)
xgb.train(booster_parameters(training), fit, trees).save_model(features + ".plain.ubj")
"""


def plain_seconds(project: Project, trees: int) -> float:
    """Seconds of the plain fit."""
    start = time.perf_counter()
    features = project.staging / "features/train_features.parquet"
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(features), str(trees)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def measure(rows: int, trees: int) -> tuple[Cost, Cost, float]:
    """Costs of both pipelines, and seconds of the plain fit."""
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch), portfolio="full")
        write_partitions(project.staging / "training", rows, labelled=True)
        known = yaml.safe_load((project.conf / "local/globals.yml").read_text())
        project.configure("local", "globals", {**known, "tables": {"training": str(project.staging / "training")}})
        project.configure("local", "parameters", {"training": {"booster": {"n_estimators": trees}}})
        prepared = kedro_run(project, "--pipelines", "feature_engineering")
        trained = kedro_run(project, "--pipelines", "training")
        folds = check_parameters(base_parameters()).training.folds
        return prepared, trained, plain_seconds(project, trees * folds)


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__, rounds=None)
    options.add_argument("--rows", type=int, default=ROWS, help="accounts to train and test on")
    options.add_argument("--trees", type=int, default=TREES, help="trees of each fold")
    arguments = options.parse_args()
    prepared, trained, plain = measure(arguments.rows, arguments.trees)
    work = f"training on {arguments.rows:,} accounts"
    peak = max(prepared.mebibytes, trained.mebibytes)
    results = [
        Result(f"{work}, peak memory of feature_engineering and training", peak, "MiB", MIB_LIMIT),
        Result(f"{work}, {arguments.trees} trees a fold", trained.seconds / plain, "x a plain fit", PLAIN_LIMIT),
        Result(f"{work}, feature_engineering", prepared.seconds, "s"),
        Result(f"{work}, training", trained.seconds, "s"),
    ]
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
