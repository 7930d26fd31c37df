"""What the summary of a run promises."""

from typing import Any

import pytest

from churn.config.retention import AMOUNTS
from churn.hooks.summary import _list_lines, _result_lines


class Published:
    def __init__(self, **manifest: Any) -> None:
        explained = {"at_risk": "2 accounts at risk: why", "to_act_on": "4 accounts to act on: because"}
        known = {"run_id": "r-1", "rows": 9, "model": {"version": "3"}, "explained": explained, "currency": None}
        self.published = {**known, **manifest}

    def folder(self, run_id: str) -> str:
        return f"results/{run_id}"


@pytest.mark.parametrize(
    ("example_costs", "said"),
    [
        (AMOUNTS, "1,234 expected of acting on them at example costs"),
        (("save_rate",), "1,234 expected of acting on them at the example save rate"),
        ((), "1,234 expected of acting on them"),
    ],
)
def test_money_at_example_costs_says_so(example_costs: tuple[str, ...], said: str) -> None:
    results = Published(to_act_on=4, expected_profit=1234.4, example_costs=example_costs)
    lines = dict(_result_lines(results))
    assert lines["act on"] == "4 accounts: because"
    assert lines["profit"] == said


def test_the_page_of_the_list_leads_and_the_two_numbers_are_explained() -> None:
    results = Published(to_act_on=4, expected_profit=1234.4, currency="EUR", example_costs=())
    assert _list_lines(results) == [("list", "results/r-1/retention_list.html")]
    lines = dict(_result_lines(results))
    assert lines["accounts"] == "9 scored, model version 3; 2 accounts at risk: why"
    assert lines["act on"] == "4 accounts: because"
    assert lines["profit"] == "1,234 EUR expected of acting on them"
