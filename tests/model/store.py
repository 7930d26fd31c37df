"""Store a small model of this version for the tests of later ones: ``python -m tests.model.store VERSION``, at each release."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from churn.config import Simulation, check_parameters
from churn.model import ChurnModel
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.tables import check_accounts
from churn.training import train_model
from tests.conftest import base_parameters, nested

STORED = Path(__file__).parent / "stored"
SMALL = {"training__folds": 2, "training__booster__n_estimators": 20, "training__booster__max_depth": 3}


def stored_accounts() -> pd.DataFrame:
    """The accounts that stored models are asked about."""
    return pd.read_csv(STORED / "accounts.csv", dtype={"account_id": "str"})


def bits_of(probability: np.ndarray) -> list[str]:
    """Probabilities as hexadecimal bits of 32-bit numbers."""
    return [f"{int(bits):08x}" for bits in np.asarray(probability, dtype=np.float32).view(np.uint32)]


def small_model() -> ChurnModel:
    """A model of few trees."""
    raw = base_parameters()
    for block, changes in nested(SMALL).items():
        raw[block] = {
            **raw.get(block, {}),
            **changes,
            "booster": {**raw[block].get("booster", {}), **changes["booster"]},
        }
    parameters = check_parameters(raw)
    simulated = simulate_accounts(3_000, 7, Simulation(base_rate=0.25))
    labelled = simulated.accounts.assign(**{parameters.accounts.label.column: simulated.churned})
    rows = check_accounts(labelled, parameters.accounts, subject="accounts", labelled=True).accounts
    return train_model(rows, parameters.accounts, parameters.feature_engineering, parameters.training)


def store(folder: Path) -> None:
    """Write the model and what it says."""
    model = small_model()
    model.save(folder)
    expected = {"sha256": model.sha256, "probability_bits": bits_of(model.probability(stored_accounts()))}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    store(STORED / "versions" / sys.argv[1])
