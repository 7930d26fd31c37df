"""Back-up and restore of a laptop: what is copied while runs go on, and how it is put back, completely or not at all."""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project

from churn.errors import ChurnError, FaultsError
from churn.operations.backup import Places, back_up, check, places_of, restore
from churn.operations.backup import restoring as module
from churn.operations.backup.databases import SqliteDatabase, move_artifacts
from churn.stores.local import LocalStore
from tests.conftest import ROOT, Project, make_project

LEFT = re.compile(r"mlflow\.db|\.lock$")
OUTPUTS = ("inference_result.csv", "inference_result.parquet", "retention_list.csv", "input_profile.json")


def places(project: Project, env: str | None = None) -> Places:
    """The places of a project with a folder of its own."""
    bootstrap_project(ROOT)
    loader = settings.CONFIG_LOADER_CLASS(conf_source=str(project.conf), env=env, **settings.CONFIG_LOADER_ARGS)
    return places_of(loader, project.folder, project.folder / ".services")


@pytest.fixture(scope="module")
def kept(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the finished project; not to be changed."""
    (finished.conf / "local/credentials.yml").write_text("notifications: {webhook: https://hooks.example.com/secret}\n")
    try:
        return Path(back_up(places(finished), str(tmp_path_factory.mktemp("backups"))).uri)
    finally:
        (finished.conf / "local/credentials.yml").unlink()


@pytest.fixture
def backup(kept: Path, tmp_path: Path) -> Path:
    """The backup, to be changed."""
    return shutil.copytree(kept, tmp_path / "backup")


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make_project(tmp_path / "elsewhere")


def manifest_of(backup: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((backup / "manifest.json").read_text())
    return content


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stores_of(project: Project) -> dict[str, dict[str, bytes]]:
    """What lies in the places of a project, the database and locks apart."""
    return {
        place: {name: content for name, content in tree(project.folder / place).items() if not LEFT.search(name)}
        for place in ("data-staging", "ml-result", "mlflow-artifacts")
    }


# --- the whole way ------------------------------------------------------------------------------------------------


def test_restored_into_an_empty_place_it_scores_the_same_bytes(kept: Path, finished: Project, empty: Project) -> None:
    done = restore(places(empty), str(kept))
    assert done.placed == ["models", "staging", "results"]
    assert stores_of(empty) == stores_of(finished)
    assert empty.run_folder().name == finished.run_folder().name
    # Nothing leads back to where it came from.
    with closing(sqlite3.connect(empty.folder / "mlflow-artifacts/mlflow.db")) as database:
        text = "\n".join(database.iterdump())
    assert str(finished.folder / "mlflow-artifacts") not in text
    before = empty.run_folder()
    empty.run("inference")
    after = empty.run_folder()
    assert after != before
    for name in OUTPUTS:
        assert (after / name).read_bytes() == (finished.run_folder() / name).read_bytes(), name
    # And a training goes on where the last one ended.
    empty.run("training", training__booster__n_estimators=20, training__folds=2)


def test_a_backup_tells_what_it_has_and_what_it_has_not(kept: Path, finished: Project) -> None:
    manifest = manifest_of(kept)
    assert manifest["environment"] == "local"
    assert manifest["latest"] == finished.run_folder().name
    assert manifest["tracking"]["kind"] == "sqlite"
    assert manifest["tracking"]["versions"] >= 1
    assert {"mlflow", "xgboost", "kedro-churn"} <= set(manifest["versions"])
    files = set(tree(kept)) - {"manifest.json"}
    assert files == set(manifest["files"])
    assert {"settings/local/globals.yml", "settings/local/parameters.yml", "database/mlflow.db"} <= files
    # No secret is copied, and nobody else reads the rest.
    assert not [name for name in files if "credentials" in name]
    assert b"hooks.example.com" not in b"".join(tree(kept).values())
    assert any("credentials" in sentence for sentence in manifest["left_out"])
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    check(LocalStore(str(kept)))


def test_only_a_part(kept: Path, empty: Project) -> None:
    done = restore(places(empty), str(kept), parts=["results"])
    assert done.placed == ["results"]
    assert not (empty.folder / "mlflow-artifacts").exists()
    assert not empty.staging.exists()


def test_a_backup_while_others_write(finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run holds the database, a file is replaced while it is copied, one is removed, one is half written."""
    project = make_project(tmp_path / "busy")
    for name in ("data-staging", "ml-result", "mlflow-artifacts"):
        shutil.copytree(finished.folder / name, project.folder / name)
    (project.staging / ".inference_data.csv.0123.part").write_text("half")
    (project.staging / "old.csv").write_text("soon gone")
    real = LocalStore.sha256
    seen: list[str] = []

    def meanwhile(store: LocalStore, name: str = "", look: Callable[[bytes], object] | None = None) -> str:
        if name == "old.csv" and name not in seen:
            seen.append(name)
            (project.staging / name).unlink()
        return real(store, name, look)

    monkeypatch.setattr(LocalStore, "sha256", meanwhile)
    with closing(sqlite3.connect(project.folder / "mlflow-artifacts/mlflow.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM runs")
        made = back_up(places(project), str(tmp_path / "backups"))
        writer.rollback()
    assert seen == ["old.csv"]
    names = set(made.manifest.files)
    assert not [name for name in names if "old.csv" in name or ".part" in name]
    assert made.manifest.tracking.runs  # as the last commit left them
    check(LocalStore(made.uri))


def test_current_results_that_are_not_complete_are_no_backup(finished: Project, tmp_path: Path) -> None:
    project = make_project(tmp_path / "damaged")
    shutil.copytree(finished.results, project.results)
    (project.run_folder() / "inference_result.csv").write_text("cut o")
    with pytest.raises(ChurnError, match=r"inference_result.csv is missing or does not match"):
        back_up(places(project), str(tmp_path / "backups"))
    (unfinished,) = (tmp_path / "backups").iterdir()
    with pytest.raises(ChurnError, match="not a whole backup"):
        check(LocalStore(str(unfinished)))


def test_nothing_but_settings_is_a_backup_too(empty: Project, tmp_path: Path) -> None:
    made = back_up(places(empty), str(tmp_path / "backups"))
    assert made.manifest.latest is None
    assert made.manifest.tracking.kind is None
    assert restore(places(empty), made.uri).present == ["settings"]


# --- what is refused ----------------------------------------------------------------------------------------------


def _drop_manifest(backup: Path) -> None:
    (backup / "manifest.json").unlink()


def _change(backup: Path, **content: Any) -> None:
    (backup / "manifest.json").write_text(json.dumps({**manifest_of(backup), **content}))


def _lead_out(backup: Path, name: str) -> None:
    files = manifest_of(backup)["files"]
    _change(backup, files={**files, name: {"bytes": 1, "sha256": "0" * 64}})


def _largest(backup: Path, folder: str) -> Path:
    return max((backup / folder).rglob("*.*"), key=lambda path: path.stat().st_size)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a manifest is missing": (_drop_manifest, "not a whole backup"),
    "an empty manifest": (lambda b: (b / "manifest.json").write_text(""), "not valid JSON"),
    "a manifest of another shape": (lambda b: (b / "manifest.json").write_text("[1, 2]"), "is damaged"),
    "a field of another type": (lambda b: _change(b, created_at=[]), "created_at"),
    "a later layout": (lambda b: _change(b, format=99), "reads 1"),
    "a later MLflow": (lambda b: _change(b, versions={"mlflow": "99.1.0"}), r"MLflow 99\.1\.0"),
    "a changed bit": (lambda b: _largest(b, "results").write_bytes(b"x"), "is damaged"),
    "a damaged database": (
        lambda b: (b / "database/mlflow.db").write_bytes(b"SQLite"),
        "database/mlflow.db is damaged",
    ),
    "a missing file": (lambda b: _largest(b, "staging").unlink(), "does not exist"),
    "a name that leads out": (lambda b: _lead_out(b, "staging/../../../outside"), "no file of a backup"),
    "an absolute name": (lambda b: _lead_out(b, "/etc/passwd"), "no file of a backup"),
    "an unknown folder": (lambda b: _lead_out(b, "home/x"), "no file of a backup"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_backup_changes_nothing(fault: str, backup: Path, empty: Project) -> None:
    damage, said = FAULTS[fault]
    damage(backup)
    before = tree(empty.folder)
    with pytest.raises(ChurnError, match=said):
        restore(places(empty), str(backup))
    after = {name: content for name, content in tree(empty.folder).items() if not name.endswith("restore.lock")}
    assert after == before


def test_a_part_that_is_whole_is_restored_beside_a_damaged_one(backup: Path, finished: Project, empty: Project) -> None:
    _largest(backup, "staging").write_bytes(b"x")
    assert restore(places(empty), str(backup), parts=["results"]).placed == ["results"]
    assert stores_of(empty)["ml-result"] == stores_of(finished)["ml-result"]


def test_no_backup_at_all(empty: Project, tmp_path: Path) -> None:
    with pytest.raises(ChurnError, match="not a whole backup"):
        restore(places(empty), str(tmp_path / "nowhere"))


def test_what_is_there_is_not_replaced_unless_told(kept: Path, finished: Project, empty: Project) -> None:
    shutil.copytree(finished.folder / "mlflow-artifacts", empty.folder / "mlflow-artifacts")
    with closing(sqlite3.connect(empty.folder / "mlflow-artifacts/mlflow.db")) as database, database:
        database.execute("DELETE FROM registered_model_aliases")
    empty.staging.mkdir()
    (empty.staging / "mine.csv").write_text("mine")
    before = {name: content for name, content in tree(empty.folder).items() if ".lock" not in name}
    with pytest.raises(FaultsError) as caught:
        restore(places(empty), str(kept))
    assert re.search(r"runs and \d+ versions of models", str(caught.value))
    assert f"{empty.staging} has 1 files" in str(caught.value)
    assert {name: content for name, content in tree(empty.folder).items() if ".lock" not in name} == before

    done = restore(places(empty), str(kept), replace=True)
    assert stores_of(empty) == stores_of(finished)
    moved = [Path(path) for path in done.kept if ".before-" in path]
    assert len(moved) == 2
    assert (next(path for path in moved if "staging" in path.name) / "mine.csv").read_text() == "mine"
    # Settings are added, never replaced.
    own = yaml.safe_load((empty.conf / "local/globals.yml").read_text())
    assert own["stores"]["staging"] == str(empty.staging)


def test_a_database_without_runs_is_an_empty_place(kept: Path, empty: Project, empty_database: Path) -> None:
    (empty.folder / "mlflow-artifacts").mkdir()
    shutil.copy(empty_database, empty.folder / "mlflow-artifacts")
    assert "models" in restore(places(empty), str(kept)).placed


def test_two_restores_at_once(kept: Path, empty: Project) -> None:
    from filelock import FileLock

    there = places(empty)
    there.cache.mkdir(parents=True)
    with FileLock(there.cache / "restore.lock"), pytest.raises(ChurnError, match="another restore is running"):
        restore(there, str(kept))


# --- interruptions ------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def killed_at(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let a restore end at its n-th write or rename."""
    left = iter(range(count))

    def step(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if next(left, None) is None:
                raise Killed
            return real(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(module, "copy_file", step(module.copy_file))
    monkeypatch.setattr(Path, "rename", step(Path.rename))
    yield count


def test_wherever_it_is_interrupted_the_next_one_completes_it(kept: Path, finished: Project, tmp_path: Path) -> None:
    files = len(manifest_of(kept)["files"])
    # Among the copies, and around each rename.
    moments = [0, 1, files // 3, files // 2, *range(files - 4, files + 4)]
    wanted = stores_of(finished)
    interrupted = 0
    for moment in moments:
        project = make_project(tmp_path / f"at-{moment}")
        with pytest.MonkeyPatch.context() as patched:
            list(killed_at(moment, patched))
            try:
                restore(places(project), str(kept))
            except Killed:
                interrupted += 1
        # Each place is as before or as in the backup.
        for name, content in stores_of(project).items():
            assert content in ({}, wanted[name]), (moment, name)
        restore(places(project), str(kept))
        assert stores_of(project) == wanted
        assert SqliteDatabase(project.folder / "mlflow-artifacts/mlflow.db").content() is not None
        assert not [path for path in project.folder.iterdir() if path.name.endswith(".restoring")]
    assert interrupted >= 6


# --- the database -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["/old/a folder", "file:///old/a%20folder", "file:///old/a folder"])
def test_addresses_of_artifacts_move_with_the_folder(before: str, empty_database: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(empty_database, tmp_path))
    addresses = {
        "plain": "/old/a folder/1",
        "quoted": "file:///old/a%20folder/1",
        "another": "file:///old/a%20folder-2/1",
        "a server": "mlflow-artifacts:/1",
    }
    with closing(sqlite3.connect(file)) as database, database:
        for name, address in addresses.items():
            database.execute(
                "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES (?, ?, 'active')",
                (name, address),
            )
    move_artifacts(file, before, tmp_path / "new %25 place")
    with closing(sqlite3.connect(file)) as database:
        found = dict(database.execute("SELECT name, artifact_location FROM experiments"))
    assert found["plain"] == f"{tmp_path}/new %25 place/1"
    assert found["quoted"] == f"{(tmp_path / 'new %25 place').as_uri()}/1"
    assert found["another"] == addresses["another"]
    assert found["a server"] == addresses["a server"]


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 5000])
def test_a_database_that_is_none(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(content)
    database = SqliteDatabase(file)
    if not content:
        assert database.content() is None
        return
    with pytest.raises(ChurnError, match=r"mlflow\.db"):
        database.content()


# --- places that nobody thinks of ---------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["data-staging/backups", "ml-result", "conf"])
def test_a_backup_is_not_made_inside_of_what_it_copies(inside: str, finished: Project) -> None:
    before = set(tree(finished.folder))
    with pytest.raises(ChurnError, match="--to"):
        back_up(places(finished), str(finished.folder / inside))
    assert set(tree(finished.folder)) == before


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3:/x", "names no bucket"),
        ("nosuch://bucket/x", "Protocol not known: nosuch"),
    ],
)
def test_an_address_that_leads_nowhere(to: str, said: str, finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ChurnError, match=said):
        back_up(places(finished), to)
    with pytest.raises(ChurnError, match=said):
        restore(places(finished), f"{to}/backup" if to.count("/") > 3 else to)


def test_an_environment_in_which_nothing_is(empty: Project, tmp_path: Path) -> None:
    with pytest.raises(ChurnError, match="nothing to back up in the environment 'local'"):
        back_up(places(empty), str(tmp_path / "backups"), parts=["staging", "results"])
    assert not list((tmp_path / "backups").iterdir())


def test_a_place_that_is_a_link_to_another_disk(kept: Path, finished: Project, empty: Project) -> None:
    disk = empty.folder / "disk"
    (disk / "results").mkdir(parents=True)
    empty.results.symlink_to(disk / "results")
    restore(places(empty), str(kept))
    assert empty.results.is_symlink()
    assert stores_of(empty)["ml-result"] == stores_of(finished)["ml-result"]
    assert (disk / "results/latest.json").exists()


def test_a_place_that_is_a_mounted_disk(
    kept: Path, finished: Project, empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be renamed: files are put into it one by one, the pointer at the end."""
    for name in ("data-staging", "ml-result", "mlflow-artifacts"):
        (empty.folder / name).mkdir()
    mounted = {empty.folder / "ml-result", empty.folder / "mlflow-artifacts"}
    monkeypatch.setattr(module.os.path, "ismount", lambda path: Path(path) in mounted)
    inodes = {folder: folder.stat().st_ino for folder in mounted}
    done = restore(places(empty), str(kept))
    assert {folder: folder.stat().st_ino for folder in mounted} == inodes
    assert {"artifacts", "database", "staging", "results"} == set(done.placed)
    assert stores_of(empty) == stores_of(finished)
    assert set(restore(places(empty), str(kept)).present) >= {"artifacts", "database", "staging", "results"}
    empty.run("inference")


def test_a_folder_that_is_a_file_and_a_disk_that_may_not_be_written(
    kept: Path, finished: Project, empty: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ChurnError, match="file"):
        back_up(places(finished), str(tmp_path / "file"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(ChurnError, match="somewhere cannot be used: No space left on device"):
            restore(places(empty), str(kept))
    assert not empty.results.exists()
    restore(places(empty), str(kept))
    assert stores_of(empty) == stores_of(finished)


def test_names_with_signs_of_all_kinds(finished: Project, empty: Project, tmp_path: Path) -> None:
    project = make_project(tmp_path / "a place, 100% & more")
    project.staging.mkdir()
    names = ["Kündigungen ü.csv", "a b/c%20d.csv", "quote'\".csv", "#1?.csv", "🙂.parquet", "x" * 200 + ".csv"]
    for name in names:
        (project.staging / name).parent.mkdir(exist_ok=True)
        (project.staging / name).write_text(name)
    made = back_up(places(project), str(tmp_path / "backups of all & sorts?"))
    assert restore(places(empty), made.uri, parts=["staging"]).placed == ["staging"]
    assert tree(empty.staging) == tree(project.staging)
    assert {name: content.decode() for name, content in tree(empty.staging).items()} == {name: name for name in names}


@pytest.mark.slow
def test_restores_that_are_killed(kept: Path, finished: Project, tmp_path: Path) -> None:
    """With SIGKILL, at moments from the first file to the last rename; the next one completes each."""
    seed = int.from_bytes(os.urandom(4), "big")
    sys.stderr.write(f"seed {seed}\n")
    chance = random.Random(seed)
    wanted = stores_of(finished)
    begun = time.monotonic()
    restore(places(make_project(tmp_path / "whole")), str(kept))
    lasts = time.monotonic() - begun
    killed = by_halves = 0
    for number in range(30):
        project = make_project(tmp_path / f"killed-{number}")
        there = places(project)
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                restore(there, str(kept))
            os._exit(0)
        time.sleep(chance.uniform(0, lasts))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        found = stores_of(project)
        by_halves += {} in found.values() and any(found.values())
        for name, content in found.items():
            assert content in ({}, wanted[name]), (seed, number, name)
        restore(there, str(kept))
        assert stores_of(project) == wanted, (seed, number)
        content = SqliteDatabase(project.folder / "mlflow-artifacts/mlflow.db").content()
        assert content == SqliteDatabase(finished.folder / "mlflow-artifacts/mlflow.db").content()
        shutil.rmtree(project.folder)
    sys.stderr.write(f"{killed} were killed, {by_halves} of them between two places\n")
    assert killed
