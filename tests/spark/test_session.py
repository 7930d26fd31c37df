"""How Spark starts, or says why not; nothing here starts it."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from churn.errors import ChurnError, ParametersError
from churn.spark import session
from churn.spark.session import SparkSettings, check_answer, check_connect, check_java, check_pyspark
from tests.conftest import ROOT, Project, run_process
from tests.spark.conftest import for_spark
from tests.stack import free_ports


def test_without_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyspark" else found(name))
    with pytest.raises(ChurnError, match=r"^Spark frames need pyspark, .* uv sync --extra spark$"):
        check_pyspark()


def test_without_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "grpc" else found(name))
    with pytest.raises(ChurnError, match=r"Spark Connect needs gRPC.* uv sync --extra spark-connect"):
        check_connect()


def test_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChurnError, match="Java 17 or later, which was not found: install it"):
        check_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ChurnError, match=f"JAVA_HOME = '{tmp_path}' has none"):
        check_java()


def test_settings_are_checked() -> None:
    with pytest.raises(ParametersError, match=r"spark\.yml: 2 faults found") as caught:
        SparkSettings.read({"masters": "local"})
    assert caught.value.faults == ["log: Field required", "masters: Extra inputs are not permitted"]
    with pytest.raises(ParametersError, match="set either master or remote"):
        SparkSettings.read({"master": "local[2]", "remote": "sc://one:15002", "log": "spark.log"})


def test_a_token_is_not_shown() -> None:
    settings = SparkSettings(remote="sc://127.0.0.1:9/;token=secret", log=Path("spark.log"))
    assert settings.place == "remote 'sc://127.0.0.1:9'"
    with pytest.raises(ChurnError, match=r"^no Spark Connect server answers at 'sc://127\.0\.0\.1:9' ") as caught:
        check_answer(str(settings.remote))
    assert "correct remote in conf/spark/spark.yml" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_output_of_processes_goes_to_the_file_and_then_to_the_console_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with session._output_to(tmp_path / "logs/spark.log"):
        subprocess.run(["echo", "noise"], check=True)
    subprocess.run(["echo", "heard"], check=True)
    assert capfd.readouterr().out == "heard\n"
    assert (tmp_path / "logs/spark.log").read_text() == "noise\n"


@pytest.mark.e2e
def test_other_environments_do_not_touch_spark(finished: Project) -> None:
    code = f"""
import sys
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project({str(ROOT)!r})
with KedroSession.create(project_path={str(ROOT)!r}, conf_source={str(finished.conf)!r}) as session:
    session.load_context().catalog["scoring_accounts@batches"]
# MLflow looks whether there is a pyspark, and imports it.
assert "churn.spark.checking" not in sys.modules
pyspark = sys.modules.get("pyspark")
assert pyspark is None or pyspark.SparkContext._gateway is None
"""
    done = run_process(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_run_without_java_ends_in_one_message(
    copied: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = for_spark(copied)
    monkeypatch.setattr(session, "running", lambda: False)  # other tests' own
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(ChurnError, match="Spark needs Java 17 or later"):
        project.run("inference", env="spark")
    assert not (project.folder / "cache/spark.log").exists()


def test_a_run_without_its_cluster_ends_in_one_message(copied: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    address = f"spark://127.0.0.1:{port}"
    project = for_spark(copied)
    settings = yaml.safe_load((project.conf / "spark/spark.yml").read_text())
    project.configure("spark", "spark", settings | {"master": address})
    monkeypatch.setattr(session, "running", lambda: False)  # other tests' own
    with pytest.raises(ChurnError) as caught:
        project.run("inference", env="spark")
    assert str(caught.value) == (
        f"no Spark master answers at '{address}' (127.0.0.1:{port} connection refused); start it, or correct master in "
        "conf/spark/spark.yml"
    )


def test_one_of_several_masters_is_enough() -> None:
    closed, other = free_ports(2)
    with socket.create_server(("127.0.0.1", other)):
        check_answer(f"spark://127.0.0.1:{closed},127.0.0.1:{other}")
    with pytest.raises(
        ChurnError, match=f"127.0.0.1:{closed} connection refused; 127.0.0.1:{other} connection refused"
    ):
        check_answer(f"spark://127.0.0.1:{closed},127.0.0.1:{other}")
    check_answer("local[2]")


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.usefixtures("java")
def test_a_master_that_is_none(copied: Project) -> None:
    project = for_spark(copied)
    settings = yaml.safe_load((project.conf / "spark/spark.yml").read_text())
    project.configure("spark", "spark", settings | {"master": "spark://my-cluster"})
    done = project.kedro("run", "--env", "spark", "--pipelines", "inference")
    assert done.returncode == 1
    message = "Spark did not start with master 'spark://my-cluster': Invalid master URL: spark://my-cluster"
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_why_a_stopped_spark_stopped(tmp_path: Path) -> None:
    log = tmp_path / "spark.log"
    text = "An error occurred\n: java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\n"
    log.write_text(
        "26/11/24 17:45:43 ERROR StandaloneSchedulerBackend: Application has been killed. Reason: All gone!\n"
    )
    assert session._said(text, log) == "All gone!"
