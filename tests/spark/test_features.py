"""The training table as a Spark frame is checked, split and encoded as it is without Spark."""

import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering, Ratio
from churn.datasets import AccountBatchesDataset, SparkAccountsDataset
from churn.errors import AccountsError, ChurnError
from churn.model import Encoder
from churn.model.encoder import encode_rows
from churn.pipelines.feature_engineering.nodes import Parts, split_accounts, validate_accounts
from churn.tables import Table
from churn.training.encoding import fit_encoder
from tests.conftest import Project
from tests.spark.conftest import for_spark
from tests.survey.tables import customers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def gaps(labelled: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    """3,000 labelled accounts, some without values, and rare categories."""
    table = labelled.head(3000).reset_index(drop=True).astype(dict.fromkeys(schema.categorical, object))
    some = np.random.default_rng(7)
    for name in (*schema.numeric_names[:3], *schema.categorical):
        table.loc[some.random(len(table)) < 0.05, name] = None
    table.loc[[5, 6], schema.categorical[0]] = "rare"
    return table


def splits(path: Path, schema: AccountSchema, settings: FeatureEngineering, *, spark: bool) -> Parts:
    kind = SparkAccountsDataset if spark else AccountBatchesDataset
    table = kind(filepath=str(path), schema=schema.model_dump(mode="json"), labelled=True).load()
    return split_accounts(validate_accounts(table, schema), schema, settings)


def write(table: pd.DataFrame, folder: Path, kind: str) -> Path:
    """A folder of two files, of which the second is longer."""
    folder.mkdir()
    for name, part in (("a", table.iloc[:900]), ("b", table.iloc[900:])):
        if kind == "csv":
            part.to_csv(folder / f"{name}.csv", index=False)
        else:
            part.to_parquet(folder / f"{name}.parquet", index=kind == "index")
    return folder


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_time_since_dates_is_the_local_one(tmp_path: Path, kind: str) -> None:
    frame = customers(1500)
    if kind == "parquet":
        frame["Joined On"] = pd.to_datetime(frame["Joined On"]).dt.date
        frame["Contract End"] = pd.to_datetime(frame["Contract End"])
    schema = AccountSchema.model_validate(
        {
            "id": "Customer No",
            "label": {"column": "Left", "positive": "Yes"},
            "categorical": ["Plan"],
            "dates": ["Joined On", {"column": "Contract End", "unit": "days", "future": True}],
            "as_of": "2024-06-30",
        }
    )
    folder = write(frame, tmp_path / "accounts", kind)
    here, there = (splits(folder, schema, FeatureEngineering(), spark=spark) for spark in (False, True))
    pd.testing.assert_frame_equal(here.train.frame(), there.train.frame(), check_dtype=False, check_exact=True)
    assert fit_encoder(here.train, schema, FeatureEngineering()) == fit_encoder(
        there.train, schema, FeatureEngineering()
    )
    assert "months_since_Joined On" in there.train.columns


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_split_encoder_and_features_are_the_local_ones(
    gaps: pd.DataFrame, schema: AccountSchema, tmp_path: Path, kind: str
) -> None:
    settings = FeatureEngineering(min_category_count=5)
    folder = write(gaps, tmp_path / "accounts", kind)
    here, there = (splits(folder, schema, settings, spark=spark) for spark in (False, True))
    encoders = [fit_encoder(split.train, schema, settings) for split in (here, there)]
    assert encoders[0] == encoders[1]
    assert "rare" not in encoders[1].vocabularies[schema.categorical[0]]
    assert set(schema.categorical) <= encoders[1].missing
    kept = [schema.id, schema.label.column]
    for local, other in ((here.train, there.train), (here.test, there.test)):
        same(local, other)
        same(encode_rows(local, encoders[0], kept), encode_rows(other, encoders[0], kept))


def same(local: Table, there: Table) -> None:
    assert there.columns == local.columns
    assert len(there) == len(local)
    expected = local.frame()
    pd.testing.assert_frame_equal(there.frame(), expected, check_dtype=False)
    pd.testing.assert_frame_equal(pd.concat(there.batches(), ignore_index=True), expected, check_dtype=False)
    some = [local.columns[1], local.columns[0]]
    pd.testing.assert_frame_equal(there.frame(some, 100), local.frame(some, 100), check_dtype=False)


@pytest.mark.parametrize("kind", ["csv", "parquet", "index"])
def test_values_of_any_type_and_rows_in_neither_class(
    labelled: pd.DataFrame, schema: AccountSchema, tmp_path: Path, kind: str
) -> None:
    table = labelled.head(3000).reset_index(drop=True)
    first, second, third = schema.categorical
    number = schema.numeric_names[0]
    gone = pd.Series(np.arange(3000) % 7 == 0)
    table = table.assign(
        **{
            schema.id: np.arange(3000) + 2**60,
            first: pd.Series(np.arange(3000) % 2 == 0, dtype="boolean").mask(gone),
            second: pd.Series(np.arange(3000) % 5 / 2).mask(gone),
            third: pd.Timestamp("2024-05-01") + pd.to_timedelta(np.arange(3000) % 3, "D"),
            number: pd.array(np.arange(3000) % 4 + 1, dtype="Int64"),
            schema.label.column: table[schema.label.column]
            .map({True: "Churned", False: "Stayed"})
            .mask(gone, "Joined"),
        }
    )
    label = {"column": schema.label.column, "positive": "Churned", "drop": ["Joined"]}
    own = AccountSchema.model_validate({**schema.model_dump(), "label": label, "not_above": []})
    folder = write(table.set_index(schema.id) if kind == "index" else table, tmp_path / "accounts", kind)
    here, there = (splits(folder, own, FeatureEngineering(), spark=spark) for spark in (False, True))
    for local, other in ((here.train, there.train), (here.test, there.test)):
        same(local, other)
    assert here.split == there.split
    rows = pd.concat([there.train.frame(), there.test.frame()]).sort_values(schema.id, ignore_index=True)
    used = table[~gone]
    assert rows[schema.id].tolist() == used[schema.id].astype(str).tolist()
    assert set(rows[first]) == {"true", "false"}
    assert set(rows[second]) == {"0", "0.5", "1", "1.5", "2"}
    assert set(rows[third]) == {"2024-05-01", "2024-05-02", "2024-05-03"}
    assert rows[schema.label.column].tolist() == (used[schema.label.column] == "Churned").astype(int).tolist()


MEDIANS: dict[str, NDArray[np.float64]] = {
    "spread": np.random.default_rng(1).lognormal(size=60_000),
    "even": np.arange(60_000.0)[::-1],
    "ties": np.random.default_rng(2).integers(0, 3, 60_000).astype(float),
    "two": np.repeat([0.0, 1.0], 30_000),
    "constant": np.full(60_000, 0.1),
    "few": np.where(np.arange(60_000) < 4, np.arange(60_000.0) / 3, np.nan),
    "one": np.where(np.arange(60_000) == 17, 5.0, np.nan),
    "none": np.full(60_000, np.nan),
}


@pytest.mark.parametrize("nets", [None, (0.0, 0.0001, 0.5)])
def test_medians_are_exact(
    spark: "SparkSession", monkeypatch: pytest.MonkeyPatch, nets: tuple[float, ...] | None
) -> None:
    from churn.spark import features
    from churn.spark.rows import column

    if nets is not None:
        monkeypatch.setattr(features, "ACCURACY", 50)
        monkeypatch.setattr(features, "NETS", nets)
    # Spark takes nan for a number.
    frame = spark.createDataFrame(
        pd.DataFrame(MEDIANS).astype(object).where(lambda table: table.notna(), None), types()
    )
    present, medians = features.exact_medians(frame, {name: column(name) for name in MEDIANS})
    known = {name: values[~np.isnan(values)] for name, values in MEDIANS.items()}
    assert present == {name: len(values) for name, values in known.items()}
    assert medians == {name: float(np.median(values)) if len(values) else 0.0 for name, values in known.items()}


def types() -> str:
    return ", ".join(f"{name} double" for name in MEDIANS)


def test_a_ratio_that_is_undefined_everywhere(labelled: pd.DataFrame, schema: AccountSchema, tmp_path: Path) -> None:
    one, other = [item.column for item in schema.numeric if not item.minimum][:2]
    table = labelled.head(400).assign(**{other: 0.0})
    settings = FeatureEngineering(ratios=(Ratio(name="a.b (c)", numerator=one, denominator=other),))
    folder = write(table, tmp_path / "accounts", "csv")
    local, there = (
        fit_encoder(splits(folder, schema, settings, spark=spark).train, schema, settings) for spark in (False, True)
    )
    assert there == local
    assert there.medians["a.b (c)"] == 0.0


def test_all_faults_of_a_table_are_told_as_without_spark(
    gaps: pd.DataFrame, schema: AccountSchema, tmp_path: Path
) -> None:
    table = gaps.astype({schema.numeric_names[0]: object, schema.label.column: object})
    table.loc[1200, schema.numeric_names[0]] = "many"
    table.loc[[3, 2000], schema.label.column] = None
    table.loc[2500, schema.id] = table.loc[10, schema.id]
    folder = write(table, tmp_path / "accounts", "csv")
    told = []
    for spark in (False, True):
        with pytest.raises(AccountsError) as error:
            splits(folder, schema, FeatureEngineering(), spark=spark)
        told.append(str(error.value))
    assert told[0] == told[1]
    assert "3 faults" in told[1]


def test_a_table_that_changes_while_it_is_read_ends_the_run() -> None:
    import pyarrow as pa

    from churn.spark.checking import PARTITION_BITS, chosen_rows
    from churn.spark.rows import ROW

    schema = pa.schema([(ROW, pa.int64())])
    mask = np.array([True, False, True, True, False, True])
    run = chosen_rows(mask, {0: 0, 1: 4}, {0: 4, 1: 2}, schema, "training accounts")
    second = 1 << PARTITION_BITS
    rows = [pa.RecordBatch.from_pydict({ROW: rows}, schema) for rows in ([0, 1, 2], [3], [second, second + 1])]
    assert [number for batch in run(rows) for number in batch[ROW].to_pylist()] == [0, 1, 2, 3]
    with pytest.raises(ChurnError, match="training accounts: the table has changed while it was read"):
        list(run([pa.RecordBatch.from_pydict({ROW: [second + 2]}, schema)]))


def test_checked_rows_are_kept_as_long_as_they_are_needed(
    spark: "SparkSession", gaps: pd.DataFrame, schema: AccountSchema, tmp_path: Path
) -> None:
    def kept() -> int:
        return int(spark.sparkContext._jsc.getPersistentRDDs().size())  # type: ignore[union-attr]

    gc.collect()
    before = kept()
    split = splits(write(gaps, tmp_path / "accounts", "csv"), schema, FeatureEngineering(), spark=True)
    assert kept() > before
    del split
    gc.collect()
    assert kept() == before


def test_a_run_makes_what_a_local_one_does(copied: Project, schema: AccountSchema) -> None:
    project = for_spark(copied)
    globals_ = yaml.safe_load((project.conf / "spark/globals.yml").read_text())
    folder = project.staging / "many"
    folder.mkdir()
    table = pd.read_csv(project.staging / "training_data.csv", dtype=str)
    for part in range(3):
        table.iloc[part * 1000 : (part + 1) * 1000].to_csv(folder / f"{part}.csv", index=False)
    for environment in ("local", "spark"):
        project.configure(environment, "globals", globals_ | {"tables": {"training": str(folder)}})
    project.run("feature_engineering")
    project.run("feature_engineering", env="spark")
    project.run("feature_engineering", env="spark")  # once more, over what is there
    here, there = project.staging / "features", project.staging / "features/spark"
    documents = [json.loads((place / "encoder.json").read_text()) for place in (here, there)]
    assert documents[0] == documents[1]
    assert Encoder.from_dict(documents[1]).vocabularies.keys() == set(schema.categorical)
    for name in ("train_accounts", "test_accounts", "train_features", "test_features"):
        rows = pd.read_parquet(there / name).sort_values("(row)", ignore_index=True)
        assert rows.pop("(row)").tolist() == list(range(len(rows)))
        pd.testing.assert_frame_equal(rows, pd.read_parquet(here / f"{name}.parquet"))


def test_a_faulty_table_changes_nothing(copied: Project, schema: AccountSchema) -> None:
    project = for_spark(copied)
    file = project.staging / "training_data.csv"
    table = pd.read_csv(file, dtype=str)
    pd.concat([table, table.head(1)]).to_csv(file, index=False)
    with pytest.raises(Exception, match="1 value is a repetition of an earlier id"):
        project.run("feature_engineering", env="spark")
    assert not (project.staging / "features/spark").exists()
