"""Tables in a real S3 store, read by Spark itself."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
import yaml

from churn.stores import Store, open_store
from tests.conftest import ROOT, Project
from tests.spark.conftest import for_spark
from tests.stack import Stack, free_ports, stack

__all__ = ["stack"]

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.usefixtures("java")]


def packages() -> dict[str, str]:
    """What conf/spark/spark.yml has in comments for S3."""
    text = (ROOT / "conf/spark/spark.yml").read_text()
    lines = re.findall(r"^  # ((?:spark\.jars\.| {2}\S).*)$", text, re.MULTILINE)
    named: dict[str, str] = yaml.safe_load("\n".join(lines))
    assert set(named) == {"spark.jars.packages", "spark.jars.excludes"}
    return named


@pytest.fixture
def on_buckets(copied: Project, stack: Stack) -> Project:
    """A finished project whose environment `spark` has its table and its results in buckets."""
    assert stack.s3
    project = for_spark(copied)
    (project.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in stack.variables.items()))
    shutil.copy(project.conf / "minio/credentials.yml", project.conf / "spark")
    of_minio = yaml.safe_load((project.conf / "minio/globals.yml").read_text())
    known = yaml.safe_load((project.conf / "spark/globals.yml").read_text())
    for name in ("staging", "results"):
        known["stores"][name] = f"{of_minio['stores'][name]}/{project.folder.name}"
    project.configure("spark", "globals", known | {"credentials": of_minio["credentials"]})
    settings = yaml.safe_load((project.conf / "spark/spark.yml").read_text())
    # Once for a checkout, not for each test.
    settings["config"] |= {**packages(), "spark.jars.ivy": str(ROOT / ".cache/ivy")}
    project.configure("spark", "spark", settings)
    for name in ("training_data.csv", "inference_data.csv"):
        with bucket(stack, stack.settings.staging, project).writing(name) as file:
            file.write((project.staging / name).read_bytes())
    return project


def bucket(stack: Stack, name: str, project: Project) -> Store:
    """The project's part of a bucket, as the administrator sees it."""
    return open_store(f"s3://{name}/{project.folder.name}", stack.credentials(stack.settings.admin))


def scored(project: Project, *options: str) -> subprocess.CompletedProcess[str]:
    return ran(project, "inference", *options)


def ran(project: Project, *options: str) -> subprocess.CompletedProcess[str]:
    done = project.kedro("run", "--env", "spark", "--pipelines", *options)
    if "unresolved dependency" in (log := project.folder / "cache/spark.log").read_text():
        pytest.skip(f"Maven Central, from which Spark takes its S3 client, is out of reach: see {log}")
    return done


def test_a_table_in_a_bucket_is_scored_as_a_file_is(on_buckets: Project, stack: Stack) -> None:
    local = on_buckets.run_folder()
    as_of = json.loads((local / "manifest.json").read_text())["as_of"]
    done = scored(on_buckets, "--params", f"inference.as_of={as_of}")
    assert done.returncode == 0, done.stdout + done.stderr
    results = bucket(stack, stack.settings.results, on_buckets)
    run_id = results.read_json("latest.json")["run_id"]
    for name in ("inference_result.csv", "retention_list.csv", "input_profile.json"):
        with results.reading(f"{run_id}/{name}") as file:
            assert file.read() == (local / name).read_bytes(), name
    with bucket(stack, stack.settings.staging, on_buckets).writing("inference_outcomes.csv") as file:
        file.write((on_buckets.staging / "inference_outcomes.csv").read_bytes())
    done = on_buckets.kedro("run", "--env", "spark", "--pipelines", "monitoring")
    assert done.returncode == 0, done.stdout + done.stderr
    health = results.read_json(f"{run_id}/health_metrics.json")
    expected = json.loads((local / "health_metrics.json").read_text())
    assert {**health, "provenance": None} == {**expected, "provenance": None}
    # Keys are not on the command line of a process, nor in what Spark prints.
    assert stack.settings.training.secret_key not in (on_buckets.folder / "cache/spark.log").read_text()


def test_features_go_to_a_bucket_and_come_back(on_buckets: Project, stack: Stack) -> None:
    on_buckets.run("feature_engineering")
    staging = bucket(stack, stack.settings.staging, on_buckets)
    # Something of an earlier run is there already.
    with staging.writing("features/spark/train_features/part-of-another-run.parquet") as file:
        file.write(b"not to be read any more")
    done = ran(on_buckets, "feature_engineering")
    assert done.returncode == 0, done.stdout + done.stderr
    expected = (on_buckets.staging / "features/encoder.json").read_bytes()
    with staging.reading("features/spark/encoder.json") as file:
        assert file.read() == expected
    parts = [name for name in staging.names() if re.fullmatch(r"features/spark/train_features/part-.*\.parquet", name)]
    frames = []
    for name in parts:
        with staging.reading(name) as file:
            frames.append(pd.read_parquet(file))
    rows = pd.concat(frames).sort_values("(row)", ignore_index=True).drop(columns="(row)")
    pd.testing.assert_frame_equal(rows, pd.read_parquet(on_buckets.staging / "features/train_features.parquet"))


def test_a_store_that_is_not_there_is_soon_told(on_buckets: Project) -> None:
    file = on_buckets.folder / ".env"
    (port,) = free_ports(1)
    file.write_text(file.read_text() + f"CHURN_S3_ENDPOINT=http://127.0.0.1:{port}\n")
    done = scored(on_buckets)
    assert done.returncode == 1
    table = f"s3://data-staging/{on_buckets.folder.name}/inference_data.csv"
    assert (done.stdout + done.stderr).startswith(f"Error: {table} at http://127.0.0.1:{port}: Could not connect")


def test_a_key_that_spark_may_not_use(on_buckets: Project) -> None:
    settings = yaml.safe_load((on_buckets.conf / "spark/spark.yml").read_text())
    settings["hadoop"]["fs.s3a.secret.key"] = "another"
    on_buckets.configure("spark", "spark", settings)
    done = scored(on_buckets)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: accounts to score: Spark says: ")
    assert "Traceback" not in done.stderr
