"""What `kedro run --pipelines training` and `inference` do, by hand and without Kedro: the script that one would keep.

It reads the same files, calls the same functions in the same order, logs the same parameters, metrics, plots and model to
MLflow and writes the same results; what it leaves out is the framework: configuration environments, catalog, hooks,
checks before the run, atomic files, the progress in the log. `tests.benchmarks.start` times it against `kedro run`.

    python tests/benchmarks/bare.py training|inference FOLDER

FOLDER is a project folder as `tests.conftest.make_project` lays it out, after data_generation and feature_engineering.
"""

import hashlib
import json
import sys
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
import yaml
from pyarrow import csv, parquet

from churn.config import Parameters, check_parameters
from churn.hooks.logs import quieten
from churn.model import ChurnModel, ModelSource
from churn.model.profile import count_profile
from churn.registry import flavor, versions
from churn.retention import account_values, expected_profit, explain_accounts, retention_list
from churn.retention.profit import choose
from churn.retention.spreadsheet import spreadsheet_safe
from churn.retention.terms import Terms
from churn.tables import FrameTable, check_accounts

MODEL = "churn"


def read_parameters(folder: Path) -> tuple[Parameters, dict[str, Any]]:
    """The parameters, typed and as they stand in the files."""
    raw: dict[str, Any] = {}
    for environment in ("base", "local"):
        for file in sorted((folder / "conf" / environment).glob("parameters*.yml")):
            for block, content in yaml.safe_load(file.read_text()).items():
                raw[block] = {**raw.get(block, {}), **content} if isinstance(content, dict) else content
    return check_parameters(raw), raw


def log_parameters(raw: dict[str, Any], blocks: tuple[str, ...]) -> None:
    """Parameters as ``block.field``."""

    def flat(content: Any, name: str) -> dict[str, str]:
        if isinstance(content, dict):
            return {k: v for key, part in content.items() for k, v in flat(part, f"{name}.{key}").items()}
        return {name: str(content)[:6000]}

    mlflow.log_params({k: v for block in blocks for k, v in flat(raw[block], block).items()})


def inference(folder: Path) -> None:
    """Score the table with the champion."""
    parameters, raw = read_parameters(folder)
    with mlflow.start_run():
        log_parameters(raw, ("accounts", "inference", "profit", "decision", "reasons"))
        version = mlflow.MlflowClient().get_model_version_by_alias(MODEL, "champion")
        source = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{version.version}"))
        model = ChurnModel.load(source / flavor.DATA_FOLDER, version.tags["sha256"]).loaded_from(
            ModelSource(f"models:/{MODEL}@champion", str(version.version), version.run_id)
        )
        schema = parameters.accounts
        table = folder / "data-staging/inference_data.csv"
        read = csv.read_csv(
            table, convert_options=csv.ConvertOptions(column_types=dict.fromkeys(schema.text_columns, pa.string()))
        )
        accounts = check_accounts(read.to_pandas(), schema, subject="accounts to score", labelled=False).accounts
        scores = model.score(accounts)
        probability = scores["probability"].to_numpy()
        value = account_values(accounts, parameters.profit)
        terms = Terms.of(model.encoder, model.reference)
        listed = retention_list(
            scores,
            value=value,
            expected_profit=expected_profit(probability, value, parameters.profit),
            act=choose(probability, value, parameters.profit, parameters.decision, model.threshold),
            reasons=explain_accounts(model.explain_terms, accounts, probability, terms, parameters.reasons).words,
            as_of=date.today(),  # noqa: DTZ011, the day here
        )
        profile = count_profile(model.reference, accounts, probability)
        run_id = str(uuid.uuid4())
        results = folder / "ml-result" / run_id
        results.mkdir(parents=True)
        for name, for_csv, for_parquet in (
            ("inference_result", scores, scores),
            ("retention_list", spreadsheet_safe(listed), listed),
        ):
            csv.write_csv(pa.Table.from_pandas(for_csv, preserve_index=False), results / f"{name}.csv")
            parquet.write_table(pa.Table.from_pandas(for_parquet, preserve_index=False), results / f"{name}.parquet")
        (results / "input_profile.json").write_text(json.dumps(profile.to_dict()))
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(results.iterdir())}
        manifest = {
            "run_id": run_id,
            "published_at": datetime.now(UTC).isoformat(),
            "rows": len(scores),
            "model": version.version,
            "input": hashlib.sha256(table.read_bytes()).hexdigest(),
            "files": hashes,
        }
        (results / "manifest.json").write_text(json.dumps(manifest, indent=2))
        (folder / "ml-result/latest.json").write_text(json.dumps({"run_id": run_id}))


def training(folder: Path) -> None:
    """Fit, measure, log and promote a model."""
    from churn.pipelines.training import nodes, promotion_nodes

    parameters, raw = read_parameters(folder)
    schema, settings = parameters.accounts, parameters.training
    features = folder / "data-staging/features"
    train_accounts, test_accounts, train_features, test_features = (
        parquet.read_table(features / f"{name}.parquet").to_pandas()
        for name in ("train_accounts", "test_accounts", "train_features", "test_features")
    )
    encoder = json.loads((features / "encoder.json").read_text())
    oracle = pd.read_parquet(folder / "data-staging/oracle.parquet")
    source = json.loads((features / "source.json").read_text())
    reports = folder / "ml-result/training"
    reports.mkdir(parents=True, exist_ok=True)
    with mlflow.start_run():
        log_parameters(raw, ("accounts", "feature_engineering", "training", "promotion", "profit"))
        sound, features_table = nodes.check_leakage(
            train_accounts, test_accounts, FrameTable(train_features), schema, settings
        )
        folds = nodes.hold_out_validation(features_table, schema, settings)
        parts = nodes.fit_parts(features_table, folds, encoder, schema, settings)
        split = json.loads((features / "split.json").read_text())
        model = nodes.assemble_model(*parts, sound, test_accounts, split, schema, settings)
        flavor.log_model(model, registered_model_name=MODEL)
        baselines = nodes.measure_baselines(train_features, test_features, encoder, schema, settings)
        intervals = nodes.measure_confidence(model, test_accounts, schema, settings)
        metrics = nodes.collect_metrics(
            nodes.evaluate_model(model, train_accounts, test_accounts, oracle, schema),
            nodes.measure_profit(model, test_accounts, schema, parameters.profit),
            baselines,
            intervals,
            {},
        )
        mlflow.log_metrics(metrics, step=0)
        (reports / "metrics.json").write_text(json.dumps(metrics))
        plots = nodes.plot_evaluation(model, test_accounts, schema, parameters.profit)
        for name, figure in plots._asdict().items():
            figure.savefig(reports / f"{name}.png")
            mlflow.log_artifact(str(reports / f"{name}.png"), "plots")
        reigning = versions.alias_version(MODEL, "champion")
        champion = flavor.load_model(f"models:/{MODEL}@champion") if reigning else None
        challenge = promotion_nodes.challenge_champion(
            model,
            champion,
            reigning,
            test_accounts,
            split,
            nodes.measure_latency(model, test_accounts),
            schema,
            settings,
            parameters.promotion,
            parameters.profit,
        )
        made_of = promotion_nodes.fingerprint_training(model, source, schema, parameters.feature_engineering, settings)
        proposed = promotion_nodes.decide_promotion(challenge, model, made_of, parameters.promotion, parameters.profit)
        decision = promotion_nodes.note_promotion(versions.record_decision(MODEL, "champion", proposed))
        card = nodes.describe_model(
            model,
            challenge,
            metrics,
            baselines,
            intervals,
            decision,
            folds,
            source,
            {},
            settings,
            parameters.promotion,
            raw,
        )
        pages = {
            "fingerprint.json": json.dumps(made_of),
            "promotion.json": json.dumps(decision),
            "model_card.json": json.dumps(card),
            "model_card.html": nodes.render_card(card),
        }
        for name, text in pages.items():
            (reports / name).write_text(text)
            mlflow.log_artifact(str(reports / name))


if __name__ == "__main__":
    job, place = sys.argv[1], Path(sys.argv[2])
    quieten()
    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow-artifacts/mlflow.db")
    mlflow.set_experiment("churn_model")
    {"training": training, "inference": inference}[job](place)
