"""Boards of Grafana and rules of Prometheus ask for metrics that trigger and service have, and name entries of the runbooks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn.operations import watch_metrics
from churn.operations.kedro_job import KINDS
from churn.serving import metrics
from churn.serving.metrics import DURATIONS
from tests.conftest import ROOT

BOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/churn.json").read_text())
SERVE_BOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/churn-serve.json").read_text())
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PAGE = (ROOT / "docs/operations.md").read_text()
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
NAME = re.compile(r"\bchurn_\w+")
# Series of a histogram.
SERVING = (ROOT / "docs/serving.md").read_text()
SUFFIX = re.compile(r"(churn_\w+_seconds)_(bucket|count|sum)$")


def objectives() -> list[str]:
    """The expressions of the page."""
    section = PAGE.partition("## What to promise")[2].partition("\n## ")[0]
    return [text.replace(r"\|", "|") for text in re.findall(r"\| `([^`]+)` \|$", section, re.M)]


def of_service(name: str) -> bool:
    return name.startswith("churn_serve_")


def expressions() -> Iterator[str]:
    for panel in [*BOARD["panels"], *SERVE_BOARD["panels"]]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (alert["expr"] for alert in ALERTS)
    yield from objectives()


def described() -> set[str]:
    """The metrics in the table of the page."""
    section = PAGE.partition("## What to watch")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(churn_\w+)(?:\{[\w,]+\})?` \|", section, re.M))


def described_of_service() -> set[str]:
    """The metrics in the table of the page on the service."""
    section = SERVING.partition("## Metrics")[2].partition("\n## ")[0]
    return set(re.findall(r"`(churn_serve_\w+)(?:\{[\w,]+\})?`", section))


def test_every_metric_that_is_asked_for_is_described() -> None:
    asked = {SUFFIX.sub(r"\1", name) for text in expressions() for name in NAME.findall(text)}
    assert {name for name in asked if not of_service(name)} == described()
    assert {name for name in asked if of_service(name)} == described_of_service()


def test_what_is_described_is_what_the_service_serves() -> None:
    names = set(re.findall(r'"(churn_serve_\w+)"', Path(metrics.__file__).read_text()))
    known = described_of_service()
    assert {name if name in known else f"{name}_total" for name in names} == known


def test_what_is_described_is_what_the_trigger_serves() -> None:
    names = set(re.findall(r'"(churn_\w+)"', Path(watch_metrics.__file__).read_text()))
    # A counter gets its ending where it is served.
    assert {name if name in described() else f"{name}_total" for name in names} == described()


@pytest.mark.parametrize("expression", list(expressions()))
def test_expressions_are_whole(expression: str) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)
    assert expression.count('"') % 2 == 0
    # Labels and their values are those that the metrics have.
    for label, values in re.findall(r'(\w+)=~?"([^"]+)"', expression):
        known = {
            "kind": set(KINDS),
            "result": {
                "ok",
                "failed",
                "given_up",
                "stopped",
                "scored",
                "faulty",
                "swapped",
                "refused",
                "written",
                "dropped",
            },
            "job": {"churn", "churn-serve"},
            "le": {"600.0", *map(str, DURATIONS)},
            "route": {"score"},
            "status": {"5..", "429", "503"},
        }[label]
        assert set(values.split("|")) <= known


def test_the_objectives_of_the_page_are_on_the_board() -> None:
    shown = [
        {target["expr"] for panel in board["panels"] for target in panel["targets"]} for board in (BOARD, SERVE_BOARD)
    ]
    service = [text for text in objectives() if "churn_serve_" in text or "churn-serve" in text]
    trigger = [text for text in objectives() if text not in service]
    assert (len(trigger), len(service)) == (5, 4)
    # The last one of the trigger is on the board as the status itself.
    assert set(trigger[:-1]) <= shown[0]
    assert set(service) <= shown[1]


@pytest.mark.parametrize("board", [BOARD, SERVE_BOARD], ids=lambda board: str(board["title"]))
def test_the_board_can_be_imported(board: dict[str, Any]) -> None:
    (source,) = board["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 10
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${source}"
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_names_its_entry_in_the_runbooks(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert page == "docs/runbooks.md"
    headings = re.findall(r"^## (.+)$", RUNBOOKS, re.M)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert alert["alert"] in RUNBOOKS
    assert alert["labels"]["severity"] in ("page", "ticket")


def test_prometheus_reads_the_ports_of_trigger_and_service() -> None:
    from churn.config import Serve, Watch

    ports = {job["job_name"]: job["static_configs"][0]["targets"] for job in PROMETHEUS["scrape_configs"]}
    assert ports == {"churn": [f"127.0.0.1:{Watch().port}"], "churn-serve": [f"127.0.0.1:{Serve().port}"]}
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]


def test_every_entry_of_the_runbooks_is_in_its_table_and_says_what_to_do() -> None:
    entries = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", RUNBOOKS, re.M | re.S))
    head = RUNBOOKS.partition("\n## ")[0]
    for heading, content in entries.items():
        anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        assert f"(#{anchor})" in head, heading
        if heading not in ("Where to look first", "Go back"):
            assert "**What to do.**" in content, heading
