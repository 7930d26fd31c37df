"""Nobody gets in where they do not belong, and no secret gets out."""

import re
import subprocess
from pathlib import Path

import pytest
import requests
import s3fs

from churn.services.mlflow import mlflow_server
from churn.services.settings import Identity, variables_of
from churn.stores import open_store
from tests.conftest import ROOT
from tests.minio.conftest import MinioProject
from tests.stack import Stack, free_ports

SECRET_NAMES = re.compile(r"_(SECRET_KEY|PASSWORD|SERVER_SECRET_KEY)$")


def file_system(stack: Stack, identity: Identity | None) -> s3fs.S3FileSystem:
    assert stack.s3
    options = {"client_kwargs": {"endpoint_url": stack.settings.endpoint, "region_name": "us-east-1"}}
    if identity is None:
        return s3fs.S3FileSystem(anon=True, skip_instance_cache=True, **options)
    return s3fs.S3FileSystem(key=identity.access_key, secret=identity.secret_key, skip_instance_cache=True, **options)


@pytest.fixture(scope="module")
def filled(stack: Stack) -> Stack:
    """The store with an object in each bucket."""
    admin = file_system(stack, stack.settings.admin)
    for bucket in stack.settings.buckets:
        admin.pipe_file(f"{bucket}/there.txt", b"x")
    return stack


@pytest.mark.parametrize("who", ["anonymous", "wrong secret", "unknown key"])
def test_strangers_are_refused_on_every_bucket(filled: Stack, who: str) -> None:
    scoring = filled.settings.scoring
    identity = {
        "anonymous": None,
        "wrong secret": scoring._replace(secret_key="x" * 48),
        "unknown key": Identity("x", "nobody", "x" * 48),
    }[who]
    stranger = file_system(filled, identity)
    for bucket in filled.settings.buckets:
        for attempt in (
            lambda bucket=bucket: stranger.cat_file(f"{bucket}/there.txt"),
            lambda bucket=bucket: stranger.ls(bucket, refresh=True),
            lambda bucket=bucket: stranger.pipe_file(f"{bucket}/new.txt", b"x"),
            lambda bucket=bucket: stranger.rm_file(f"{bucket}/there.txt"),
        ):
            with pytest.raises(PermissionError):
                attempt()
        if who == "anonymous":
            assert requests.get(f"{filled.settings.endpoint}/{bucket}/there.txt", timeout=5).status_code == 403
            assert requests.get(f"{filled.settings.endpoint}/{bucket}", timeout=5).status_code == 403


# Who may read and who may write which bucket.
RIGHTS = {
    "training": {"staging": "rw", "artifacts": "", "results": ""},
    "scoring": {"staging": "r", "artifacts": "", "results": "rw"},
    "tracking": {"staging": "", "artifacts": "rw", "results": ""},
}


@pytest.mark.parametrize("who", RIGHTS)
def test_identities_have_the_rights_they_need_and_no_others(filled: Stack, who: str) -> None:
    fs = file_system(filled, getattr(filled.settings, who))
    for name, rights in RIGHTS[who].items():
        bucket = getattr(filled.settings, name)
        for right, attempt in (
            ("r", lambda bucket=bucket: fs.cat_file(f"{bucket}/there.txt")),
            ("w", lambda bucket=bucket: fs.pipe_file(f"{bucket}/{who}.txt", b"x")),
            ("w", lambda bucket=bucket: fs.rm_file(f"{bucket}/{who}.txt")),
        ):
            if right in rights:
                attempt()
            else:
                with pytest.raises(PermissionError):
                    attempt()
    with pytest.raises(PermissionError):
        fs.mkdir("another-bucket")


@pytest.mark.e2e
def test_a_scoring_process_needs_the_key_of_scoring_only(trained: MinioProject, tmp_path: Path) -> None:
    scorer = MinioProject(trained.stack, tmp_path)
    scorer.project.configure("minio", "globals", read_globals(trained))
    scorer.name = trained.name
    scorer.set(CHURN_TRAINING_ACCESS_KEY="", CHURN_TRAINING_SECRET_KEY="")
    before = trained.latest()
    scorer.run("inference", "monitoring")
    assert trained.latest() != before
    assert "access denied (AccessDenied)" in scorer.refused("data_generation")


@pytest.mark.e2e
def test_a_training_process_cannot_publish(trained: MinioProject, tmp_path: Path) -> None:
    trainer = MinioProject(trained.stack, tmp_path)
    trainer.project.configure("minio", "globals", read_globals(trained))
    trainer.set(CHURN_SCORING_ACCESS_KEY="", CHURN_SCORING_SECRET_KEY="")
    before = trained.manifest()
    assert "access denied" in trainer.refused("inference")
    assert trained.manifest() == before


def read_globals(project: MinioProject) -> dict:
    import yaml

    return yaml.safe_load((project.project.conf / "minio/globals.yml").read_text())


@pytest.mark.e2e
def test_no_secret_is_shown_or_stored(trained: MinioProject) -> None:
    secrets = {
        value for name, value in variables_of(trained.stack.folder).items() if value and SECRET_NAMES.search(name)
    }
    assert len(secrets) == 6
    done = [
        trained.kedro("inference"),
        trained.kedro("inference", params=f"inference.as_of={trained.stack.settings.scoring.secret_key}"),
        trained.kedro("inference", params=f"model_uri={trained.stack.settings.training.secret_key}"),
        trained.kedro("data_generation", params=f"credentials.key={trained.stack.settings.training.secret_key}"),
    ]
    assert [each.returncode for each in done] == [0, 1, 1, 1]
    shown = "".join(each.stdout + each.stderr for each in done)
    assert "inference.as_of = '***'" in shown
    assert "model_uri = '***'" in shown
    tracked = ""
    experiment = trained.client.get_experiment_by_name(f"churn_model_{trained.name}")
    for run in trained.client.search_runs([experiment.experiment_id]):
        tracked += str(run.to_dictionary())
    for version in trained.client.search_model_versions(f"name = 'churn_{trained.name}'"):
        tracked += str(dict(version.tags)) + version.description
    published = str(trained.manifest())
    pages = "".join(file.read_text() for file in (trained.folder / "reports").glob("*.*ml"))
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    committed = "".join(
        (ROOT / name).read_text(errors="ignore") for name in filter(None, files.split("\0")) if (ROOT / name).is_file()
    )
    logs = "".join(file.read_text(errors="replace") for file in trained.stack.folder.glob("*.log"))
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    for secret in secrets:
        for place, text in {
            "output": shown,
            "MLflow": tracked,
            "manifest": published,
            "pages": pages,
            "repository": committed,
            "logs of the servers": logs,
            "command lines": commands,
        }.items():
            assert secret not in text, place


@pytest.mark.e2e
def test_pickles_are_not_loaded_whatever_the_environment_says(
    trained: MinioProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    from churn.hooks.tracking import TrackingHook

    TrackingHook()
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


@pytest.mark.slow
@pytest.mark.e2e
def test_mlflow_asks_for_a_password_where_one_is_set(stack: Stack, tmp_path: Path) -> None:
    from dataclasses import replace

    import mlflow

    assert stack.s3
    (port,) = free_ports(1)
    uri = f"http://127.0.0.1:{port}"
    settings = replace(stack.settings, tracking_uri=uri, username="churn", password="a-password-of-the-tests")
    server = mlflow_server(tmp_path, settings, f"sqlite:///{tmp_path}/mlflow.db")
    server.start()
    try:
        search = f"{uri}/api/2.0/mlflow/experiments/search?max_results=1"
        assert requests.get(search, timeout=10).status_code == 401
        assert requests.get(search, auth=("churn", "wrong"), timeout=10).status_code == 401
        assert requests.get(search, auth=("churn", settings.password), timeout=10).status_code == 200
        assert requests.get(f"{uri}/health", headers={"Host": "evil.example"}, timeout=10).status_code in (200, 403)
        assert requests.get(search, headers={"Host": "evil.example"}, timeout=10).status_code == 403
        (tmp_path / "project").mkdir()
        project = MinioProject(
            stack,
            tmp_path / "project",
            MLFLOW_TRACKING_URI=uri,
            MLFLOW_TRACKING_USERNAME="churn",
            MLFLOW_TRACKING_PASSWORD=settings.password,
        )
        project.run("data_generation", "feature_engineering", "training", training__booster__n_estimators=20)
        project.set(MLFLOW_TRACKING_PASSWORD="another-password")
        refused = project.kedro("inference")
        assert refused.returncode == 1
        assert "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in refused.stderr
        assert "another-password" not in refused.stdout + refused.stderr
        assert "Traceback" not in refused.stdout + refused.stderr
    finally:
        server.stop()
    assert mlflow.active_run() is None


NAMES_THAT_LEAD_ELSEWHERE = ("..", "../x", "%2e%2e", "a/../b", "/etc/passwd", "s3://other/x", "file:///etc")


@pytest.mark.parametrize("name", NAMES_THAT_LEAD_ELSEWHERE)
def test_run_ids_and_files_that_lead_elsewhere(stack: Stack, name: str) -> None:
    from churn.datasets import HealthReportDataset, ResultsDataset
    from churn.errors import ChurnError

    assert stack.s3
    where = f"s3://{stack.settings.results}/elsewhere"
    credentials = stack.credentials(stack.settings.scoring)
    results = ResultsDataset(filepath=where, credentials=credentials)
    store = open_store(where, credentials)
    store.write_json({"run_id": name, "manifest": f"{name}/manifest.json"}, "latest.json")
    for attempt in (
        results.load,
        lambda: results.folder(name),
        lambda: results.document(name, "x.json"),
        lambda: HealthReportDataset(filepath=where, credentials=credentials).save(
            {"run_id": name, "metrics": {}, "html": ""}
        ),
    ):
        with pytest.raises(Exception, match="is not a run id; a run id is a UUID") as caught:
            attempt()
        assert isinstance(caught.value, ChurnError) or isinstance(caught.value.__cause__, ChurnError)
    run_id = "6f1c7f7e-52a4-4b0c-9f0b-0d6f5a3c2b1a"
    store.write_json({"run_id": run_id}, "latest.json")
    store.write_json({"run_id": run_id, "files": {name: {"sha256": ""}}}, f"{run_id}/manifest.json")
    with pytest.raises(Exception, match="which is not a result file"):
        results.load()


@pytest.mark.parametrize("name", NAMES_THAT_LEAD_ELSEWHERE)
@pytest.mark.parametrize(
    "form", ["models:/{}@champion", "models:/{}/1", f"runs:/{'0' * 32}/{{}}", f"{{}}/{'0' * 32}/artifacts"]
)
def test_model_names_that_lead_elsewhere(name: str, form: str) -> None:
    from churn import mlflow_flavor
    from churn.errors import ChurnError

    with pytest.raises(ChurnError, match="names no model: it is neither a folder here nor of the form"):
        mlflow_flavor.load_model(form.format(name))
