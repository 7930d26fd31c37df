"""What the summary of a run promises."""

from typing import Any

import pytest

from churn.config.retention import AMOUNTS
from churn.hooks.summary import _result_lines


class Published:
    def __init__(self, **manifest: Any) -> None:
        model = {"version": "3"}
        self.published = {"run_id": "r-1", "rows": 9, "at_risk": 2, "threshold": 0.5, "model": model, **manifest}

    def folder(self, run_id: str) -> str:
        return f"results/{run_id}"


@pytest.mark.parametrize(
    ("example_costs", "said"),
    [
        (AMOUNTS, "expected profit 1,234 at example costs: "),
        (("save_rate",), "expected profit 1,234 at the example save rate: "),
        ((), "expected profit 1,234: "),
    ],
)
def test_money_at_example_costs_says_so(example_costs: tuple[str, ...], said: str) -> None:
    results = Published(to_act_on=4, expected_profit=1234.4, example_costs=example_costs)
    lines = dict(_result_lines(results))
    assert lines["act on"] == f"4 accounts, {said}results/r-1/retention_list.csv"
