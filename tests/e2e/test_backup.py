"""`churn backup` and `churn restore` as commands, and a restore that is killed."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Project, make_project, run_process
from tests.kills import churn as command
from tests.kills import kill, running, wait_until

pytestmark = pytest.mark.e2e

OUTPUTS = ("inference_result.csv", "inference_result.parquet", "retention_list.csv")


def churn(project: Project, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_process(*command(project, *arguments), timeout=120)


def files(project: Project) -> list[str]:
    """Names of the results, without locks."""
    return sorted(path.name for path in project.results.rglob("*") if path.suffix != ".lock")


def test_a_backup_is_restored_elsewhere_and_scores_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    made = churn(finished, "backup", "--to", str(tmp_path / "backups"))
    assert made.returncode == 0, made.stdout + made.stderr
    (backup,) = (tmp_path / "backups").iterdir()
    assert str(backup) in made.stdout
    project = make_project(tmp_path / "elsewhere")
    checked = churn(project, "restore", str(backup), "--check")
    assert (checked.returncode, checked.stdout.startswith(f"{backup} is whole")) == (0, True), checked.stderr
    assert not project.results.exists()

    # Killed in the middle of it, it has put nothing in place by halves, and is continued.
    seed = random.randrange(1_000_000)
    sys.stderr.write(f"seed {seed}\n")
    killed = 0
    for _ in range(3):
        with running(command(project, "restore", str(backup)), tmp_path / "restore.log") as process:
            wait_until(lambda: bool(list(project.folder.glob(".*.restoring"))), process)
            time.sleep(random.Random(seed + killed).uniform(0, 0.05))
            killed += kill(process)
        if project.results.exists():
            assert files(project) == files(finished)
    done = churn(project, "restore", str(backup))
    assert done.returncode == 0, done.stdout + done.stderr
    assert finished.run_folder().name in done.stdout
    assert not list(project.folder.glob(".*.restoring"))

    before = project.run_folder()
    scored = project.kedro("run", "--pipelines", "inference,monitoring")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert project.run_folder() != before
    for name in OUTPUTS:
        assert (project.run_folder() / name).read_bytes() == (finished.run_folder() / name).read_bytes(), name

    # What has been published since then is not replaced.
    refused = churn(project, "restore", str(backup))
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    assert "Traceback" not in refused.stderr
    shutil.rmtree(backup)
    missing = churn(project, "restore", str(backup), "--check")
    assert (missing.returncode, "Traceback" in missing.stderr) == (1, False)
    assert "not a whole backup" in missing.stderr
