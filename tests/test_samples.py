"""Samples of output in the documentation: how they are compared and rewritten, and those that need no training."""

from pathlib import Path

import pytest

from tests.conftest import Project
from tests.samples import (
    PAGES,
    Sample,
    command_output,
    differences,
    metrics_table,
    rewrite,
    samples,
    samples_of,
    script_output,
)

RUN = "ml-result/9942f757-2c29-40e3-a763-1188cb412ce5/a.csv"
OTHER_RUN = "ml-result/c8533cdd-54a5-4c94-b70a-4cbbc98b6f21/a.csv"
NAMES = {
    *("default summary", "default scores", "default metrics", "telco roc auc", "gym table", "gym summary"),
    *("script", "command"),
}


def named(sample: Sample) -> str:
    return f"{sample.page.name}-{sample.start}"


def test_every_sample_has_a_name_that_a_run_makes() -> None:
    found = [sample for page in PAGES for sample in samples_of(page)]
    assert {sample.name for sample in found} == NAMES
    markers = sum(page.read_text(encoding="utf-8").count("<!-- sample: ") for page in PAGES)
    assert markers == len(found), "a marker is not beside what it marks"


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("ROC AUC 0.8118", "ROC AUC 0.8119"),
        ("profit 194,187", "profit 194,190"),
        (f"scores {RUN}", f"scores {OTHER_RUN}"),
        ("id c3972752-c7c9,0.05928944,0", "id c3972752-c7c9,0.05928943,0"),
        ("| a | .8649 (.8553 to .8745) |", "| a | .8650 (.8553 to .8745) |"),
        ("same\n", "same"),
    ],
)
def test_what_a_processor_rounds_is_no_difference(shown: str, found: str) -> None:
    assert differences(shown, found) == []


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("ROC AUC 0.8118", "ROC AUC 0.8277"),
        ("400 scored, 135 at risk", "400 scored, 144 at risk"),
        ("health    healthy", "health    warnings"),
        ("profit -30.4", "profit 30.4"),
        ("id c3972752-c7c9,0.5", "id d3972752-c7c9,0.5"),
        ("version 1", "version 2"),
        ("1,497", "1.497"),
        (".8649 (.8553)", ".8649 (.8560, .8553)"),
    ],
)
def test_another_result_is_a_difference(shown: str, found: str) -> None:
    assert differences(shown, found) == [(shown, found)]


def test_a_line_more_or_less_is_a_difference() -> None:
    assert differences("a 1\nb 2\n", "a 1\n") == [("b 2", "")]
    assert differences("a 1\n", "a 1\nb 2\n") == [("", "b 2")]


PAGE = f"""\
The model reaches .8425<!-- sample: telco roc auc --> there.

<!-- sample: gym summary -->
```
  model   0.81
  scores  {RUN}
```

<!-- sample: default metrics -->
| a | b |
| --- | --- |
| c | 1 |

<!-- sample: gym table -->
```
untouched
```
"""


def test_samples_are_rewritten_in_their_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    made = {
        "telco roc auc": ".9000",
        "gym summary": f"  model   0.91\n  act on  3\n  scores  {OTHER_RUN}\n",
        "default metrics": "| a | b |\n| --- | --- |\n| c | 2 |\n",
    }
    assert rewrite(page, made)
    assert page.read_text() == (
        PAGE.replace(".8425", ".9000").replace("0.81\n", "0.91\n  act on  3\n").replace("| c | 1 |", "| c | 2 |")
    )
    assert not rewrite(page, made)
    assert {sample.name: sample.shown for sample in samples_of(page)} == {
        **made,
        "gym summary": made["gym summary"].replace(OTHER_RUN, RUN),
        "gym table": "untouched\n",
    }


def test_the_table_of_metrics_has_the_rows_of_the_page() -> None:
    (shown,) = samples("default metrics")
    rows = metrics_table(dict.fromkeys(_metrics(), 0.5)).splitlines()
    assert [row.split("|")[1] for row in rows] == [row.split("|")[1] for row in shown.shown.splitlines()]


def _metrics() -> list[str]:
    measured = (
        "test_brier",
        "test_calibration_error",
        "test_lift_at_10",
        "test_expected_profit",
        "oracle_roc_auc",
        "trees",
    )
    models = ("train", "test", "logistic_regression", "hist_gradient_boosting")
    return [*measured, *(f"{model}_roc_auc" for model in models), "test_roc_auc_low", "test_roc_auc_high"]


@pytest.mark.e2e
@pytest.mark.parametrize("sample", samples("script"), ids=named)
def test_scripts_print_what_the_page_shows(sample: Sample) -> None:
    assert differences(sample.shown, script_output(sample)) == []


@pytest.mark.parametrize("sample", samples("command"), ids=named)
def test_commands_are_refused_as_the_page_shows(sample: Sample, project: Project) -> None:
    assert differences(sample.shown, command_output(sample, project)) == []
