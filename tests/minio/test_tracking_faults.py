"""MLflow that is down, dies or loses its database, and models that were tampered with."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from churn.config import AccountSchema
from churn.model import ChurnModel
from churn.model.storage import BOOSTER_FILE, CHECKSUM_FILE, MODEL_FILE
from churn.services.mlflow import mlflow_command, mlflow_environment
from churn.services.server import Server, answers
from tests.minio.conftest import MinioProject
from tests.stack import Stack, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


class OwnMlflow:
    """A tracking server that a test may kill, on a database and a folder of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        (port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{port}"
        settings = stack.settings
        command = mlflow_command(settings, "127.0.0.1", port, [f"127.0.0.1:{port}"])
        self.server = Server(
            name="mlflow",
            folder=folder,
            command=command,
            ready=lambda: answers(f"{self.uri}/health"),
            ports=(port,),
            environment=mlflow_environment(folder, settings, f"sqlite:///{folder}/mlflow.db"),
        )
        self.server.start()

    def kill(self) -> None:
        process = self.server.process_id()
        assert process is not None
        os.killpg(process, signal.SIGKILL)
        self.server.stop()


@pytest.fixture(scope="module")
def own_mlflow(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMlflow]:
    assert stack.s3
    own = OwnMlflow(stack, tmp_path_factory.mktemp("mlflow"))
    yield own
    own.server.stop()


@pytest.fixture(scope="module")
def mortal(stack: Stack, own_mlflow: OwnMlflow, tmp_path_factory: pytest.TempPathFactory) -> MinioProject:
    """A project after a whole run, tracked by the server that may be killed."""
    project = MinioProject(stack, tmp_path_factory.mktemp("mortal"), MLFLOW_TRACKING_URI=own_mlflow.uri)
    done = project.kedro()
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def runs(project: MinioProject, own: OwnMlflow) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(tracking_uri=own.uri)
    experiment = client.get_experiment_by_name(f"churn_model_{project.name}")
    return client.search_runs([experiment.experiment_id])


def test_mlflow_down_at_start(mortal: MinioProject, own_mlflow: OwnMlflow) -> None:
    before = mortal.manifest()
    own_mlflow.kill()
    start = time.monotonic()
    training = mortal.kedro("training")
    assert time.monotonic() - start < 200  # MLflow by itself would wait for four minutes
    assert training.returncode == 1
    assert f"Error: MLflow at {own_mlflow.uri} does not answer" in training.stderr
    assert "correct MLFLOW_TRACKING_URI" in training.stderr
    assert "Traceback" not in training.stdout + training.stderr

    scoring = mortal.kedro("inference", "monitoring")
    output = " ".join((scoring.stdout + scoring.stderr).split())
    assert scoring.returncode == 3, output
    assert "Scoring with the verified copy of version 1, which was models:/" in output
    assert f"Error: published, not tracked: MLflow at {own_mlflow.uri} does not answer" in output
    after = mortal.manifest()
    assert after["run_id"] != before["run_id"]
    assert after["files"] == before["files"]
    assert mortal.results.exists(f"{after['run_id']}/health_report.html")

    shutil.move(mortal.folder / "cache", mortal.folder / "elsewhere")
    without = mortal.kedro("inference")
    shutil.rmtree(mortal.folder / "cache", ignore_errors=True)
    shutil.move(mortal.folder / "elsewhere", mortal.folder / "cache")
    assert without.returncode == 1
    assert "could not resolve models:/" in without.stderr
    assert mortal.manifest() == after
    own_mlflow.server.start()


def test_mlflow_killed_while_a_run_scores(mortal: MinioProject, own_mlflow: OwnMlflow) -> None:
    known = {run.info.run_id for run in runs(mortal, own_mlflow)}
    before = mortal.manifest()
    process = mortal.start("inference", "monitoring")
    while not (begun := [run for run in runs(mortal, own_mlflow) if run.info.run_id not in known]):
        assert process.poll() is None
        time.sleep(0.05)
    own_mlflow.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 3, output
    assert "Error: published, not tracked: MLflow does not answer" in output
    assert "Traceback" not in output
    after = mortal.manifest()
    assert after["run_id"] != before["run_id"]
    assert after["files"] == before["files"]
    assert mortal.results.exists(f"{after['run_id']}/health_report.html")

    own_mlflow.server.start()
    client = mlflow.MlflowClient(tracking_uri=own_mlflow.uri)
    assert client.get_run(begun[0].info.run_id).info.status == "RUNNING"
    assert mortal.kedro("inference").returncode == 0
    assert client.get_run(begun[0].info.run_id).info.status == "FAILED"
    assert "RUNNING" not in {run.info.status for run in runs(mortal, own_mlflow)}


def test_mlflow_killed_while_a_run_trains(mortal: MinioProject, own_mlflow: OwnMlflow) -> None:
    before = mortal.manifest()
    process = mortal.start("training", params="training.random_state=3,training.early_stopping_rounds=500")
    assert process.stdout is not None
    for line in process.stdout:
        if "hold_out_validation" in line:
            break
    own_mlflow.kill()
    output = process.stdout.read()
    assert process.wait(timeout=300) == 1
    assert "does not answer" in output or "API request to" in output, output
    own_mlflow.server.start()
    assert mortal.kedro("training", params="training.random_state=3").returncode == 0
    assert mortal.manifest() == before
    assert "RUNNING" not in {run.info.status for run in runs(mortal, own_mlflow)}


def test_postgresql_restarted_while_a_run_trains(stack: Stack, fresh: MinioProject) -> None:
    if stack.database is None:
        pytest.skip("PostgreSQL is not installed here")
    assert fresh.kedro("data_generation", "feature_engineering").returncode == 0
    process = fresh.start("training", params="training.early_stopping_rounds=120")
    assert process.stdout is not None
    for line in process.stdout:
        if "hold_out_validation" in line:
            break
    assert stack.database.stop()
    assert stack.database.start()
    output = process.stdout.read()
    if process.wait(timeout=300) != 0:
        assert "Traceback" not in output
        assert "Error: " in output
        assert fresh.kedro("training").returncode == 0
    champion = fresh.client.get_model_version_by_alias(f"churn_{fresh.name}", "champion")
    assert champion.tags["promotion"] == "promoted"
    assert fresh.run_statuses()[0] == "FINISHED"


# --- models that were tampered with -----------------------------------------------------------------------------


def model_folder(project: MinioProject) -> tuple[Any, str]:
    """MLflow's bucket, and the key of the champion's folder in it."""
    from churn.stores import open_store

    champion = project.client.get_model_version_by_alias(f"churn_{project.name}", "champion")
    run = project.client.get_run(champion.run_id)
    model = champion.source.removeprefix("models:/")
    bucket = open_store(
        f"s3://{project.stack.settings.artifacts}", project.stack.credentials(project.stack.settings.admin)
    )
    return bucket, f"{run.info.experiment_id}/models/{model}/artifacts"


def truncated(content: dict[str, bytes]) -> None:
    content[f"churn/{BOOSTER_FILE}"] = content[f"churn/{BOOSTER_FILE}"][:-100]


def flipped(content: dict[str, bytes]) -> None:
    booster = bytearray(content[f"churn/{BOOSTER_FILE}"])
    booster[len(booster) // 2] ^= 16
    content[f"churn/{BOOSTER_FILE}"] = bytes(booster)


def flipped_with_its_checksum(content: dict[str, bytes]) -> None:
    from churn.model.storage import checksums_of

    flipped(content)
    files = {name: content[f"churn/{name}"] for name in (BOOSTER_FILE, MODEL_FILE)}
    content[f"churn/{CHECKSUM_FILE}"] = checksums_of(files)


def pickled(content: dict[str, bytes]) -> None:
    import pickle

    content[f"churn/{BOOSTER_FILE}"] = pickle.dumps({"not": "a booster"})


def with_a_loader_of_its_own(content: dict[str, bytes]) -> None:
    content["MLmodel"] = content["MLmodel"].replace(b"loader_module: churn.mlflow_flavor", b"loader_module: os")


TAMPERED: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "truncated": (truncated, "the model's files do not match checksums.json"),
    "a flipped bit": (flipped, "the model's files do not match checksums.json"),
    "a flipped bit and a new checksum": (flipped_with_its_checksum, "the model is not the one that was registered"),
    "a pickle": (pickled, "the model's files do not match checksums.json"),
    "a loader of its own": (with_a_loader_of_its_own, "its MLmodel names the loader 'os'"),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_model_that_was_tampered_with(trained: MinioProject, kind: str) -> None:
    tamper, said = TAMPERED[kind]
    bucket, folder = model_folder(trained)
    names = ("MLmodel", *(f"churn/{name}" for name in (BOOSTER_FILE, MODEL_FILE, CHECKSUM_FILE)))
    content: dict[str, bytes] = {}
    for name in names:
        with bucket.reading(f"{folder}/{name}") as file:
            content[name] = file.read()
    changed = dict(content)
    tamper(changed)
    assert changed != content
    before = trained.manifest()

    def put(files: dict[str, bytes]) -> None:
        for name, stored in files.items():
            bucket.write(lambda file, stored=stored: file.write(stored), f"{folder}/{name}")

    put(changed)
    try:
        shutil.move(trained.folder / "cache", trained.folder / "elsewhere")
        refused = trained.kedro("inference")
        shutil.rmtree(trained.folder / "cache", ignore_errors=True)
        shutil.move(trained.folder / "elsewhere", trained.folder / "cache")
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stdout + refused.stderr
        assert trained.manifest() == before
        # The verified copy on this machine still is the registered model.
        trained.run("inference")
        assert trained.manifest()["files"] == before["files"]
    finally:
        put(content)


def test_the_model_of_another_table(trained: MinioProject, model: ChurnModel) -> None:
    from churn.registry import flavor, versions

    name = f"churn_{trained.name}"
    other = json.loads(json.dumps(model.schema.model_dump(mode="json")))
    other["id"] = "another_id"
    stranger = dataclasses.replace(model, schema=AccountSchema.model_validate(other))
    mlflow.set_tracking_uri(trained.stack.settings.tracking_uri)
    experiment = trained.client.get_experiment_by_name(f"churn_model_{trained.name}")
    with mlflow.start_run(experiment_id=experiment.experiment_id):
        flavor.log_model(stranger, registered_model_name=name)
    version = versions.find_version(name, stranger.sha256)
    trained.client.set_registered_model_alias(name, "champion", version.version)
    before = trained.manifest()
    try:
        refused = trained.kedro("inference")
    finally:
        trained.client.set_registered_model_alias(name, "champion", "1")
    assert refused.returncode == 1
    assert "was trained for another table: the id is 'another_id' there and 'account_id' here" in refused.stderr
    assert trained.manifest() == before


def test_a_damaged_copy_is_fetched_again(trained: MinioProject) -> None:
    booster = trained.folder / "cache/models" / trained.manifest()["model"]["sha256"] / BOOSTER_FILE
    good = booster.read_bytes()
    booster.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    done: subprocess.CompletedProcess[str] = trained.kedro("inference")
    assert done.returncode == 0, done.stderr
    assert "The local copy of a model is damaged and is downloaded again" in " ".join(
        (done.stdout + done.stderr).split()
    )
    assert booster.read_bytes() == good
