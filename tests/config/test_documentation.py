"""docs/parameters.md says what the models say, and conf/base what both say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from churn.config import Parameters, check_parameters
from churn.config.documentation import main, render_parameters
from churn.config.schema import MISSING_NUMBERS

PROJECT = Path(__file__).parents[2]
PAGE = render_parameters()
# What describes the account table has no default that would do for another one.
OF_THE_TABLE = {"accounts", "feature_engineering.ratios"}


def row(name: str) -> list[str]:
    """Cells of a parameter's line: name, type, range, default, description."""
    lines = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(lines) == 1, f"{name} has {len(lines)} lines"
    return [cell.strip() for cell in lines[0].strip("|").split(" | ")]


def base_parameters() -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in sorted((PROJECT / "conf" / "base").glob("parameters*.yml")):
        merged |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return merged


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in OF_THE_TABLE:
            continue
        found |= leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def test_the_page_is_current():
    assert (PROJECT / "docs" / "parameters.md").read_text(encoding="utf-8") == PAGE, "run make docs"


@pytest.mark.parametrize(
    ("name", "kind", "limits", "default"),
    [
        ("training.threshold", "number", "above 0, below 1", "`0.5`"),
        ("training.booster.max_depth", "whole number", "at least 0, at most 64", "`4`"),
        ("training.booster.min_child_weight", "number", "at least 0", "`5.0`"),
        ("training.risk_bands", "list of blocks", "at least 1 item", None),
        ("training.risk_bands[].minimum", "number", "at least 0, at most 1", "*required*"),
        ("simulation.signal", "one of the values", "`realistic`, `none`", "`realistic`"),
        ("simulation.training_seed", "whole number", "at least 0, at most 4294967295", "`31459`"),
        ("accounts.id", "text", "at least 1 character", "*required*"),
        ("accounts.label", "block", "-", "*required*"),
        ("accounts.label.positive", "text or list of texts", "-", "`True`"),
        ("accounts.label.negative", "text or list of texts, or empty", "-", "empty"),
        ("accounts.numeric[].minimum", "number, or empty", "-", "empty"),
        ("accounts.categorical", "list of texts", "-", "`[]`"),
        ("accounts.strict", "true or false", "-", "`false`"),
        ("inference.as_of", "date (YYYY-MM-DD), or empty", "-", "empty"),
        ("model_uri", "text, or empty", "at least 1 character", "empty"),
    ],
)
def test_type_range_and_default_of_a_parameter(name: str, kind: str, limits: str, default: str | None):
    cells = row(name)
    assert cells[1:3] == [kind, limits]
    if default is not None:
        assert cells[3] == default
    assert cells[4].endswith(".")


def test_bars_in_a_pattern_do_not_break_the_table():
    assert r"`^(cpu\|cuda(:\d+)?)$`" in PAGE


def test_the_default_of_a_list_is_written_as_in_yaml():
    shown = row("training.risk_bands")[3].strip("`")
    assert yaml.safe_load(shown)[1] == {"name": "medium", "minimum": 0.2}


def test_texts_that_yaml_would_not_read_as_such_are_quoted():
    shown = row("accounts.missing")[3].strip("`")
    assert tuple(yaml.safe_load(shown)) == MISSING_NUMBERS


def test_each_block_has_its_docstring():
    assert "### training.booster\n\nParameters of XGBoost, by its own names." in PAGE
    assert "### feature_engineering.ratios[]\n\nA ratio of two numeric columns as a feature." in PAGE
    for name in Parameters.model_fields:
        assert (f"## {name}\n" in PAGE) == (name != "model_uri")


def test_every_parameter_of_the_base_environment_is_described():
    for name in leaves(base_parameters()):
        assert row(name)


def test_the_base_environment_sets_the_defaults():
    base = base_parameters()
    defaults = Parameters(accounts=check_parameters(base).accounts).model_dump(mode="json")
    documented = leaves(defaults)
    described = {"reasons.texts"}  # about the columns of the table, like accounts
    given = {name: value for name, value in leaves(base).items() if name not in described}
    assert {name: documented[name] for name in given} == given


def test_main_writes_the_page(tmp_path: Path):
    assert main([str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == PAGE


def test_main_says_how_to_use_it(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    assert capsys.readouterr().err == "usage: python -m churn.config.documentation <file>\n"
