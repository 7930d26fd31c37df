"""Models that earlier versions stored, and boosters of an earlier XGBoost: they load and score the same bits for ever."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from churn import mlflow_flavor
from churn.model import ChurnModel
from tests.model.store import STORED, bits_of, store, stored_accounts

FORMS = {"folder": STORED / "mlflow/churn", "mlflow": STORED / "mlflow"}
EXPECTED = json.loads((STORED / "expected.json").read_text())
VERSIONS = sorted((STORED / "versions").iterdir())


@pytest.fixture(scope="module")
def accounts() -> pd.DataFrame:
    return stored_accounts()


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: str(folder.name))
def test_every_version_is_read(folder: Path, accounts: pd.DataFrame, tmp_path: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    model = ChurnModel.load(folder, expected["sha256"])
    assert bits_of(model.probability(accounts)) == expected["probability_bits"]
    # Stored again, in the form of today, it still scores the same.
    model.save(tmp_path)
    again = ChurnModel.load(tmp_path)
    assert bits_of(again.probability(accounts)) == expected["probability_bits"]
    # And it explains accounts.
    assert len(model.explain(accounts.head(3))) == 3


def test_the_formats_and_versions_that_are_promised_are_tested() -> None:
    assert {json.loads((folder / "model.json").read_text())["format"] for folder in VERSIONS} == {1, 2}
    assert {folder.name.partition("-")[0] for folder in VERSIONS} >= {"0.1.0", "0.2.0"}


def test_a_model_of_today_can_be_stored_for_tomorrow(tmp_path: Path, accounts: pd.DataFrame) -> None:
    store(tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert bits_of(ChurnModel.load(tmp_path, expected["sha256"]).probability(accounts)) == expected["probability_bits"]


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
