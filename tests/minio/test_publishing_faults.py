"""Runs that are killed, collide or find the disk full while they publish."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from churn.datasets import ResultsDataset
from churn.errors import ChurnError
from tests.conftest import ROOT, Project, clean_environment, make_project
from tests.datasets.test_results import Given, given
from tests.minio.conftest import MinioProject
from tests.proxy import FaultyProxy

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


# --- on buckets -------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(trained: MinioProject, proxy: FaultyProxy) -> Iterator[MinioProject]:
    """The project with the proxy before the store."""
    trained.set(CHURN_S3_ENDPOINT=proxy.address)
    yield trained
    trained.set(CHURN_S3_ENDPOINT=trained.stack.settings.endpoint)


# The first bytes of the request before which the process dies.
MOMENTS = {
    "while writing results": "inference_result.parquet",
    "between data and manifest": "manifest.json",
    "between manifest and pointer": "latest.json",
}


@pytest.mark.parametrize("name", MOMENTS.values(), ids=MOMENTS.keys())
def test_killed_while_publishing(watched: MinioProject, proxy: FaultyProxy, name: str) -> None:
    before = watched.manifest()
    process = watched.start("inference")

    def kill(line: bytes) -> None:
        if line.startswith(b"PUT") and name.encode() in line:
            process.kill()

    proxy.on_request = kill
    output, _ = process.communicate(timeout=300)
    proxy.on_request = None
    assert process.returncode == -signal.SIGKILL, output
    assert watched.manifest() == before
    watched.run("inference")
    after = watched.manifest()
    assert after["run_id"] != before["run_id"]
    assert after["files"] == before["files"]


def test_runs_that_publish_at_the_same_moment(trained: MinioProject) -> None:
    seen: set[str] = set()
    done = threading.Event()
    reader = ResultsDataset(
        filepath=f"s3://{trained.stack.settings.results}/{trained.name}",
        credentials=trained.stack.credentials(trained.stack.settings.scoring),
    )

    def read() -> None:
        while not done.is_set():
            # Loading compares every file with the manifest.
            published = reader.load()
            assert len(published.predictions) == 1000
            seen.add(published.run_id)

    before = trained.latest()
    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        runs = [pool.submit(trained.kedro, "inference") for _ in range(3)]
        outcomes = [run.result() for run in runs]
        done.set()
        reading.result()
    assert [each.returncode for each in outcomes] == [0, 0, 0], outcomes[0].stderr
    made = {line.split("/")[-2] for each in outcomes for line in each.stdout.splitlines() if "inference_result" in line}
    assert before in seen
    assert seen <= made | {before}
    assert len(made) == 3
    for manifest in [trained.results.read_json(f"{run_id}/manifest.json") for run_id in made]:
        for file, described in manifest["files"].items():
            assert trained.results.sha256(f"{manifest['run_id']}/{file}") == described["sha256"]
    latest = trained.manifest()
    assert latest["run_id"] in made


def test_one_version_for_the_whole_run_although_the_alias_moves(watched: MinioProject, proxy: FaultyProxy) -> None:
    name = f"churn_{watched.name}"
    watched.run("training", training__threshold=0.4, promotion__force=True)
    assert watched.client.get_model_version_by_alias(name, "champion").version == "2"
    process = watched.start("inference", "monitoring")

    def move(line: bytes) -> None:
        if line.startswith(b"PUT") and b"inference_result.csv" in line:
            proxy.on_request = None
            watched.client.set_registered_model_alias(name, "champion", "1")

    proxy.on_request = move
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    manifest = watched.manifest()
    assert watched.client.get_model_version_by_alias(name, "champion").version == "1"
    assert (manifest["model"]["version"], manifest["threshold"]) == ("2", 0.4)
    with watched.results.reading(f"{manifest['run_id']}/inference_result.parquet") as file:
        assert set(pd.read_parquet(file)["model_version"]) == {"2"}
    watched.run("inference")  # the results of the first model are what other tests find
    assert watched.manifest()["model"]["version"] == "1"


# --- on a disk --------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from churn.stores.local import LocalStore
writing = LocalStore.writing
def killing(self, name=""):
    if name.endswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return writing(self, name)
LocalStore.writing = killing
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path(sys.argv[2]))
with KedroSession.create(project_path=sys.argv[2], conf_source=sys.argv[3]) as session:
    session.run(pipeline_names=["inference"])
"""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("laptop"))
    project.run(training__booster__n_estimators=20)
    return project


@pytest.mark.parametrize("name", MOMENTS.values(), ids=MOMENTS.keys())
def test_killed_while_publishing_on_a_disk(laptop: Project, name: str) -> None:
    before = laptop.run_folder()
    arguments = [name, str(ROOT), str(laptop.conf)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=clean_environment(), check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert laptop.run_folder() == before
    assert (before / "inference_result.csv").exists()
    laptop.run("inference")
    assert laptop.run_folder() != before


def test_a_killed_run_is_closed_by_the_next(laptop: Project) -> None:
    arguments = ["manifest.json", str(ROOT), str(laptop.conf)]
    subprocess.run([sys.executable, "-c", KILLED, *arguments], env=clean_environment(), check=False, timeout=300)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{laptop.folder}/mlflow-artifacts/mlflow.db")
    experiment = client.get_experiment_by_name("churn_model")
    newest = client.search_runs([experiment.experiment_id])[0]
    assert newest.info.status == "RUNNING"
    laptop.run("inference")
    closed = client.get_run(newest.info.run_id)
    assert closed.info.status == "FAILED"
    assert closed.data.tags["closed_late"] == "its process ended without telling MLflow"
    assert "RUNNING" not in {run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert not list((laptop.folder / "cache/runs").iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; where none can be mounted, a folder."""
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True, check=False
        ).returncode
    )
    yield tmp_path
    if mounted:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    results = ResultsDataset(filepath=str(small_disk / "results"))
    results.save(given(0.1))
    before = results.load()
    big = pd.DataFrame({"account_id": [f"account-{row:09}" for row in range(200_000)]})
    big = big.assign(probability=0.25, prediction=1, risk_band="low", model_version="3")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not os.path.ismount(small_disk):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))
    try:
        with pytest.raises(Exception, match=r"cannot be written: (No space left on device|File too large)") as caught:
            results.save(Given(big))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, ChurnError)
    assert results.load().run_id == before.run_id
    assert not list(small_disk.rglob("*.part"))
    results.save(given(0.2))
    assert results.load().predictions.column("probability").tolist() == [0.2, 0.75]


def test_fifty_starts_at_once_have_fifty_run_ids(tmp_path: Path) -> None:
    children = []
    for _ in range(50):
        child = os.fork()
        if child == 0:
            # A copy of this process, random state included, that must not go on with the tests.
            try:
                ResultsDataset(filepath=str(tmp_path)).save(given())
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 50
    manifests = [json.loads(file.read_text()) for file in tmp_path.glob("*/manifest.json")]
    assert len({manifest["run_id"] for manifest in manifests}) == 50
    assert ResultsDataset(filepath=str(tmp_path)).load().run_id in {manifest["run_id"] for manifest in manifests}
