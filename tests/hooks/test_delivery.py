"""The delivery in a run: part of it where there is a target, checked before it, and at its end an error if one failed."""

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from churn.cli.commands import exit_code, user_error
from churn.errors import FaultsError, NotDeliveredError, NothingToDo
from churn.stores import Store
from tests.conftest import Project

CRM = {"name": "crm", "kind": "sql", "table": "scores"}
HOOK = {"name": "hook", "kind": "webhook", "attempts": 1}


def deliver_to(project: Project, *targets: dict[str, Any], **credentials: dict[str, Any]) -> None:
    """Set the targets of a project, of which the first is a database in a file."""
    known = {"crm": {"url": f"sqlite:///{project.folder}/crm.db"}, **credentials}
    project.configure("local", "parameters_delivery", {"delivery": {"targets": list(targets), "first": "send"}})
    project.configure("local", "credentials", {"delivery": known})


def scores(project: Project) -> int:
    with sqlite3.connect(project.folder / "crm.db") as database:
        found: int = database.execute("SELECT COUNT(*) FROM scores").fetchone()[0]
    return found


def test_without_a_target_there_is_nothing_to_do(copied: Project) -> None:
    with pytest.raises(NothingToDo, match="targets is empty"):
        copied.run("delivery")


def test_the_current_results_are_delivered_and_tracked(copied: Project, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow

    deliver_to(copied, CRM)
    copied.run("delivery")
    assert "1,000 of 1,000 accounts sent (1,000 new" in capsys.readouterr().out
    assert scores(copied) == 1000
    (outcome,) = json.loads((copied.folder / "cache/delivery/deliveries.json").read_text())
    assert (outcome["status"], outcome["counts"]["sent"]) == ("delivered", 1000)
    assert mlflow.last_active_run().data.metrics["delivery.crm.sent"] == 1000
    copied.run("inference", "delivery")
    assert "0 of 1,000 accounts sent" in capsys.readouterr().out


def test_a_target_that_is_down_costs_its_own_delivery_and_is_told_at_the_end(
    copied: Project, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    archive = {"name": "archive", "kind": "files", "path": str(copied.folder / "archive")}
    secret = "https://127.0.0.1:9/a-secret-path-of-a-hook"
    deliver_to(copied, HOOK, CRM, archive, hook={"webhook": secret, "secret": "0123456789abcdef"})
    with caplog.at_level(logging.INFO), pytest.raises(NotDeliveredError, match="1 of 3 targets") as caught:
        copied.run("delivery")
    assert "hook" in str(caught.value)
    assert exit_code(caught.value) == 4
    assert scores(copied) == 1000
    assert (copied.folder / "archive/latest.json").exists()
    assert "hook: failed" in capsys.readouterr().out
    assert "Delivery failed: The delivery to hook failed" in caplog.text
    assert "a-secret-path" not in caplog.text + str(user_error(caught.value))


def test_faults_of_all_targets_are_told_before_a_run(copied: Project) -> None:
    with sqlite3.connect(copied.folder / "crm.db") as database:
        database.execute("CREATE TABLE scores (account_id TEXT, probability REAL)")
    wrong = {**CRM, "name": "other", "columns": [{"source": "probabilty"}, {"source": "removed"}]}
    deliver_to(copied, CRM, wrong, HOOK)
    before = sorted(path.name for path in copied.results.iterdir())
    with pytest.raises(FaultsError) as caught:
        copied.run("inference", "delivery")
    assert {fault.partition(":")[0] for fault in caught.value.faults} == {"hook", "other"}  # without credentials
    assert sorted(path.name for path in copied.results.iterdir()) == before
    deliver_to(copied, CRM, wrong, other={"url": f"sqlite:///{copied.folder}/crm.db"})
    with pytest.raises(FaultsError) as caught:
        copied.run("delivery")
    text = str(caught.value)
    for words in ("did you mean probability", "account_id", "unique", "no column risk_band"):
        assert words in text
    with sqlite3.connect(copied.folder / "crm.db") as database:
        assert database.execute("SELECT COUNT(*) FROM scores").fetchone() == (0,)


def test_the_files_of_a_run_are_compared_with_their_hashes_once(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: Counter[str] = Counter()
    compute = Store.sha256

    def counted(store: Store, name: str = "", look: Callable[[bytes], object] | None = None) -> str:
        hashed[name.rpartition("/")[2]] += 1
        return compute(store, name, look)

    monkeypatch.setattr(Store, "sha256", counted)
    deliver_to(copied, CRM)
    copied.run("delivery")
    assert {name: times for name, times in hashed.items() if name.endswith(".parquet")} == {
        "inference_result.parquet": 1,
        "retention_list.parquet": 1,
    }


def test_the_default_run_has_the_delivery_where_there_is_a_target(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kedro.runner import SequentialRunner

    ran: list[set[str | None]] = []
    monkeypatch.setattr(
        SequentialRunner,
        "run",
        lambda self, pipeline, *_, **__: ran.append({each.namespace for each in pipeline.nodes}),
    )
    monkeypatch.setattr("churn.hooks.summary.SummaryHook.after_pipeline_run", lambda *_, **__: None)
    for targets in ((), (CRM,)):
        deliver_to(copied, *targets)
        try:
            copied.run()
        except Exception:  # what is reported at the end of a run is not there
            logging.getLogger(__name__).info("as nothing ran")
    assert ["Delivery" in each for each in ran] == [False, True]
