"""One Spark session for all tests, and skips where Spark cannot run."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from churn.spark.session import SparkSettings, start
from tests.conftest import ROOT, Project, make_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The best compiler and a garbage collector with threads of its own pay after minutes; these JVMs end before.
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SMALL = {
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": QUICK_JVM,
    "spark.executor.extraJavaOptions": QUICK_JVM,
    "spark.sql.shuffle.partitions": 2,
    "spark.default.parallelism": 2,
}


def settings(folder: Path) -> SparkSettings:
    """Those of conf/spark, for a small machine."""
    config = yaml.safe_load((ROOT / "conf/spark/spark.yml").read_text())["config"]
    config |= {
        **SMALL,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.jars.ivy": str(folder / "ivy"),
        "spark.sql.files.maxPartitionBytes": 50_000,
        "spark.sql.execution.arrow.maxRecordsPerBatch": 300,
    }
    return SparkSettings(master="local[2]", log=folder / "spark.log", config=config)


@pytest.fixture(scope="session")
def java() -> None:
    """Skip where Spark cannot run."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed")
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        pytest.skip("there is no Java, which Spark needs")


@pytest.fixture(scope="session")
def spark(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    session = start(settings(tmp_path_factory.mktemp("spark")))
    yield session
    session.stop()


@pytest.fixture
def spark_project(tmp_path: Path) -> Project:
    """A project whose environment `spark` keeps to its folder."""
    return for_spark(make_project(tmp_path, baselines=False))


def for_spark(project: Project) -> Project:
    shutil.copy(project.conf / "local/globals.yml", project.conf / "spark/globals.yml")
    settings = yaml.safe_load((project.conf / "spark/spark.yml").read_text())
    settings["master"] = "local[2]"
    settings["config"] |= SMALL
    project.configure("spark", "spark", settings)
    return project
