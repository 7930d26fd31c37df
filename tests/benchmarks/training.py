"""Memory and time of training on a long table, beside a plain fit of as many trees in memory.

Run with ``python -m tests.benchmarks.training``. A table of simulated accounts in Parquet files is prepared and trained on
by two `kedro run`s, of which the largest resident memory is taken. The *plain fit* is a script that reads the encoded
rows that the first of them wrote into one matrix and grows as many trees as all folds together, and does nothing else: no
folds, no choice of a setting, no linear part, no calibration, no measures, no plots, no registry. It has the parameters of
the setting that the training chose, as its model card names it, so that both grow the same kind of trees. Each is timed as
a whole process; the choice of the setting is timed once more by itself. With the default size this takes ten minutes and
more, and 25 GB of disk.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml
from pyarrow import parquet

from churn.config import check_parameters
from churn.tables import spacing
from churn.training.boosting import booster_parameters, number_of_folds
from churn.training.portfolio import settings_of
from tests.benchmarks.results import Result, parser, report
from tests.benchmarks.runs import Cost, kedro_run
from tests.benchmarks.simulated import write_partitions
from tests.conftest import ROOT, base_parameters, clean_environment, make_project

ROWS = 20_000_000
# Of each fold; early stopping would go on for several times as many.
TREES = 60
MIB_LIMIT, PLAIN_LIMIT = 6 * 1024, 1.2

# Reads the encoded rows, every so many of them, into a matrix.
READ = """
import json
import sys
import time
import numpy as np
import xgboost as xgb
from pyarrow import parquet

def read(features, step):
    file = parquet.ParquetFile(features)
    names = [name for name in file.schema_arrow.names if name not in ("account_id", "is_churned")]
    rows = -(-file.metadata.num_rows // step)
    matrix, labels = np.empty((rows, len(names)), dtype=np.float32), np.empty(rows, dtype=np.int8)
    at = before = 0
    for batch in file.iter_batches(columns=[*names, "is_churned"]):
        first = -before % step
        count = len(range(first, len(batch), step))
        for position, name in enumerate(names):
            matrix[at : at + count, position] = batch[name].to_numpy(zero_copy_only=False)[first::step]
        labels[at : at + count] = batch["is_churned"].to_numpy(zero_copy_only=False)[first::step]
        at, before = at + count, before + len(batch)
    return matrix, labels
"""
PLAIN = (
    READ
    + """
features, fits = sys.argv[1], json.loads(sys.argv[2])
matrix, labels = read(features, 1)
for number, (parameters, bins, trees) in enumerate(fits):
    fit = xgb.QuantileDMatrix(matrix, labels, max_bin=bins)
    xgb.train(parameters, fit, trees).save_model(f"{features}.plain{number}.ubj")
"""
)
CHOICE = (
    READ
    + """
from churn.config import Training
from churn.training.boosting import assign_folds
from churn.training.portfolio import choose_setting
from churn.training.rows import TrainingRows

matrix, labels = read(sys.argv[1], int(sys.argv[2]))
training = Training.model_validate_json(sys.argv[3])
rows = TrainingRows(matrix, labels, assign_folds(labels, training))
start = time.perf_counter()
choose_setting(rows, training)
print(time.perf_counter() - start)
"""
)


def run_script(script: str, *arguments: str) -> tuple[float, float, str]:
    """Seconds and processor seconds of a script in a process of its own, and what it printed.

    Raises:
        SystemExit: If it fails, with what it printed.
    """
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, busy, done.stdout


class Costs(NamedTuple):
    """Costs of both pipelines, and what they are compared with.

    Attributes:
        prepared: Of feature_engineering.
        trained: Of training.
        plain: Seconds of the plain fit.
        plain_processor: Processor seconds of the plain fit.
        choice: Seconds that the choice of the setting takes, on as many rows as the run used for it; None if the table is so
            short that all settings were grown on all rows.
        setting: The settings that the training chose.
    """

    prepared: Cost
    trained: Cost
    plain: float
    plain_processor: float
    choice: float | None
    setting: str


def measure(rows: int, trees: int) -> Costs:
    """Prepare a table of so many accounts, train on it and grow the same trees plainly."""
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch), portfolio="full")
        write_partitions(project.staging / "training", rows, labelled=True)
        known = yaml.safe_load((project.conf / "local/globals.yml").read_text())
        project.configure("local", "globals", {**known, "tables": {"training": str(project.staging / "training")}})
        project.configure("local", "parameters", {"training": {"booster": {"n_estimators": trees}}})
        prepared = kedro_run(project, "--pipelines", "feature_engineering")
        trained = kedro_run(project, "--pipelines", "training")

        training = check_parameters(base_parameters()).training
        booster = training.booster.model_copy(update={"n_estimators": trees})
        training = training.model_copy(update={"booster": booster, "portfolio": "full"})
        features = project.staging / "features/train_features.parquet"
        file = parquet.ParquetFile(features)
        count, columns = file.metadata.num_rows, file.metadata.num_columns - len(("account_id", "is_churned"))
        # What the run says that it chose, not what it should have chosen.
        portfolio = json.loads((project.results / "training/model_card.json").read_text())["portfolio"]
        settings = settings_of(training, portfolio.get("rows", count), columns)
        chosen = [settings[name] for name, each in portfolio["settings"].items() if each["weight"]]
        grown = trees * number_of_folds(count, training)
        fits = [[booster_parameters(each), each.booster.max_bin, grown] for each in chosen]
        plain, busy, _ = run_script(PLAIN, str(features), json.dumps(fits))
        choice = None
        if "rows" in portfolio:
            step = spacing(count, portfolio["rows"])
            *_, printed = run_script(CHOICE, str(features), str(step), training.model_dump_json())
            choice = float(printed)
        names = ", ".join(name for name, each in portfolio["settings"].items() if each["weight"])
        return Costs(prepared, trained, plain, busy, choice, names)


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__, rounds=None)
    options.add_argument("--rows", type=int, default=ROWS, help="accounts to train and test on")
    options.add_argument("--trees", type=int, default=TREES, help="trees of each fold")
    arguments = options.parse_args()
    costs = measure(arguments.rows, arguments.trees)
    work = f"training on {arguments.rows:,} accounts"
    peak = max(costs.prepared.mebibytes, costs.trained.mebibytes)
    ratio = costs.trained.seconds / costs.plain
    results = [
        Result(f"{work}, peak memory of feature_engineering and training", peak, "MiB", MIB_LIMIT),
        Result(f"{work}, {arguments.trees} trees a fold, `{costs.setting}`", ratio, "x a plain fit", PLAIN_LIMIT),
        # On a machine with other work this tells more than seconds.
        Result(
            f"{work}, {arguments.trees} trees a fold: processor time",
            costs.trained.processor_seconds / costs.plain_processor,
            "x a plain fit",
        ),
        Result(f"{work}, feature_engineering", costs.prepared.seconds, "s"),
        Result(f"{work}, training", costs.trained.seconds, "s"),
        Result(f"{work}, the plain fit", costs.plain, "s"),
    ]
    if costs.choice is not None:
        results.append(Result(f"{work}, the choice of the setting alone", costs.choice, "s"))
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
