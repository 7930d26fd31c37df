"""Scoring and training on a standalone cluster of real processes, also when a part of it goes away."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, Project, clean_environment
from tests.spark.cluster import EXECUTOR_MIB, LOOPBACK, Cluster, lose, running_cluster
from tests.spark.conftest import for_spark
from tests.stack import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.usefixtures("java")]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(machines: Cluster) -> Cluster:
    """Both workers run, also where an earlier test lost one."""
    machines.start()
    return machines


class Driver:
    """What the driver of a run says of its executors."""

    def __init__(self, port: int) -> None:
        self._address = f"http://{LOOPBACK}:{port}/api/v1/applications"

    def _asked(self, path: str = "") -> Any:
        try:
            with urllib.request.urlopen(self._address + path, timeout=5) as answer:  # noqa: S310
                return json.load(answer)
        except (OSError, ValueError):
            return []

    @property
    def application(self) -> str:
        return str(self._asked()[0]["id"])

    def active_stages(self) -> list[dict[str, Any]]:
        found = self._asked()
        stages: list[dict[str, Any]] = self._asked(f"/{found[0]['id']}/stages?status=active") if found else []
        return stages

    def executors(self) -> list[dict[str, Any]]:
        found = self._asked()
        asked = self._asked(f"/{found[0]['id']}/executors") if found else []
        return [executor for executor in asked if executor["id"] != "driver"]


def for_cluster(project: Project, master: str, **config: Any) -> Project:
    for_spark(project)
    settings = yaml.safe_load((project.conf / "spark/spark.yml").read_text())
    settings["master"] = master
    settings["config"] |= {"spark.executor.memory": f"{EXECUTOR_MIB}m", **config}
    project.configure("spark", "spark", settings)
    return project


def longer(file: Path, times: int) -> None:
    """Repeat the accounts of a table, each with an id of its own."""
    table = pd.concat([pd.read_csv(file, dtype=str)] * times, ignore_index=True)
    table["account_id"] = [f"account-{row:07}" for row in range(len(table))]
    table.to_csv(file, index=False)


def losing(
    project: Project, cluster: Cluster, options: list[str], loser: Callable[[Driver], str | None], **config: Any
) -> tuple[str, str]:
    """Run on a cluster and lose a worker on the way.

    Args:
        project: What is run, with a table that is long enough.
        cluster: Where.
        options: Of ``kedro run --env spark``.
        loser: Says which executor is lost, as soon as it can.
        config: Settings of Spark.

    Returns:
        The executor that was lost, and what the run said.
    """
    (port,) = free_ports(1)
    for_cluster(project, cluster.url, **{"spark.ui.enabled": True, "spark.ui.port": port, **config})
    run = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--conf-source", str(project.conf), "--env", "spark", *options],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    driver = Driver(port)
    lost = None
    while lost is None and run.poll() is None:
        lost = loser(driver)
        time.sleep(0.05)
    if lost is not None:
        lose(cluster.worker_of(driver.application, lost))
    output, _ = run.communicate(timeout=300)
    assert lost is not None, output
    assert run.returncode == 0, output
    return lost, output


def one_that_keeps_rows(driver: Driver) -> str | None:
    """One of two that both work, and that keeps a part of the checked or scored table."""
    executors = driver.executors()
    if len(executors) == 2 and all(one["activeTasks"] for one in executors):
        return next((str(one["id"]) for one in executors if one["rddBlocks"]), None)
    return None


def one_that_trains(driver: Driver) -> str | None:
    """One of two that grow a booster together."""
    training = any(
        stage["name"].startswith("fit at") and "collect" in stage["details"] for stage in driver.active_stages()
    )
    executors = driver.executors()
    return str(executors[0]["id"]) if training and all(one["activeTasks"] for one in executors) else None


def test_a_run_survives_the_loss_of_a_worker(copied: Project, cluster: Cluster, tmp_path: Path) -> None:
    """One of two goes away while both work and it keeps a part of the scored table."""
    file = copied.staging / "inference_data.csv"
    longer(file, 40)
    copied.run("inference")
    local = copied.run_folder()
    events = tmp_path / "events"
    events.mkdir()
    as_of = json.loads((local / "manifest.json").read_text())["as_of"]
    lost, _ = losing(
        copied,
        cluster,
        ["--pipelines", "inference", "--params", f"inference.as_of={as_of}"],
        one_that_keeps_rows,
        **{
            "spark.sql.files.maxPartitionBytes": file.stat().st_size // 12,
            "spark.eventLog.enabled": True,
            "spark.eventLog.dir": f"file://{events}",
            "spark.eventLog.compress": False,
            "spark.eventLog.logBlockUpdates.enabled": True,
        },
    )
    published = copied.run_folder()
    assert published != local
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json"):
        assert (published / name).read_bytes() == (local / name).read_bytes(), name

    kept = blocks(events)
    assert kept[lost], "the lost worker kept nothing"
    assert set().union(*(kept[other] for other in kept if other != lost)) >= kept[lost]


def test_features_survive_the_loss_of_a_worker(copied: Project, cluster: Cluster) -> None:
    """One of two goes away while both check rows, and it keeps a part of them."""
    file = copied.staging / "training_data.csv"
    longer(file, 20)
    copied.run("feature_engineering")
    losing(
        copied,
        cluster,
        ["--pipelines", "feature_engineering"],
        one_that_keeps_rows,
        **{"spark.sql.files.maxPartitionBytes": file.stat().st_size // 12},
    )
    here, there = copied.staging / "features", copied.staging / "features/spark"
    assert (there / "encoder.json").read_bytes() == (here / "encoder.json").read_bytes()
    for name in ("train_accounts", "test_accounts", "train_features", "test_features"):
        rows = pd.read_parquet(there / name).sort_values("(row)", ignore_index=True).drop(columns="(row)")
        pd.testing.assert_frame_equal(rows, pd.read_parquet(here / f"{name}.parquet"))


def test_training_begins_again_when_a_worker_is_lost(spark_project: Project, cluster: Cluster) -> None:
    """One of two goes away while both grow a booster; the other goes on alone."""
    project = spark_project
    project.run("data_generation", simulation__training_rows=20_000)
    few = {"training__booster__n_estimators": 60, "training__booster__learning_rate": 0.15, "training__folds": 2}
    project.run("feature_engineering", "training", **few)
    local = json.loads((project.results / "training/metrics.json").read_text())
    params = ",".join(f"{name.replace('__', '.')}={value}" for name, value in few.items())
    _, output = losing(
        project,
        cluster,
        ["--pipelines", "feature_engineering,training", "--params", f"{params},promotion.margin=-1"],
        one_that_trains,
    )
    assert "failed on Spark and is grown again" in " ".join(output.split())
    there = json.loads((project.results / "training/metrics.json").read_text())
    for name in ("test_roc_auc", "test_log_loss", "test_brier"):
        assert there[name] == pytest.approx(local[name], abs=0.002), name


def test_training_on_fewer_cores_than_asked_for_ends_in_a_message(copied: Project, cluster: Cluster) -> None:
    project = for_cluster(
        copied,
        cluster.url,
        **{"spark.churn.training.workers": 3, "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "2s"},
    )
    done = project.kedro("run", "--env", "spark", "--pipelines", "feature_engineering,training")
    assert done.returncode == 1
    assert "training on Spark needs 3 cores at once, but fewer are free" in " ".join(done.stderr.split()), done.stderr


def blocks(events: Path) -> dict[str, set[str]]:
    """Which parts of the scored table each executor has kept at some time."""
    kept: dict[str, set[str]] = {}
    for file in events.rglob("events_*"):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerBlockUpdated":
                info = event["Block Updated Info"]
                if info["Block ID"].startswith("rdd_") and info["Memory Size"] + info["Disk Size"]:
                    kept.setdefault(info["Block Manager ID"]["Executor ID"], set()).add(info["Block ID"])
    return kept
