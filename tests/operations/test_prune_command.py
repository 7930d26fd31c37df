"""The command `churn prune` on a finished project."""

import json
import random
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from churn.cli import cli
from churn.config import Parameters
from churn.datasets import ResultsDataset
from churn.model import ChurnModel
from churn.operations.housekeeping import Housekeeping
from churn.operations.pruning import Limits
from churn.stores import open_store
from tests.conftest import ROOT, Project, clean_environment, files_in, run_process
from tests.datasets.test_results import aged, given
from tests.kills import age_everything, churn, kill, running, wait_until
from tests.pipelines.test_runs import snapshot
from tests.scoring.logged import Logging, at, named


def prune(project: Project, *options: str) -> Result:
    bootstrap_project(ROOT)
    return CliRunner().invoke(cli, ["prune", "--conf-source", str(project.conf), *options])


@pytest.fixture
def old(copied: Project) -> tuple[Project, list[Path]]:
    """The project with results that were published long ago, and what was left when processes were killed."""
    results = ResultsDataset(filepath=str(copied.results))
    current = (copied.results / "latest.json").read_bytes()
    folders = []
    for _ in range(2):
        results.save(given())
        assert results.published is not None
        folders.append(copied.results / results.published["run_id"])
    (copied.results / "latest.json").write_bytes(current)
    unfinished = copied.results / str(uuid.uuid4())
    unfinished.mkdir()
    (unfinished / "inference_result.csv").write_bytes(b"x" * 5000)
    part = copied.staging / f".training_data.csv.{'0' * 32}.part"
    part.write_bytes(b"x" * 7000)
    damaged = copied.folder / "cache/names.json.damaged-1"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text("[]")
    replaced = copied.artifacts / "mlflow.db.before-20200101T000000"
    replaced.write_bytes(b"x")
    made = [*folders, unfinished, part, damaged, replaced]
    aged(*(file for folder in made for file in [*folder.rglob("*"), folder]))
    return copied, made


def test_old_results_and_leftovers_are_removed(old: tuple[Project, list[Path]]) -> None:
    project, made = old
    before = project.run_folder()
    files = snapshot(project.folder)
    shown = prune(project, "--keep", "1", "--older-than", "30", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert snapshot(project.folder).keys() - {"cache/prune.lock"} == files.keys()
    rows = {line.split("  ")[0]: line.split() for line in shown.output.splitlines() if line[:1].islower()}
    assert rows["results"][1] == "2"
    assert rows["unfinished"][1:4] == ["2", "12.0", "kB"]
    assert "current" in shown.output
    asked = prune(project, "--keep", "1", "--older-than", "30")
    assert asked.exit_code == 1
    assert "add --yes" in asked.output
    assert all(path.exists() for path in made)
    done = prune(project, "--keep", "1", "--older-than", "30", "--yes")
    assert done.exit_code == 0, done.output
    assert not any(path.exists() for path in made)
    assert project.run_folder() == before
    assert ResultsDataset(filepath=str(project.results)).load().run_id == before.name
    again = prune(project, "--keep", "1", "--older-than", "30", "--yes")
    assert "There is nothing to remove." in again.output
    project.run("monitoring")  # the champion and its runs are there
    assert json.loads((before / "health_metrics.json").read_text())["provenance"]["run_id"] == before.name


def test_the_log_of_requests_is_merged_and_removed(
    copied: Project, model: ChurnModel, canonical: pd.DataFrame, parameters: Parameters
) -> None:
    today = datetime.now(UTC).date()
    log = copied.results / "requests"
    service = Logging(open_store(str(log)), named(model, "1"))
    accounts = canonical.drop(columns=parameters.accounts.label.column).head(40)
    days = [today - timedelta(days=age) for age in (200, 3, 0)]
    for day in days:
        for hour in range(4):
            service.answer(accounts.iloc[10 * hour : 10 * hour + 10], at(hour, day))
    for day in days[:2]:
        aged(*(log / str(day)).iterdir(), time=time.time() - 7200)
    shown = prune(copied, "--dry-run")
    assert f"goes   requests  {days[0]}" in shown.output
    assert f"stays  requests  {days[1]}" in shown.output
    assert "Segments of 2 days of the log of requests would be merged." in shown.output
    assert "add --yes" in prune(copied).output
    assert len(files_in(log)) == 15
    done = prune(copied, "--yes")
    assert done.exit_code == 0, done.output
    assert f"requests of {days[1]}: 4 segments are 1 files now" in done.output
    assert sorted(path.name for path in log.iterdir()) == [str(days[1]), str(days[2])]
    assert len(list((log / str(days[1])).glob("*.parquet"))) == 1
    assert len(list((log / str(days[2])).glob("*.parquet"))) == 4  # today
    given = {"source": "requests", "requests_day": str(days[1])}
    copied.run("monitoring", monitoring=given)
    assert json.loads((log / str(days[1]) / "health_metrics.json").read_text())["total_samples"] == 40
    # Nothing to remove, but something to merge, needs no question.
    for hour in range(2):
        service.answer(accounts.head(5), at(20 + hour, days[1]))
    aged(*(log / str(days[1])).iterdir(), time=time.time() - 7200)
    again = prune(copied)
    assert (again.exit_code, "2 segments are 1 files" in again.output) == (0, True)
    assert "written in the last hour" in prune(copied, "--requests-older-than", "1", "--dry-run").output
    aged(*(log / str(days[1])).iterdir(), time=time.time() - 7200)
    assert prune(copied, "--requests-older-than", "1", "--yes").exit_code == 0
    assert [path.name for path in log.iterdir()] == [str(days[2])]


def test_a_damaged_pointer_is_one_sentence(old: tuple[Project, list[Path]]) -> None:
    project, made = old
    (project.results / "latest.json").write_text("[]")
    refused = prune(project, "--keep", "1", "--older-than", "0", "--yes")
    assert refused.exit_code == 1
    assert "latest.json is damaged: it is not a JSON object; score again" in refused.output
    assert "Traceback" not in refused.output
    assert all(path.exists() for path in made)


def test_while_another_one_runs_it_is_refused(old: tuple[Project, list[Path]]) -> None:
    project, made = old
    with FileLock(project.folder / "cache/prune.lock"):
        refused = prune(project, "--keep", "1", "--older-than", "30", "--yes")
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)
    assert "churn prune is already running" in refused.output
    assert all(path.exists() for path in made)


def test_without_a_pointer_only_what_was_never_complete_goes(old: tuple[Project, list[Path]]) -> None:
    """As after first runs that were killed before they published."""
    project, made = old
    (project.results / "latest.json").unlink()
    done = prune(project, "--keep", "1", "--older-than", "0", "--yes")
    assert done.exit_code == 0, done.output
    assert [path.exists() for path in made] == [True, True, False, False, False, False]


def test_what_becomes_needed_after_the_plan_stays_and_is_named(old: tuple[Project, list[Path]]) -> None:
    project, made = old
    bootstrap_project(ROOT)
    with KedroSession.create(project_path=ROOT, conf_source=str(project.conf)) as session:
        house = Housekeeping(session.load_context())
        chosen = house.plan(Limits(keep=1, older_than=30))
        pointer = project.results / "latest.json"
        pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "run_id": made[0].name}))
        told: list[str] = []
        house.carry_out(chosen, told.append)
    assert told == [f"results {made[0].name} stay: they are needed by now"]
    assert [path.exists() for path in made] == [True, False, False, False, False, False]
    assert ResultsDataset(filepath=str(project.results)).load().run_id == made[0].name


@pytest.mark.parametrize(
    "options", [("--keep", "0"), ("--older-than", "-1"), ("--keep", "all"), ("--requests-older-than", "-1")]
)
def test_limits_that_make_no_sense(finished: Project, options: tuple[str, str]) -> None:
    refused = prune(finished, *options, "--yes")
    assert refused.exit_code == 2


@pytest.mark.e2e
def test_the_container_prunes_again_and_again_until_it_is_stopped(
    old: tuple[Project, list[Path]], tmp_path: Path
) -> None:
    project, made = old
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "churn.operations.container", "prune", "--every", "24", "--env", "local"]
    limits = ["--conf-source", str(project.conf), "--keep", "1", "--older-than", "30"]
    environment = {**clean_environment(), "TMPDIR": str(scratch)}
    with subprocess.Popen([*command, *limits], cwd=ROOT, env=environment) as process:
        deadline = time.monotonic() + 300
        while not (scratch / "pruned").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.terminate()
        assert process.wait(60) == 143
    assert not any(path.exists() for path in made)


@pytest.mark.slow
@pytest.mark.e2e
def test_killed_at_random_moments_the_next_one_completes_it(project: Project, tmp_path: Path) -> None:
    """The whole command; what it had begun is completed, and the project trains, scores and rolls back as before."""
    import mlflow

    for threshold in (0.2, 0.3, 0.4, 0.45):
        project.run(training__threshold=threshold, training__booster__n_estimators=20, promotion__force=True)
    current = project.run_folder()
    age_everything(project)
    command = churn(project, "prune", "--keep", "1", "--older-than", "30", "--yes")
    seed = uuid.uuid4().int % 1000
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)
    output = tmp_path / "prune.log"
    for _ in range(3):
        with running(command, output) as process:
            # It begins to remove after the table.
            wait_until(lambda: b"\ntogether" in output.read_bytes(), process)
            time.sleep(chance.uniform(0, 0.2))
            kill(process)
    done = run_process(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in project.results.iterdir() if path.is_dir()} == {current.name, "training"}
    versions = mlflow.MlflowClient().search_model_versions("name = 'churn'")
    assert {str(entry.version) for entry in versions} == {"3", "4"}
    project.run("inference", "monitoring")
    project.run("feature_engineering", "training", training__booster__n_estimators=20)
    again = run_process(*command)
    assert again.returncode == 0, again.stdout + again.stderr
