"""The reasons of accounts, on models whose reasons are known."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from churn.config import AccountSchema, FeatureEngineering, Ratio, Reasons, RiskBand
from churn.model import ChurnModel, Encoder, Profile
from churn.model.churn_model import BASELINE
from churn.model.profile import CategoricalProfile, fit_profile
from churn.model.xgboost_trees import XGBoostTrees
from churn.retention import explain_accounts
from churn.retention.reasons import explain_in_words, explanation, reason_columns, rows_to_explain
from churn.retention.terms import Terms
from churn.training.encoding import fit_encoder
from tests.conftest import rng
from tests.retention.hand_made import LOGINS, PLAN, SCHEMA, SEATS, TYPICAL, parts, table, terms_of

DEFAULTS = Reasons()


def stump(feature: int, below: float, left: float, right: float) -> dict[str, Any]:
    """A tree with one split, of which half of the training rows went either way, in XGBoost's JSON."""
    return {
        "base_weights": [0.0, float(left), float(right)],
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": [0, 0, 0],
        "left_children": [1, -1, -1],
        "loss_changes": [1.0, 0.0, 0.0],
        "parents": [2**31 - 1, 0, 0],
        "right_children": [2, -1, -1],
        "split_conditions": [float(below), float(left), float(right)],
        "split_indices": [feature, 0, 0],
        "split_type": [0, 0, 0],
        "sum_hessian": [100.0, 50.0, 50.0],
    }


def booster_of(trees: list[dict[str, Any]], features: int) -> xgb.Booster:
    """A booster with these trees and a base score of one half."""
    empty = xgb.train(
        {"objective": "binary:logistic", "base_score": 0.5}, xgb.DMatrix(np.zeros((2, features)), [0, 1]), 0
    )
    stored = json.loads(empty.save_raw("json"))
    form = {"num_deleted": "0", "num_feature": str(features), "num_nodes": "3", "size_leaf_vector": "1"}
    stored["learner"]["gradient_booster"]["model"] |= {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
        "iteration_indptr": list(range(len(trees) + 1)),
        "tree_info": [0] * len(trees),
        "trees": [{**one, "id": at, "tree_param": form} for at, one in enumerate(trees)],
    }
    made = xgb.Booster()
    made.load_model(bytearray(json.dumps(stored).encode()))
    return made


def model_of(encoder: Encoder, trees: list[dict[str, Any]], schema: AccountSchema = SCHEMA) -> ChurnModel:
    profile = CategoricalProfile(values=("basic", "plus"), counts=(70, 30))
    return ChurnModel(
        schema=schema,
        encoder=encoder,
        trees=XGBoostTrees(booster_of(trees, len(encoder.feature_names))),
        threshold=0.5,
        risk_bands=(RiskBand(name="any", minimum=0.0),),
        reference=Profile(rows=100, categorical=dict.fromkeys(schema.categorical, profile)),
    )


@pytest.fixture(scope="module")
def additive() -> ChurnModel:
    """Few logins: +2 or -2; many seats: +1 or -1; plan plus: +0.5, else -0.5; logins missing: +4 (else 0)."""
    encoder = Encoder(
        numeric=(LOGINS, SEATS),
        ratios=(),
        medians={LOGINS: 310.0, SEATS: 10.0},
        missing=frozenset({LOGINS}),
        vocabularies={PLAN: ("basic", "plus")},
    )
    assert encoder.feature_names == ["logins", "logins=(missing)", "seats", "plan=basic", "plan=plus"]
    trees = [stump(0, 100, 2, -2), stump(1, 0.5, 0, 4), stump(2, 50, -1, 1), stump(4, 0.5, -0.5, 0.5)]
    return model_of(encoder, trees)


def words(model: ChurnModel, accounts: pd.DataFrame, reasons: Reasons = DEFAULTS) -> pd.DataFrame:
    return explain_in_words(model.explain_terms(accounts), accounts, Terms.of(model.encoder, model.reference), reasons)


# --- reasons that must come out ---------------------------------------------------------------------------------


def test_the_contributions_of_a_hand_made_model_are_those_of_its_trees(additive: ChurnModel) -> None:
    accounts = table([(12, 60, "plus"), (500, 5, "basic"), (None, 5, "basic")])
    explained = additive.explain(accounts)
    np.testing.assert_allclose(
        explained[[LOGINS, SEATS, PLAN]], [[2 - 2, 1, 0.5], [-2 - 2, -1, -0.5], [-2 + 2, -1, -0.5]], atol=1e-6
    )
    np.testing.assert_allclose(explained[BASELINE], 2, atol=1e-6)
    log_odds = np.array([2 + 0 + 1 + 0.5, -2 + 0 - 1 - 0.5, -2 + 4 - 1 - 0.5])
    np.testing.assert_allclose(explained.sum(axis=1), log_odds, atol=1e-5)
    np.testing.assert_allclose(additive.probability(accounts), 1 / (1 + np.exp(-log_odds)), atol=1e-6)


def test_the_strongest_driver_comes_first() -> None:
    accounts = table([(12, 60, "plus"), (500, 5, "basic")])
    found = explain_in_words(parts((2.0, 1.0, 0.5), (-2.0, -1.0, -0.5)), accounts, TYPICAL, Reasons())
    assert list(found) == reason_columns(3)
    assert list(found) == ["reason_1_code", "reason_1", "reason_2_code", "reason_2", "reason_3_code", "reason_3"]
    assert found.iloc[0].tolist() == [
        *("LOGINS_LOW", "Logins is low: 12, typical 310"),
        *("SEATS_HIGH", "Seats is high: 60, typical 10"),
        *("PLAN_CATEGORY", "Plan is plus, typical basic"),
    ]
    assert found.iloc[1].isna().all()
    assert set(found.dtypes.astype("str")) == {"str"}


def test_the_reasons_of_a_hand_made_model(additive: ChurnModel) -> None:
    found = words(additive, table([(12, 60, "plus"), (500, 60, "basic"), (None, 60, "plus"), (500, 5, "atlantis")]))
    # Few logins (+2) just make up for what not being missing takes away (-2): no driver.
    assert found["reason_1_code"].iloc[:3].tolist() == ["SEATS_HIGH"] * 3
    assert found["reason_2_code"].iloc[[0, 2]].tolist() == ["PLAN_CATEGORY"] * 2
    assert pd.isna(found["reason_2_code"].iloc[1])
    assert found.iloc[3].isna().all()


@pytest.mark.parametrize(("column", "low"), [(LOGINS, True), (SEATS, False)])
def test_a_column_that_alone_decides_is_the_only_reason(column: str, low: bool) -> None:
    generator = rng(3)
    accounts = pd.DataFrame(
        {
            "id": np.arange(600).astype("str"),
            LOGINS: generator.integers(0, 6, 600) * 100.0,
            SEATS: generator.integers(0, 20, 600).astype(np.float64),
            PLAN: generator.choice(["basic", "plus"], 600),
        }
    )
    risky = accounts[column] < 300 if low else accounts[column] > accounts[column].median()
    encoder = fit_encoder(accounts, SCHEMA, FeatureEngineering())
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(encoder.transform(accounts), risky), 10)
    parts, _ = XGBoostTrees(booster).few_contributions(encoder.transform(accounts), encoder.shares)
    contributions = pd.DataFrame(parts, columns=list(encoder.columns))
    typical = Terms.of(encoder, fit_profile(accounts, [LOGINS, SEATS], [PLAN]))
    found = explain_in_words(contributions, accounts, typical, Reasons(close_to_typical=0))
    assert set(found["reason_1_code"][risky]) == {f"{column.upper()}_{'LOW' if low else 'HIGH'}"}
    assert found["reason_1"][~risky].isna().all()
    assert found["reason_2"].isna().all()


def test_a_missing_value_is_a_reason(additive: ChurnModel) -> None:
    by_missing = model_of(additive.encoder, [stump(1, 0.5, 0, 4)])
    found = words(by_missing, table([(None, 5, "basic"), (0, 5, "basic")]))
    assert found["reason_1_code"].iloc[0] == "LOGINS_MISSING"
    assert found["reason_1"].iloc[0] == "Logins is not known"
    assert pd.isna(found["reason_1"].iloc[1])


def test_missing_and_unseen_categories_are_reasons() -> None:
    found = explain_in_words(
        parts((0, 0, 1), (0, 0, 1), (0, 0, 1)),
        table([(1, 1, None), (1, 1, "atlantis"), (1, 1, "basic")]),
        TYPICAL,
        Reasons(count=1),
    )
    assert found["reason_1_code"].tolist() == ["PLAN_MISSING", "PLAN_CATEGORY", "PLAN_CATEGORY"]
    assert found["reason_1"].tolist() == [
        "Plan is not known",
        "Plan is atlantis, typical basic",
        "Plan is basic, as is typical",
    ]


def with_ratio(**more: Any) -> Encoder:
    return Encoder(
        numeric=(LOGINS, SEATS),
        ratios=(Ratio(name="logins_per_seat", numerator=LOGINS, denominator=SEATS),),
        medians={LOGINS: 310.0, SEATS: 10.0, "logins_per_seat": 31.0},
        missing=frozenset(),
        vocabularies={PLAN: ("basic", "plus")},
        **more,
    )


def test_the_contribution_of_a_ratio_is_shared_by_its_columns_and_is_one_reason() -> None:
    by_ratio = model_of(with_ratio(), [stump(2, 5, 3, -3)])
    accounts = table([(40, 10, "basic"), (800, 10, "basic")])
    np.testing.assert_allclose(by_ratio.explain(accounts)[[LOGINS, SEATS]], [[1.5, 1.5], [-1.5, -1.5]], atol=1e-6)
    np.testing.assert_allclose(by_ratio.explain_terms(accounts)["logins_per_seat"], [3, -3], atol=1e-6)
    found = words(by_ratio, accounts)
    assert found.iloc[0].dropna().tolist() == ["LOGINS_PER_SEAT_LOW", "Logins per seat is low: 4, typical 31"]
    assert found.iloc[1].isna().all()


def test_a_ratio_and_its_columns_are_one_reason_about_what_raises_the_score_most() -> None:
    trees = [stump(0, 100, 1, -1), stump(1, 20, 0.25, -0.25), stump(2, 5, 0.5, -0.5), stump(4, 0.5, 0.75, -0.75)]
    both = model_of(with_ratio(), trees)
    accounts = table([(40, 10, "basic"), (400, 100, "basic"), (110, 2, "plus")])
    terms, contributions = Terms.of(both.encoder, both.reference), both.explain_terms(accounts)
    assert [[terms.items[at].name for at in members] for members in terms.groups] == [
        [LOGINS, SEATS, "logins_per_seat"],
        [PLAN],
    ]
    told = explanation(contributions, accounts, terms, Reasons())
    # 1 + 0.25 + 0.5: mostly the logins; -1 - 0.25 + 0.5: not a reason.
    assert told.words["reason_1_code"].tolist() == ["LOGINS_LOW", "PLAN_CATEGORY", np.nan]
    assert told.words["reason_2_code"].iloc[0] == "PLAN_CATEGORY"
    np.testing.assert_allclose(told.contributions[:2], [[1.75, 0.75, 0], [0.75, 0, 0]])
    np.testing.assert_allclose(told.other, [0, -0.75, -1 + 0.25 - 0.5 - 0.75])


def test_reasons_other_and_baseline_add_up_to_the_raw_score(model: ChurnModel, canonical: pd.DataFrame) -> None:
    accounts = canonical.head(300)
    contributions = model.explain_terms(accounts)
    assert model.linear is not None
    margin = model.margin_of(model.encoder.transform(accounts))
    np.testing.assert_allclose(model.explain(accounts).sum(axis=1), margin, atol=1e-4)
    for count in (1, 3, 20):
        told = explanation(contributions, accounts, Terms.of(model.encoder, model.reference), Reasons(count=count))
        np.testing.assert_allclose(
            told.contributions.sum(axis=1) + told.other + contributions[BASELINE], margin, atol=1e-4
        )
        assert (np.diff(told.contributions, axis=1) <= 0).all()
        np.testing.assert_array_equal((told.contributions > 0).sum(axis=1), told.words.notna().sum(axis=1) / 2)


def test_reasons_of_a_trained_model_are_its_largest_groups(model: ChurnModel, canonical: pd.DataFrame) -> None:
    accounts = canonical.head(300)
    terms = Terms.of(model.encoder, model.reference)
    contributions = model.explain_terms(accounts)
    found = explain_in_words(contributions, accounts, terms, Reasons(count=20, close_to_typical=0))
    for position in range(0, 300, 10):
        row = contributions.iloc[position]
        totals = {members: sum(row.iloc[at] for at in members) for members in terms.groups}
        codes = [code.rpartition("_")[0] for code in found.filter(like="_code").iloc[position].dropna()]
        told = [
            next(members for members in totals if stem in {terms.items[at].stem for at in members}) for stem in codes
        ]
        ranked = sorted((members for members in totals if totals[members] > 0), key=lambda members: -totals[members])
        # A value that is the typical one is no reason.
        assert told == [members for members in ranked if members in told]
        left = {at for members in ranked if members not in told for at in members if row.iloc[at] > 0}
        assert all(
            isinstance(terms.items[at].typical, float) and terms.items[at].close(0).is_close(value)
            for at in left
            for value in terms.items[at].values(accounts.iloc[[position]])
        )


# --- how many ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_count_is_the_most_that_an_account_gets(count: int) -> None:
    found = explain_in_words(parts((2, 1, -1)), table([(1, 1, "plus")]), TYPICAL, Reasons(count=count))
    assert found.shape == (1, 2 * count)
    assert found.filter(like="_code").iloc[0].dropna().tolist() == ["LOGINS_LOW", "SEATS_LOW"][:count]


def test_what_does_not_raise_the_risk_is_no_reason() -> None:
    contributions = parts((0.0, -0.0, np.nan), (np.nan, 1e-12, -5))
    found = explain_in_words(contributions, table([(1, 1, "plus")] * 2), TYPICAL, Reasons())
    assert found.iloc[0].isna().all()
    assert found["reason_1_code"].iloc[1] == "SEATS_LOW"
    assert found["reason_2_code"].isna().all()


def test_the_baseline_is_no_reason() -> None:
    contributions = parts((1, 0, 0)).assign(**{BASELINE: 9.0})
    found = explain_in_words(contributions, table([(1, 1, "plus")]), TYPICAL, Reasons())
    assert found["reason_1_code"].tolist() == ["LOGINS_LOW"]
    assert found["reason_2_code"].isna().all()


def test_rows_to_explain_begin_at_the_minimum_probability() -> None:
    probability = np.array([0.1, 0.2, 0.7, 0.19], dtype=np.float32)
    assert rows_to_explain(probability, Reasons(minimum_probability=0.2)).tolist() == [1, 2]
    assert rows_to_explain(probability, Reasons()).tolist() == [0, 1, 2, 3]
    assert rows_to_explain(pd.Series(probability), Reasons(minimum_probability=1.0)).tolist() == []


def test_accounts_below_the_minimum_are_not_explained(model: ChurnModel, canonical: pd.DataFrame) -> None:
    accounts = canonical.head(200).set_axis(range(500, 700))
    probability = model.probability(accounts)
    typical = Terms.of(model.encoder, model.reference)
    explained = []

    def explain(rows: pd.DataFrame) -> pd.DataFrame:
        explained.append(len(rows))
        return model.explain_terms(rows)

    everybody = explain_accounts(explain, accounts, probability, typical, Reasons()).words
    some = explain_accounts(explain, accounts, probability, typical, Reasons(minimum_probability=0.3)).words
    nobody = explain_accounts(explain, accounts, probability, typical, Reasons(minimum_probability=1.0)).words
    risky = probability >= 0.3
    assert explained == [200, int(risky.sum())]
    pd.testing.assert_frame_equal(some[risky], everybody[risky])
    assert some[~risky].isna().all(axis=None)
    assert nobody.isna().all(axis=None)
    for frame in (everybody, some, nobody):
        assert list(frame) == reason_columns(3)
        assert (frame.dtypes == "str").all()
        pd.testing.assert_index_equal(frame.index, accounts.index)


def test_tables_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="contributions have 2 rows, but there are 1 accounts"):
        explain_in_words(parts((1, 0, 0), (1, 0, 0)), table([(1, 1, "plus")]), TYPICAL, Reasons())


def test_no_accounts_have_no_reasons() -> None:
    empty = table([(1, 1, "plus")]).head(0)
    assert explain_in_words(parts().reindex(columns=[LOGINS, SEATS, PLAN]), empty, TYPICAL, Reasons()).shape == (0, 6)


# --- determinism ------------------------------------------------------------------------------------------------


def test_ties_follow_the_order_of_the_columns() -> None:
    accounts = table([(1, 1, "plus")])
    found = explain_in_words(parts((1, 1, 1)), accounts, TYPICAL, Reasons())
    assert found.filter(like="_code").iloc[0].tolist() == ["LOGINS_LOW", "SEATS_LOW", "PLAN_CATEGORY"]


def test_reasons_of_a_row_do_not_depend_on_the_others(model: ChurnModel, canonical: pd.DataFrame) -> None:
    accounts = canonical.head(400)
    explained = model.explain_terms(accounts)
    typical = Terms.of(model.encoder, model.reference)
    before = accounts.copy()
    whole = explain_in_words(explained, accounts, typical, Reasons())
    order = rng(5).permutation(400)
    shuffled = explain_in_words(explained.iloc[order], accounts.iloc[order], typical, Reasons())
    pd.testing.assert_frame_equal(shuffled, whole.iloc[order])
    halves = [explain_in_words(explained[at], accounts[at], typical, Reasons()) for at in (slice(7), slice(7, None))]
    pd.testing.assert_frame_equal(pd.concat(halves), whole)
    pd.testing.assert_frame_equal(accounts, before)


def test_many_accounts_get_their_reasons() -> None:
    rows = 100_000
    generator = rng(9)
    accounts = pd.DataFrame(
        {f"n{at}": generator.normal(size=rows).round(4) for at in range(9)}
        | {f"c{at}": generator.choice(["a", "b", "c"], rows) for at in range(3)}
    )
    typical = terms_of({name: 0.0 if name.startswith("n") else "a" for name in accounts})
    contributions = pd.DataFrame(generator.normal(size=(rows, 12)), columns=accounts.columns)
    found = explain_in_words(contributions, accounts, typical, Reasons())
    assert found["reason_1"].notna().mean() > 0.99
