"""A first model that a gate refuses: what a run says, and those after it."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from churn.cli.commands import user_error
from churn.errors import NothingToDo
from churn.operations.status.command import LOOK, status
from tests.conftest import Project, make_project, with_database

GATE = "latency: 1,000 accounts are scored in"
REFUSED = "version 1, trained last, was not promoted: the gate latency refused it"


class Ended(NamedTuple):
    """A project, and what the run of all pipelines printed and said at its end."""

    project: Project
    printed: str
    said: str


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Ended:
    """No model is fast enough for the limit."""
    project = with_database(make_project(tmp_path_factory.mktemp("refused"), baselines=False), empty_database)
    project.configure("local", "parameters_promotion", {"promotion": {"latency_limit": 0.001}})
    with redirect_stdout(StringIO()) as printed:
        said = message(project)
    return Ended(project, printed.getvalue(), said)


def message(project: Project, *pipelines: str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (the message is what is asserted)
        project.run(*pipelines)
    said = user_error(caught.value)
    assert said is not None, caught.value
    return said


def test_the_whole_run_completes_the_training_and_says_why_nothing_is_scored(ended: Ended) -> None:
    assert "there is no model models:/churn@champion" in ended.said
    for words in (REFUSED, GATE, "promotion.latency_limit", "promotion.force=true"):
        assert words in ended.said
    (card,) = [line.removeprefix("  - the model card is ") for line in ended.said.splitlines() if "card is" in line]
    assert Path(card).is_file()
    for words in ("test ROC AUC", f"Not promoted, 1 of 5 gates refused it: {GATE}", "promotion.force=true"):
        assert words in ended.printed
    for name in ("metrics.json", "promotion.json", "model_card.html"):
        assert (ended.project.results / "training" / name).is_file()


def test_later_runs_and_the_status_say_it_until_the_model_is_promoted_by_force(
    ended: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    project = ended.project
    said = message(project, "inference")
    assert REFUSED in said
    assert GATE in said
    assert "Not promoted" not in capsys.readouterr().out, "this run has trained nothing"
    assert REFUSED in message(project, "monitoring")
    done = CliRunner().invoke(status, ["--conf-source", str(project.conf)])
    assert done.exit_code == LOOK
    assert f"champion     none: {REFUSED}" in done.output
    assert GATE in done.output
    # Where nothing else has changed, the same training is worth repeating to force the model, once.
    with pytest.raises(NothingToDo) as same:
        project.run("training", training__only_if_changed=True)
    assert f"There is no champion: {REFUSED}" in str(same.value)
    project.run("training", training__only_if_changed=True, promotion__force=True)
    with pytest.raises(NothingToDo) as again:
        project.run("training", training__only_if_changed=True, promotion__force=True)
    assert "There is no champion" not in str(again.value)
    project.run("inference")
    assert (project.run_folder() / "inference_result.csv").is_file()
