"""What the model must do whatever it learned: invariance, direction, minimum function (Ribeiro et al. 2020)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Parameters
from churn.errors import AccountsError, ChurnError
from churn.model import ChurnModel
from churn.model.churn_model import BASELINE
from tests.conftest import rng, train


@pytest.fixture(scope="module")
def scores(model: ChurnModel, labelled: pd.DataFrame) -> pd.DataFrame:
    return model.score(labelled)


# --- invariance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_partitions_of_any_size_score_alike(
    model: ChurnModel, labelled: pd.DataFrame, scores: pd.DataFrame, size: int
) -> None:
    rows = labelled.head(50 * size if size < 100 else len(labelled))
    parts = [model.score(rows.iloc[start : start + size]) for start in range(0, len(rows), size)]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), scores.head(len(rows)))


def test_the_order_of_rows_and_columns_does_not_matter(
    model: ChurnModel, labelled: pd.DataFrame, scores: pd.DataFrame
) -> None:
    order = rng().permutation(len(labelled))
    shuffled = labelled.iloc[order][list(reversed(labelled.columns))]
    pd.testing.assert_frame_equal(model.score(shuffled), scores.iloc[order].reset_index(drop=True))


def test_ids_labels_and_spare_columns_do_not_matter(
    model: ChurnModel, labelled: pd.DataFrame, scores: pd.DataFrame, schema: AccountSchema
) -> None:
    changed = labelled.drop(columns=schema.label.column).assign(account_id=range(len(labelled)), colour="red")
    pd.testing.assert_series_equal(model.score(changed)["probability"], scores["probability"])


def test_raw_and_canonical_rows_score_alike(model: ChurnModel, canonical: pd.DataFrame, scores: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(model.score(canonical), scores)


def test_the_type_of_a_column_does_not_matter(
    model: ChurnModel, labelled: pd.DataFrame, scores: pd.DataFrame, schema: AccountSchema
) -> None:
    as_strings = labelled.assign(**{name: labelled[name].astype("str") for name in schema.numeric_names})
    pd.testing.assert_series_equal(model.score(as_strings)["probability"], scores["probability"])


def test_values_that_mean_missing_are_those_of_the_schema(
    model: ChurnModel, labelled: pd.DataFrame, schema: AccountSchema
) -> None:
    number, category = schema.numeric_names[0], schema.categorical[0]
    rows = labelled.head(20)
    absent = rows.assign(**{number: np.nan, category: None})
    marked = rows.assign(**{number: -999, category: "n/a"})
    own = replace(model, schema=schema.model_copy(update={"missing": ("", "-999"), "missing_text": ("", "N/A")}))
    pd.testing.assert_series_equal(own.score(marked)["probability"], model.score(absent)["probability"])
    pd.testing.assert_frame_equal(own.explain(marked), model.explain(absent))


def test_scoring_does_not_change_the_rows(model: ChurnModel, labelled: pd.DataFrame) -> None:
    before = labelled.copy()
    model.score(labelled)
    model.explain(labelled.head(10))
    pd.testing.assert_frame_equal(labelled, before)


# --- direction --------------------------------------------------------------------------------------------------


def mean_probability(model: ChurnModel, accounts: pd.DataFrame, **changes: object) -> float:
    return float(model.probability(accounts.assign(**changes)).mean())


def test_fewer_active_users_raise_the_risk(model: ChurnModel, canonical: pd.DataFrame) -> None:
    few = np.maximum(1, canonical["total_users_count"] // 10)
    assert mean_probability(model, canonical, active_users_count=few) > mean_probability(
        model, canonical, active_users_count=canonical["total_users_count"]
    )


@pytest.mark.parametrize("trend", ["payments", "invoices"])
def test_falling_trends_raise_the_risk(model: ChurnModel, canonical: pd.DataFrame, trend: str) -> None:
    column = f"{trend}_p1m_vs_prev_month_ratio"
    assert mean_probability(model, canonical, **{column: -0.8}) > mean_probability(model, canonical, **{column: 0.4})


# --- minimum function -------------------------------------------------------------------------------------------


def test_scores_are_probabilities_with_predictions_and_bands(model: ChurnModel, scores: pd.DataFrame) -> None:
    assert list(scores) == ["account_id", "probability", "prediction", "risk_band", "model_version"]
    assert scores["probability"].dtype == np.float32
    assert scores["probability"].between(0, 1).all()
    assert (scores["prediction"] == (scores["probability"] >= 0.5)).all()
    expected = pd.cut(scores["probability"], [0, 0.2, 0.5, 1.01], right=False, labels=["low", "medium", "high"])
    assert (scores["risk_band"].astype("str") == expected.astype("str")).all()
    assert set(scores["risk_band"]) == {"low", "medium", "high"}


def test_the_risky_half_churns_more(model: ChurnModel, canonical: pd.DataFrame, scores: pd.DataFrame) -> None:
    churned = canonical["is_churned"].to_numpy()
    risky = (scores["probability"] > scores["probability"].median()).to_numpy()
    assert churned[risky].mean() > 2 * churned[~risky].mean()


def test_missing_and_unseen_values_are_scored(model: ChurnModel, labelled: pd.DataFrame, schema: AccountSchema) -> None:
    row = labelled.head(1)
    nothing = row.assign(**dict.fromkeys(schema.numeric_names, np.nan), **dict.fromkeys(schema.categorical, None))
    strange = row.assign(**dict.fromkeys(schema.categorical, "atlantis"))
    for rows in (nothing, strange):
        assert 0 < model.probability(rows)[0] < 1


def test_contributions_add_up_to_the_margin(model: ChurnModel, labelled: pd.DataFrame) -> None:
    rows = labelled.head(200)
    parts = model.explain(rows)
    assert list(parts) == [*model.encoder.columns, BASELINE]
    margin = model.margin_of(model.encoder.transform(rows))
    np.testing.assert_allclose(parts.sum(axis=1), margin, atol=1e-5)
    np.testing.assert_array_equal(model.calibration.apply(margin), model.probability(rows))


def test_calibration_keeps_the_order_of_the_margins(model: ChurnModel, labelled: pd.DataFrame) -> None:
    margin = model.margin_of(model.encoder.transform(labelled))
    order = np.argsort(margin, kind="stable")
    assert (np.diff(model.probability(labelled)[order]) >= 0).all()
    assert len(np.unique(model.probability(labelled))) > 0.99 * len(np.unique(margin))


def test_importance_is_that_of_the_contributions(model: ChurnModel) -> None:
    assert set(model.importance) == set(model.encoder.columns)
    assert max(model.importance, key=model.importance.__getitem__) in {
        "total_users_count",
        "active_users_count",
        "login_count_p1m",
        "p1m_tenure_since_conversion",
        "payments_p1m_vs_prev_month_ratio",
    }


def test_a_noise_column_matters_least(canonical: pd.DataFrame, parameters: Parameters) -> None:
    noisy = canonical.assign(noise=rng(4).normal(size=len(canonical)))
    described = parameters.accounts.model_dump()
    schema = AccountSchema.model_validate(described | {"numeric": [*described["numeric"], "noise"]})
    fitted = train(noisy, schema, parameters.feature_engineering, parameters.training)
    assert fitted.importance["noise"] < 0.3 * max(fitted.importance.values())


# --- fit to a table ---------------------------------------------------------------------------------------------


def test_a_missing_column_is_refused(model: ChurnModel, labelled: pd.DataFrame) -> None:
    with pytest.raises(AccountsError, match="missing column: login_count_p1m"):
        model.score(labelled.drop(columns="login_count_p1m"))


def test_another_table_is_refused(model: ChurnModel, schema: AccountSchema) -> None:
    model.check_fits(schema)
    other = AccountSchema(
        id="key", label={"column": "left"}, numeric=["total_users_count", "weight"], categorical=["plan"]
    )
    with pytest.raises(ChurnError) as caught:
        model.check_fits(other)
    message = str(caught.value)
    for expected in ("was trained for another table", "the id is 'account_id' there and 'key' here", "weight", "plan"):
        assert expected in message


def test_a_column_of_unseen_categories_is_a_fault(model: ChurnModel, canonical: pd.DataFrame) -> None:
    assert model.unseen_faults(model.familiar(canonical)) == []
    assert model.unseen_faults(model.familiar(canonical.assign(revenue_trend=None))) == []
    (fault,) = model.unseen_faults(model.familiar(canonical.assign(revenue_trend="sideways")))
    assert fault == "revenue_trend: holds only values that the model has never seen; it knows down, flat, up"


def test_use_sets_threads_and_keeps_scores(model: ChurnModel, labelled: pd.DataFrame, scores: pd.DataFrame) -> None:
    assert model.use(threads=1) is model
    pd.testing.assert_frame_equal(model.score(labelled), scores)
    model.use()
