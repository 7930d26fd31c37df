"""Amounts of money are promised at the costs of a table, or said to be at example costs."""

from typing import Any

import pytest
import yaml

from churn.config import Profit, at_costs, check_parameters
from churn.config.retention import AMOUNTS
from tests.config.test_parameters import merged
from tests.conftest import ROOT, base_parameters, nested

OWN = {"contact_cost": 1.0, "offer_cost": 2.0, "save_rate": 0.1, "account_value": 3.0}


def examples(**params: Any) -> tuple[str, ...]:
    return check_parameters(merged(base_parameters(), nested(params))).profit.examples


def test_the_base_environment_has_examples_only() -> None:
    assert examples() == AMOUNTS
    assert at_costs(AMOUNTS) == "at example costs"


@pytest.mark.parametrize("name", AMOUNTS)
def test_an_amount_is_own_once_it_is_set_even_to_the_default(name: str) -> None:
    default = Profit.model_fields[name].get_default()
    assert examples(**{f"profit__{name}": default}) == tuple(each for each in AMOUNTS if each != name)


def test_a_column_of_values_replaces_the_value() -> None:
    assert "account_value" not in examples(profit__value_column="total_users_count")


def test_money_is_own_if_all_amounts_are() -> None:
    assert Profit(**OWN).examples == ()
    assert at_costs(()) == ""
    assert at_costs(Profit(**{**OWN, "value_column": "x"}).examples) == ""


def test_what_is_still_an_example_is_named() -> None:
    without = {name: value for name, value in OWN.items() if name != "save_rate"}
    assert at_costs(Profit(**without).examples) == "at the example save rate"
    assert at_costs(("offer_cost", "account_value")) == "at the example offer cost, account value"
    assert at_costs(("contact_cost", "offer_cost", "save_rate")) == "at example costs"


def test_the_real_table_has_costs_of_its_own() -> None:
    telco = yaml.safe_load((ROOT / "conf/telco/parameters.yml").read_text())
    assert check_parameters(merged(base_parameters(), telco)).profit.examples == ()
