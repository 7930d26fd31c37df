"""Memory and time of monitoring tables of growing length, with an outcome for every account.

Run with ``python -m tests.benchmarks.monitoring``; it needs 6 GB of temporary files. A model is trained on 30,000 accounts. Each
table is scored, gets a CSV file of outcomes, and is then monitored by a `kedro run` of its own, of which the largest resident
memory is taken.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from churn.tables.csv import write_csv
from tests.benchmarks.memory import TRAIN, TRAINING_ROWS, scoring_of
from tests.benchmarks.results import Result, parser, report
from tests.benchmarks.runs import kedro_run
from tests.benchmarks.simulated import write_partitions
from tests.conftest import make_project

ROWS = (1_000_000, 3_000_000, 30_000_000)
MIB_LIMIT = 2048


def write_outcomes(accounts: Path, file: Path) -> None:
    """Write the outcomes of the accounts in a folder as one CSV file."""
    with file.open("wb") as sink:
        for number, part in enumerate(sorted(accounts.iterdir())):
            table = parquet.read_table(part, columns=["account_id", "is_churned"])
            labels = table["is_churned"].cast(pa.string())
            write_csv(table.set_column(1, "is_churned", labels), sink, header=number == 0)


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__, rounds=None)
    default = " ".join(map(str, ROWS))
    options.add_argument("--rows", type=int, nargs="+", default=ROWS, help=f"lengths of the tables ({default})")
    arguments = options.parse_args()
    results = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as scratch:
            project = make_project(Path(scratch), training_rows=min(TRAINING_ROWS, rows))
            kedro_run(project, *TRAIN)
            accounts = Path(scratch) / "accounts"
            write_partitions(accounts, rows, labelled=True)
            scoring_of(project, accounts)
            write_outcomes(accounts, project.staging / "inference_outcomes.csv")
            shutil.rmtree(accounts)
            cost = kedro_run(project, "--pipelines", "monitoring")
        work = f"`kedro run --pipelines monitoring`, {rows:,} accounts and as many outcomes"
        results.append(Result(f"{work}: peak memory", cost.mebibytes, "MiB", MIB_LIMIT))
        results.append(Result(f"{work}: time", cost.seconds, "s"))
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
