"""A model that version 0.1.0 stored, in both forms: it loads and scores the same bits for ever."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from churn import mlflow_flavor
from churn.model import ChurnModel

STORED = Path(__file__).parent / "stored"
FORMS = {"folder": STORED / "mlflow/churn", "mlflow": STORED / "mlflow"}
EXPECTED = json.loads((STORED / "expected.json").read_text())


@pytest.fixture(scope="module")
def accounts() -> pd.DataFrame:
    return pd.read_csv(STORED / "accounts.csv", dtype={"account_id": "str"})


def bits_of(probability: np.ndarray) -> list[str]:
    return [f"{int(bits):08x}" for bits in np.asarray(probability, dtype=np.float32).view(np.uint32)]


@pytest.mark.parametrize("form", FORMS)
def test_a_stored_model_scores_the_same_bits(form: str, accounts: pd.DataFrame) -> None:
    model = mlflow_flavor.load_model(str(FORMS[form]))
    assert model.sha256 == EXPECTED["sha256"]
    assert bits_of(model.probability(accounts)) == EXPECTED["probability_bits"]


def test_it_is_stored_again_as_the_same_bytes(tmp_path: Path) -> None:
    ChurnModel.load(FORMS["folder"]).save(tmp_path)
    for file in sorted(FORMS["folder"].iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_mlflow_loads_it_by_the_name_that_is_stored_in_it(accounts: pd.DataFrame) -> None:
    scored = mlflow.pyfunc.load_model(str(STORED / "mlflow")).predict(accounts)
    assert bits_of(scored["probability"]) == EXPECTED["probability_bits"]


@pytest.mark.e2e
def test_a_process_that_knows_only_mlflow_serves_it(accounts: pd.DataFrame, tmp_path: Path) -> None:
    code = (
        "import sys, mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "model.predict(pd.read_csv(sys.argv[2], dtype={'account_id': 'str'})).to_parquet(sys.argv[3])"
    )
    output = tmp_path / "scores.parquet"
    subprocess.run([sys.executable, "-c", code, STORED / "mlflow", STORED / "accounts.csv", output], check=True)
    assert bits_of(pd.read_parquet(output)["probability"]) == EXPECTED["probability_bits"]
