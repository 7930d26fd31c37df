"""How far two numeric columns that go together are apart: a feature where a table gains by it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.model import ChurnModel
from churn.model.encoder import Difference
from churn.model.small import RowEncoder
from churn.tables import check_accounts
from churn.training.encoding import MOST_DIFFERENCES, fit_encoder
from churn.training.trainer import train_model
from tests.conftest import rng

NUMERIC = ("before", "now", "age", "double")
SCHEMA = AccountSchema.model_validate(
    {"id": "id", "label": {"column": "left", "positive": "yes"}, "numeric": NUMERIC, "categorical": ["plan"]}
)
QUICK = Training(portfolio="quick")


def accounts_of(rows: int, seed: int = 0, effect: float = 6.0) -> pd.DataFrame:
    """Canonical accounts that leave if they use less now than before; the level of both says nothing."""
    random = rng(seed)
    before = random.gamma(4.0, 10.0, rows)
    change = random.normal(size=rows)
    frame = pd.DataFrame({"before": before, "now": before + 4 * change, "age": random.normal(50, 10, rows)})
    frame["double"] = 2 * frame["age"]
    frame["plan"] = random.choice(["a", "b"], rows)
    chance = 1 / (1 + np.exp(effect * change + 1))
    frame = frame.assign(
        id=[f"a{row:05}" for row in range(rows)], left=np.where(random.random(rows) < chance, "yes", "no")
    )
    accounts = check_accounts(frame, SCHEMA, subject="accounts", labelled=True).accounts
    accounts.loc[random.random(rows) < 0.02, "now"] = np.nan
    return accounts


@pytest.fixture(scope="module")
def model() -> ChurnModel:
    return train_model(accounts_of(3000), SCHEMA, FeatureEngineering(), QUICK)


def test_columns_that_go_together_are_found() -> None:
    accounts = accounts_of(2000)
    encoder = fit_encoder(accounts, SCHEMA, FeatureEngineering())
    [found] = encoder.differences
    # `double` is a multiple of `age`: their difference is nothing.
    assert (found.first, found.second) == ("before", "now")
    filled = accounts["now"].fillna(encoder.medians["now"])
    assert found.factor == pytest.approx(accounts["before"].std() / filled.std(), rel=1e-3)
    assert encoder.feature_names[-1] == "before=(against now)"
    assert not fit_encoder(accounts, SCHEMA, FeatureEngineering(differences="off")).differences
    few = accounts.assign(before=np.arange(2000) % 8.0, now=np.arange(2000) % 8 + rng().choice([0.0, 1.0], 2000))
    assert not fit_encoder(few, SCHEMA, FeatureEngineering()).differences
    opposite = fit_encoder(accounts.assign(now=-accounts["now"]), SCHEMA, FeatureEngineering()).differences
    assert opposite[0].factor < 0


def test_only_the_closest_ones_of_many_are_tried() -> None:
    random = rng()
    level = random.normal(size=500)
    months = {f"m{month}": level + 0.1 * (month + 1) * random.normal(size=500) for month in range(5)}
    schema = AccountSchema.model_validate(
        {"id": "id", "label": {"column": "left", "positive": "yes"}, "numeric": list(months), "categorical": []}
    )
    frame = pd.DataFrame({**months, "id": [str(row) for row in range(500)], "left": np.arange(500) % 2})
    encoder = fit_encoder(frame, schema, FeatureEngineering())
    assert len(encoder.differences) == MOST_DIFFERENCES
    assert (encoder.differences[0].first, encoder.differences[0].second) == ("m0", "m1")
    assert all({each.first, each.second} != {"m3", "m4"} for each in encoder.differences)


def test_a_table_that_gains_by_it_gets_the_feature(model: ChurnModel) -> None:
    fresh = accounts_of(4000, seed=1)
    off = train_model(accounts_of(3000), SCHEMA, FeatureEngineering(differences="off"), QUICK)
    found = [roc_auc_score(fresh["left"], each.probability(fresh)) for each in (model, off)]
    assert found[0] > found[1] + 0.01
    assert model.encoder.differences


def test_a_table_without_such_an_effect_seldom_gets_one() -> None:
    """A standard error is exceeded by chance in one of six tables at most."""
    given = [
        bool(train_model(accounts_of(500, seed, effect=0.0), SCHEMA, FeatureEngineering(), QUICK).encoder.differences)
        for seed in range(20)
    ]
    assert sum(given) <= 7


def test_a_column_with_a_direction_is_in_no_difference() -> None:
    directed = QUICK.model_copy(update={"monotone": {"now": -1}})
    found = train_model(accounts_of(3000), SCHEMA, FeatureEngineering(), directed)
    assert not found.encoder.differences


def test_stored_restored_and_row_by_row_it_is_the_same_model(model: ChurnModel) -> None:
    restored = ChurnModel.from_files(model.files())
    assert restored.encoder == model.encoder
    assert isinstance(restored.encoder.differences[0], Difference)
    fresh = accounts_of(400, seed=2).drop(columns="left")
    fresh.loc[:20, ["before", "now"]] = np.nan
    fresh.loc[21, "before"] = 1e38
    expected = model.probability(fresh)
    np.testing.assert_array_equal(restored.probability(fresh), expected)
    rows = fresh.astype(object).where(fresh.notna(), None).to_dict("records")
    assert [score.probability for score in model.score_rows(rows, reasons=True)] == expected.tolist()
    canonical = [{name: np.nan if row[name] is None else row[name] for name in row} for row in rows]
    np.testing.assert_array_equal(RowEncoder(model.encoder)(canonical), model.encoder.transform(fresh))


def test_both_columns_share_the_contribution(model: ChurnModel) -> None:
    fresh = accounts_of(300, seed=3)
    explained = model.explain(fresh)
    np.testing.assert_allclose(
        explained[[*NUMERIC, "plan", "(baseline)"]].sum(axis=1),
        model.margin_of(model.encoder.transform(fresh)),
        atol=1e-4,
    )
    shares = model.encoder.term_shares[-1]
    assert dict(zip(model.encoder.terms, shares, strict=True)) == {
        "before": 0.5,
        "now": 0.5,
        "age": 0,
        "double": 0,
        "plan": 0,
    }
    parts = model.score_rows(
        fresh.drop(columns="left").astype(object).where(fresh.notna(), None).to_dict("records"), reasons=True
    )
    np.testing.assert_allclose(
        [score.contributions for score in parts], model.explain_terms(fresh)[list(model.encoder.terms)], atol=1e-9
    )
    assert model.importance["before"] > 3 * model.importance["age"]
