"""Scoring and monitoring on a Spark Connect server, a process of its own."""

import json
import re
from collections.abc import Iterator

import pandas as pd
import pytest
import yaml

from tests.conftest import Project
from tests.spark.cluster import connect_server
from tests.spark.conftest import for_spark

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.usefixtures("java")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server, address = connect_server(tmp_path_factory.mktemp("server"))
    server.start()
    yield address
    server.stop()


@pytest.fixture
def project(copied: Project, address: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A finished project that scores on the server; there is no Java for itself."""
    project = for_spark(copied)
    settings = yaml.safe_load((project.conf / "spark/spark.yml").read_text())
    settings["remote"] = address
    del settings["master"]
    project.configure("spark", "spark", settings)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    return project


def test_a_run_publishes_what_a_local_one_does(project: Project) -> None:
    local = project.run_folder()
    as_of = json.loads((local / "manifest.json").read_text())["as_of"]
    params = f"inference.as_of={as_of}"
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference", "--params", params)
    assert done.returncode == 0, done.stdout + done.stderr
    noise = re.search(r".*(warn|spark\.|java|log4j).*", done.stdout + done.stderr, re.IGNORECASE)
    assert noise is None, noise[0]
    published = project.run_folder()
    assert published != local
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json"):
        assert (published / name).read_bytes() == (local / name).read_bytes(), name


def test_features_are_made_on_the_server_and_training_is_refused(project: Project) -> None:
    project.run("feature_engineering")
    done = project.kedro("run", "--env", "spark", "--pipelines", "feature_engineering")
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = project.staging / "features", project.staging / "features/spark"
    assert (there / "encoder.json").read_bytes() == (here / "encoder.json").read_bytes()
    rows = pd.read_parquet(there / "train_features").sort_values("(row)", ignore_index=True).drop(columns="(row)")
    pd.testing.assert_frame_equal(rows, pd.read_parquet(here / "train_features.parquet"))

    done = project.kedro("run", "--env", "spark", "--pipelines", "training")
    assert done.returncode == 1
    assert "XGBoost cannot train through Spark Connect" in done.stderr
    assert "Traceback" not in done.stderr


def test_health_is_reported_as_locally(project: Project) -> None:
    report = project.run_folder() / "health_metrics.json"
    before = report.read_bytes()
    report.unlink()
    done = project.kedro("run", "--env", "spark", "--pipelines", "monitoring")
    assert done.returncode == 0, done.stdout + done.stderr
    assert report.read_bytes() == before


def test_faults_are_told_as_locally(project: Project) -> None:
    file = project.staging / "inference_data.csv"
    table = pd.read_csv(file, dtype=str)
    pd.concat([table, table.head(1)]).to_csv(file, index=False)
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference")
    assert done.returncode == 1
    assert "1 value is a repetition of an earlier id" in done.stderr
    with file.open("a") as lines:
        lines.write("one,2\n")
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {file} cannot be read as an account table")
    assert "row 1002 has 2;" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_that_is_not_there(project: Project) -> None:
    (project.staging / "inference_data.csv").unlink()
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference")
    assert done.returncode == 1
    assert "scoring_accounts is not there yet" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_another_dialect_is_read_on_the_server(project: Project) -> None:
    local = project.run_folder()
    as_of = json.loads((local / "manifest.json").read_text())["as_of"]
    file = project.staging / "inference_data.csv"
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    rows.replace(r"^(-?\d+)\.(\d+)$", r"\1,\2", regex=True).to_csv(file, sep="\t", index=False, encoding="utf-16")
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference", "--params", f"inference.as_of={as_of}")
    assert done.returncode == 0, done.stdout + done.stderr
    published = project.run_folder()
    assert published != local
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json"):
        assert (published / name).read_bytes() == (local / name).read_bytes(), name
