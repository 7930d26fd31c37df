"""Time of the whole loop on buckets and an MLflow server, beside the same on files and SQLite.

Run with ``python -m tests.benchmarks.minio``. The servers are started on this machine; the two kinds of runs take turns,
each with all its rows, in processes of their own.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ..conftest import Project, make_project
from ..stack import start_stack

ROUNDS = 5
LIMIT = 1.5


def seconds(project: Project, *options: str) -> float:
    """Seconds of one `kedro run`."""
    start = time.perf_counter()
    done = project.kedro("run", *options)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - start


def main() -> int:
    """Measure and print a table; 1 if the ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000, help="accounts to train on and to score")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of which the median counts")
    arguments = parser.parse_args()
    rows = {"simulation": {"training_rows": arguments.rows, "scoring_rows": arguments.rows}}
    for stack in start_stack():
        if not stack.mlflow:
            raise SystemExit("MLflow did not start")
        database = "PostgreSQL" if stack.database else "SQLite"
        with tempfile.TemporaryDirectory() as scratch:
            folders = [Path(scratch) / name for name in ("files", "servers")]
            for folder in folders:
                folder.mkdir()
            files, servers = make_project(folders[0]), stack.project(folders[1], buckets="bench")
            files.configure("local", "parameters", rows)
            servers.configure("minio", "parameters", rows)
            times: dict[str, list[float]] = {"files, SQLite": [], f"buckets, MLflow server, {database}": []}
            for _ in range(arguments.rounds + 1):
                for name, (project, options) in zip(times, ((files, ()), (servers, ("--env", "minio"))), strict=True):
                    times[name].append(seconds(project, *options))
    first, second = (statistics.median(each[1:]) for each in times.values())  # the first round warms up
    print(f"| whole loop, {arguments.rows:,} accounts | seconds | ratio |\n| --- | ---: | ---: |")
    for name, median in zip(times, (first, second), strict=True):
        print(f"| {name} | {median:.1f} | {median / first:.2f} |")
    return int(second / first > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
