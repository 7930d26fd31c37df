"""Back-up of buckets and of the servers' database, and the way back into servers that are new."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from churn.errors import ChurnError, FaultsError
from churn.operations.backup import Places, back_up, places_of, restore
from churn.operations.backup import restoring as module
from churn.services.buckets import s3_client
from churn.services.postgres import postgres_programs, socket_folder
from tests.conftest import ROOT, Project
from tests.minio.conftest import MinioProject
from tests.stack import Stack, start_stack

pytestmark = pytest.mark.slow

OUTPUTS = ("inference_result.csv", "inference_result.parquet", "retention_list.csv", "input_profile.json")


@pytest.fixture(scope="module")
def new_servers() -> Iterator[Stack]:
    """Servers on which nothing has run."""
    for stack in start_stack():
        assert stack.mlflow
        yield stack


def places(project: Project, stack: Stack) -> Places:
    from kedro.framework.project import settings
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(ROOT)
    loader = settings.CONFIG_LOADER_CLASS(conf_source=str(project.conf), env="minio", **settings.CONFIG_LOADER_ARGS)
    return places_of(loader, project.folder, stack.folder)


def test_buckets_and_database_come_back_on_new_servers(
    trained: MinioProject, new_servers: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(places(trained.project, trained.stack), str(tmp_path / "backups"))
    kinds = {"sqlite", "postgresql"} if postgres_programs() is None else {"postgresql"}
    assert made.manifest.tracking.kind in kinds
    assert made.manifest.latest == trained.latest()
    # No key or password of the servers is in it.
    texts = b"".join(path.read_bytes() for path in Path(made.uri).rglob("*") if path.is_file())
    settings = trained.stack.settings
    for secret in (settings.database_password, settings.scoring.secret_key, settings.admin.secret_key):
        assert secret.encode() not in texts

    # Into the same buckets and the same model, on other servers.
    project = new_servers.project(tmp_path / "elsewhere", buckets=trained.name)
    there = places(project, new_servers)

    # Killed before the pointer, no results are current; the next one goes on.
    real = module.copy_file
    copied: list[str] = []

    def killed(source: object, name: str, *rest: object) -> object:
        if name == "results/latest.json" and not copied:
            copied.append(name)
            raise KeyboardInterrupt
        return real(source, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "copy_file", killed)
    with pytest.raises(KeyboardInterrupt):
        restore(there, made.uri)
    assert not there.folders["results"].store.exists("latest.json")
    monkeypatch.setattr(module, "copy_file", real)
    done = restore(there, made.uri)
    assert {"database", "artifacts"} <= set(done.present)
    assert done.placed == ["results"]

    results = there.folders["results"].store
    restored = results.read_json("latest.json")["run_id"]
    assert restored == trained.latest()
    project.run("inference", env="minio")
    now = results.read_json("latest.json")["run_id"]
    assert now != restored
    for name in OUTPUTS:
        assert results.sha256(f"{now}/{name}") == trained.results.sha256(f"{restored}/{name}"), name

    # What is there now is not replaced, unless told.
    with pytest.raises(FaultsError, match="other objects"):
        restore(there, made.uri)
    replaced = restore(there, made.uri, replace=True)
    assert results.read_json("latest.json")["run_id"] == restored
    assert any(now in kept for kept in replaced.kept)


@pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed here")
def test_a_dump_that_was_made_elsewhere(trained: MinioProject, tmp_path: Path) -> None:
    """As docs/operations.md describes it for docker compose: the database is dumped in its container."""
    assert trained.stack.database
    here = places(trained.project, trained.stack)
    programs, dump = postgres_programs(), tmp_path / "mlflow.dump"
    assert programs
    subprocess.run(
        [
            *(programs / "pg_dump", "--host", socket_folder(trained.stack.folder), "--username", "churn"),
            *("--format", "custom", "--file", dump, "mlflow"),
        ],
        env={"PGPASSWORD": trained.stack.settings.database_password, "PATH": "/usr/bin:/bin"},
        check=True,
    )
    away = replace(here, database=None)
    with pytest.raises(ChurnError, match="--database-dump"):
        back_up(away, str(tmp_path / "backups"), parts=["models"])
    shutil.rmtree(tmp_path / "backups")
    made = back_up(away, str(tmp_path / "backups"), parts=["models"], dump=dump)
    assert made.manifest.tracking.kind == "postgresql"
    (tmp_path / "other").write_text("no dump")
    with pytest.raises(ChurnError, match="not a dump of PostgreSQL"):
        back_up(away, str(tmp_path / "more"), parts=["models"], dump=tmp_path / "other")
    # Here the buckets have everything, and the database is left to who can reach it.
    done = restore(away, made.uri, parts=["models"])
    assert done.present == ["artifacts"]
    (left,) = done.open
    assert "pg_restore" in left


def test_a_backup_in_a_bucket(trained: MinioProject, tmp_path: Path) -> None:
    """Written to a prefix in S3, and read from there."""
    admin = trained.stack.settings.admin
    here = places(trained.project, trained.stack)
    with_bucket = replace(here, credentials=trained.stack.credentials(admin))
    client = s3_client(trained.stack.settings, admin)
    client.create_bucket(Bucket="backups")
    made = back_up(with_bucket, f"s3://backups/{trained.name}", parts=["results"])
    assert made.uri.startswith("s3://")
    assert restore(with_bucket, made.uri, parts=["results"]).present == ["results"]
    name = f"results/{made.manifest.latest}/inference_result.csv"
    content = trained.results.sha256(f"{made.manifest.latest}/inference_result.csv")
    assert (
        made.manifest.files[name].sha256 == content == hashlib.sha256(_bytes(with_bucket, made.uri, name)).hexdigest()
    )


def _bytes(places: Places, uri: str, name: str) -> bytes:
    with places.backup(uri).reading(name) as file:
        return file.read()
