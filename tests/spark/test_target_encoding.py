"""Columns with many categories and differences on Spark: categories, codes, rates and factors are the local ones."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from churn.config import Booster, FeatureEngineering, Training
from churn.model.encoder import encode_rows
from churn.tables import Table
from churn.training import trainer
from churn.training.encoding import fit_encoder
from churn.training.trainer import fit_parts, fold_rows
from tests.spark.test_features import same, splits, write
from tests.training import test_differences
from tests.training.test_feature_choice import SCHEMA, accounts_of
from tests.training.test_rows import drawn

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.usefixtures("spark")

FEW_TREES = Training(
    portfolio="quick", folds=3, booster=Booster(n_estimators=20, learning_rate=0.2, subsample=1.0, colsample_bytree=1.0)
)


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Table, Table]:
    """Training accounts of 300 cities, without and with Spark."""
    accounts = accounts_of(300, 4000)
    accounts["left"] = np.where(accounts["left"] == 1, "yes", "no")
    folder = write(accounts, tmp_path / "accounts", "parquet")
    here, there = (splits(folder, SCHEMA, FeatureEngineering(), spark=spark).train for spark in (False, True))
    return here, there


def test_categories_and_codes_are_the_local_ones(tables: tuple[Table, Table]) -> None:
    encoders = [fit_encoder(table, SCHEMA, FeatureEngineering()) for table in tables]
    assert encoders[0] == encoders[1]
    assert encoders[0].rated
    same(*(encode_rows(table, encoders[0], ["id", "left"]) for table in tables))
    # With rates that were learned as well.
    learned = encoders[0].with_rates({"city": np.linspace(-1, 1, len(encoders[0].rated["city"]) + 2).tolist()})
    same(*(encode_rows(table, learned, ["id", "left"]) for table in tables))


def test_differences_are_the_local_ones(spark: "SparkSession", tmp_path: Path) -> None:
    accounts = test_differences.accounts_of(2000)
    accounts["left"] = np.where(accounts["left"] == 1, "yes", "no")
    folder, schema = write(accounts, tmp_path / "accounts", "parquet"), test_differences.SCHEMA
    tables = [splits(folder, schema, FeatureEngineering(), spark=spark).train for spark in (False, True)]
    encoders = [fit_encoder(table, schema, FeatureEngineering()) for table in tables]
    assert encoders[0] == encoders[1]
    assert encoders[0].differences
    same(*(encode_rows(table, encoders[0], ["id", "left"]) for table in tables))


@pytest.mark.slow
def test_trees_are_grown_on_the_same_rates(tables: tuple[Table, Table], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = fit_encoder(tables[0], SCHEMA, FeatureEngineering())
    folds = fold_rows(tables[0].column("left").to_numpy(np.int8), FEW_TREES)
    monkeypatch.setattr(trainer, "SHARED_ROWS", 1000)
    local, other = (
        fit_parts(encode_rows(table, encoder, ["id", "left"]), folds, encoder, SCHEMA, FEW_TREES) for table in tables
    )
    assert other.encoder == local.encoder
    assert other.encoder.rates
    np.testing.assert_allclose(other.margins["linear"], local.margins["linear"], atol=1e-6)
    # Their bins differ: a sample of all rows decides on them without Spark.
    assert np.corrcoef(other.margins["trees"], local.margins["trees"])[0, 1] > 0.97


@pytest.mark.parametrize("folds", [5, 2])
def test_the_model_of_a_fold_knows_the_same_rates(spark: "SparkSession", folds: int) -> None:
    from churn.spark.training import PART, WATCHED, Growth

    rows = drawn(500, 30, folds=folds)
    frame = pd.DataFrame(rows.features, columns=["f0", "f1"]).assign(**{PART: rows.parts, "row": np.arange(500)})
    growth = Growth(spark.createDataFrame(frame), ["f0", "f1"], 0.2, FEW_TREES, rows)
    for fold in (0, folds - 1):
        known = growth._of_fold(growth._rows, fold).toPandas().sort_values("row")
        found, here = known[["f0", "f1"]].to_numpy(np.float32), rows.folds == fold
        np.testing.assert_array_equal(known[WATCHED], here)
        np.testing.assert_array_equal(found[here], rows.held_out(fold))
        np.testing.assert_array_equal(found[~here], rows.others(fold))
