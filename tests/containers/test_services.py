"""The commands of the services that compose.yaml starts."""

import configparser
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from churn.services import __main__ as commands
from churn.services.buckets import has_buckets, s3_client
from churn.services.mlflow import _auth_config
from churn.services.settings import NEEDED_BY_MLFLOW, NEEDED_BY_STORE, ServiceSettings, variables_of
from churn.stores import open_store
from tests.stack import STORE, Stack

KEYS = {name: f"{name.lower()}-0123456789" for name in NEEDED_BY_STORE}
DATABASE = {"POSTGRES_PASSWORD": "p@ss/word%20:x"}
USER = {
    "MLFLOW_TRACKING_USERNAME": "churn",
    "MLFLOW_TRACKING_PASSWORD": "100%sure %(here)s %%",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "form-secret",
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container: no .env, and only the variables that the test gives."""
    for name in list(os.environ):
        if name.startswith(("CHURN_", "MLFLOW_", "POSTGRES_", "AWS_")) and name != "CHURN_TEST_STORE":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def call(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(commands.main, arguments, env=variables)


def variables_for(stack: Stack) -> dict[str, str]:
    known = variables_of(stack.folder)
    return {name: value for name, value in known.items() if value and name not in os.environ}


class TestPrepare:
    def test_folders_and_identities(self, tmp_path: Path) -> None:
        for _ in range(2):  # at every start
            done = call("prepare", str(tmp_path), **KEYS)
            assert done.exit_code == 0, done.output
        assert done.output == f"{tmp_path} is ready for MinIO or SeaweedFS\n"
        assert (tmp_path / "minio").is_dir()
        assert (tmp_path / "seaweedfs").is_dir()
        file = tmp_path / "identities.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        identities = {each["name"]: each for each in json.loads(file.read_text())["identities"]}
        assert set(identities) == {"training", "scoring", "artifacts", "admin"}
        assert identities["scoring"]["actions"] == [
            *("Read:data-staging", "List:data-staging"),
            *("Read:ml-result", "List:ml-result", "Write:ml-result"),
        ]

    def test_without_keys(self, tmp_path: Path) -> None:
        done = call("prepare", str(tmp_path))
        assert done.exit_code == 1
        assert all(
            f"{name} is not set; create a .env that has it with make env" in done.output for name in NEEDED_BY_STORE
        )
        assert not list(tmp_path.iterdir())


@pytest.mark.e2e
class TestProvision:
    def test_buckets_are_made_and_private(self, stack: Stack) -> None:
        assert stack.s3
        variables = variables_for(stack)
        administrator = stack.credentials(stack.settings.admin)
        client = s3_client(stack.settings, stack.settings.admin)
        client.delete_bucket(Bucket=stack.settings.results)
        assert not has_buckets(stack.settings)
        for _ in range(2):
            done = call("provision", **variables)
            assert done.exit_code == 0, done.output
        kind = "MinIO" if STORE == "minio" else "S3 store"
        assert done.output == (
            f"{kind} at {stack.settings.endpoint} has the buckets data-staging, mlflow-artifacts, ml-result, each for its "
            "identities only\n"
        )
        assert has_buckets(stack.settings)
        # What is in them stays.
        kept = open_store(f"s3://{stack.settings.results}/kept.json", administrator)
        kept.write_json({"kept": True})
        assert call("provision", **variables).exit_code == 0
        assert kept.read_json() == {"kept": True}

    def test_with_the_key_of_another_administrator(self, stack: Stack) -> None:
        assert stack.s3
        done = call("provision", **{**variables_for(stack), "CHURN_ADMIN_SECRET_KEY": "x" * 40})
        assert done.exit_code == 1
        if STORE == "seaweedfs":
            assert "and that CHURN_ADMIN_ACCESS_KEY is its administrator's" in done.output

    def test_identities_that_the_store_does_not_know(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        if STORE == "minio":
            pytest.skip("MinIO is told its identities by this command")
        assert stack.s3
        monkeypatch.setattr("churn.services.provisioning.PROVISION_TIMEOUT", 0.5)
        done = call("provision", **{**variables_for(stack), "CHURN_SCORING_SECRET_KEY": "x" * 40})
        assert done.exit_code == 1
        assert "an identity has no access to its own" in done.output

    def test_no_store(self, stack: Stack) -> None:
        done = call("provision", **KEYS, CHURN_S3_ENDPOINT="http://127.0.0.1:9")
        assert done.exit_code == 1
        assert "the buckets cannot be created in the S3 store at http://127.0.0.1:9" in done.output
        assert "COMPOSE_PROFILES says which one docker compose starts" in done.output


class TestMlflow:
    ARGUMENTS = ("mlflow", "--database-host", "postgres", "--allowed-hosts", "mlflow:5000,localhost:15000")

    @pytest.fixture
    def became(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
        """What the process becomes, and the databases that it waits for."""
        seen: list[Any] = []
        answers = iter([False])  # not ready at first

        def has_database(host: str, settings: ServiceSettings, name: str, remedy: str) -> bool:
            seen.append((host, name))
            return next(answers, True)

        def execve(program: str, command: Sequence[str], environment: dict[str, str]) -> None:
            seen.append((program, list(command), environment))

        monkeypatch.setattr("churn.services.__main__.has_database", has_database)
        monkeypatch.setattr(commands.os, "execve", execve)
        monkeypatch.setattr(commands.tempfile, "gettempdir", lambda: str(tmp_path))
        return seen

    def variables(self) -> dict[str, str]:
        return {name: value for name, value in {**KEYS, **DATABASE}.items() if name in NEEDED_BY_MLFLOW}

    def test_it_becomes_the_server(self, became: list[Any]) -> None:
        done = call(*self.ARGUMENTS, **self.variables(), CHURN_S3_ENDPOINT="http://s3:9000")
        assert done.exit_code == 0, done.output
        assert became[:2] == [("postgres", "mlflow")] * 2
        program, command, environment = became[2]
        assert program == command[0]
        assert command[1:4] == ["-m", "mlflow", "server"]
        assert command[4:6] == ["--host", "0.0.0.0"]  # noqa: S104
        assert command[command.index("--allowed-hosts") + 1] == "mlflow:5000,localhost:15000"
        assert "--app-name" not in command
        # No secret on the command line.
        assert not any(secret in " ".join(command) for secret in self.variables().values())
        assert environment["MLFLOW_BACKEND_STORE_URI"] == (
            "postgresql+psycopg://churn:p%40ss%2Fword%2520%3Ax@/mlflow?host=postgres"
        )
        assert environment["MLFLOW_S3_ENDPOINT_URL"] == "http://s3:9000"
        assert environment["AWS_SECRET_ACCESS_KEY"] == KEYS["CHURN_ARTIFACTS_SECRET_KEY"]

    def test_with_a_password(self, became: list[Any], tmp_path: Path) -> None:
        done = call(*self.ARGUMENTS, **self.variables(), **USER)
        assert done.exit_code == 0, done.output
        assert [each[1] for each in became[:3]] == ["mlflow", "mlflow", "mlflow_users"]
        _, command, environment = became[3]
        assert command[-2:] == ["--app-name", "basic-auth"]
        file = tmp_path / "mlflow-auth.ini"
        assert environment["MLFLOW_AUTH_CONFIG_PATH"] == str(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        read = configparser.ConfigParser()
        read.read(file)
        assert read["mlflow"]["admin_password"] == USER["MLFLOW_TRACKING_PASSWORD"]
        assert read["mlflow"]["admin_username"] == "churn"
        assert read["mlflow"]["default_permission"] == "NO_PERMISSIONS"
        assert read["mlflow"]["database_uri"] == (
            "postgresql+psycopg://churn:p%40ss%2Fword%2520%3Ax@/mlflow_users?host=postgres"
        )
        # Its own clients are told nothing.
        assert environment["MLFLOW_TRACKING_PASSWORD"] == ""

    def test_only_what_it_needs_must_be_told(self, became: list[Any]) -> None:
        done = call(*self.ARGUMENTS)
        assert done.exit_code == 1
        assert set(re.findall(r"(\w+) is not set", done.output)) == set(NEEDED_BY_MLFLOW)
        assert not became

    def test_a_database_that_lets_nobody_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("churn.services.__main__.START_TIMEOUT", -1.0)
        monkeypatch.setattr("churn.services.__main__.has_database", lambda *_: False)
        done = call(*self.ARGUMENTS, **self.variables())
        assert done.exit_code == 1
        assert "PostgreSQL at postgres accepts no connections after" in done.output

    def test_the_database_is_brought_to_this_version(self, became: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        from mlflow.db import upgrade

        upgraded: list[str] = []
        monkeypatch.setattr(upgrade, "main", lambda arguments, standalone_mode: upgraded.extend(arguments))
        done = call("upgrade-database", "--database-host", "postgres", **self.variables())
        assert done.exit_code == 0, done.output
        assert upgraded == ["postgresql+psycopg://churn:p%40ss%2Fword%2520%3Ax@/mlflow?host=postgres"]
        assert re.fullmatch(r"The database 'mlflow' is up to date with MLflow [\d.]+\n", done.output)


def test_a_percent_sign_in_any_place_of_the_file() -> None:
    settings = ServiceSettings.read({**KEYS, **DATABASE, **USER})
    for username, password in (("a%b", "%"), ("%(x)s", "%%%")):
        text = _auth_config(replace(settings, username=username, password=password), "sqlite:///%20")
        read = configparser.ConfigParser()
        read.read_string(text)
        assert (read["mlflow"]["admin_username"], read["mlflow"]["admin_password"]) == (username, password)
        assert read["mlflow"]["database_uri"] == "sqlite:///%20"
