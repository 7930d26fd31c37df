"""`kedro run --pipelines monitoring --params monitoring.source=requests`: the health of a day of logged requests."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from churn.cli.commands import user_error
from churn.model import ChurnModel
from churn.stores import open_store
from tests.conftest import Project, files_in
from tests.scoring.logged import Logging, at, named


@pytest.fixture
def yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def logged(project: Project, model: ChurnModel, accounts: pd.DataFrame, day: date) -> None:
    service = Logging(open_store(str(project.results / "requests")), named(model, "3"))
    service.answer(accounts.head(250), at(9, day))
    service.answer(accounts.tail(250), at(10, day))


def refused(project: Project, **params: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (the message is what is asserted)
        project.run("monitoring", **params)
    message = user_error(caught.value)
    assert message is not None
    return message


def test_a_day_of_requests_is_judged_beside_the_results(
    copied: Project, model: ChurnModel, canonical: pd.DataFrame, yesterday: date, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = canonical.head(500)
    logged(copied, model, accounts.drop(columns="is_churned"), yesterday)
    before = {name: (copied.results / name).read_bytes() for name in files_in(copied.results)}
    outcomes = accounts[["account_id", "is_churned"]].assign(as_of=str(yesterday))
    outcomes.to_csv(copied.staging / "request_outcomes.csv", index=False)
    copied.run("monitoring", monitoring__source="requests")
    folder = copied.results / "requests" / str(yesterday)
    health = json.loads((folder / "health_metrics.json").read_text())
    assert health["provenance"] == {
        "run_id": None,
        "model_run_id": "0" * 32,
        "model_version": "3",
        "as_of": str(yesterday),
        "input": f"requests of {yesterday}",
    }
    assert (health["total_samples"], health["realised_performance"]["coverage"]) == (500, 1.0)
    assert f"{folder}/health_report.html" in capsys.readouterr().out
    assert str(yesterday) in (folder / "health_report.html").read_text()
    after = {name: (copied.results / name).read_bytes() for name in files_in(copied.results)}
    assert {name for name in after if name not in before} == {
        f"requests/{yesterday}/health_{name}" for name in ("metrics.json", "report.html")
    }
    assert {name: after[name] for name in before} == before  # latest.json and the health of the batch too
    # The results are judged as before.
    copied.run("monitoring")
    assert json.loads((copied.run_folder() / "health_metrics.json").read_text())["provenance"]["run_id"]


def test_without_results_and_with_an_alarm(
    project: Project,
    model: ChurnModel,
    canonical: pd.DataFrame,
    yesterday: date,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing was published, not even trained here; the accounts have all moved."""
    moved = canonical.drop(columns="is_churned").head(500).assign(operating_country="nz", revenue_trend="down")
    logged(project, model, moved, yesterday)
    project.run("monitoring", monitoring={"source": "requests", "requests_day": str(yesterday), "requests_version": 3})
    assert f"The scores of the requests of {yesterday} raise an alarm" in caplog.text
    assert not (project.results / "latest.json").exists()


def test_what_is_wrong_is_said(project: Project, model: ChurnModel, canonical: pd.DataFrame, yesterday: date) -> None:
    assert "no requests were logged in" in refused(project, monitoring__source="requests")
    assert "monitoring.source = 'request'" in refused(project, monitoring__source="request")
    assert "monitoring.requests_day" in refused(project, monitoring={"source": "requests", "requests_day": "yesterday"})
    logged(project, model, canonical.drop(columns="is_churned").head(500), yesterday)
    given = {"source": "requests", "requests_day": "2020-02-29"}
    assert f"the newest days are {yesterday}" in refused(project, monitoring=given)
    assert "there are 3" in refused(project, monitoring={"source": "requests", "requests_version": "4"})
