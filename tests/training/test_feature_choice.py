"""Columns with many categories: 0/1 features or churn rates, whichever is better."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from churn.config import AccountSchema, Booster, FeatureEngineering, Training
from churn.model import ChurnModel, Encoder
from churn.model.encoder import RATE
from churn.model.small import RowEncoder
from churn.tables import FrameTable, Table, check_accounts
from churn.training import trainer
from churn.training.encoding import FEW, MANY, fit_encoder
from churn.training.trainer import fit_parts, fold_rows, train_model
from tests.conftest import rng

SCHEMA = AccountSchema.model_validate(
    {"id": "id", "label": {"column": "left", "positive": "yes"}, "categorical": ["city"], "numeric": ["age"]}
)
QUICK = Training(portfolio="quick", booster=Booster(n_estimators=60))


def accounts_of(cities: int, rows: int, seed: int = 0, effect: float = 1.5) -> pd.DataFrame:
    """Canonical accounts whose outcome depends on their city; every twentieth has none."""
    random = rng(seed)
    city = random.integers(0, cities, rows)
    age = random.normal(size=rows)
    margin = effect * rng(99).normal(size=cities)[city] + 0.5 * age - 1
    frame = pd.DataFrame(
        {
            "id": [f"a{row:06}" for row in range(rows)],
            "city": np.where(np.arange(rows) % 20 == 0, None, [f"city {each}" for each in city]),
            "age": age,
            "left": np.where(random.random(rows) < 1 / (1 + np.exp(-margin)), "yes", "no"),
        }
    )
    return check_accounts(frame, SCHEMA, subject="accounts", labelled=True).accounts


@pytest.fixture(scope="module")
def model() -> ChurnModel:
    return train_model(accounts_of(300, 6000), SCHEMA, FeatureEngineering(), QUICK)


def test_few_categories_are_features_many_are_rates_and_between_both_are_tried() -> None:
    for cities, features, rated in ((FEW, FEW, False), (FEW + 1, FEW + 1, True), (MANY + 1, 0, True)):
        encoder = fit_encoder(accounts_of(cities, 60 * cities), SCHEMA, FeatureEngineering())
        assert len(encoder.vocabularies["city"]) == features
        assert ("city" in encoder.rated) == rated
        assert len(encoder.known["city"]) == cities
        off = fit_encoder(accounts_of(cities, 60 * cities), SCHEMA, FeatureEngineering(target_encoding="off"))
        assert len(off.vocabularies["city"]) == cities
        assert not off.rated


def test_categories_of_two_rows_have_a_rate_and_those_of_one_share_that_of_the_others() -> None:
    accounts = accounts_of(20, 400)
    accounts.loc[:2, "city"] = ["new", "twice", "twice"]
    encoder = fit_encoder(accounts, SCHEMA, FeatureEngineering())
    assert "twice" in encoder.rated["city"]
    assert "new" not in encoder.rated["city"]
    learned = encoder.with_features_of(["city"]).with_rates({"city": np.arange(23.0).tolist()})
    rows = pd.DataFrame({"age": [0.0] * 5, "city": ["twice", "new", "elsewhere", None, " twice "]})
    place = learned.feature_names.index(f"city={RATE}")
    known = float(learned.rated["city"].index("twice"))
    assert learned.transform(rows)[:, place].tolist() == [known, 21, 21, 22, known]


def test_a_model_with_rates_is_better_on_new_accounts_of_many_cities() -> None:
    accounts, fresh = accounts_of(1000, 6000), accounts_of(1000, 6000, seed=1)
    models = [
        train_model(accounts, SCHEMA, FeatureEngineering(target_encoding=kind), QUICK)  # type: ignore[arg-type]
        for kind in ("auto", "off")
    ]
    found = [roc_auc_score(fresh["left"], each.probability(fresh)) for each in models]
    assert found[0] > found[1] + 0.05
    assert f"city={RATE}" in models[0].encoder.feature_names
    assert len(models[0].encoder.rates["city"]) == len(models[0].encoder.rated["city"]) + 2


def test_stored_restored_and_row_by_row_it_is_the_same_model(model: ChurnModel) -> None:
    restored = ChurnModel.from_files(model.files())
    assert restored.encoder == model.encoder
    assert restored.sha256 == model.sha256
    fresh = accounts_of(330, 500, seed=2).drop(columns="left")
    expected = model.probability(fresh)
    np.testing.assert_array_equal(restored.probability(fresh), expected)
    records = fresh.astype(object).where(fresh.notna(), None).to_dict("records")
    found = model.score_rows(records, reasons=True)
    assert [score.probability for score in found] == expected.tolist()
    np.testing.assert_array_equal(RowEncoder(model.encoder)(records), model.encoder.transform(fresh))
    assert np.array([score.contributions for score in found]).shape == (500, 2)


def test_the_contributions_of_a_rate_belong_to_its_column(model: ChurnModel) -> None:
    fresh = accounts_of(300, 200, seed=3)
    explained = model.explain(fresh)
    total = explained[["age", "city", "(baseline)"]].sum(axis=1)
    np.testing.assert_allclose(total, model.margin_of(model.encoder.transform(fresh)), atol=1e-4)
    assert model.importance["city"] > model.importance["age"]


def test_the_encoding_with_the_lower_loss_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """Two cities of forty decide together with the age: 0/1 features say so, and their rates as well as others' do not."""
    rows = accounts_of(40, 4000, effect=0.0)
    random = rng(5)
    is_either = rows["city"].isin(["city 3", "city 17"]).to_numpy()
    # In both cities the rate is that of all others, but it depends on the age there, in opposite directions.
    turn = np.where(rows["city"] == "city 3", 1.0, -1.0) * is_either
    rows["left"] = (random.random(4000) < 1 / (1 + np.exp(-4 * turn * rows["age"]))).astype(np.int8)
    for accounts, is_rate in ((rows, False), (accounts_of(150, 3000), True)):
        caplog.clear()
        with caplog.at_level("INFO"):
            found = train_model(accounts, SCHEMA, FeatureEngineering(), QUICK)
        assert (f"city={RATE}" in found.encoder.feature_names) == is_rate
        assert ("city" in found.encoder.rated) == is_rate
        assert bool(found.encoder.vocabularies["city"]) != is_rate
        assert "with a 0/1 feature for each category" in caplog.text


def test_a_long_table_is_grown_on_the_same_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = accounts_of(300, 3000)
    encoder = fit_encoder(accounts, SCHEMA, FeatureEngineering())
    encoded = encoder.transform(accounts)
    frame = pd.DataFrame(encoded, columns=encoder.feature_names).assign(left=accounts["left"].to_numpy(np.int8))
    folds = fold_rows(accounts["left"].to_numpy(np.int8), QUICK)
    short = fit_parts(FrameTable(frame), folds, encoder, SCHEMA, QUICK)
    monkeypatch.setattr(trainer, "SHARED_ROWS", 1000)
    long = fit_parts(FrameTable(frame), folds, encoder, SCHEMA, QUICK)
    assert long.encoder == short.encoder
    np.testing.assert_array_equal(long.margins["linear"], short.margins["linear"])
    # Their bins differ a little, as those of a long table are computed from a sample.
    assert np.corrcoef(long.margins["trees"], short.margins["trees"])[0, 1] > 0.98


def test_a_search_tries_parameters_in_the_encoding_that_is_better() -> None:
    searching = QUICK.model_copy(update={"tuning": QUICK.tuning.model_copy(update={"enabled": True, "trials": 2})})
    found = train_model(accounts_of(150, 2000), SCHEMA, FeatureEngineering(), searching)
    assert "city" in found.encoder.rates


def test_an_encoder_that_has_learned_rates_is_used_without_them(model: ChurnModel) -> None:
    given = accounts_of(300, 6000), SCHEMA, FeatureEngineering(), QUICK
    again = train_model(*given, encoder=model.encoder)
    assert again.encoder == model.encoder
    other = dataclasses.replace(model.encoder, rates={"city": (0.0,) * len(model.encoder.rates["city"])})
    assert train_model(*given, encoder=other).encoder == model.encoder


def test_an_encoder_without_rates_is_stored_as_before() -> None:
    encoder = fit_encoder(accounts_of(5, 200), SCHEMA, FeatureEngineering())
    assert set(encoder.to_dict()) == {"numeric", "ratios", "medians", "missing", "vocabularies"}
    assert Encoder.from_dict(encoder.to_dict()) == encoder
    wide: Table = FrameTable(accounts_of(50, 500))
    known = fit_encoder(wide, SCHEMA, FeatureEngineering())
    assert Encoder.from_dict(known.to_dict()) == known
