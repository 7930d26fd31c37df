"""Canary rows: stored with the model, without ids, and scored to the last bit as at the training."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Parameters
from churn.errors import ChurnError
from churn.model import ChurnModel, ModelSource
from churn.model.calibration import Calibration
from churn.model.canaries import BY_SCORE, MISSING, Canaries
from churn.model.storage import MODEL_FILE
from tests.conftest import rng


def test_they_are_training_rows_without_ids(model: ChurnModel, canonical: pd.DataFrame, schema: AccountSchema) -> None:
    rows = model.canaries
    assert rows is not None
    assert BY_SCORE <= len(rows) <= BY_SCORE + MISSING
    frame, columns = rows.frame(), [*schema.numeric_names, *schema.categorical]
    assert list(frame.columns) == columns
    known = set(canonical[columns].astype(str).itertuples(index=False, name=None))
    assert set(frame.astype(str).itertuples(index=False, name=None)) <= known
    stored = json.loads(model.files()[MODEL_FILE])
    assert not set(canonical[schema.id]) & set(str(stored["canaries"]).split("'"))
    assert len(set(rows.probability)) > BY_SCORE / 2
    # Each column that has missing values has one here.
    missing = [name for name in columns if canonical[name].isna().mean() > 0.01]
    assert missing
    assert all(frame[name].isna().any() for name in missing)


def test_they_survive_the_store_and_the_model_is_the_same(model: ChurnModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = ChurnModel.load(tmp_path, model.sha256)
    assert again.canaries == model.canaries
    assert again.canary_faults() == []
    again.check_canaries()
    # Models that were stored without have the hash that they had.
    without = replace(model, canaries=None)
    assert "canaries" not in json.loads(without.files()[MODEL_FILE])
    assert without.canary_faults() == []


def test_a_model_that_computes_otherwise_is_named(model: ChurnModel) -> None:
    assert model.canaries is not None
    source = ModelSource("models:/churn@champion", "3")
    other = replace(model, calibration=Calibration("sigmoid", 1.0000001, 0.0), source=source)
    with pytest.raises(ChurnError, match=r"models:/churn@champion: \d+ of \d+ canary rows are scored in another way"):
        other.check_canaries()
    # A single bit is enough.
    values = np.array(model.canaries.probability, np.float32)
    values[3] = np.nextafter(values[3], np.float32(1))
    changed = replace(model.canaries, probability=tuple(values.tolist()))
    [said] = replace(model, canaries=changed).canary_faults()
    assert said.startswith(f"1 of {len(values)} canary rows")
    values[:] = np.nan
    assert model.canaries.faults(values)[0].startswith(f"{len(values)} of")


@pytest.mark.parametrize("rows", [1, 2, 5, 40])
def test_any_table_has_some(rows: int) -> None:
    table = pd.DataFrame(
        {
            "size": pd.Series([None, *range(rows - 1)], dtype="float64"),
            "kind": pd.Series(["ü\u202e\x00"] * (rows - 1) + [None], dtype="str"),
            "empty": pd.Series([np.nan] * rows),
        }
    )
    probability = rng(rows).random(rows).astype(np.float32)
    found = Canaries.of(table, probability, ["size", "empty"], ["kind"])
    assert 1 <= len(found) <= min(rows, BY_SCORE + MISSING)
    assert Canaries.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    assert found == Canaries.of(table, probability, ["size", "empty"], ["kind"])
    assert found.frame()["empty"].isna().all()
    assert None in found.numeric["size"]
    assert found.records("id")[0].keys() == {"id", "size", "empty", "kind"}
    assert found.faults(np.array(found.probability, np.float32)) == []


def test_a_scoring_run_begins_with_them(model: ChurnModel, parameters: Parameters, canonical: pd.DataFrame) -> None:
    from churn.pipelines.inference.nodes import validate_scoring_accounts
    from churn.scoring import select
    from tests.conftest import InMemory

    chosen = select({"name": "t.csv", "sha256": "00"}, {}, "m")
    accounts = InMemory(canonical.head(5))
    other = replace(model, calibration=Calibration("sigmoid", 1.1, 0.0))
    with pytest.raises(ChurnError, match="canary rows are scored in another way"):
        validate_scoring_accounts(accounts, chosen, other, parameters.accounts, parameters.inference)
    validate_scoring_accounts(accounts, chosen, model, parameters.accounts, parameters.inference)
    best = min(_seconds(model) for _ in range(20))
    assert best < 0.1  # a scoring run takes seconds


def _seconds(model: ChurnModel) -> float:
    begun = time.perf_counter()
    model.check_canaries()
    return time.perf_counter() - begun
