"""Parameters that disarm each other are told, and only those that somebody has set."""

from typing import Any

import numpy as np
import pytest

from churn.config import Parameters, check_parameters, idle_parameters
from churn.errors import ParametersError
from tests.config.test_parameters import merged
from tests.conftest import base_parameters, nested


def checked(**params: Any) -> Parameters:
    return check_parameters(merged(base_parameters(), nested(params)))


def idle(own_table: bool = False, **params: Any) -> set[str]:
    found = idle_parameters(checked(**params), own_table=own_table)
    for name, sentence in found.items():
        assert sentence.startswith(name)
        assert "no effect" in sentence
    return set(found)


@pytest.mark.parametrize("own_table", [True, False])
def test_the_base_environment_disarms_nothing(own_table: bool) -> None:
    assert idle(own_table) == set()


TUNING = "training__tuning__"


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"training__booster__max_depth": 6}, "training.booster.max_depth"),
        ({"training__booster__max_depth": 0}, "training.booster.max_depth"),
        ({"training__booster__max_leaves": 16}, "training.booster.max_leaves"),
        ({"training__booster": {"tree_method": "exact", "max_bin": 128}}, "training.booster.max_bin"),
        (
            {"training__booster__n_estimators": 30, "training__early_stopping_rounds": 40},
            "training.early_stopping_rounds",
        ),
        ({f"{TUNING}trials": 10}, "training.tuning.trials"),
        ({f"{TUNING}seconds": 10}, "training.tuning.seconds"),
        ({"training__evaluation__folds": 3}, "training.evaluation.folds"),
        ({"training__evaluation__repeats": 1}, "training.evaluation.repeats"),
        (
            {"training__evaluation": {"bootstrap_samples": 0, "confidence": 0.9}},
            "training.evaluation.confidence",
        ),
        ({"training__leakage__allowed": ["nope"]}, "training.leakage.allowed"),
        ({"promotion": {"segments": [], "segment_rows": 100}}, "promotion.segment_rows"),
        ({"decision__capacity": 100}, "decision.capacity"),
        ({"decision": {"rule": "threshold", "capacity": 100}}, "decision.capacity"),
        ({"inference__rescore": True}, "inference.rescore"),
        ({"staging__scoring_share": 0.5}, "staging.scoring_share"),
        ({"simulation": {"signal": "none", "drift": 1.0}}, "simulation.drift"),
        ({"notifications": {"attempts": 1, "wait": 2.0}}, "notifications.wait"),
        ({"notifications": {"events": [], "cool_down": 5}}, "notifications.cool_down"),
        ({"watch": {"attempts": 1, "backoff": 5}}, "watch.backoff"),
        (
            {"reasons__texts": [{"column": "revenue_trend", "high": "High: {value}"}]},
            "reasons.texts[0].high",
        ),
        (
            {"reasons__texts": [{"column": "login_count_p1m", "low": "x", "category": "y"}]},
            "reasons.texts[0].category",
        ),
        ({"reasons__texts": [{"column": "active_users_share", "fell": "x"}]}, "reasons.texts[0].fell"),
        (
            {"reasons__texts": [{"column": "login_count_p1m", "actions": [{"case": "fell", "action": "x"}]}]},
            "reasons.texts[0].actions[0].case",
        ),
        (
            {"reasons__texts": [{"column": "revenue_trend", "actions": [{"case": "low", "action": "x"}]}]},
            "reasons.texts[0].actions[0].case",
        ),
        (
            {"reasons__texts": [{"column": "login_count_p1m", "actions": [{"categories": ["x"], "action": "y"}]}]},
            "reasons.texts[0].actions[0].categories",
        ),
        ({"decision__capacity_by": "revenue_trend"}, "decision.capacity_by"),
    ],
)
def test_a_parameter_that_is_disarmed_is_told(params: dict[str, Any], name: str) -> None:
    assert idle(**params) == {name}


@pytest.mark.parametrize(
    "params",
    [
        {"training__booster__max_depth": 3},
        {"training__booster": {"max_depth": 6, "max_leaves": 0}},
        {"training__booster": {"max_depth": 6, "max_leaves": 31}},
        {"training__booster__max_leaves": 9},
        {"training__booster__learning_rate": 0.1},
        {"training__booster__n_estimators": 20},  # early stopping was not set by anybody
        {TUNING + "enabled": True, TUNING + "trials": 10},
        {"training__evaluation": {"method": "cross_validation", "folds": 3}},
        {"promotion": {"segments": ["revenue_trend"], "segment_rows": 100}},
        {"promotion__segment_rows": 100},
        {"decision": {"rule": "capacity", "capacity": 100}},
        {"decision__rule": "threshold"},
        {"inference": {"incremental": True, "rescore": True}},
        {"simulation__training_rows": 500},
        {"profit": {"value_column": "total_users_count", "account_value": 100}},  # replaces missing values
        {"training__threshold": 0.3},
        {"training__leakage__allowed": ["revenue_trend"]},
    ],
)
def test_a_parameter_that_has_an_effect_is_not_told(params: dict[str, Any]) -> None:
    assert idle(**params) == set()


def test_simulated_and_staged_tables_exclude_each_other() -> None:
    assert idle(own_table=True, simulation__training_rows=500) == {"simulation.training_rows"}
    assert idle(own_table=True, staging__scoring_share=0.5) == set()


@pytest.mark.parametrize("policy", ["lossguide", "depthwise"])
@pytest.mark.parametrize("leaves", [2, 3, 5, 8])
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4, 7])
def test_the_rule_of_depth_and_leaves_is_that_of_xgboost(policy: str, leaves: int, depth: int) -> None:
    """What is called idle may be left out without a change of the trees."""
    import xgboost as xgb

    random = np.random.default_rng(5)
    features = random.random((400, 4))
    data = xgb.DMatrix(features, features[:, 0] * features[:, 1] + features[:, 2] ** 2 > 0.7)

    def grown(**changed: int) -> list[str]:
        parameters = {
            "objective": "binary:logistic",
            "grow_policy": policy,
            "max_depth": depth,
            "max_leaves": leaves,
            "min_child_weight": 0.0,
            "nthread": 1,
            "tree_method": "hist",
            **changed,
        }
        return list(xgb.train(parameters, data, 3).get_dump())

    booster = {"max_depth": depth, "max_leaves": leaves, "grow_policy": policy}
    told = idle(training__booster=booster)
    if "training.booster.max_depth" in told:
        assert grown() == grown(max_depth=leaves - 1) == grown(max_depth=30)
    if "training.booster.max_leaves" in told:
        assert grown() == grown(max_leaves=0)


def test_columns_that_do_not_exist_are_refused_together() -> None:
    with pytest.raises(ParametersError) as caught:
        checked(profit__value_column="revenue", promotion__segments=["revenue_trend", "plan", "total_users_count"])
    assert [fault.split(":")[0] for fault in caught.value.faults] == [
        "profit.value_column = 'revenue'",
        "promotion.segments = 'plan'",
        "promotion.segments = 'total_users_count'",
    ]
