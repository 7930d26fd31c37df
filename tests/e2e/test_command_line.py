"""The project as its users start it: `kedro run` in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from tests.conftest import ROOT, Project, make_project, run_process, telling_environment
from tests.samples import default_samples, outdated, telco_samples

if TYPE_CHECKING:
    import mlflow

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """The default run, with all its rows."""
    project = make_project(tmp_path_factory.mktemp("default"))
    project.configure("local", "parameters", {})
    return project, project.kedro("run")


def metrics_of(project: Project) -> dict[str, float]:
    metrics: dict[str, float] = json.loads((project.results / "training/metrics.json").read_text())
    return metrics


def test_the_default_run_says_what_it_made(default: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    project, done = default
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = metrics_of(project)
    folder = project.run_folder()
    at_risk = int((pd.read_csv(folder / "inference_result.csv")["prediction"] == 1).sum())
    for expected in (
        f"test ROC AUC {metrics['test_roc_auc']:.4f}, {metrics['test_roc_auc_of_oracle']:.1%} of the best possible",
        f"30,000 scored, model version 1; {at_risk:,} accounts at risk",
        f"{folder}/inference_result.csv",
        f"{folder}/health_report.html",
        "make mlflow",
        "make viz",
    ):
        assert expected in done.stdout
    assert "is not compared" not in done.stdout


def test_the_pages_show_what_the_default_run_makes(
    default: tuple[Project, subprocess.CompletedProcess[str]],
) -> None:
    assert outdated(default_samples(default[0], default[1].stdout)) == []


def test_the_default_run_warns_of_nothing(default: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    output = default[1].stdout + default[1].stderr
    assert not re.search(r"warn|deprecat|traceback", output, re.IGNORECASE), output


def test_the_model_comes_near_the_best_possible(default: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    metrics = metrics_of(default[0])
    assert metrics["test_roc_auc_of_oracle"] >= 0.97
    assert metrics["oracle_roc_auc"] > 0.8
    assert metrics["test_calibration_error"] < 0.02


def test_the_scores_are_healthy_without_drift(default: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    health = json.loads((default[0].run_folder() / "health_metrics.json").read_text())
    assert health["status"] == "ok", health["alarms"] + health["to_watch"]
    assert health["realised_performance"]["coverage"] == 1.0


@pytest.mark.slow
def test_without_a_signal_there_is_nothing_to_learn(project: Project) -> None:
    project.configure("local", "parameters", {"simulation": {"signal": "none"}})
    project.run("data_generation", "feature_engineering", "training")
    assert 0.48 <= metrics_of(project)["test_roc_auc"] <= 0.52


def test_the_real_table_in_one_command(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    done = project.kedro("run", "--env", "telco")
    assert done.returncode == 0, done.stdout + done.stderr
    telco = Project(tmp_path / "telco")
    metrics = metrics_of(telco)
    assert metrics["test_roc_auc"] >= 0.83
    assert "oracle_roc_auc" not in metrics
    assert outdated(telco_samples(metrics)) == []
    result = pd.read_csv(telco.run_folder() / "inference_result.csv")
    assert next(iter(result)) == "customer_id"
    assert len(result) == 1364
    health = json.loads((telco.run_folder() / "health_metrics.json").read_text())
    assert health["realised_performance"]["roc_auc"] > 0.8
    assert not project.results.exists()


def test_pipelines_in_processes_of_their_own_make_what_one_process_makes(finished: Project, project: Project) -> None:
    for option, name in (
        ("--pipelines", "data_generation"),
        ("--pipeline", "feature_engineering"),
        ("--pipelines", "training"),
        ("--pipeline", "inference"),
        ("--pipelines", "monitoring"),
    ):
        done = project.kedro("run", option, name)
        assert done.returncode == 0, done.stdout + done.stderr
    # The finished project also has the metrics of the baselines.
    measured = metrics_of(project)
    assert measured == {name: value for name, value in metrics_of(finished).items() if name in measured}
    here, there = project.run_folder(), finished.run_folder()
    assert (here / "health_report.html").exists()
    for name in ("inference_result.csv", "inference_result.parquet", "input_profile.json", "retention_list.csv"):
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_a_mistake_ends_in_one_message(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    done = project.kedro("run", "--params", "training.booster.max_dept=3,simulation.base_rate=2")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: parameters: 2 faults found, nothing was changed.\n"
        "  - simulation.base_rate = 2: input should be less than 1\n"
        "  - training.booster.max_dept: unknown parameter; did you mean 'max_depth'?\n"
    )
    assert "Traceback" not in done.stdout
    assert not project.staging.exists()


def test_the_command_of_the_project_works_in_its_folders_only(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def churn(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "churn"), *arguments]
        return run_process(*command, cwd=folder)

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert "watch" in churn(elsewhere, "--help").stdout
    refused = churn(elsewhere, "rollback")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: this folder is in no Kedro project")
    # In a folder of the project, with its own way of logging: one message and nothing else.
    none = churn(checkout / "src", "rollback")
    assert (none.returncode, none.stdout) == (1, "")
    assert none.stderr.startswith("Error: no version of 'churn' is champion in sqlite:")


def test_a_bad_table_ends_in_one_message_without_ids(copied: Project) -> None:
    project = copied
    table = pd.read_csv(project.staging / "training_data.csv", dtype=str)
    table.loc[[4, 7], "account_id"] = "known-to-nobody"
    table.loc[3, "total_users_count"] = "many"
    table.to_csv(project.staging / "training_data.csv", index=False)
    done = project.kedro("run", "--pipelines", "feature_engineering,training")
    assert done.returncode == 1
    assert "Error: training accounts: 2 faults found, nothing was changed." in done.stderr
    output = done.stdout + done.stderr
    assert "known-to-nobody" not in output
    assert not any(name in output for name in table["account_id"].head(20))
    assert "Traceback" not in output


def test_a_programming_error_keeps_its_traceback(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    catalog = project.conf / "base/catalog_data_generation.yml"
    described = yaml.safe_load(catalog.read_text())
    described["training_accounts@table"]["type"] = "MemoryDataset"
    described["training_accounts@table"].pop("filepath")
    catalog.write_text(yaml.safe_dump(described))
    done = project.kedro("run", "--pipelines", "data_generation")
    assert done.returncode == 1
    assert "Traceback" in done.stdout + done.stderr


@pytest.mark.slow
def test_an_interrupted_training_leaves_no_trace_but_a_killed_run(copied: Project) -> None:
    import mlflow

    project = copied
    before = project.run_folder()
    artifacts = yaml.safe_load((project.conf / "local/globals.yml").read_text())["stores"]["artifacts"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{artifacts}/mlflow.db")
    known = {run.info.run_id for run in runs_in(client)}
    running = started(
        project,
        *("--pipelines", "training,inference"),
        *("--params", "training.early_stopping_rounds=100000,training.booster.n_estimators=100000"),
    )
    try:
        read_until(running, "hold_out_validation")
        wait_until_it_works(running, seconds=3)  # by then it grows trees
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 1
    assert "Aborted!" in output
    assert project.run_folder() == before
    assert [run.info.status for run in runs_in(client) if run.info.run_id not in known] == ["KILLED"]


def runs_in(client: "mlflow.MlflowClient") -> "list[mlflow.entities.Run]":
    """Runs of the project, the newest first."""
    experiment = client.get_experiment_by_name("churn_model")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def wait_until_it_works(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait until a process has computed for so long from now on, however slow the machine is."""
    watched = psutil.Process(process.pid)
    start = watched.cpu_times().user
    while watched.cpu_times().user < start + seconds:
        assert process.poll() is None
        time.sleep(0.1)


@pytest.mark.slow
def test_trainings_at_the_same_moment_leave_one_champion(project: Project, tmp_path: Path) -> None:
    import mlflow

    project.run("data_generation", "feature_engineering")
    seeds = (1, 2, 3)
    with ThreadPoolExecutor(len(seeds)) as pool:
        runs = [
            pool.submit(project.kedro, "run", "--pipelines", "training", "--params", f"training.random_state={seed}")
            for seed in seeds
        ]
        done = [run.result() for run in runs]
    assert [each.returncode for each in done] == [0, 0, 0], "".join(each.stdout + each.stderr for each in done)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow-artifacts/mlflow.db")
    versions = {str(entry.version): entry for entry in client.search_model_versions("name = 'churn'")}
    assert set(versions) == {"1", "2", "3"}
    champion = client.get_model_version_by_alias("churn", "champion")
    assert champion.tags["promotion"] == "promoted"
    for entry in versions.values():
        assert entry.tags["promotion"] in ("promoted", "not promoted")
        assert entry.description.startswith(entry.tags["promotion_reason"])
    project.run("inference")
    manifest = json.loads((project.run_folder() / "manifest.json").read_text())
    assert manifest["model"]["version"] == str(champion.version)


@pytest.mark.slow
def test_an_interrupted_search_leaves_its_trials(project: Project, tmp_path: Path) -> None:
    import mlflow

    project.run("data_generation", "feature_engineering")
    running = started(project, "--pipelines", "training", "--params", "training.tuning.enabled=true")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow-artifacts/mlflow.db")

    def trials() -> list[mlflow.entities.Run]:
        experiment = client.get_experiment_by_name("churn_model")
        return client.search_runs([experiment.experiment_id], "tags.trial LIKE '%'") if experiment else []

    try:
        while [run.info.status for run in trials()].count("FINISHED") < 2:
            assert running.poll() is None
            time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=300)
    finally:
        running.kill()
    assert running.returncode == 1
    assert "Aborted!" in output
    tried = trials()
    assert len(tried) >= 2
    assert {run.info.status for run in tried} == {"FINISHED"}
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in tried}
    assert client.get_run(parent).info.status == "KILLED"


def started(project: Project, *options: str) -> subprocess.Popen[str]:
    """`kedro run` in the background, to be interrupted."""
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--conf-source", str(project.conf), *options],
        cwd=ROOT,
        env=telling_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where the tests run in the background of a shell, Ctrl-C is ignored from the start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_kedro_viz_sees_pipelines_layers_and_names(tmp_path: Path) -> None:
    saved = tmp_path / "viz"
    port = 20_000 + os.getpid() % 20_000  # kedro-viz looks for a free one from here on
    command = [sys.executable, "-m", "kedro", "viz", "run", "--no-browser", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--save-file", str(saved)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output = read_until(server, "Kedro Viz is running")
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the server proper is a child of the command
        server.wait(timeout=30)
    assert "Layers visualisation is disabled" not in output
    graph = json.loads((saved / "api/main").read_text())
    assert {pipeline["id"] for pipeline in graph["pipelines"]} == {
        *("data_generation", "feature_engineering", "training", "inference", "monitoring", "delivery", "__default__"),
        *("campaign", "simulate_campaign"),
    }
    assert graph["layers"] == [
        *("source", "staging", "features", "model", "evaluation", "champion", "results", "delivery", "health")
    ]
    tasks = {node["name"] for node in graph["nodes"] if node["type"] == "task"}
    assert {"fit_encoder", "fit_parts", "score_accounts", "measure_health"} <= tasks
    data = [node for node in graph["nodes"] if node["type"] == "data"]
    assert len(data) > 20
    # What a pipeline hands on in memory is drawn between its neighbours.
    stored = [node for node in data if "memory" not in (node["dataset_type"] or "memory").lower()]
    assert len(stored) > 20
    assert all(node["layer"] for node in stored)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a process prints up to a text."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(f"ended without {text!r}: {output}")


def test_scores_do_not_depend_on_the_folder_or_threads(
    default: tuple[Project, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    code = (
        "import sys, pandas as pd; from pathlib import Path; from churn.model import ChurnModel\n"
        "model = ChurnModel.load(Path(sys.argv[1])).use(threads=1)\n"
        "accounts = pd.read_csv(sys.argv[2])\n"
        "accounts = accounts[sorted(accounts.columns)]\n"
        "parts = [model.score(accounts.iloc[at : at + 777]) for at in range(0, len(accounts), 777)]\n"
        "pd.concat(parts).to_parquet(sys.argv[3])"
    )
    project = default[0]
    (folder,) = (project.folder / "mlflow-artifacts").glob("models/*/artifacts/churn")
    output = tmp_path / "scores.parquet"
    arguments = [str(folder), str(project.staging / "inference_data.csv"), str(output)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=tmp_path, timeout=300)
    here = pd.read_parquet(project.run_folder() / "inference_result.parquet")
    there = pd.read_parquet(output)
    assert there["account_id"].tolist() == here["account_id"].tolist()
    np.testing.assert_array_equal(there["probability"], here["probability"])
