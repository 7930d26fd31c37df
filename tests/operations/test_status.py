"""`churn status`: what it says of projects in every state, without MLflow."""

import json
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from churn.config.loader import LOADER_ARGS, ConfigLoader
from churn.errors import ChurnError
from churn.operations.status import facts
from churn.operations.status.command import LOOK, status
from churn.operations.status.facts import is_unknown, state_of
from churn.operations.status.text import age, dated, render
from churn.operations.status.tracked import read_tracked
from tests.conftest import ROOT, Project, content_of, run_process


@pytest.fixture(autouse=True)
def _a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes a fraction of a second, but not where other tests keep the machine busy."""
    monkeypatch.setattr(facts, "PATIENCE", 120.0)


def state(project: Project, now: float | None = None, **params: Any) -> dict[str, Any]:
    loader = ConfigLoader(str(project.conf), "local", params, **LOADER_ARGS)
    return state_of(loader, ROOT, time.time() if now is None else now)


def text(found: dict[str, Any]) -> str:
    return render(found, "local", time.time())


def test_a_project_that_has_run(finished: Project) -> None:
    before = content_of(finished)
    found = state(finished)
    metrics = json.loads((finished.results / "training/metrics.json").read_text())
    assert found["champion"]["version"] == "1"
    assert found["champion"]["roc_auc"] == pytest.approx(metrics["test_roc_auc"])
    assert found["champion"]["low"] == pytest.approx(metrics["test_roc_auc_low"])
    assert abs(found["champion"]["since"] - time.time()) < 3600
    assert found["last_run"]["status"] == "FINISHED"
    assert found["scores"]["rows"] == 1000
    assert found["scores"]["model_version"] == "1"
    assert found["health"]["status"] in ("ok", "watch", "alarm")
    assert found["disk"]["used"]["results"] > 1000
    assert found["in_order"] is (found["health"]["status"] != "alarm")
    lines = text(found).splitlines()
    assert len(lines) <= 10
    assert lines[1].startswith("champion     version 1, since ")
    assert f"ROC AUC {metrics['test_roc_auc']:.3f}".replace("0.", ".") in lines[1]
    assert content_of(finished) == before


def test_a_project_that_never_ran(project: Project) -> None:
    (project.artifacts / "mlflow.db").unlink()
    found = state(project)
    assert [found[name] for name in ("champion", "last_run", "scores", "health")] == [None] * 4
    assert (found["alarms"], found["in_order"]) == ([], False)
    assert "none yet; kedro run" in text(found)
    assert not (project.artifacts / "mlflow.db").exists()


def test_an_empty_database_has_no_champion(project: Project) -> None:
    found = state(project)
    assert (found["champion"], found["last_run"]) == (None, None)


@pytest.mark.parametrize(
    ("file", "content", "parts", "reason"),
    [
        ("latest.json", b'{"run_id"', ("scores", "health"), "latest.json is not valid JSON"),
        ("latest.json", b'{"run_id": "../../etc"}', ("scores", "health"), "latest.json is damaged: it names no run"),
        ("latest.json", b"\xff\xfe", ("scores", "health"), "latest.json"),
        ("{run}/manifest.json", b"[1]", ("scores", "health"), "manifest.json is damaged"),
        ("{run}/manifest.json", None, ("scores", "health"), "manifest.json does not exist"),
        ("{run}/health_metrics.json", b'{"status": "fine"}', ("health",), "health_metrics.json is damaged"),
        ("{run}/health_metrics.json", b"", ("health",), "it is empty"),
    ],
)
def test_damaged_results_are_unknown(
    copied: Project, file: str, content: bytes | None, parts: tuple[str, ...], reason: str
) -> None:
    place = copied.results / file.format(run=copied.run_folder().name)
    place.unlink() if content is None else place.write_bytes(content)
    found = state(copied)
    for part in parts:
        assert reason in found[part]["unknown"]
    assert found["champion"]["version"] == "1"
    assert found["in_order"] is False
    assert "unknown: " in text(found)
    assert content is None or place.read_bytes() == content


def test_a_manifest_with_other_types_is_shown_as_far_as_it_goes(copied: Project) -> None:
    (copied.run_folder() / "manifest.json").write_text('{"rows": "x", "model": [], "published_at": 5}')
    found = state(copied)
    assert found["scores"]["rows"] is None
    assert "scores       published\n" in text(found)


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_damaged_database_is_unknown(copied: Project, content: bytes) -> None:
    (copied.artifacts / "mlflow.db").write_bytes(content)
    found = state(copied)
    for part in ("champion", "last_run"):
        assert "mlflow.db cannot be read" in found[part]["unknown"]
    assert found["scores"]["rows"] == 1000


def test_what_needs_a_look_is_an_alarm(copied: Project) -> None:
    with closing(sqlite3.connect(copied.artifacts / "mlflow.db")) as database:
        database.execute("UPDATE runs SET status = 'FAILED', name = 'training: failed'")
        database.commit()
    health = copied.run_folder() / "health_metrics.json"
    document = json.loads(health.read_text())
    health.write_text(json.dumps({**document, "status": "alarm", "alarms": [f"Finding {at}" for at in range(5)]}))
    letters = copied.folder / "cache/watch/dead_letters.json"
    letters.parent.mkdir(parents=True)
    given_up = [{"kind": kind, "at": at, "attempts": 3} for kind, at in (("inference", "2099-01-01T00:00:00+00:00"),)]
    letters.write_text(json.dumps([*given_up, {"kind": "training", "at": "2001-01-01T00:00:00+00:00"}, 5]))
    later = time.time() + 3 * 3600
    found = state(copied, later, watch={"scores_within": 2})
    assert found["alarms"][:5] == [f"Finding {at}" for at in range(5)]
    rest = found["alarms"][5:]
    assert [words.split(",")[0] for words in rest[:2]] == [
        "The scores are older than watch.scores_within",
        "The last run",
    ]
    assert "given up inference on 2099-01-01" in rest[2]
    assert len(rest) == 3  # the training was given up before the last one that succeeded
    assert "and 5 more, see --json" in text(found)
    letters.write_text("{")
    assert "is damaged" in state(copied)["alarms"][-1]
    assert letters.read_text() == "{"


def test_a_server_that_is_silent_is_unknown_and_does_not_delay(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ChurnError, match="MLflow does not answer"):
        read_tracked("http://127.0.0.1:9", "churn_model", "churn", {})
    with pytest.raises(ChurnError, match="only a SQLite file or a server"):
        read_tracked("postgresql://user:password@nowhere/mlflow", "churn_model", "churn", {})

    def silent(*_: Any) -> None:
        time.sleep(5)

    monkeypatch.setattr(facts, "PATIENCE", 0.2)
    monkeypatch.setattr(facts, "read_tracked", silent)
    found = state(finished)
    assert found["champion"]["unknown"] == "no answer within 0.2 seconds"
    assert is_unknown(found["last_run"])


def test_the_command(finished: Project, project: Project) -> None:
    done = CliRunner().invoke(status, ["--json", "--conf-source", str(finished.conf)])
    document = json.loads(done.output)
    assert document["environment"] == "local"
    assert document["champion"]["version"] == "1"
    assert document["at"].endswith("+00:00")
    assert done.exit_code == (0 if document["in_order"] else LOOK)
    nothing = CliRunner().invoke(status, ["--conf-source", str(project.conf)])
    assert (nothing.exit_code, nothing.output.count("none yet")) == (LOOK, 3)


def test_the_command_imports_neither_mlflow_nor_pandas(checkout: Path) -> None:
    shutil.rmtree(checkout / "src")  # the code of this checkout is used
    program = (
        "import sys; from churn.operations.status.command import status\n"
        "try: status.main([])\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'mlflow', 'pandas', 'churn.hooks'} & set(sys.modules)))"
    )
    done = run_process(sys.executable, "-c", program, cwd=checkout, check=True, timeout=120)
    assert done.stdout.splitlines()[-2:] == [str(LOOK), "[]"]


def test_words() -> None:
    assert [age(seconds) for seconds in (-5, 1, 119, 120, 7200, 86400, 172800)] == [
        *("0 seconds", "1 second", "119 seconds", "2 minutes", "2 hours", "24 hours", "2 days")
    ]
    assert dated({"at": 0.0, "scores": {"published": 60.0, "rows": 3}}) == {
        "at": "1970-01-01T00:00:00+00:00",
        "scores": {"published": "1970-01-01T00:01:00+00:00", "rows": 3},
    }
