"""Memory and time of scoring tables of growing length, from Parquet files, from a CSV file and from S3.

Run with ``python -m tests.benchmarks.memory``; it needs 4 GB of temporary files. A model is trained on 30,000
accounts. Each table is then scored by a `kedro run` of its own, of which the largest resident memory is taken.

- A folder of Parquet files of a million rows is the way for long tables: all lengths are scored from one. The time that is
  the same for all, the start, the model and the retention list with its reasons, is that of a table as long as that list;
  it is subtracted before rows are counted per second. All lengths but the longest take turns for some rounds.
- The two shortest lengths are also scored as one CSV file, here and in an S3 store that is started on this machine, with
  MLflow's server.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import yaml

from churn.config import check_parameters
from churn.stores import Store, open_store
from tests.benchmarks.results import Result, added, in_turns, parser, report
from tests.benchmarks.runs import Cost, kedro_run
from tests.benchmarks.simulated import write_accounts, write_partitions
from tests.conftest import Project, base_parameters, make_project
from tests.stack import start_stack

TRAINING_ROWS = 30_000
ROWS = (1_000_000, 3_000_000, 30_000_000)
MIB_LIMIT, GROWTH_LIMIT, RATE_LEAST = 2048, 1.3, 0.85
TRAIN, SCORE = ("--pipelines", "data_generation,feature_engineering,training"), ("--pipelines", "inference")


def scoring(rows: int, place: str) -> str:
    """What such a run is called in the table."""
    return f"`kedro run --pipelines inference`, {rows:,} accounts in {place}"


def scoring_of(project: Project, folder: Path) -> Cost:
    """Score a folder of files."""
    file = project.conf / "local/globals.yml"
    content = yaml.safe_load(file.read_text())
    project.configure("local", "globals", {**content, "tables": {"scoring": str(folder)}})
    return kedro_run(project, *SCORE)


def scored(project: Project, folder: Path) -> Cost:
    """Score a folder of files; the results are removed, for they are as long as the table."""
    cost = scoring_of(project, folder)
    shutil.rmtree(project.results)
    return cost


def from_partitions(lengths: Sequence[int], rounds: int) -> list[Result]:
    """Memory and rows per second of each length."""
    *shorter, longest = lengths
    few = min(check_parameters(base_parameters()).decision.list_length, lengths[0] // 2)
    costs: dict[int, list[Cost]] = {rows: [] for rows in (few, *lengths)}
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch), training_rows=min(TRAINING_ROWS, lengths[0]))
        kedro_run(project, *TRAIN)

        def way(rows: int) -> Callable[[], None]:
            return lambda: costs[rows].append(scored(project, Path(scratch) / f"rows-{rows}"))

        for rows in (few, *shorter):
            write_partitions(Path(scratch) / f"rows-{rows}", rows)
        times = in_turns({f"{rows}": way(rows) for rows in (few, *shorter)}, rounds)
        write_partitions(Path(scratch) / f"rows-{longest}", longest)
        way(longest)()
    start = median(times[f"{few}"])
    results, rates = [], []
    for rows in lengths:
        work = scoring(rows, "Parquet files")
        peak = max(cost.mebibytes for cost in costs[rows])
        more = costs[rows][0].seconds - start if rows == longest else added(times[f"{rows}"], times[f"{few}"])
        rates.append((rows - few) / more)
        results.append(Result(f"{work}: peak memory", peak, "MiB", MIB_LIMIT))
        results.append(Result(f"{work}: speed once started", rates[-1], "accounts/s"))
    growth = costs[longest][0].mebibytes / median(cost.mebibytes for cost in costs[shorter[-1]])
    work = scoring(longest, "Parquet files")
    results.append(Result(f"{work}: peak memory", growth, f"x that of {shorter[-1]:,}", GROWTH_LIMIT))
    speed = Result(f"{work}: speed once started", rates[-1] / rates[0], f"x that of {lengths[0]:,}", RATE_LEAST, True)
    return [*results, speed]


def from_csv(
    place: str, project: Project, environment: Sequence[str], staging: Store, lengths: Sequence[int]
) -> list[Result]:
    """Memory of each length in one CSV file."""
    kedro_run(project, *environment, *TRAIN)
    results, peaks = [], []
    for rows in lengths:
        write_accounts(staging, rows)
        cost = kedro_run(project, *environment, *SCORE)
        peaks.append(cost.mebibytes)
        work = scoring(rows, f"a CSV file {place}")
        results.append(Result(f"{work}: peak memory", cost.mebibytes, "MiB", MIB_LIMIT))
        results.append(Result(f"{work}: time", cost.seconds, "s"))
    growth = peaks[-1] / peaks[0]
    return [*results, Result(f"{work}: peak memory", growth, f"x that of {lengths[0]:,}", GROWTH_LIMIT)]


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__)
    default = " ".join(map(str, ROWS))
    options.add_argument(
        "--rows", type=int, nargs="+", default=ROWS, help=f"lengths of the tables, rising, at least three ({default})"
    )
    options.add_argument("--without-s3", action="store_true", help="score from files only")
    arguments = options.parse_args()
    lengths = list(arguments.rows)
    if len(lengths) < 3 or sorted(set(lengths)) != lengths:
        options.error("--rows needs at least three lengths, rising")
    results = from_partitions(lengths, arguments.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch), training_rows=min(TRAINING_ROWS, lengths[0]))
        results += from_csv("on disk", project, [], open_store(str(project.staging)), lengths[:2])
    if not arguments.without_s3:
        for stack in start_stack():
            if not stack.mlflow:
                raise SystemExit("MLflow did not start")
            with tempfile.TemporaryDirectory() as scratch:
                project = stack.project(Path(scratch), buckets="bench")
                simulation = {"training_rows": min(TRAINING_ROWS, lengths[0]), "scoring_rows": 1_000}
                project.configure("minio", "parameters", {"simulation": simulation})
                staging = open_store(f"s3://{stack.settings.staging}/bench", stack.credentials(stack.settings.admin))
                results += from_csv("in S3", project, ["--env", "minio"], staging, lengths[:2])
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
