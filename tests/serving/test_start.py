"""The start: what it reads, what it imports before it is ready, and what it says until the registry was asked."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from churn.config import Parameters
from churn.config.loader import configuration
from churn.config.secrets import REDACTION
from churn.errors import ChurnError, FaultsError
from churn.model import ChurnModel, ModelSource
from churn.serving.champion import Champion
from churn.serving.command import parameters_of, serve_command
from churn.serving.project import setup_of
from churn.serving.worker import check_database
from tests.conftest import ROOT, Project, clean_environment, make_project
from tests.serving.driving import Driven, FakeRegistry

command = serve_command()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(ROOT)
    for name in ("MLFLOW_TRACKING_URI", "CHURN_SERVE_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(REDACTION, "_secrets", set())
    return make_project(tmp_path)


def setup(project: Project, env: str | None = None, **given: Any) -> Any:
    return setup_of(*configuration(env, str(project.conf), given))


def test_the_setup_is_that_of_the_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.configure(
        "local",
        "credentials",
        {"serve": {"tokens": {"a": {"token": "0123456789abcdef0"}}}, "mlflow": {"A_VARIABLE": "of-mlflow"}},
    )
    project.configure("local", "mlflow", {"server": {"credentials": "mlflow"}})
    monkeypatch.setenv("A_VARIABLE", "")
    made = setup(project, serve={"port": 9000, "poll": 0.5})
    assert (made.parameters.serve.port, made.parameters.serve.poll, made.model_uri) == (
        9000,
        0.5,
        "models:/churn@champion",
    )
    assert made.tracking_uri == f"sqlite:///{project.artifacts}/mlflow.db"
    assert (made.results, made.requests) == (str(project.results), f"{project.results}/requests")
    assert made.tokens == {"tokens": {"a": {"token": "0123456789abcdef0"}}}
    assert REDACTION.text("0123456789abcdef0") == "***"
    assert (os.environ["MLFLOW_TRACKING_URI"], os.environ["A_VARIABLE"]) == (made.tracking_uri, "of-mlflow")
    for wrong, says in (({"serve": {"port": "x"}}, "serve.port"), ({"serve": {"prot": 1}}, "prot")):
        with pytest.raises(FaultsError, match=says):
            setup(project, **wrong)
    with pytest.raises(ChurnError, match="there is no environment 'lokal'"):
        setup(project, "lokal")


def test_outside_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChurnError, match="in no Kedro project"):
        configuration(None, None, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("serve.port=9000, serve.log.sample=0.5", {"serve": {"port": 9000, "log": {"sample": 0.5}}}),
        ("model_uri=models:/churn/3,", {"model_uri": "models:/churn/3"}),
        ("serve.host=::1,serve.certificate=", {"serve": {"host": "::1", "certificate": None}}),
        ("a.b=x=y", {"a": {"b": "x=y"}}),
    ],
)
def test_parameters_have_the_form_of_kedro_run(text: str, expected: dict[str, Any]) -> None:
    from kedro.framework.cli.utils import _split_params

    assert parameters_of(text) == expected
    assert _split_params(click.Context(command), click.Option(["--params"]), text) == expected


@pytest.mark.parametrize("text", ["a", "=1", "serve.port=1,b"])
def test_what_is_no_parameter_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="a name and a value"):
        parameters_of(text)


def test_nothing_heavy_is_imported_before_it_is_ready() -> None:
    """Each of these takes a second or more of the start."""
    code = (
        "import sys, churn.serving.imports as i; i.import_xgboost()\n"
        "import churn.serving.command, churn.serving.project, churn.serving.server\n"
        "from churn.model import ChurnModel; import pathlib\n"
        "model = ChurnModel.load(next(pathlib.Path('tests/model/stored/versions').iterdir()))\n"
        "model.rows.prepare(reasons=True)\n"
        "from churn.serving.canaries import canary_faults\n"
        "assert not canary_faults(model)\n"
        "heavy = {'mlflow', 'sklearn', 'kedro_mlflow', 'matplotlib', 'sqlalchemy', 'kedro.framework'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import xgboost, sklearn; print(xgboost.__version__ and 'both')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**clean_environment(), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[:2] == ["[]", "both"], done.stderr


def test_the_last_known_model_answers_at_once_and_a_newer_one_after_the_first_look(
    parameters: Parameters, model: ChurnModel
) -> None:
    driven = Driven(parameters, None)
    driven.registry.add("8", model)
    driven.registry.kept = model.loaded_from(ModelSource("models:/churn@champion", "7", None))
    driven.champion.begin()
    ready = driven.get("/readyz")
    assert (ready.status, ready.json["version"], ready.json["status"]) == (200, "7", "ready, with faults")
    assert ready.json["registry"] == "not asked yet; the version is the last known one"
    driven.champion.look()
    assert driven.get("/readyz").json == {"ready": True, "status": "ready", "version": "8"}


def test_a_damaged_copy_is_not_used(parameters: Parameters, model: ChurnModel) -> None:
    class Damaged(FakeRegistry):
        def copy(self) -> ChurnModel | None:
            raise ChurnError("the model's files do not match")

    registry = Damaged()
    champion = Champion(registry, parameters.accounts)
    champion.begin()
    assert champion.current is None
    registry.add("1", model)
    champion.look()
    assert champion.require().model.version == "1"


def test_a_database_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with pytest.raises(ChurnError, match="there is no model yet"):
        check_database(f"sqlite:///{file}", "Default", None)
    assert not file.exists()
    check_database("http://127.0.0.1:1", "Default", None)
    file.write_bytes(b"damaged" * 1000)
    with pytest.raises(ChurnError, match="cannot be used"):
        check_database(f"sqlite:///{file}", "Default", None)
