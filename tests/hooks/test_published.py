"""What a run says about its results when clocks are wrong and other runs publish meanwhile."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from churn.datasets import ResultsDataset
from tests.conftest import Project
from tests.datasets.test_results import given


def latest(project: Project) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((project.results / "latest.json").read_text())
    return content


def scored(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Scored: ")]


def test_a_pointer_dated_2036_hides_nothing(
    copied: Project, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied.results / "latest.json").write_text(
        json.dumps({**latest(copied), "published_at": "2036-01-01T00:00:00+00:00"})
    )
    before = copied.run_folder()
    with caplog.at_level(logging.INFO):
        copied.run("inference", "monitoring")
    after = copied.run_folder()
    assert after != before
    assert f"run {after.name}" in scored(caplog)[0]
    assert (after / "health_report.html").exists()
    said = capsys.readouterr().out
    assert f"{after}/health_report.html" in said
    assert "not current" not in said


def test_a_run_that_another_overtakes_says_so_and_reports_on_its_own_scores(
    copied: Project,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = ResultsDataset(filepath=str(copied.results))
    publish = ResultsDataset._point_to

    def overtaken(self: ResultsDataset, manifest: dict[str, Any], record: Any) -> None:
        publish(self, manifest, record)
        if self is not other:
            other.save(given())

    monkeypatch.setattr(ResultsDataset, "_point_to", overtaken)
    before = {path.name for path in copied.results.iterdir()}
    with caplog.at_level(logging.INFO):
        copied.run("inference", "monitoring")
    assert other.published is not None
    theirs = other.published["run_id"]
    assert latest(copied)["run_id"] == theirs
    (mine,) = {path.name for path in copied.results.iterdir()} - before - {theirs, ".latest.json.lock"}
    assert scored(caplog) == []
    assert (copied.results / mine / "health_report.html").exists()
    assert not (copied.results / theirs / "health_report.html").exists()
    said = capsys.readouterr().out
    assert f"the run {theirs} published after this one, {mine}, and is current" in said


@pytest.mark.parametrize("content", ["", "[]", '{"run_id": null}'])
def test_a_damaged_pointer_is_mended_by_scoring(copied: Project, content: str) -> None:
    file: Path = copied.results / "latest.json"
    file.write_text(content)
    copied.run("inference", inference__incremental=True)
    assert (copied.run_folder() / "inference_result.csv").exists()
