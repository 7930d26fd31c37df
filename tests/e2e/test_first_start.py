"""The first start of a checkout, whatever happens during it, and the upgrade of MLflow's database: in processes."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tests.kills import wait_until
from tests.services.test_database import add_run, early, put, revision_of

__all__ = ["early"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Enough for any machine; nothing here waits so long.
GENEROUS = 300
FEW = "simulation.training_rows=3000,simulation.scoring_rows=500,training.booster.n_estimators=20,training.folds=2"
FAST = [FEW, "training.evaluation.baselines=false"]


def start(checkout: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=checkout,
        env={**clean_environment(), "PYTHONPATH": str(checkout / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=GENEROUS)
    assert process.returncode == 0, output
    return output


def run(checkout: Path, *arguments: str) -> str:
    return finish(start(checkout, "run", "--params", ",".join(FAST), *arguments))


def experiments(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return sorted(name for (name,) in opened.execute("SELECT name FROM experiments"))


@pytest.mark.parametrize("seed", [16])
def test_a_first_run_that_is_killed_leaves_a_store_that_the_next_one_uses(checkout: Path, seed: int) -> None:
    folder = checkout / "data/mlflow-artifacts"
    database = folder / "mlflow.db"

    def part(least: int) -> Callable[[], bool]:
        def there() -> bool:
            try:
                return any(file.stat().st_size >= least for file in folder.glob(".mlflow.db.*.part"))
            except FileNotFoundError:
                return False

        return there

    chance = random.Random(seed)
    moments = [folder.exists, part(100_000), database.exists]
    for moment in moments:
        process = start(checkout, "run", "--env", "telco", "--pipelines", "data_generation")
        wait_until(moment, process)
        if moment == database.exists:  # the rest of the set-up, or the middle of the run
            time.sleep(chance.random())
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run(checkout, "--env", "telco", "--pipelines", "data_generation")
    assert experiments(database) == ["Default", "churn_model_telco"]
    assert not list(folder.glob(".mlflow.db.*.part*"))
    assert not list(folder.glob("*.unfinished-*"))


def test_first_runs_at_once_wait_for_each_other(checkout: Path) -> None:
    # One after the other they would write the same table; the environments have a table each.
    runs = [
        start(checkout, "run", "--params", ",".join(FAST), "--pipelines", "data_generation"),
        start(checkout, "run", "--env", "telco", "--pipelines", "data_generation"),
    ]
    for process in runs:
        finish(process)
    database = checkout / "data/mlflow-artifacts/mlflow.db"
    assert experiments(database) == ["Default", "churn_model", "churn_model_telco"]


def test_a_database_that_versions_before_left_half_made_is_made_again(checkout: Path, early: Path) -> None:
    database = put_into(checkout, early)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE _alembic_tmp_latest_metrics (key TEXT)")
    output = run(checkout, "--pipelines", "data_generation")
    assert "was not finished and had no runs" in " ".join(output.split())
    assert len(list(database.parent.glob("mlflow.db.unfinished-*"))) == 1


def test_after_an_upgrade_of_mlflow_the_database_is_named_and_upgraded(checkout: Path, early: Path) -> None:
    database = put_into(checkout, early)
    add_run(database)
    before = database.read_bytes()
    refused = start(checkout, "run", "--pipelines", "data_generation")
    output, _ = refused.communicate(timeout=GENEROUS)
    assert refused.returncode == 1
    assert "Traceback" not in output
    assert str(database) in " ".join(output.split())
    assert "churn upgrade" in output
    assert database.read_bytes() == before
    # Killed at any moment, it is the old database or the new one.
    for moment in (0, 2):
        process = start(checkout, "upgrade")
        deadline = time.monotonic() + GENEROUS
        while process.poll() is None and time.monotonic() < deadline:
            parts = len(list(database.parent.glob(".mlflow.db.*.part*")))
            if parts > moment or (moment == 2 and parts):
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert revision_of(database) is not None
    finish(start(checkout, "upgrade"))
    assert not list(database.parent.glob(".mlflow.db.*.part*"))
    copies = list(database.parent.glob("mlflow.db.before-*"))
    assert before in [copy.read_bytes() for copy in copies]
    assert "already" in finish(start(checkout, "upgrade"))
    run(checkout, "--pipelines", "data_generation")
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("SELECT name FROM runs WHERE run_uuid = 'abc'").fetchone() == ("kept",)


def put_into(checkout: Path, database: Path) -> Path:
    (checkout / "data/mlflow-artifacts").mkdir(parents=True)
    return put(database, checkout / "data/mlflow-artifacts/mlflow.db")


def test_a_copied_checkout_trains_into_its_own_artifacts(checkout: Path, tmp_path: Path) -> None:
    run(checkout, "--pipelines", "data_generation,feature_engineering,training,inference")
    before = {file: file.stat().st_mtime_ns for file in checkout.rglob("*") if file.is_file()}
    other = tmp_path / "a copy #1 ü"
    subprocess.run(["cp", "-r", str(checkout), str(other)], check=True)
    run(other, "--pipelines", "feature_engineering,training", "--params", ",".join([*FAST, "training.random_state=5"]))
    after = {file: file.stat().st_mtime_ns for file in checkout.rglob("*") if file.is_file()}
    assert {file for file in after if after[file] != before.get(file)} == set()
    moved = other.rename(tmp_path / "moved")
    output = run(moved, "--pipelines", "inference,monitoring")
    assert "model version 2" in " ".join(output.split())
    latest = json.loads((moved / "data/ml-result/latest.json").read_text())
    assert (moved / "data/ml-result" / latest["run_id"] / "inference_result.csv").is_file()


@pytest.mark.parametrize("cache", ["a file in its place", "damaged notes"])
def test_a_cache_that_cannot_be_used_ends_no_run(checkout: Path, cache: str) -> None:
    folder = checkout / ".cache"
    if cache == "a file in its place":
        folder.write_text("as a disk that is full or read-only")
    else:
        (folder / "runs").mkdir(parents=True)
        (folder / "models").mkdir()
        for number, content in enumerate((b"", b"{", b"[]", b"\xff", b'{"process": "x"}')):
            (folder / f"runs/{number}.json").write_bytes(content)
        (folder / "models/names.json").write_text("[]")
    # A run that trains opens the most files.
    output = run(checkout, *([] if cache == "damaged notes" else ["--pipelines", "data_generation"]))
    assert cache != "damaged notes" or "scored with model version 1" in " ".join(output.split())
