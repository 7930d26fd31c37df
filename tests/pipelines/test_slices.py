"""Slices of the pipelines on a catalog in memory, and what the nodes promise."""

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from churn.config import AccountSchema, Booster, FeatureEngineering, Parameters, Simulation, Staging, Tuning
from churn.errors import AccountsError, ChurnError, FaultsError
from churn.pipeline_registry import register_pipelines
from churn.pipelines import data_generation, feature_engineering, inference, monitoring, training
from churn.pipelines.data_generation.nodes import make_snapshots
from churn.pipelines.feature_engineering.nodes import split_accounts
from churn.scoring import CurrentLedger, Publication, select
from churn.scoring.run import ScoringRun
from churn.tables import CheckedBatches, FrameTable, Table, check_accounts
from churn.tables.split import Split
from churn.training.evaluation import true_probability
from tests.conftest import InMemory, train

pytestmark = pytest.mark.pipelines


def run(pipeline: Pipeline, parameters: Parameters, **data: Any) -> dict[str, Any]:
    """Run a pipeline on a catalog in memory and give all its outputs, tables as frames."""
    catalog = DataCatalog({name: MemoryDataset(copy_mode="assign") for name in pipeline.all_outputs()})
    for name in ("contacts", "campaign_accounts", "known_call_effect"):  # there are none without campaigns
        catalog[name] = MemoryDataset(None)
    catalog["model_cards"] = MemoryDataset(lambda run_id: None, copy_mode="assign")
    for name, value in data.items():
        stored = {name.replace("__", "@"): value}
        if name == "training_accounts__table":
            stored["training_accounts@batches"] = InMemory(value)
            stored["training_accounts@fingerprint"] = SOURCE
        elif name in STORED:
            stored = {f"{name}@table": value, f"{name}@batches": FrameTable(value)}
        for entry, content in stored.items():
            catalog[entry] = MemoryDataset(content, copy_mode="assign")
    for name in Parameters.model_fields:
        catalog[f"params:{name}"] = MemoryDataset(getattr(parameters, name), copy_mode="assign")
    catalog["parameters"] = MemoryDataset({name: getattr(parameters, name) for name in Parameters.model_fields})
    SequentialRunner().run(pipeline, catalog)
    made = {name: catalog[name].load() for name in pipeline.outputs()}
    return {
        name.removesuffix("@batches"): value.frame() if isinstance(value, Table) else value
        for name, value in made.items()
    }


SOURCE = {"name": "t.csv", "bytes": 1, "sha256": "00"}
# Tables that are stored, and loaded in batches or as a frame.
STORED = ("train_accounts", "test_accounts", "train_features", "test_features")


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
    described = run(pipeline, small, training_accounts__table=snapshots["training_accounts@table"])
    source = described["training_source"]
    assert {name: source[name] for name in SOURCE} == SOURCE
    assert set(described) == {"training_source", "training_split", "data_report_page"}
    assert "Data report of the training rows" in described["data_report_page"]
    others = pipeline.only_nodes(*(each.name for each in pipeline.nodes if each.name != "describe_source"))
    encoded = run(others, small, training_accounts__table=snapshots["training_accounts@table"])
    assert set(encoded) == {"train_features", "test_features", "training_split", "data_report_page"}
    assert source["train_rows"] == len(encoded["train_features"])
    assert source["train_rows"] + source["test_rows"] == 2000
    parts = run(
        pipeline.only_nodes("validate_accounts", "split_accounts"),
        small,
        training_accounts__table=snapshots["training_accounts@table"],
    )
    encoder = run(pipeline.only_nodes("fit_encoder"), small, train_accounts=parts["train_accounts"])
    return {**encoded, **parts, **encoder}


# --- data_generation --------------------------------------------------------------------------------------------


def test_simulated_snapshots(snapshots: dict[str, Any], schema: AccountSchema) -> None:
    training_accounts, scoring = snapshots["training_accounts@table"], snapshots["scoring_accounts@table"]
    assert len(training_accounts) == 2000
    assert schema.label.column in training_accounts
    assert schema.label.column not in scoring
    assert list(snapshots["scoring_outcomes@table"]) == ["account_id", "is_churned"]
    assert snapshots["scoring_outcomes@table"]["account_id"].tolist() == scoring["account_id"].tolist()
    assert len(snapshots["oracle"]) == 2500
    assert not set(training_accounts["account_id"]) & set(scoring["account_id"])


def test_drift_moves_the_scoring_snapshot_only(schema: AccountSchema) -> None:
    calm = make_snapshots(
        None, schema, Simulation(training_rows=500, scoring_rows=500), Staging(), FeatureEngineering()
    )
    moved = make_snapshots(
        None, schema, Simulation(training_rows=500, scoring_rows=500, drift=1), Staging(), FeatureEngineering()
    )
    pd.testing.assert_frame_equal(calm.training, moved.training)
    assert not calm.scoring.equals(moved.scoring)


def test_an_account_table_of_ones_own_is_staged(labelled: pd.DataFrame, schema: AccountSchema) -> None:
    staged = make_snapshots(labelled, schema, Simulation(), Staging(scoring_share=0.25), FeatureEngineering())
    assert len(staged.scoring) == pytest.approx(1000, abs=110)
    assert len(staged.training) + len(staged.scoring) == 4000
    assert "is_churned" not in staged.scoring
    assert set(staged.training["account_id"]) | set(staged.scoring["account_id"]) == set(labelled["account_id"])
    rates = [part["is_churned"].mean() for part in (staged.training, staged.outcomes)]
    assert rates[0] == pytest.approx(rates[1], abs=0.06)
    assert list(staged.oracle) == ["account_id", "probability"]
    assert len(staged.oracle) == 0
    again = make_snapshots(labelled, schema, Simulation(), Staging(scoring_share=0.25), FeatureEngineering())
    pd.testing.assert_frame_equal(staged.scoring, again.scoring)


def test_a_faulty_table_of_ones_own_is_refused(labelled: pd.DataFrame, schema: AccountSchema) -> None:
    with pytest.raises(AccountsError, match="source accounts: 1 fault found"):
        make_snapshots(
            labelled.drop(columns="operating_country"), schema, Simulation(), Staging(), FeatureEngineering()
        )


def test_values_of_several_types_and_lists_are_staged(labelled: pd.DataFrame, schema: AccountSchema) -> None:
    table = labelled.astype({"revenue_trend": object, "login_count_p1m": object}).assign(
        tags=[["a"]] * len(labelled), note=[1, "x"] * (len(labelled) // 2)
    )
    table.loc[table.index[:2], "revenue_trend"] = [True, 1.0]
    table.loc[table.index[:2], "login_count_p1m"] = ["NA", "7"]
    staged = make_snapshots(table, schema, Simulation(), Staging(), FeatureEngineering())
    rows = pd.concat([staged.training, staged.scoring]).sort_index()
    assert rows["tags"].isna().all()
    assert rows["note"].tolist()[:2] == ["1", "x"]
    canonical = check_accounts(rows, schema, subject="t", labelled=False).accounts
    assert canonical["revenue_trend"].tolist()[:2] == ["true", "1"]
    assert canonical["login_count_p1m"].tolist()[1] == 7.0
    pa.Table.from_pandas(rows)


def test_rows_in_neither_class_are_not_staged(labelled: pd.DataFrame, schema: AccountSchema) -> None:
    label = schema.label.model_copy(update={"drop": ("new",)})
    table = labelled.astype({"is_churned": object}).assign(
        is_churned=labelled["is_churned"].where(labelled.index % 4 > 0, "new")
    )
    staged = make_snapshots(
        table, schema.model_copy(update={"label": label}), Simulation(), Staging(), FeatureEngineering()
    )
    kept = labelled[labelled.index % 4 > 0]
    assert set(staged.training["account_id"]) | set(staged.scoring["account_id"]) == set(kept["account_id"])
    assert len(staged.training) + len(staged.scoring) == len(kept)
    assert set(staged.outcomes["is_churned"]) == {"true", "false"}


# --- feature_engineering ----------------------------------------------------------------------------------------


def test_split_is_disjoint_complete_and_by_id(
    small: Parameters, features: dict[str, Any], snapshots: dict[str, Any]
) -> None:
    train, test = features["train_accounts"], features["test_accounts"]
    assert len(train) + len(test) == 2000
    assert len(test) == pytest.approx(600, abs=80)
    assert not set(train["account_id"]) & set(test["account_id"])
    split = Split.from_dict(features["training_split"])
    assert (split.key, split.share) == (small.feature_engineering.random_state, small.feature_engineering.test_share)
    assert split.test_rows(test["account_id"]).all()
    assert not split.test_rows(train["account_id"]).any()
    order = {name: at for at, name in enumerate(snapshots["training_accounts@table"]["account_id"])}
    assert train["account_id"].map(order).is_monotonic_increasing


def test_medians_and_vocabularies_come_from_the_training_rows_alone(
    small: Parameters, snapshots: dict[str, Any], features: dict[str, Any], schema: AccountSchema
) -> None:
    accounts = snapshots["training_accounts@table"].copy()
    of_test = accounts["account_id"].isin(features["test_accounts"]["account_id"])
    changed = accounts.assign(
        p1m_tenure_since_conversion=accounts["p1m_tenure_since_conversion"].mask(of_test, 72),
        login_count_p1m=accounts["login_count_p1m"].mask(of_test, 1500),
        operating_country=accounts["operating_country"].astype("str").mask(of_test, "atlantis"),
        industry_category=accounts["industry_category"].astype("str").mask(of_test, None),
    )
    pipeline = feature_engineering.create_pipeline()
    split = run(pipeline.only_nodes("validate_accounts", "split_accounts"), small, training_accounts__table=changed)
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


def test_a_split_without_a_class_on_one_side(labelled: pd.DataFrame, parameters: Parameters) -> None:
    few = pd.concat([rows.head(10) for _, rows in labelled.groupby("is_churned")], ignore_index=True)
    checked = CheckedBatches(InMemory(few), parameters.accounts, None, "training accounts")
    settings = parameters.feature_engineering.model_copy(update={"test_share": 0.001})
    with pytest.raises(AccountsError, match=r"set feature_engineering\.random_state or test_share"):
        split_accounts(checked, parameters.accounts, settings)


def test_too_few_accounts_of_a_class(labelled: pd.DataFrame, parameters: Parameters) -> None:
    churned = labelled["is_churned"].astype(bool)
    few = pd.concat([labelled[~churned].head(100), labelled[churned].head(3)], ignore_index=True)
    checked = CheckedBatches(InMemory(few), parameters.accounts, None, "training accounts")
    with pytest.raises(AccountsError, match="a class has only 3 rows, 10 are needed"):
        split_accounts(checked, parameters.accounts, parameters.feature_engineering)


def test_a_table_that_changes_while_it_is_split(labelled: pd.DataFrame, parameters: Parameters) -> None:
    table = InMemory(labelled.head(200))
    checked = CheckedBatches(table, parameters.accounts, None, "training accounts")
    split = split_accounts(checked, parameters.accounts, parameters.feature_engineering)
    assert len(split.train.frame()) == len(split.train)
    assert len(split.train) + len(split.test) == 200
    for other in (labelled.head(190), labelled.head(210)):
        table._frames = (other,)
        with pytest.raises(ChurnError, match="has changed while it was read"):
            split.test.frame()


def test_ignored_columns_are_reported(
    small: Parameters, snapshots: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    accounts = snapshots["training_accounts@table"].assign(colour="red")
    checked = feature_engineering.create_pipeline().only_nodes("validate_accounts", "split_accounts")
    run(checked, small, training_accounts__table=accounts)
    assert "ignored columns that are not in the schema: colour" in caplog.text


# --- training ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(small: Parameters, snapshots: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    names = ("train_accounts", "test_accounts", "train_features", "test_features", "encoder", "training_split")
    given = {name: features[name] for name in names}
    given |= {
        "reigning_champion": None,
        "reigning_version": None,
        "training_source": SOURCE,
    }
    pipeline = training.create_pipeline()
    model = run(pipeline.to_outputs("churn_model"), small, **given)["churn_model"]
    rest = pipeline - pipeline.to_outputs("churn_model")
    known = {**given, "churn_model": model, "oracle": snapshots["oracle"], "sound_accounts": given["train_accounts"]}
    known |= run(pipeline.to_outputs("validation_folds"), small, **given)
    known |= {"tuning_summary": {}, "portfolio_summary": {}}
    outputs = run(rest, small, **known)
    for end in ("training_metrics", "promotion_decision", "model_card"):
        outputs |= run(rest.to_outputs(end), small, **known)
    return {**outputs, "churn_model": model, "given": known}


def test_metrics_have_all_the_names(trained: dict[str, Any]) -> None:
    measures = (
        *("roc_auc", "average_precision", "accuracy", "precision", "recall", "f1", "brier", "log_loss"),
        *("lift_at_10", "calibration_error"),
    )
    metrics = trained["training_metrics"]
    assert {f"{part}_{measure}" for part in ("train", "test") for measure in measures} <= set(metrics)
    assert metrics["test_roc_auc_of_oracle"] == pytest.approx(metrics["test_roc_auc"] / metrics["oracle_roc_auc"])
    assert metrics["test_rows"] == len(trained["given"]["test_accounts"])
    assert 0.9 < metrics["test_roc_auc_of_oracle"] < 1.02
    assert metrics["train_roc_auc"] > metrics["test_roc_auc"] - 0.02
    tracked = trained["tracked_training_metrics"]
    assert sorted(tracked.values()) == sorted(metrics.values())
    assert tracked["test_roc_auc"] == metrics["test_roc_auc"]
    assert tracked["train/roc_auc"] == metrics["train_roc_auc"]
    assert tracked["interval/test_roc_auc_low"] == metrics["test_roc_auc_low"]
    assert tracked["profit/test_profit_all"] == metrics["test_profit_all"]
    assert tracked["baseline/logistic_regression_roc_auc"] == metrics["logistic_regression_roc_auc"]
    assert len([name for name in tracked if "/" not in name]) < 20


def test_metrics_are_those_of_the_stored_model(trained: dict[str, Any], features: dict[str, Any]) -> None:
    from sklearn.metrics import roc_auc_score

    test = features["test_accounts"]
    expected = roc_auc_score(test["is_churned"], trained["churn_model"].probability(test))
    assert trained["training_metrics"]["test_roc_auc"] == pytest.approx(expected, abs=1e-12)


def test_plots_are_drawn(trained: dict[str, Any]) -> None:
    titles = {
        axes.get_title(loc="left")
        for name in ("roc_plot", "calibration_plot", "lift_plot", "profit_plot", "importance_plot")
        for axes in trained[name].axes
    }
    assert titles == {
        *("ROC curve", "Precision and recall", "Calibration", "Lift", "Churners found", "What moves the scores"),
        "Profit of acting at example costs",
    }


def test_the_model_is_fitted_on_training_rows_alone(
    small: Parameters, features: dict[str, Any], trained: dict[str, Any]
) -> None:
    pipeline = training.create_pipeline()
    fitting = pipeline.to_outputs("churn_model") - pipeline.only_nodes("check_leakage")
    assert not {"test_features@table", "oracle"} & fitting.inputs()
    given = {"sound_features": FrameTable(features["train_features"]), "encoder": features["encoder"]}
    given |= {"sound_accounts": features["train_accounts"], "training_split": features["training_split"]}
    model, test = trained["churn_model"], features["test_accounts"]
    assert run(fitting, small, test_accounts=test, **given)["churn_model"].sha256 == model.sha256
    # Other test rows change nothing but what the scores of later accounts are compared with.
    others = test.head(100).assign(is_churned=1 - test["is_churned"].head(100))
    again = run(fitting, small, test_accounts=others, **given)["churn_model"]
    assert again.reference.score.rows == 100
    assert again.performance["rows"] == len(features["train_accounts"]) + 100
    same = replace(again, reference=model.reference, performance=model.performance)
    assert same.sha256 == model.sha256


def test_a_leaking_column_stops_the_run_before_training(
    small: Parameters, features: dict[str, Any], trained: dict[str, Any]
) -> None:
    train = features["train_accounts"].assign(login_count_p1m=features["train_accounts"]["is_churned"] * 100.0)
    given = {**trained["given"], "train_accounts": train}
    with pytest.raises(FaultsError, match="login_count_p1m"):
        run(
            training.create_pipeline(), small, **{name: value for name, value in given.items() if name != "churn_model"}
        )
    allowed = small.training.model_copy(
        update={"leakage": small.training.leakage.model_copy(update={"allowed": ("login_count_p1m",)})}
    )
    checked = training.create_pipeline().only_nodes("check_leakage")
    inputs = {"train_accounts": train, **{name: features[name] for name in ("test_accounts", "train_features")}}
    passed = run(checked, small.model_copy(update={"training": allowed}), **inputs)["sound_accounts"]
    assert passed is train


def test_profit_baselines_and_intervals_are_among_the_metrics(trained: dict[str, Any]) -> None:
    metrics = trained["training_metrics"]
    assert metrics["test_profit_best"] >= metrics["test_expected_profit"] > metrics["test_profit_threshold"]
    assert metrics["test_profit_none"] == 0
    assert metrics["test_empc"] > 0
    assert metrics["test_roc_auc_low"] < metrics["test_roc_auc"] < metrics["test_roc_auc_high"]
    for name in ("logistic_regression", "hist_gradient_boosting"):
        assert 0.7 < metrics[f"{name}_roc_auc"] < metrics["oracle_roc_auc"] + 0.02


def test_cross_validation_trains_on_every_fold(small: Parameters, trained: dict[str, Any]) -> None:
    evaluation = small.training.evaluation.model_copy(update={"method": "cross_validation", "folds": 2, "repeats": 2})
    booster = small.training.booster.model_copy(update={"n_estimators": 30})
    asked = small.training.model_copy(update={"evaluation": evaluation, "booster": booster})
    pipeline = training.create_pipeline().only_nodes("cross_validate_model")
    rows = {"sound_accounts": trained["given"]["train_accounts"], "test_accounts": trained["given"]["test_accounts"]}
    measured = run(pipeline, small.model_copy(update={"training": asked}), **rows)["cross_validated"]
    assert 0.7 < measured["roc_auc"].low < measured["roc_auc"].value < measured["roc_auc"].high < 0.95
    assert run(pipeline, small, **rows)["cross_validated"] == {}


def test_what_the_search_chose_is_trained(small: Parameters, features: dict[str, Any]) -> None:
    stunted = small.training.model_copy(
        update={
            "booster": Booster(n_estimators=5, max_leaves=2, learning_rate=0.02),
            "tuning": Tuning(enabled=True, trials=6),
            "linear_weight": 0.0,
        }
    )
    asked = small.model_copy(update={"training": stunted})
    pipeline = training.create_pipeline()
    given = {
        "sound_accounts": features["train_accounts"],
        "sound_features": FrameTable(features["train_features"]),
        "encoder": features["encoder"],
        "test_accounts": features["test_accounts"],
        "training_split": features["training_split"],
    }
    searching = pipeline.to_outputs("churn_model") - pipeline.only_nodes("check_leakage")
    tuned = run(searching, asked, **given)["churn_model"]
    summary = run(searching.to_outputs("tuning_summary"), asked, **given)["tuning_summary"]
    assert summary["trials"] == 6
    assert summary["chosen"] is not None
    assert summary["gain"] > 0
    held_out = {"test_accounts": features["test_accounts"], "split": Split.from_dict(features["training_split"])}
    plain = train(
        features["train_accounts"],
        small.accounts,
        small.feature_engineering,
        stunted.model_copy(update={"tuning": Tuning()}),
        **held_out,
    )
    assert tuned.performance["log_loss"] < plain.performance["log_loss"]
    same = train(features["train_accounts"], small.accounts, small.feature_engineering, stunted, **held_out)
    assert same.sha256 == tuned.sha256


def test_the_model_card_tells_what_happened(trained: dict[str, Any]) -> None:
    card, page = trained["model_card"], trained["model_card_page"]
    assert card["sha256"] == trained["churn_model"].sha256
    assert card["data"]["training_rows"] == len(trained["given"]["train_accounts"])
    assert card["reproduce"]["data_sha256"] == "00"
    assert card["parameters"]["training.booster.max_depth"] == 4
    assert set(card["baselines"]) == {"logistic_regression", "hist_gradient_boosting"}
    assert f"{trained['training_metrics']['test_roc_auc']:.3f}" in page
    money = card["money"]["policies"]
    for policy, name in (("profit", "expected_profit"), ("everybody", "profit_all"), ("threshold", "profit_threshold")):
        assert money[policy]["per_account"] == pytest.approx(trained["training_metrics"][f"test_{name}"])


def test_without_the_truth_there_is_no_oracle(features: dict[str, Any], schema: AccountSchema) -> None:
    rows = features["test_accounts"]
    assert true_probability(rows, None, schema) is None
    empty = pd.DataFrame({"account_id": pd.Series([], dtype="str"), "probability": []})
    assert true_probability(rows, empty, schema) is None
    others = pd.DataFrame({"account_id": ["x"], "probability": [0.5]})
    assert true_probability(rows, others, schema) is None


def test_only_the_evaluation_reads_the_truth() -> None:
    readers = {node.short_name for node in register_pipelines()["__default__"].nodes if "oracle" in node.inputs}
    assert readers == {"evaluate_model"}


def test_the_first_model_is_promoted(trained: dict[str, Any]) -> None:
    decision = trained["promotion_decision"]
    assert decision["promote"] is True
    assert decision["sha256"] == trained["churn_model"].sha256
    assert {gate["name"] for gate in decision["gates"]} == {
        *("performance", "calibration", "leakage", "latency", "segments")
    }


def test_a_worse_challenger_is_not_promoted_unless_forced(
    small: Parameters, features: dict[str, Any], trained: dict[str, Any]
) -> None:
    stunted = small.training.model_copy(
        update={
            "booster": small.training.booster.model_copy(update={"n_estimators": 1, "max_depth": 1, "max_leaves": 2})
        }
    )
    worse = train(features["train_accounts"], small.accounts, small.feature_engineering, stunted)
    deciding = training.create_pipeline().to_outputs("promotion_decision") - training.create_pipeline().to_outputs(
        "churn_model"
    )
    given = {**trained["given"], "churn_model": worse, "reigning_champion": trained["churn_model"]}
    given |= {"reigning_version": "1"}
    refused = run(deciding, small, **given)["promotion_decision"]
    assert refused["promote"] is False
    assert refused["compared_with"] == "1"
    assert "ROC AUC" in refused["reason"]
    forced = small.model_copy(update={"promotion": small.promotion.model_copy(update={"force": True})})
    decision = run(deciding, forced, **given)["promotion_decision"]
    assert decision["promote"] is True
    assert decision["forced"] is True


def test_a_champion_of_another_table_is_no_rival(small: Parameters, trained: dict[str, Any]) -> None:
    import dataclasses

    stranger = dataclasses.replace(trained["churn_model"], schema=small.accounts.model_copy(update={"id": "key"}))
    challenged = training.create_pipeline().to_outputs("challenge") - training.create_pipeline().to_outputs(
        "churn_model"
    )
    challenge = run(challenged, small, **{**trained["given"], "reigning_champion": stranger})["challenge"]
    assert challenge.champion is None


def test_a_champion_is_compared_on_rows_that_it_was_not_trained_on(small: Parameters, trained: dict[str, Any]) -> None:
    pipeline = training.create_pipeline()
    challenging = pipeline.to_outputs("challenge") - pipeline.to_outputs("churn_model")
    given, model = trained["given"], trained["churn_model"]
    ids = given["test_accounts"]["account_id"]

    def challenge(champion: Any) -> Any:
        return run(challenging, small, **{**given, "reigning_champion": champion})["challenge"]

    same = challenge(model)
    assert same.unchanged
    assert same.unseen.all()
    assert list(same.segments) == ["industry_category"] or list(same.segments) == ["operating_country"] or same.segments
    smaller = challenge(replace(model, split=replace(model.split, share=0.15)))
    assert not smaller.unchanged
    assert smaller.unseen.tolist() == Split(model.split.key, 0.15).test_rows(ids).tolist()
    other = challenge(replace(model, split=replace(model.split, key=99)))
    assert other.unseen is None or other.unseen.tolist() == Split(99, model.split.share).test_rows(ids).tolist()
    tiny = challenge(replace(model, split=replace(model.split, key=99, share=0.02)))
    assert tiny.unseen is None
    assert "as the split differs" in tiny.doubt
    assert challenge(replace(model, split=None)).unseen is None
    strangers = challenge(replace(model, split=replace(model.split, sketch=tuple(range(30)))))
    assert strangers.unseen is None
    assert "other ids" in strangers.doubt


# --- inference and monitoring -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(small: Parameters, snapshots: dict[str, Any], trained: dict[str, Any]) -> Publication:
    table = snapshots["scoring_accounts@table"]
    fingerprint = {"name": "inference_data.csv", "bytes": 1, "sha256": "00"}
    outputs = run(
        inference.create_pipeline(),
        small,
        as_of=date(2026, 1, 31),
        scoring_accounts__batches=InMemory(table.iloc[:200], table.iloc[200:]),
        scoring_accounts__fingerprint=fingerprint,
        current_ledger=CurrentLedger(None, {}),
        champion__model=trained["churn_model"],
    )
    scores: ScoringRun = outputs["results@publish"]
    predictions = pd.concat(scores.batches(), ignore_index=True)
    record = scores.record()
    assert len(record.retention_list) == record.rows == 500
    return Publication(FrameTable(predictions), record.profile, record.model, record.source, record.as_of, run_id="")


def test_every_account_is_scored_once(scored: Publication, snapshots: dict[str, Any]) -> None:
    accounts = snapshots["scoring_accounts@table"]
    assert scored.predictions.column("account_id").tolist() == accounts["account_id"].tolist()
    assert scored.source == {"name": "inference_data.csv", "bytes": 1, "sha256": "00", "rows": 500}
    assert scored.as_of == date(2026, 1, 31)
    assert scored.profile["risk_bands"] == ["low", "medium", "high"]
    assert scored.profile["scored"]["rows"] == 500


def test_health_with_and_without_outcomes(small: Parameters, snapshots: dict[str, Any], scored: Publication) -> None:
    from dataclasses import replace

    published = replace(scored, run_id="r-1")
    pipeline = monitoring.create_pipeline()
    none = {"request_outcomes": None}
    early = run(pipeline, small, results__monitored=published, scoring_outcomes__batches=None, **none)
    outcomes = InMemory(snapshots["scoring_outcomes@table"])
    later = run(pipeline, small, results__monitored=published, scoring_outcomes__batches=outcomes, **none)
    assert early["health_report"]["metrics"]["realised_performance"] is None
    realised = later["health_report"]["metrics"]["realised_performance"]
    assert realised["coverage"] == 1.0
    assert realised["roc_auc"] > 0.7
    assert later["health_report"]["run_id"] == "r-1"
    assert later["tracked_health"]["realised/roc_auc"] == pytest.approx(realised["roc_auc"])
    assert "<html" in later["health_report"]["html"]


def test_outcomes_have_the_labels_that_the_model_was_trained_with(
    small: Parameters, snapshots: dict[str, Any], scored: Publication
) -> None:
    from dataclasses import replace

    label = small.accounts.label.model_copy(update={"positive": "gone"})
    own = small.model_copy(update={"accounts": small.accounts.model_copy(update={"label": label})})
    table = snapshots["scoring_outcomes@table"]
    outcomes = table.assign(is_churned=table["is_churned"].map({True: "gone", False: "here"}))

    def realised(outcomes: pd.DataFrame, **profile: Any) -> Any:
        published = replace(scored, run_id="r-1", profile=scored.profile | profile)
        given: dict[str, Any] = {"results__monitored": published, "request_outcomes": None}
        given["scoring_outcomes__batches"] = InMemory(outcomes)
        return run(monitoring.create_pipeline(), own, **given)["health_report"]["metrics"]["realised_performance"]

    assert realised(outcomes, stayed=["here"])["coverage"] == 1.0
    with pytest.raises(AccountsError, match="values are neither churned nor stayed, for example 'here'"):
        realised(outcomes)
    with pytest.raises(AccountsError, match="values are neither churned nor stayed, for example 'pending'"):
        realised(outcomes.replace({"is_churned": {"here": "pending"}}), stayed=["here"])


def test_a_table_that_does_not_fit_is_refused_before_scoring(
    small: Parameters, snapshots: dict[str, Any], trained: dict[str, Any]
) -> None:
    pipeline = inference.create_pipeline().only_nodes("validate_scoring_accounts")
    table = snapshots["scoring_accounts@table"]

    def refused(accounts: pd.DataFrame, parameters: Parameters = small) -> str:
        given = {"scoring_accounts__batches": InMemory(accounts), "champion__model": trained["churn_model"]}
        given["selected_partitions"] = select({"name": "t.csv", "sha256": "00"}, {}, "m")
        with pytest.raises(ChurnError) as caught:
            list(run(pipeline, parameters, **given)["valid_scoring_accounts"])
        return str(caught.value)

    assert "only values that the model has never seen" in refused(table.assign(revenue_trend="sideways"))
    assert "not finite" in refused(table.assign(quotes_p1m_vs_prev_month_ratio=np.inf))
    assert "no rows" in refused(table.iloc[:0])
    other = small.accounts.model_copy(update={"id": "key"})
    assert "trained for another table" in refused(table, small.model_copy(update={"accounts": other}))
