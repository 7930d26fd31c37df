"""Time of short runs, where starting is most of it: beside a script without Kedro, and in a process that goes on.

Run with ``python -m tests.benchmarks.start``. *Cold*: `kedro run --pipelines training` and `inference`, each in a process
of its own, take turns with ``bare.py``, which does the same by hand. *Warm*: from the second run on in a
KedroServiceSession, with a champion that stays.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import pandas as pd

from tests.benchmarks.results import Result, in_turns, parser, ratio, report
from tests.benchmarks.runs import kedro_run
from tests.conftest import ROOT, Project, clean_environment, make_project

ROWS, WARM_ROWS = 30_000, 1_000
COLD_LIMIT = 1.25
WARM_LIMIT, UNTRACKED_LIMIT = 0.5, 0.2


def by_hand(project: Project, job: str) -> Callable[[], None]:
    """The same by the script."""

    def run() -> None:
        command = [sys.executable, str(Path(__file__).with_name("bare.py")), job, str(project.folder)]
        done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)

    return run


def check_same_scores(project: Project) -> None:
    """Make sure that the last two runs, one of each way, scored alike."""
    written = sorted(project.results.glob("*/inference_result.parquet"), key=lambda file: file.stat().st_mtime)
    pd.testing.assert_frame_equal(*(pd.read_parquet(file) for file in written[-2:]), check_categorical=False)


def warm(project: Project, rounds: int) -> list[float]:
    """Seconds of runs of inference in one process, the first one left out."""
    from kedro.framework.session.service_session import KedroServiceSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(ROOT)
    with KedroServiceSession.create(project_path=ROOT, conf_source=str(project.conf), serving_mode=True) as session:
        return in_turns({"run": lambda: session.run(pipeline_names=["inference"])}, rounds)["run"]


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    arguments = parser(__doc__).parse_args()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch), training_rows=ROWS, scoring_rows=ROWS)
        kedro_run(project, "--pipelines", "data_generation,feature_engineering,training")
        for job in ("inference", "training"):
            ours = partial(kedro_run, project, "--pipelines", job)
            times = in_turns({"ours": ours, "script": by_hand(project, job)}, arguments.rounds)
            if job == "inference":
                check_same_scores(project)
            work = f"`kedro run --pipelines {job}`, cold, {ROWS:,} accounts"
            results.append(Result(work, ratio(times["ours"], times["script"]), "x a bare script", COLD_LIMIT))
            results.append(Result(f"{work}: time", median(times["ours"]), "s"))
        table = project.staging / "inference_data.csv"
        pd.read_csv(table, nrows=WARM_ROWS).to_csv(table, index=False)
        work = f"inference of {WARM_ROWS:,} accounts, the second run of a session"
        results.append(Result(f"{work}, tracked in SQLite", median(warm(project, arguments.rounds)), "s", WARM_LIMIT))
        project.configure("local", "mlflow", {"tracking": {"disable_tracking": {"pipelines": ["inference"]}}})
        untracked = median(warm(project, arguments.rounds))
        results.append(Result(f"{work}, not tracked", untracked, "s", UNTRACKED_LIMIT))
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
