"""Scoring on a standalone cluster of real processes, also when a part of it goes away."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ..conftest import ROOT, Project, clean_environment
from ..stack import free_ports
from .cluster import EXECUTOR_MIB, LOOPBACK, Cluster, lose, running_cluster
from .conftest import for_spark

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.usefixtures("java")]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path / "cluster", workers=2) as cluster:
        yield cluster


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


def test_a_run_survives_the_loss_of_a_worker(copied: Project, cluster: Cluster, tmp_path: Path) -> None:
    """One of two goes away while both work and it keeps a part of the scored table."""
    file = copied.staging / "inference_data.csv"
    some = pd.read_csv(file, dtype=str)
    table = pd.concat([some] * 40, ignore_index=True)
    table["account_id"] = [f"account-{row:07}" for row in range(len(table))]
    table.to_csv(file, index=False)
    copied.run("inference")
    local = copied.run_folder()

    (port,) = free_ports(1)
    events = tmp_path / "events"
    events.mkdir()
    project = for_cluster(
        copied,
        cluster.url,
        **{
            "spark.sql.files.maxPartitionBytes": file.stat().st_size // 12,
            "spark.ui.enabled": True,
            "spark.ui.port": port,
            "spark.eventLog.enabled": True,
            "spark.eventLog.dir": f"file://{events}",
            "spark.eventLog.compress": False,
            "spark.eventLog.logBlockUpdates.enabled": True,
        },
    )
    as_of = json.loads((local / "manifest.json").read_text())["as_of"]
    options = ["--env", "spark", "--pipelines", "inference", "--params", f"inference.as_of={as_of}"]
    run = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--conf-source", str(project.conf), *options],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    driver = Driver(port)
    lost = None
    while lost is None and run.poll() is None:
        executors = driver.executors()
        if len(executors) == 2 and all(one["activeTasks"] for one in executors):
            lost = next((one["id"] for one in executors if one["rddBlocks"]), None)
        time.sleep(0.05)
    if lost is not None:
        lose(cluster.worker_of(driver.application, lost))
    output, _ = run.communicate(timeout=300)
    assert lost is not None, output
    assert run.returncode == 0, output

    published = project.run_folder()
    assert published != local
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json"):
        assert (published / name).read_bytes() == (local / name).read_bytes(), name

    kept = blocks(events)
    assert kept[lost], "the lost worker kept nothing"
    assert set().union(*(kept[other] for other in kept if other != lost)) >= kept[lost]


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
