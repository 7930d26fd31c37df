"""Time of the whole loop on buckets and an MLflow server, beside the same on files and SQLite.

Run with ``python -m tests.benchmarks.minio``. The servers are started on this machine; the two kinds of
runs take turns, each with all its rows, in processes of their own.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.results import Result, in_turns, parser, ratio, report
from tests.benchmarks.runs import kedro_run
from tests.conftest import make_project
from tests.stack import start_stack

ROWS = 30_000
LIMIT = 1.5


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=ROWS, help=f"accounts to train on and to score ({ROWS})")
    arguments = options.parse_args()
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
            ways = {"files": partial(kedro_run, files), "servers": partial(kedro_run, servers, "--env", "minio")}
            times = in_turns(ways, arguments.rounds)
    work = f"the five pipelines, {arguments.rows:,} accounts, on S3, MLflow's server and {database}"
    results = [
        Result(work, ratio(times["servers"], times["files"]), "x on files and SQLite", LIMIT),
        Result(f"{work}: time", median(times["servers"]), "s"),
    ]
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
