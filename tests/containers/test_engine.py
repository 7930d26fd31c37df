"""The images in containers, and compose.yaml, on the Docker engine of this machine: `make images` first, then these tests.

Each test says which images it needs and is skipped where the engine does not have them; nothing is pulled or built.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import mlflow
import pytest
import yaml

from churn.services.settings import variables_of, write_env
from churn.stores import Store, open_store
from tests.conftest import ROOT, clean_environment, run_process
from tests.operations.watching import TOKEN
from tests.stack import Stack, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.e2e]

DOCKER = shutil.which(os.environ.get("DOCKER", "docker")) or ""
CONFINED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # noqa: S108
OURS = ("churn-train", "churn-watch", "churn-inference", "churn-mlflow")
TRAINING = re.compile(r"CHURN_(S3_(ENDPOINT|REGION)|(STAGING|RESULTS)_BUCKET|TRAINING_\w+)|MLFLOW_TRACKING_\w+")
SCORING = re.compile(r"CHURN_(S3_(ENDPOINT|REGION)|(STAGING|RESULTS)_BUCKET|SCORING_\w+)|MLFLOW_TRACKING_\w+")
# A twentieth of the accounts.
SMALL = ("--params", "simulation.training_rows=3000,simulation.scoring_rows=1000")


def docker(*arguments: str, cwd: Path = ROOT, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return run_process(DOCKER, *arguments, cwd=cwd, timeout=timeout)


@cache
def absent() -> str | None:
    """Why there is no engine to be asked."""
    if not DOCKER:
        return "there is no docker on the PATH"
    if docker("version", "--format", "{{.Server.Version}}", timeout=20).returncode:
        return "no Docker engine answers here"
    return None


@cache
def has_image(image: str) -> bool:
    return docker("image", "inspect", image).returncode == 0


def need(*images: str) -> None:
    if reason := absent():
        pytest.skip(reason)
    if missing := [image for image in images if not has_image(image)]:
        pytest.skip(f"the engine has no image {', '.join(missing)}; make images builds those of the project")


def inside(image: str, program: str, *arguments: str) -> str:
    done = docker("run", "--rm", "--network", "none", "--entrypoint", program, image, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("image", OURS)
class TestImages:
    def test_user_and_command(self, image: str) -> None:
        need(image)
        config = json.loads(docker("image", "inspect", image).stdout)[0]["Config"]
        assert config["User"] == "10001:10001"
        assert config["Entrypoint"][:2] == ["python", "-m"]
        assert config["Labels"]["org.opencontainers.image.title"] == image
        assert not any(re.search(r"SECRET|PASSWORD|_KEY=", variable) for variable in config["Env"])

    def test_nothing_of_this_machine_is_inside(self, image: str) -> None:
        need(image)
        files = inside(image, "find", "/app", "/srv", "-type", "f").splitlines()
        assert not [file for file in files if re.search(r"/\.env|/\.git/|/conf/local/|/data/|\.db$", file)]
        history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
        kinds = ("_KEY", "PASSWORD", "TOKEN")
        secrets = [value for name, value in variables_of(ROOT).items() if value and name.endswith(kinds)]
        assert not [value for value in secrets if len(value) > 7 and value in history]

    def test_help_needs_no_setting_and_no_network(self, image: str) -> None:
        need(image)
        done = docker("run", "--rm", "--network", "none", *CONFINED, "--user", "54321:54321", image, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Usage: ")


def test_the_image_that_scores_is_small() -> None:
    need("churn-inference")
    size = int(docker("image", "inspect", "--format", "{{.Size}}", "churn-inference").stdout)
    assert size <= 900_000_000


def test_a_job_says_what_it_lacks() -> None:
    need("churn-inference")
    done = docker("run", "--rm", "--network", "none", *CONFINED, "churn-inference")
    assert done.returncode == 1
    assert "CHURN_S3_ENDPOINT is not set" in done.stderr
    wrong = docker("run", "--rm", "--network", "none", *CONFINED, "churn-inference", "--nonsense")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Usage: kedro run")


def test_what_the_builder_is_sent(tmp_path: Path) -> None:
    """The engine itself says what .dockerignore lets through."""
    need()
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    for name in (
        "pyproject.toml",
        "uv.lock",
        "README.md",
        "LICENSE",
        ".telemetry",
        "src/churn/x.py",
        "conf/base/x.yml",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in (".env", "conf/.env", "src/churn/.env", "conf/local/x.yml", ".git/HEAD", "data/x.csv", ".venv/x", "x.key",
                 "src/churn/__pycache__/x.pyc", ".services/identities.json"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    done = subprocess.run(
        [DOCKER, "build", "--quiet", "--output", "type=tar,dest=-", str(tmp_path)],
        env={**clean_environment(), "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        check=True,
        timeout=120,
    )
    with tarfile.open(fileobj=BytesIO(done.stdout)) as sent:
        files = {member.name.removeprefix("./") for member in sent if member.isfile()}
    assert files == {
        *("pyproject.toml", "uv.lock", "README.md", "LICENSE", ".telemetry", "src/churn/x.py", "conf/base/x.yml"),
    }


class Jobs:
    """The two jobs in containers, on the servers of the tests."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        assert stack.mlflow
        self.stack, self.folder = stack, folder
        self.said = ""
        self.known = {name: value or "" for name, value in variables_of(stack.folder).items() if name not in os.environ}

    def options(self, who: re.Pattern[str]) -> list[str]:
        file = self.folder / "variables"
        file.write_text("".join(f"{name}={value}\n" for name, value in self.known.items() if who.fullmatch(name)))
        return ["--network", "host", *CONFINED, "--env-file", str(file)]

    def run(self, image: str, who: re.Pattern[str], *arguments: str, options: tuple[str, ...] = ()) -> str:
        done = docker("run", "--rm", *self.options(who), *options, image, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def results(self) -> Store:
        settings = self.stack.settings
        return open_store(f"s3://{settings.results}", self.stack.credentials(settings.admin))

    def latest(self) -> str:
        run_id: str = self.results.read_json("latest.json")["run_id"]
        return run_id

    def manifest(self) -> dict[str, object]:
        manifest: dict[str, object] = self.results.read_json(f"{self.latest()}/manifest.json")
        return manifest

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(tracking_uri=self.stack.settings.tracking_uri)


@pytest.fixture(scope="module")
def jobs(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """After data, a training and a scoring."""
    need("churn-train", "churn-inference")
    jobs = Jobs(stack, tmp_path_factory.mktemp("jobs"))
    jobs.run("churn-train", TRAINING, "--pipelines", "data_generation", *SMALL)
    jobs.said = jobs.run("churn-train", TRAINING)
    jobs.run("churn-inference", SCORING)
    return jobs


class TestJobs:
    def test_what_a_training_says_outlives_its_container(self, jobs: Jobs) -> None:
        assert "plots     with the run in MLflow" in jobs.said
        assert "make viz" not in jobs.said

    def test_scoring_as_any_user(self, jobs: Jobs) -> None:
        before = jobs.manifest()
        jobs.run("churn-inference", SCORING, options=("--user", "54321:54321"))
        after = jobs.manifest()
        assert after["run_id"] != before["run_id"]
        assert (after["rows"], after["files"]) == (1000, before["files"])

    def test_scoring_with_a_read_only_file_system_and_no_more(self, jobs: Jobs) -> None:
        before = jobs.latest()
        plain = [option for option in jobs.options(SCORING) if option not in ("--tmpfs", "/tmp")]  # noqa: S108
        assert "--read-only" in plain
        done = docker("run", "--rm", *plain, "--user", "54321:54321", "churn-inference")
        assert done.returncode == 0, done.stderr
        assert jobs.latest() != before

    def test_scoring_with_the_model_of_a_run(self, jobs: Jobs) -> None:
        champion = jobs.client.get_model_version_by_alias("churn", "champion")
        run = jobs.client.get_run(champion.run_id or "")
        reference = f"{run.info.experiment_id}/{run.info.run_id}/artifacts"
        jobs.run("churn-inference", SCORING, options=("--env", f"ARTIFACTS_DIR={reference}"))
        jobs.run("churn-inference", SCORING, options=("--env", "MODEL_URI=models:/churn/1"))

    def test_scoring_with_a_wrong_reference(self, jobs: Jobs) -> None:
        before = jobs.latest()
        done = docker(
            *("run", "--rm", *jobs.options(SCORING), "--env", f"ARTIFACTS_DIR=1/{'0' * 32}/artifacts"),
            "churn-inference",
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert jobs.latest() == before

    def test_the_key_of_scoring_does_not_train(self, jobs: Jobs) -> None:
        done = docker("run", "--rm", *jobs.options(SCORING), "churn-train", "--pipelines", "data_generation", *SMALL)
        assert done.returncode == 1
        assert "access denied" in " ".join(done.stderr.split())

    def test_stopped_while_scoring(self, jobs: Jobs) -> None:
        name = f"churn-test-{uuid.uuid4().hex[:8]}"
        details = ("--env", "CHURN_VERBOSE=1")  # otherwise there is a line a stage only
        started = docker("run", "--detach", "--name", name, *details, *jobs.options(SCORING), "churn-inference")
        assert started.returncode == 0, started.stderr
        try:
            deadline = time.monotonic() + 60
            while "Completed node" not in "".join(docker("logs", name).stdout.split("\n")):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            asked = time.monotonic()
            docker("stop", name)
            took = time.monotonic() - asked
            state = json.loads(docker("inspect", name).stdout)[0]["State"]
        finally:
            docker("rm", "--force", name)
        assert (state["ExitCode"], state["OOMKilled"]) == (143, False)
        assert took < 10
        experiment = jobs.client.get_experiment_by_name("churn_model")
        assert experiment is not None
        newest = jobs.client.search_runs([experiment.experiment_id], max_results=1)[0]
        assert newest.info.status == "KILLED"
        # Those of before, or its own if it was that quick: whatever the pointer names is whole. That they are those of
        # before where it is stopped just ahead of publishing, the tests of the jobs show.
        manifest = jobs.manifest()
        assert manifest["rows"] == 1000
        assert jobs.results.exists(f"{jobs.latest()}/inference_result.csv")


class Deployment:
    """compose.yaml under a name and with keys and ports of its own."""

    def __init__(self, folder: Path, profile: str, with_password: bool) -> None:
        self.folder, self.profile = folder, profile
        self.name = f"churn-test-{uuid.uuid4().hex[:8]}"
        for file in ("compose.yaml", ".env.example"):
            shutil.copy(ROOT / file, folder)
        s3, console, tracking = map(str, free_ports(3))
        write_env(
            folder,
            with_password,
            CHURN_S3_ENDPOINT=f"http://127.0.0.1:{s3}",
            MLFLOW_TRACKING_URI=f"http://127.0.0.1:{tracking}",
            CHURN_S3_PORT=s3,
            CHURN_CONSOLE_PORT=console,
            CHURN_MLFLOW_PORT=tracking,
            COMPOSE_PROFILES=profile,
            CHURN_WATCH_TOKEN=TOKEN,
        )
        self.known = variables_of(folder)

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        done = docker("compose", "--project-name", self.name, *arguments, cwd=self.folder)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def results(self) -> Store:
        credentials = {
            "key": self.known["CHURN_SCORING_ACCESS_KEY"],
            "secret": self.known["CHURN_SCORING_SECRET_KEY"],
            "client_kwargs": {"endpoint_url": self.known["CHURN_S3_ENDPOINT"], "region_name": "us-east-1"},
        }
        return open_store("s3://ml-result", credentials)

    def latest(self) -> str:
        run_id: str = self.results.read_json("latest.json")["run_id"]
        return run_id

    def model(self) -> str | None:
        """Which version the current scores are of; none before there are any."""
        if not self.results.exists("latest.json"):
            return None
        version: str = self.results.read_json(f"{self.latest()}/manifest.json")["model"]["version"]
        return version


@pytest.fixture(params=[("minio", False), ("seaweedfs", True)], ids=["minio", "seaweedfs, with a password"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    profile, with_password = request.param
    need(*OURS, f"churn-{profile}", "churn-postgres")
    if docker("compose", "version").returncode:
        pytest.skip("docker has no compose here")
    deployment = Deployment(tmp_path, profile, with_password)
    yield deployment
    deployment("down", "--volumes", "--timeout", "1")


def test_compose_asks_for_a_dotenv(tmp_path: Path) -> None:
    need()
    if docker("compose", "version").returncode:
        pytest.skip("docker has no compose here")
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    done = docker("compose", "config", "--quiet", cwd=tmp_path)
    assert done.returncode != 0
    assert "make env writes a .env" in done.stderr
    Deployment(tmp_path, "minio", False)("config", "--quiet")


def test_compose_from_nothing_to_scores_and_again(deployment: Deployment) -> None:
    deployment("up", "--detach", "--wait", "--no-build")
    deployment("run", "--rm", "train", "--pipelines", "data_generation", *SMALL)
    deployment("run", "--rm", "train")
    deployment("run", "--rm", "inference")
    before = deployment.latest()
    # No service may write anywhere but to its volumes and /tmp.
    assert "Read-only file system" in deployment("exec", "-T", "mlflow", "touch", "/app/x", fails=True)
    deployment("down")
    deployment("up", "--detach", "--wait", "--no-build")
    assert deployment.latest() == before
    deployment("run", "--rm", "inference")
    assert deployment.latest() != before


def test_compose_trains_and_scores_without_being_called(deployment: Deployment) -> None:
    def until(version: str) -> None:
        deadline = time.monotonic() + 180
        while deployment.model() != version:
            assert time.monotonic() < deadline, deployment("logs", "watch")
            time.sleep(1)

    env = deployment.folder / ".env"
    env.write_text(re.sub(r"(?m)^(COMPOSE_PROFILES=.*)$", r"\1,watch", env.read_text()))
    # With MinIO it does not look by itself for a week: the store has to tell it.
    poll = 604800 if deployment.profile == "minio" else 5
    override = {"services": {"watch": {"command": ["--params", f"watch.poll={poll},promotion.margin=-1"]}}}
    (deployment.folder / "compose.override.yaml").write_text(yaml.safe_dump(override))
    deployment("up", "--detach", "--wait", "--no-build")
    deployment("run", "--rm", "train", "--pipelines", "data_generation", *SMALL)
    until("1")
    # A watch that is stopped and started knows where it was, and stops in time.
    asked = time.monotonic()
    deployment("stop", "watch")
    assert time.monotonic() - asked < 12
    before = deployment.latest()
    deployment("up", "--detach", "--wait", "--no-build")
    more = "simulation.training_rows=3100,simulation.scoring_rows=1000"
    deployment("run", "--rm", "train", "--pipelines", "data_generation", "--params", more)
    until("2")
    assert deployment.latest() != before
    log = " ".join(deployment("logs", "--no-color", "--no-log-prefix", "watch").split())
    assert re.search(r"since version 1: data: .*\+100 rows", log)
