"""A `kedro run` in a process of its own and what it takes, and what one does once it has started."""

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

from churn.config import Parameters
from churn.datasets import AccountBatchesDataset, ResultsDataset, SparkAccountsDataset
from churn.model import ChurnModel
from churn.scoring import scoring_run, select
from churn.tables import checked_table
from tests.conftest import ROOT, Project, clean_environment


class Cost(NamedTuple):
    """Of one run: seconds with the start of the process, mebibytes of memory at its peak, and processor seconds."""

    seconds: float
    mebibytes: float
    processor_seconds: float


def publish(
    dataset: AccountBatchesDataset | SparkAccountsDataset, model: ChurnModel, parameters: Parameters, results: Path
) -> None:
    """What the nodes of inference and their data sets do once a run has started: check a table, score it, publish."""
    run = scoring_run(
        checked_table(dataset.load(), parameters.accounts, model, "accounts"),
        model,
        selection=select({"name": "accounts", "sha256": ""}, {}, "m"),
        as_of=date(2026, 1, 1),
        profit=parameters.profit,
        decision=parameters.decision,
        reasons=parameters.reasons,
    )
    ResultsDataset(filepath=str(results)).save(run)


def kedro_run(project: Project, *options: str) -> Cost:
    """Run pipelines; what they print is shown only if they fail.

    Raises:
        SystemExit: If they fail, with what they printed.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--conf-source", str(project.conf), *options],
            cwd=ROOT,
            env=clean_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        # The memory of this process alone; that of all children together is the largest of any so far.
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            output.seek(0)
            raise SystemExit(output.read())
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return Cost(time.perf_counter() - start, usage.ru_maxrss / unit, usage.ru_utime + usage.ru_stime)
