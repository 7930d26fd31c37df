"""Memory and time of scoring tables of growing length, from files and from S3.

Run with ``python -m tests.benchmarks.memory``. A model is trained on the default simulation; then each table is scored by
a ``kedro run`` of its own, of which the largest resident memory is taken. The S3 store and MLflow are started on this
machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from churn.console import progress
from churn.datasets._csv import write_csv
from churn.parameters import Simulation
from churn.simulation import simulate_accounts
from churn.stores import Store, open_store

from ..conftest import ROOT, Project, clean_environment, make_project
from ..stack import start_stack

ROWS = (1_000_000, 3_000_000)
BLOCK = 250_000
MIB_LIMIT, GROWTH_LIMIT = 2048, 1.3


class Cost(NamedTuple):
    """Of one run: seconds, and mebibytes of memory at its peak."""

    seconds: float
    mebibytes: float


def write_accounts(store: Store, rows: int) -> None:
    """Write a table of simulated accounts, a block at a time."""
    with store.writing("inference_data.csv") as file, progress(f"Simulating {rows:,} accounts", rows) as show:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            accounts = simulate_accounts(count, 1_000 + start // BLOCK, Simulation()).accounts
            table = pa.Table.from_pandas(
                accounts.assign(account_id=[f"account-{row:09}" for row in range(start, start + count)]),
                preserve_index=False,
            )
            write_csv(table, file, header=start == 0)
            show(start + count)


def cost(project: Project, options: Sequence[str]) -> Cost:
    """What a `kedro run` takes."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--conf-source", str(project.conf), *options],
            cwd=ROOT,
            env=clean_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            output.seek(0)
            raise SystemExit(output.read())
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1024)


def costs(project: Project, environment: Sequence[str], staging: Store, lengths: Sequence[int]) -> list[Cost]:
    """What scoring tables of these lengths takes, one after the other."""
    cost(project, [*environment, "--pipelines", "data_generation,feature_engineering,training"])
    measured = []
    for rows in lengths:
        write_accounts(staging, rows)
        measured.append(cost(project, [*environment, "--pipelines", "inference"]))
    return measured


def main() -> int:
    """Measure and print a table; 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="lengths of the tables, rising")
    parser.add_argument("--without-s3", action="store_true", help="score from files only")
    arguments = parser.parse_args()
    kinds: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch))
        kinds["a file"] = costs(project, [], open_store(str(project.staging)), arguments.rows)
    if not arguments.without_s3:
        for stack in start_stack():
            if not stack.mlflow:
                raise SystemExit("MLflow did not start")
            with tempfile.TemporaryDirectory() as scratch:
                project = stack.project(Path(scratch), buckets="bench")
                staging = open_store(f"s3://{stack.settings.staging}/bench", stack.credentials(stack.settings.admin))
                kinds["S3"] = costs(project, ["--env", "minio"], staging, arguments.rows)
    print("| scored from | accounts | peak memory, MiB | times that of the shortest | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    exceeded = False
    for name, measured in kinds.items():
        for rows, one in zip(arguments.rows, measured, strict=True):
            growth = one.mebibytes / measured[0].mebibytes
            exceeded |= one.mebibytes > MIB_LIMIT or growth > GROWTH_LIMIT
            print(f"| {name} | {rows:,} | {one.mebibytes:,.0f} | {growth:.2f} | {one.seconds:.0f} |")
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
