"""The commands of the images: which kedro run they are, which model they take, and how they end when they are stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import mlflow
import pytest
from click.testing import CliRunner
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from churn.hooks.summary import SummaryHook
from churn.operations import container
from churn.operations.container import kedro_arguments, main, model_of, prune_arguments, watch_arguments
from tests.conftest import ROOT, Project, clean_environment

PIPELINES = "inference,monitoring"


@pytest.mark.parametrize(
    ("arguments", "model", "expected"),
    [
        ([], None, ["run", "--env", "minio", "--pipelines", PIPELINES]),
        (["--env", "telco"], None, ["run", "--pipelines", PIPELINES, "--env", "telco"]),
        (["--env=telco"], None, ["run", "--pipelines", PIPELINES, "--env=telco"]),
        (["-e", "telco", "-p", "inference"], None, ["run", "-e", "telco", "-p", "inference"]),
        (["--pipeline", "training"], None, ["run", "--env", "minio", "--pipeline", "training"]),
        (["--pipelines=training"], None, ["run", "--env", "minio", "--pipelines=training"]),
        (
            ["--params", "a=1", "--async", "--params=b=2,c=3"],
            None,
            ["run", "--env", "minio", "--pipelines", PIPELINES, "--params", "a=1,b=2,c=3", "--async"],
        ),
        (
            ["--params", "a=1"],
            "models:/churn/3",
            ["run", "--env", "minio", "--pipelines", PIPELINES, "--params", "model_uri=models:/churn/3,a=1"],
        ),
        # The last one counts for kedro, so that a parameter goes before the variable.
        (
            ["--params", "model_uri=runs:/x/model"],
            "models:/churn/3",
            [
                *("run", "--env", "minio", "--pipelines", PIPELINES),
                *("--params", "model_uri=models:/churn/3,model_uri=runs:/x/model"),
            ],
        ),
    ],
)
def test_arguments_of_kedro(arguments: list[str], model: str | None, expected: list[str]) -> None:
    assert kedro_arguments(PIPELINES, arguments, model) == expected


def test_arguments_of_the_watch() -> None:
    listens = "watch.host=0.0.0.0"
    assert watch_arguments([]) == ["watch", "--env", "minio", "--params", listens]
    assert watch_arguments(["--once", "-e", "local", "--params", "watch.quiet=1"]) == [
        *("watch", "--params", f"{listens},watch.quiet=1", "--once", "-e", "local")
    ]


def test_arguments_of_prune() -> None:
    assert prune_arguments([]) == ["prune", "--env", "minio", "--yes"]
    assert prune_arguments(["--env", "local", "--keep", "3"]) == ["prune", "--yes", "--env", "local", "--keep", "3"]


def test_a_params_without_a_value_is_not_lost_silently() -> None:
    assert kedro_arguments(PIPELINES, ["--params"])[-2:] == ["--params", ""]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"MODEL_URI": "", "ARTIFACTS_DIR": ""}, None),
        ({"MODEL_URI": "models:/churn/3"}, "models:/churn/3"),
        ({"MODEL_URI": "", "ARTIFACTS_DIR": "1/0123/artifacts"}, "1/0123/artifacts"),
    ],
)
def test_the_model_that_variables_name(variables: dict[str, str], expected: str | None) -> None:
    assert model_of(variables) == expected


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MODEL_URI": "a", "ARTIFACTS_DIR": "b"}, "MODEL_URI and ARTIFACTS_DIR both name a model; set one of them"),
        ({"MODEL_URI": "a,inference.as_of=2026-01-01"}, "MODEL_URI = .*: a model URI cannot have a comma"),
    ],
)
def test_names_of_models_that_are_refused(variables: dict[str, str], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        model_of(variables)


@pytest.mark.parametrize("job", ["train", "inference"])
def test_help_says_what_a_job_does_without_any_setting(job: str) -> None:
    shown = CliRunner().invoke(main, [job, "--help"])
    assert shown.exit_code == 0
    assert "kedro run --env minio --pipelines" in shown.output
    assert "Exit codes: 0 success; 1 error" in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("uri", "look"),
    [
        ("http://mlflow:5000", [["look", "http://mlflow:5000:", "runs", "and", "models"]]),
        ("sqlite:////tmp/mlflow.db", []),
    ],
)
def test_where_a_job_says_that_things_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str, look: list[list[str]]
) -> None:
    """In MLflow: the folder of the job goes with its container, and there is no Makefile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    catalog = DataCatalog(
        {"training_metrics": MemoryDataset({"test_roc_auc": 0.81}), "promotion_decision": MemoryDataset()}
    )
    training = Pipeline([Node(lambda x: x, "x", "training_metrics")])
    SummaryHook().after_pipeline_run(run_params={}, pipeline=training, catalog=catalog)
    said = capsys.readouterr().out
    assert "test ROC AUC 0.8100" in said
    assert "plots  with the run in MLflow" in said
    assert "make" not in said
    assert [line.split() for line in said.splitlines() if "runs and models" in line] == look


class TestVerify:
    @pytest.fixture
    def model(self, finished: Project, tmp_path: Path) -> Path:
        """A copy of the model of a run."""
        (found,) = (finished.folder / "cache/models").glob("*/checksums.json")
        return Path(shutil.copytree(found.parent, tmp_path / "model"))

    def test_a_model(self, model: Path) -> None:
        done = CliRunner().invoke(main, ["verify", str(model)])
        assert done.exit_code == 0, done.output
        assert done.output.startswith(f"{model} holds the model ")

    @pytest.mark.parametrize("content", [None, "no-model"])
    def test_no_model(self, tmp_path: Path, content: str | None) -> None:
        if content:
            (tmp_path / content).touch()
        for folder in (tmp_path, tmp_path / "missing"):
            done = CliRunner().invoke(main, ["verify", str(folder)])
            assert done.exit_code == 1
            assert done.output == (
                f"Error: {folder} holds no model; docs/compose.md describes how to build one into an image\n"
            )

    def test_a_damaged_model(self, model: Path) -> None:
        with (model / "booster.ubj").open("ab") as file:
            file.write(b"x")
        done = CliRunner().invoke(main, ["verify", str(model)])
        assert done.exit_code == 1
        assert "do not match checksums.json; the model is damaged or was changed" in done.output

    def test_a_model_without_one_of_its_files(self, model: Path) -> None:
        (model / "model.json").unlink()
        done = CliRunner().invoke(main, ["verify", str(model)])
        assert done.exit_code == 1
        assert done.output.startswith("Error: ")
        assert "Traceback" not in done.output


# A job that says when it is about to publish its manifest, and then takes its time.
SLOW = """
import sys, time
from churn.stores.local import LocalStore
write = LocalStore.write
def slow(self, content, name=""):
    if name.endswith("/manifest.json"):
        print("publishing", flush=True)
        {wait}
    return write(self, content, name)
LocalStore.write = slow
from churn.operations.container import main
main(sys.argv[1:], prog_name="churn")
"""
WAITS = {
    "waits": "time.sleep(60)",
    # As a library does that is in the middle of something.
    "does not listen": """
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass
""".strip(),
}


@pytest.mark.e2e
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_job_that_is_stopped(copied: Project, wait: str) -> None:
    """It ends before an engine kills it, MLflow knows, and the results of before are current."""
    before = (copied.results / "latest.json").read_bytes()
    client = mlflow.MlflowClient(f"sqlite:///{copied.artifacts}/mlflow.db")
    arguments = ("inference", "--env", "local", "--conf-source", str(copied.conf))
    with subprocess.Popen(
        [sys.executable, "-c", SLOW.format(wait=wait), *arguments],
        cwd=ROOT,
        env={**clean_environment(), "CHURN_SCRATCH": str(copied.folder / "scratch")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as job:
        assert job.stdout is not None
        seen = []
        for line in job.stdout:
            seen.append(line)
            if line == "publishing\n":
                break
        assert job.poll() is None, "".join(seen)
        job.send_signal(signal.SIGTERM)
        rest = job.stdout.read()
        code = job.wait(timeout=120)
    assert code == 143, rest
    assert "Stopped by SIGTERM; the results published before are still current." in rest
    assert "Traceback" not in rest
    assert (copied.results / "latest.json").read_bytes() == before
    published = {file.parent.name for file in copied.results.glob("*/manifest.json")}
    assert published == {json.loads(before)["run_id"]}
    experiment = client.get_experiment_by_name("churn_model")
    assert experiment is not None
    newest = client.search_runs([experiment.experiment_id], max_results=1)[0]
    assert newest.info.status == "KILLED"


def test_the_time_to_end_is_less_than_engines_give() -> None:
    assert container.GRACE + container.LAST_WORDS < 10


@pytest.mark.e2e
def test_a_job_without_settings_says_what_it_lacks(tmp_path: Path) -> None:
    project = tmp_path / "app"
    (project / "src").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", project)
    shutil.copytree(ROOT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    known = {name: value for name, value in clean_environment().items() if not name.startswith("MLFLOW")}
    for arguments, code, said in (
        ([], 1, "CHURN_S3_ENDPOINT is not set; set it in the environment or in"),
        (["--nonsense"], 2, "Usage: kedro run [OPTIONS]"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "churn.operations.container", "inference", *arguments],
            cwd=project,
            env={**known, "CHURN_SCRATCH": "", "TMPDIR": os.fspath(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
