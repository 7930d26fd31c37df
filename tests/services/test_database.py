"""MLflow's database in a file: made whole, refused with the remedy, upgraded whole, and its places after a copy."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest

from churn.errors import ChurnError
from churn.services import database
from churn.services.database import make, prepared, upgrade
from churn.services.database_file import address_of, anchored, current_revision, file_of, place_of, revisions

# A version of the tables of 2024, to which later ones add `logged_models` and others.
EARLY = "867495a8f9d4"


def revision_of(path: Path) -> str | None:
    with closing(sqlite3.connect(path)) as opened:
        row = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    return row and str(row[0])


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as opened, opened:
        for statement in statements:
            opened.execute(statement)


@pytest.fixture(scope="session")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as an earlier MLflow made it, without runs."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import InitialBase, _get_alembic_config

    path = tmp_path_factory.mktemp("early") / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    InitialBase.metadata.create_all(engine)
    config = _get_alembic_config(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, EARLY)
    engine.dispose()
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "mlflow.db"


def put(source: Path, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    shutil.copy(source, path)
    return path


def add_run(path: Path) -> None:
    execute(
        path,
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) VALUES (7, 'e', '/x', 'active')",
        "INSERT INTO runs (run_uuid, name, user_id, source_type, status, start_time, lifecycle_stage, artifact_uri, "
        "experiment_id) "
        "VALUES ('abc', 'kept', 'me', 'LOCAL', 'FINISHED', 1, 'active', '/x/abc/artifacts', 7)",
    )


def use(path: Path, experiment: str = "churn_model") -> mlflow.MlflowClient:
    """Open a database as a run does."""
    with prepared(address_of(path), experiment, path.parent.as_uri()):
        client = mlflow.MlflowClient(address_of(path))
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment, path.parent.as_uri())
    return client


def test_the_versions_are_those_of_mlflow(empty_database: Path) -> None:
    current, known = revisions()
    assert revision_of(empty_database) == current
    assert {current, EARLY} <= known


def test_a_database_that_is_not_there_is_made_once_for_the_owner(place: Path) -> None:
    use(place)
    assert revision_of(place) == current_revision()
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    before = place.read_bytes()
    use(place)
    assert place.read_bytes() == before
    assert {file.name for file in place.parent.iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


def test_other_databases_are_left_to_mlflow() -> None:
    for address in (
        "http://127.0.0.1:5000",
        "postgresql://u:p@host/mlflow",
        "sqlite://",
        "sqlite:///:memory:",
        "databricks",
    ):
        assert file_of(address) is None
        with prepared(address, "e", None):
            pass


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:////a/b c/ü#.db", "/a/b c/ü#.db"),
        ("sqlite+pysqlite:///a.db?timeout=5", "a.db"),
        ("sqlite:////a%20b.db", "/a b.db"),
    ],
)
def test_the_file_of_an_address(address: str, path: str) -> None:
    assert file_of(address) == Path(path)


@pytest.mark.parametrize("folder", ["a%25b", "a?b", "%41", 'it\'s a "b"'])
def test_paths_that_an_address_cannot_have_are_refused(folder: str) -> None:
    with pytest.raises(ChurnError, match=r"cannot be at .*Move the project"):
        address_of(Path("/projects") / folder / "mlflow.db")
    for good in ("100% sure", "a#b", "a b", "über", "a+b", "it's", "a;b=c&d", "a\\b"):
        assert file_of(address_of(Path("/projects") / good)) == Path("/projects") / good


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("churn")]


def test_what_a_killed_first_run_left_is_made_again(
    place: Path, early: Path, empty_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def empty(path: Path) -> None:
        path.write_bytes(b"")

    def half_made(path: Path) -> None:
        put(early, path)
        execute(path, "CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")

    def without_version(path: Path) -> None:
        put(empty_database, path)
        execute(path, "DELETE FROM alembic_version")

    def earlier(path: Path) -> None:
        put(early, path)

    kept = 0
    for leave in (empty, half_made, without_version, earlier):
        place.unlink(missing_ok=True)
        place.parent.mkdir(exist_ok=True)
        leave(place)
        (place.parent / f".{place.name}.0123.part-journal").write_text("litter")
        caplog.clear()
        use(place)
        assert revision_of(place) == current_revision()
        kept += leave is not empty
        assert len(list(place.parent.glob("mlflow.db.unfinished-*"))) == kept
        assert len(told(caplog)) == (leave is not empty)
        assert not list(place.parent.glob("*.part*"))


def test_runs_are_never_thrown_away(place: Path, early: Path, empty_database: Path) -> None:
    def half_made(path: Path) -> None:
        put(early, path)
        execute(path, "CREATE TABLE _alembic_tmp_runs (run_uuid TEXT)")

    def later(path: Path) -> None:
        put(early, path)
        execute(path, "UPDATE alembic_version SET version_num = 'ffffffffffff'")

    def earlier(path: Path) -> None:
        put(early, path)

    def model_only(path: Path) -> None:
        put(empty_database, path)
        execute(
            path,
            "INSERT INTO registered_models (name, workspace) VALUES ('m', 'default')",
            "DELETE FROM alembic_version",
        )

    for leave, remedy in (
        (half_made, "was interrupted"),
        (later, "later version of MLflow"),
        (earlier, "churn upgrade"),
        (model_only, "was interrupted"),
    ):
        place.parent.mkdir(exist_ok=True)
        place.unlink(missing_ok=True)
        leave(place)
        if leave is not model_only:
            add_run(place)
        before = place.read_bytes()
        with pytest.raises(ChurnError, match=remedy) as refused:
            use(place)
        assert str(place) in str(refused.value)
        assert place.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"garbage" * 1000,
        lambda content: b"id,churned\n1,0\n",
        lambda content: content[:5000],
        lambda content: content[: len(content) // 2],
        lambda content: content[:1024] + b"\xff" * 8000 + content[9024:],
    ],
)
def test_a_damaged_database_is_one_sentence(
    place: Path, empty_database: Path, damage: Callable[[bytes], bytes]
) -> None:
    put(empty_database, place)
    add_run(place)
    content = damage(place.read_bytes())
    place.write_bytes(content)
    with pytest.raises(ChurnError) as refused:
        use(place)
    assert str(place) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert place.read_bytes() == content


def test_a_database_of_another_program_is_refused(place: Path) -> None:
    place.parent.mkdir()
    execute(place, "CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('mine')")
    with pytest.raises(ChurnError, match=r"mlflow\.db"):
        use(place)
    place.unlink()
    place.mkdir()
    with pytest.raises(ChurnError, match="is a folder"):
        use(place)


def test_a_database_that_is_locked_is_not_taken_for_a_half_made_one(
    place: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(empty_database, place)
    monkeypatch.setattr("churn.services.database_file.BUSY", 0.05)
    with closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ChurnError, match="another process is writing"):
            use(place)
    use(place)
    assert not list(place.parent.glob("*.unfinished-*"))


def as_other_user(call: Callable[[], object]) -> str:
    """The error of a call by an account that is not root, in a process of its own; empty if there is none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = b""
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            call()
        except ChurnError as error:
            said = str(error).encode()
        except BaseException as error:
            said = f"not an error of the project: {error!r}".encode()
        os.write(writing, said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def test_a_read_only_database_is_one_sentence(empty_database: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        path = put(empty_database, folder / "mlflow.db")
        for rights in ((0o555, 0o444), (0o555, 0o666), (0o777, 0o444)):
            folder.chmod(rights[0])
            path.chmod(rights[1])
            said = as_other_user(lambda: use(path))
            assert "is read-only" in said
            assert str(path) in said
        path.unlink()
        folder.chmod(0o555)
        assert "is read-only" in as_other_user(lambda: use(path))
        folder.chmod(0o755)


def test_an_upgrade_keeps_the_runs_and_the_old_database(place: Path, early: Path) -> None:
    put(early, place)
    add_run(place)
    before = place.read_bytes()
    copy = upgrade(place)
    assert copy is not None
    assert copy.read_bytes() == before
    assert revision_of(place) == current_revision()
    assert mlflow.MlflowClient(address_of(place)).get_run("abc").info.run_name == "kept"
    assert upgrade(place) is None
    assert len(list(place.parent.glob("mlflow.db*"))) == 2


def test_an_upgrade_that_fails_changes_nothing(place: Path, early: Path) -> None:
    put(early, place)
    add_run(place)
    execute(place, "CREATE TABLE logged_models (mine TEXT)")  # a later version makes a table of this name
    before = place.read_bytes()
    with pytest.raises(ChurnError, match="nothing was changed"):
        upgrade(place)
    assert place.read_bytes() == before
    assert {file.name for file in place.parent.iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


def test_an_upgrade_waits_for_nobody_who_uses_the_database(place: Path, early: Path) -> None:
    put(early, place)
    add_run(place)
    program = "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); print(d.execute('SELECT 1 FROM runs')); sys.stdin.read()"
    command = [sys.executable, "-uc", program, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(ChurnError, match=f"process {other.pid} "):
                upgrade(place)
        finally:
            other.kill()
    assert revision_of(place) == EARLY
    with pytest.raises(ChurnError, match="the first run makes it"):
        upgrade(place.with_name("none.db"))


def artifacts_of(project: Path) -> tuple[mlflow.MlflowClient, Path]:
    folder = project / "data/mlflow-artifacts"
    return use(folder / "mlflow.db"), folder


@pytest.fixture
def original(tmp_path: Path, empty_database: Path) -> Path:
    """A project with a run that has an artifact, and a registered version of it."""
    folder = tmp_path / "original ü%" / "data/mlflow-artifacts"
    folder.mkdir(parents=True)
    put(empty_database, folder / "mlflow.db")
    client = use(folder / "mlflow.db")
    experiment = client.get_experiment_by_name("churn_model")
    assert experiment is not None
    run = client.create_run(experiment.experiment_id)
    client.log_text(run.info.run_id, "weights", "model/weights.txt")
    client.create_registered_model("churn")
    client.create_model_version("churn", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.create_run(experiment.experiment_id)  # without artifacts
    return tmp_path / "original ü%"


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_project_that_was_copied_or_moved_uses_its_own_artifacts(
    original: Path, tmp_path: Path, how: Callable[[Path, Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    how(original, tmp_path / "other #")
    client, folder = artifacts_of(tmp_path / "other #")
    assert str(folder) in caplog.text
    assert str(original) in caplog.text
    experiment = client.get_experiment_by_name("churn_model")
    assert experiment is not None
    assert experiment.artifact_location == folder.as_uri()
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    assert all(str(run.info.artifact_uri).startswith(f"{folder.as_uri()}/") for run in runs)
    version = client.get_model_version("churn", "1")
    assert client.get_model_version_download_uri("churn", "1").startswith(f"{folder.as_uri()}/")
    assert version.source.startswith(f"{folder.as_uri()}/")
    caplog.clear()
    artifacts_of(tmp_path / "other #")
    assert not told(caplog)
    if how is shutil.copytree:
        before, there = artifacts_of(original)
        assert before.get_model_version("churn", "1").source.startswith(f"{there.as_uri()}/")


def test_artifacts_that_did_not_come_along_stay_where_they_are(
    original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(original / "data/mlflow-artifacts/mlflow.db", tmp_path / "mlflow.db")
    client = use(tmp_path / "mlflow.db")
    assert "except 1 runs and models" in caplog.text
    assert client.get_model_version("churn", "1").source.startswith(original.as_uri())
    experiment = client.get_experiment_by_name("churn_model")
    assert experiment is not None
    assert experiment.artifact_location == tmp_path.as_uri()


def test_places_that_are_not_folders_stay(place: Path, empty_database: Path) -> None:
    put(empty_database, place)
    client = mlflow.MlflowClient(address_of(place))
    client.create_experiment("churn_model", "s3://bucket/artifacts")
    use(place)
    experiment = client.get_experiment_by_name("churn_model")
    assert experiment is not None
    assert experiment.artifact_location == "s3://bucket/artifacts"
    assert place_of("s3://bucket/a", Path("/p")) == "s3://bucket/a"
    assert place_of("data/a b", Path("/p")) == "file:///p/data/a%20b"


def test_the_check_of_a_start_reads_little(place: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(empty_database, place)
    use(place)

    def refused(*_: object) -> None:
        raise AssertionError("an ordinary start takes no lock")

    monkeypatch.setattr(database, "_alone", refused)
    use(place)
    with pytest.raises(AssertionError):
        make(place)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///data/mlflow.db", "sqlite:////p ü#/data/mlflow.db"),
        ("sqlite:////elsewhere/mlflow.db", "sqlite:////elsewhere/mlflow.db"),
        ("sqlite:////elsewhere/mlflow.db?timeout=5", "sqlite:////elsewhere/mlflow.db?timeout=5"),
        ("http://127.0.0.1:5000/?a=b/c", "http://127.0.0.1:5000/?a=b/c"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
    ],
)
def test_the_database_is_found_from_every_folder(uri: str, expected: str) -> None:
    assert anchored(uri, Path("/p ü#")) == expected


@pytest.mark.parametrize(
    "uri", ["sqlite:////a?b/mlflow.db", "sqlite:////a%41/mlflow.db", "sqlite:///data%20/mlflow.db"]
)
def test_a_database_whose_address_means_another_path_is_refused(uri: str) -> None:
    with pytest.raises(ChurnError, match="cannot be at"):
        anchored(uri, Path("/p"))


def test_the_database_of_the_servers_is_upgraded_by_their_command(
    tmp_path: Path, early: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from churn.services.__main__ import main

    monkeypatch.chdir(tmp_path)
    path = put(early, tmp_path / ".services/mlflow.db")
    add_run(path)
    with pytest.raises(ChurnError, match=r"python -m churn\.services upgrade-database"):
        make(path, "python -m churn.services upgrade-database")
    done = CliRunner().invoke(main, ["upgrade-database"])
    assert done.exit_code == 0, done.output
    assert "mlflow.db.before-" in done.output
    assert revision_of(path) == current_revision()
    make(path)
