import re
from typing import Any

import pytest

from churn.config import Parameters, check_parameters
from churn.errors import ParametersError
from tests.conftest import base_parameters, nested


def faults(**params: Any) -> list[str]:
    with pytest.raises(ParametersError) as caught:
        check_parameters(merged(base_parameters(), nested(params)))
    return caught.value.faults


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in over.items():
        both[name] = (
            merged(both[name], value) if isinstance(value, dict) and isinstance(both.get(name), dict) else value
        )
    return both


def test_the_base_environment_is_right(parameters: Parameters) -> None:
    assert parameters.accounts.numeric_names[0] == "total_users_count"
    assert parameters.accounts.text_columns[:2] == ("account_id", "is_churned")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"training__booster__max_dept": 3}, "training.booster.max_dept: unknown parameter; did you mean 'max_depth'?"),
        ({"modeluri": "x"}, "modeluri: unknown parameter; did you mean 'model_uri'?"),
        ({"simulation__xyz": 1}, "simulation.xyz: unknown parameter; known here: base_rate, drift,"),
        ({"simulation__base_rate": 2}, "simulation.base_rate = 2: input should be less than 1"),
        (
            {"training__booster__max_depth": "deep"},
            "training.booster.max_depth = 'deep': input should be a valid integer",
        ),
        ({"simulation__signal": "loud"}, "simulation.signal = 'loud': input should be 'realistic' or 'none'"),
        ({"training__device": "gpu"}, "training.device = 'gpu': string should match pattern"),
        ({"training__booster__gamma": float("nan")}, "training.booster.gamma = nan: input should be a finite number"),
        ({"inference__as_of": "yesterday"}, "inference.as_of = 'yesterday': input should be a valid date"),
        ({"simulation__scoring_seed": 31459}, "simulation: training_seed and scoring_seed are both 31459"),
        (
            {"delivery__targets": [{"name": "crm", "kind": "sql", "table": "t", "creat": True}]},
            "delivery.targets.0.sql.creat: unknown parameter; did you mean 'create'?",
        ),
        (
            {
                "delivery__targets": [
                    {"name": "crm", "kind": "files", "path": "x", "columns": [{"source": "a", "nam": "b"}]}
                ]
            },
            "delivery.targets.0.files.columns.0.nam: unknown parameter; did you mean 'name'?",
        ),
        (
            {"delivery__targets": [{"name": "CRM", "kind": "webhook"}]},
            "delivery.targets.0.webhook.name = 'CRM': string",
        ),
        (
            {"delivery__targets": [{"name": "crm", "kind": "sqll"}]},
            "delivery.targets.0 = {'name': 'crm', 'kind': 'sqll'}",
        ),
        (
            {"delivery__targets": [{"name": "crm", "kind": "webhook"}] * 2},
            "delivery: targets: crm is the name of several targets",
        ),
        ({"monitoring__psi_watch": 0.5}, "monitoring: psi_watch 0.5 is above psi_alarm 0.25"),
        ({"training__risk_bands": [{"name": "a", "minimum": 0.1}]}, "training: risk_bands must begin at 0 and rise"),
        (
            {"training__risk_bands": [{"name": "a", "minimum": 0}, {"name": "a", "minimum": 0.1}]},
            "training: risk_bands must have different names",
        ),
        (
            {"accounts__id": "is_churned"},
            "accounts: a column has one role only, but these are named more than once: is_c",
        ),
        ({"accounts__numeric": [], "accounts__categorical": []}, "accounts: name at least one numeric or categorical"),
        (
            {"accounts__not_above": [{"column": "x", "limit": "total_users_count"}]},
            "accounts: not_above names columns that are not numeric columns: x",
        ),
        (
            {"accounts__numeric": [{"column": "a", "minimum": 2, "maximum": 1}]},
            "accounts.numeric.0: minimum 2.0 is above maximum 1.0",
        ),
        (
            {"feature_engineering__ratios": [{"name": "r", "numerator": "revenue_trend", "denominator": "nope"}]},
            "feature_engineering.ratios: 'r' uses nope, revenue_trend, which accounts.numeric does not name",
        ),
        (
            {
                "feature_engineering__ratios": [
                    {"name": "account_id", "numerator": "total_users_count", "denominator": "total_users_count"}
                ]
            },
            "feature_engineering.ratios: 'account_id' is already the name of a column",
        ),
    ],
)
def test_a_fault_names_the_parameter_its_value_and_the_way_out(params: dict[str, Any], expected: str) -> None:
    found = faults(**params)
    assert len(found) >= 1
    assert found[0].startswith(expected), found


def test_all_faults_are_listed_together() -> None:
    found = faults(simulation__base_rate=0, training__threshold=1, feature_engineering__tst_share=0.1)
    assert [fault.split(" ")[0].rstrip(":") for fault in found] == [
        "simulation.base_rate",
        "feature_engineering.tst_share",
        "training.threshold",
    ]


def test_a_missing_block_is_named() -> None:
    raw = base_parameters()
    del raw["accounts"]["label"]
    with pytest.raises(ParametersError, match=r"accounts.label: missing; set it in conf"):
        check_parameters(raw)


def test_columns_may_be_named_plainly_and_labels_be_booleans() -> None:
    raw = base_parameters()
    raw["accounts"] = {"id": "key", "label": {"column": "left", "positive": True}, "numeric": ["a"], "not_above": []}
    raw["feature_engineering"]["ratios"] = []
    accounts = check_parameters(raw).accounts
    assert accounts.label.positive == "True"
    assert accounts.numeric[0].column == "a"
    assert accounts.categorical == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"decision": {"capacity_by": "owner"}},
            "decision.capacity_by = 'owner': accounts.categorical and accounts.carry",
        ),
        ({"profit": {"currency": "euro"}}, "profit.currency = 'euro'"),
        ({"reasons": {"language": "fr"}}, "describe it in reasons.languages.fr"),
        ({"reasons": {"close_to_typical": 0.9}}, "reasons.close_to_typical = 0.9"),
    ],
)
def test_parameters_of_the_list_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParametersError, match=re.escape(message)):
        check_parameters(merged(base_parameters(), changes))
    own = merged(base_parameters(), {"accounts": {"carry": ["owner"]}, "decision": {"capacity_by": "owner"}})
    assert check_parameters(own).decision.capacity_by == "owner"
