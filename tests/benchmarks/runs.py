"""A `kedro run` in a process of its own, and what it takes."""

import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from ..conftest import ROOT, Project, clean_environment


class Cost(NamedTuple):
    """Of one run: seconds with the start of the process, and mebibytes of memory at its peak."""

    seconds: float
    mebibytes: float


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
    return Cost(time.perf_counter() - start, usage.ru_maxrss / unit)
