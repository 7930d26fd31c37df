"""Slices of the pipelines on a catalog in memory, and what the nodes promise."""

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from churn.errors import AccountsError, ChurnError
from churn.parameters import Accounts, Parameters, Simulation, Staging
from churn.pipelines import data_generation, feature_engineering, inference, monitoring, training
from churn.pipelines.data_generation.nodes import make_snapshots
from churn.pipelines.feature_engineering.nodes import split_accounts
from churn.pipelines.training.nodes import decide_promotion, true_probability
from churn.publication import Publication


def run(pipeline: Pipeline, parameters: Parameters, **data: Any) -> dict[str, Any]:
    """Run a pipeline on a catalog in memory and give all its outputs."""
    catalog = DataCatalog({name: MemoryDataset(copy_mode="assign") for name in pipeline.all_outputs()})
    for name, value in data.items():
        catalog[name.replace("__", "@")] = MemoryDataset(value, copy_mode="assign")
    for name in Parameters.model_fields:
        catalog[f"params:{name}"] = MemoryDataset(getattr(parameters, name), copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog[name].load() for name in pipeline.outputs()}


@pytest.fixture(scope="module")
def small(parameters: Parameters) -> Parameters:
    simulation = Simulation(training_rows=2000, scoring_rows=500, base_rate=0.3)
    return parameters.model_copy(update={"simulation": simulation})


@pytest.fixture(scope="module")
def snapshots(small: Parameters) -> dict[str, Any]:
    return run(data_generation.create_pipeline(), small, source_accounts=None)


@pytest.fixture(scope="module")
def features(small: Parameters, snapshots: dict[str, Any]) -> dict[str, Any]:
    pipeline = feature_engineering.create_pipeline()
    encoded = run(pipeline, small, training_accounts=snapshots["training_accounts"])
    assert set(encoded) == {"train_features", "test_features"}
    parts = run(
        pipeline.only_nodes("validate_accounts", "split_accounts"),
        small,
        training_accounts=snapshots["training_accounts"],
    )
    encoder = run(pipeline.only_nodes("fit_encoder"), small, train_accounts=parts["train_accounts"])
    return {**encoded, **parts, **encoder}


# --- data_generation --------------------------------------------------------------------------------------------


def test_simulated_snapshots(snapshots: dict[str, Any], roles: Accounts) -> None:
    training_accounts, scoring = snapshots["training_accounts"], snapshots["scoring_accounts@table"]
    assert len(training_accounts) == 2000
    assert roles.label.column in training_accounts
    assert roles.label.column not in scoring
    assert list(snapshots["scoring_outcomes"]) == ["account_id", "is_churned"]
    assert snapshots["scoring_outcomes"]["account_id"].tolist() == scoring["account_id"].tolist()
    assert len(snapshots["oracle"]) == 2500
    assert not set(training_accounts["account_id"]) & set(scoring["account_id"])


def test_drift_moves_the_scoring_snapshot_only(roles: Accounts) -> None:
    calm = make_snapshots(None, roles, Simulation(training_rows=500, scoring_rows=500), Staging())
    moved = make_snapshots(None, roles, Simulation(training_rows=500, scoring_rows=500, drift=1), Staging())
    pd.testing.assert_frame_equal(calm.training, moved.training)
    assert not calm.scoring.equals(moved.scoring)


def test_an_account_table_of_ones_own_is_staged(labelled: pd.DataFrame, roles: Accounts) -> None:
    staged = make_snapshots(labelled, roles, Simulation(), Staging(scoring_share=0.25))
    assert len(staged.scoring) == 1000
    assert len(staged.training) == 3000
    assert "is_churned" not in staged.scoring
    assert set(staged.training["account_id"]) | set(staged.scoring["account_id"]) == set(labelled["account_id"])
    rates = [part["is_churned"].mean() for part in (staged.training, staged.outcomes)]
    assert rates[0] == pytest.approx(rates[1], abs=0.001)
    assert list(staged.oracle) == ["account_id", "probability"]
    assert len(staged.oracle) == 0
    again = make_snapshots(labelled, roles, Simulation(), Staging(scoring_share=0.25))
    pd.testing.assert_frame_equal(staged.scoring, again.scoring)


def test_a_faulty_table_of_ones_own_is_refused(labelled: pd.DataFrame, roles: Accounts) -> None:
    with pytest.raises(AccountsError, match="source accounts: 1 fault found"):
        make_snapshots(labelled.drop(columns="operating_country"), roles, Simulation(), Staging())


# --- feature_engineering ----------------------------------------------------------------------------------------


def test_split_is_stratified_disjoint_and_seeded(features: dict[str, Any], snapshots: dict[str, Any]) -> None:
    train, test = features["train_accounts"], features["test_accounts"]
    assert (len(train), len(test)) == (1400, 600)
    assert not set(train["account_id"]) & set(test["account_id"])
    assert train["is_churned"].mean() == pytest.approx(test["is_churned"].mean(), abs=0.002)
    order = {name: at for at, name in enumerate(snapshots["training_accounts"]["account_id"])}
    assert train["account_id"].map(order).is_monotonic_increasing


def test_medians_and_vocabularies_come_from_the_training_rows_alone(
    small: Parameters, snapshots: dict[str, Any], features: dict[str, Any], roles: Accounts
) -> None:
    accounts = snapshots["training_accounts"].copy()
    of_test = accounts["account_id"].isin(features["test_accounts"]["account_id"])
    changed = accounts.assign(
        p1m_tenure_since_conversion=accounts["p1m_tenure_since_conversion"].mask(of_test, 72),
        login_count_p1m=accounts["login_count_p1m"].mask(of_test, 1500),
        operating_country=accounts["operating_country"].astype("str").mask(of_test, "atlantis"),
        industry_category=accounts["industry_category"].astype("str").mask(of_test, None),
    )
    pipeline = feature_engineering.create_pipeline()
    split = run(pipeline.only_nodes("validate_accounts", "split_accounts"), small, training_accounts=changed)
    assert split["test_accounts"]["account_id"].tolist() == features["test_accounts"]["account_id"].tolist()
    assert (split["test_accounts"]["operating_country"] == "atlantis").all()
    again = run(pipeline.only_nodes("fit_encoder"), small, train_accounts=split["train_accounts"])
    assert again["encoder"] == features["encoder"]
    assert run(
        pipeline.only_nodes("encode_train_accounts"),
        small,
        train_accounts=split["train_accounts"],
        encoder=again["encoder"],
    )["train_features"].equals(features["train_features"])


def test_features_are_float32_beside_id_and_label(features: dict[str, Any]) -> None:
    frame = features["train_features"]
    assert list(frame)[:2] == ["account_id", "is_churned"]
    assert set(frame.dtypes.iloc[2:].astype(str)) == {"float32"}
    assert not frame.isna().any().any()


def test_too_few_accounts_of_a_class(canonical: pd.DataFrame, parameters: Parameters) -> None:
    rare = canonical[canonical["is_churned"] == 0].head(100)
    few = pd.concat([rare, canonical[canonical["is_churned"] == 1].head(3)]).reset_index(drop=True)
    with pytest.raises(AccountsError, match="a class has only 3 rows, 10 are needed"):
        split_accounts(few, parameters.accounts, parameters.feature_engineering)


def test_ignored_columns_are_reported(
    small: Parameters, snapshots: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    accounts = snapshots["training_accounts"].assign(colour="red")
    run(feature_engineering.create_pipeline().only_nodes("validate_accounts"), small, training_accounts=accounts)
    assert "ignored columns without a role: colour" in caplog.text


# --- training ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(small: Parameters, snapshots: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    given = {name: features[name] for name in ("train_accounts", "test_accounts", "train_features", "encoder")}
    pipeline = training.create_pipeline()
    model = run(pipeline.to_outputs("churn_model"), small, **given)["churn_model"]
    rest = pipeline - pipeline.to_outputs("churn_model")
    outputs = run(rest, small, churn_model=model, oracle=snapshots["oracle"], **given)
    metrics = run(rest.only_nodes("evaluate_model"), small, churn_model=model, oracle=snapshots["oracle"], **given)
    return {**outputs, **metrics, "churn_model": model}


def test_metrics_have_all_the_names(trained: dict[str, Any]) -> None:
    measures = (
        *("roc_auc", "average_precision", "accuracy", "precision", "recall", "f1", "brier", "log_loss"),
        *("lift_at_10", "calibration_error"),
    )
    metrics = trained["training_metrics"]
    assert {f"{part}_{measure}" for part in ("train", "test") for measure in measures} <= set(metrics)
    assert metrics["test_roc_auc_of_oracle"] == pytest.approx(metrics["test_roc_auc"] / metrics["oracle_roc_auc"])
    assert metrics["test_rows"] == 600
    assert 0.9 < metrics["test_roc_auc_of_oracle"] < 1.02
    assert metrics["train_roc_auc"] > metrics["test_roc_auc"] - 0.02
    assert trained["tracked_training_metrics"]["test_roc_auc"] == {"value": metrics["test_roc_auc"], "step": 0}


def test_metrics_are_those_of_the_stored_model(trained: dict[str, Any], features: dict[str, Any]) -> None:
    from sklearn.metrics import roc_auc_score

    test = features["test_accounts"]
    expected = roc_auc_score(test["is_churned"], trained["churn_model"].probability(test))
    assert trained["training_metrics"]["test_roc_auc"] == pytest.approx(expected, abs=1e-12)


def test_plots_are_drawn(trained: dict[str, Any]) -> None:
    titles = {
        axes.get_title(loc="left")
        for name in ("roc_plot", "calibration_plot", "lift_plot", "importance_plot")
        for axes in trained[name].axes
    }
    assert titles == {
        *("ROC curve", "Precision and recall", "Calibration", "Lift", "Churners found", "What moves the scores")
    }


def test_the_model_is_made_of_training_rows_alone(
    small: Parameters, features: dict[str, Any], trained: dict[str, Any]
) -> None:
    pipeline = training.create_pipeline().to_outputs("churn_model")
    assert not {"test_accounts", "test_features", "oracle"} & pipeline.inputs()
    given = {name: features[name] for name in ("train_accounts", "train_features", "encoder")}
    again = run(pipeline, small, **given)["churn_model"]
    assert again.sha256 == trained["churn_model"].sha256


def test_without_the_truth_there_is_no_oracle(features: dict[str, Any], roles: Accounts) -> None:
    rows = features["test_accounts"]
    assert true_probability(rows, None, roles) is None
    empty = pd.DataFrame({"account_id": pd.Series([], dtype="str"), "probability": []})
    assert true_probability(rows, empty, roles) is None
    others = pd.DataFrame({"account_id": ["x"], "probability": [0.5]})
    assert true_probability(rows, others, roles) is None


def test_only_the_evaluation_reads_the_truth() -> None:
    readers = {node.name for name in pipelines for node in pipelines[name].nodes if "oracle" in node.inputs}
    assert readers == {"evaluate_model"}


def test_the_newest_model_is_promoted(trained: dict[str, Any]) -> None:
    decision = decide_promotion(trained["churn_model"], trained["training_metrics"])
    assert decision["promote"] is True
    assert decision["sha256"] == trained["churn_model"].sha256


# --- inference and monitoring -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(small: Parameters, snapshots: dict[str, Any], trained: dict[str, Any]) -> Publication:
    fingerprint = {"name": "inference_data.csv", "bytes": 1, "sha256": "00"}
    outputs = run(
        inference.create_pipeline(),
        small.model_copy(update={"inference": small.inference.model_copy(update={"as_of": date(2026, 1, 31)})}),
        scoring_accounts__table=snapshots["scoring_accounts@table"],
        scoring_accounts__fingerprint=fingerprint,
        champion__model=trained["churn_model"],
    )
    published: Publication = outputs["results@publish"]
    return published


def test_every_account_is_scored_once(scored: Publication, snapshots: dict[str, Any]) -> None:
    accounts = snapshots["scoring_accounts@table"]
    assert scored.predictions["account_id"].tolist() == accounts["account_id"].tolist()
    assert scored.source == {"name": "inference_data.csv", "bytes": 1, "sha256": "00", "rows": 500}
    assert scored.as_of == date(2026, 1, 31)
    assert scored.profile["risk_bands"] == ["low", "medium", "high"]
    assert scored.profile["scored"]["rows"] == 500


def test_health_with_and_without_outcomes(small: Parameters, snapshots: dict[str, Any], scored: Publication) -> None:
    from dataclasses import replace

    published = replace(scored, run_id="r-1")
    pipeline = monitoring.create_pipeline()
    early = run(pipeline, small, results__latest=published, scoring_outcomes=None)
    later = run(pipeline, small, results__latest=published, scoring_outcomes=snapshots["scoring_outcomes"])
    assert early["health_report"]["metrics"]["realised_performance"] is None
    realised = later["health_report"]["metrics"]["realised_performance"]
    assert realised["coverage"] == 1.0
    assert realised["roc_auc"] > 0.7
    assert later["health_report"]["run_id"] == "r-1"
    assert later["tracked_health"]["realised/roc_auc"]["value"] == pytest.approx(realised["roc_auc"])
    assert "<html" in later["health_report"]["html"]


def test_a_table_that_does_not_fit_is_refused_before_scoring(
    small: Parameters, snapshots: dict[str, Any], trained: dict[str, Any]
) -> None:
    pipeline = inference.create_pipeline().only_nodes("validate_scoring_accounts")
    table = snapshots["scoring_accounts@table"]

    def refused(accounts: pd.DataFrame, parameters: Parameters = small) -> str:
        with pytest.raises(ChurnError) as caught:
            run(pipeline, parameters, scoring_accounts__table=accounts, champion__model=trained["churn_model"])
        return str(caught.value)

    assert "only values that the model has never seen" in refused(table.assign(revenue_trend="sideways"))
    assert "not finite" in refused(table.assign(quotes_p1m_vs_prev_month_ratio=np.inf))
    assert "no rows" in refused(table.iloc[:0])
    other = small.accounts.model_copy(update={"id": "key"})
    assert "trained for another table" in refused(table, small.model_copy(update={"accounts": other}))
