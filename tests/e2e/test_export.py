"""The export of a spreadsheet in docs/bring-your-own-table.md, followed to the letter."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.samples import blocks, follow

pytestmark = pytest.mark.e2e


def number(text: str) -> float:
    return float(text.replace(".", "").replace(",", "."))


@pytest.fixture
def studio(checkout: Path) -> Path:
    """A checkout with the table and the files of the page, and the threshold and the bands that it suggests."""
    parts = blocks("export")
    script = parts["table"].replace("python3 ", f"{sys.executable} ")
    subprocess.run(["bash", "-ec", script], cwd=checkout, check=True)
    for name in ("conf/studio/globals.yml", "conf/studio/parameters.yml"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(parts[name], encoding="utf-8")
    (threshold,) = blocks("threshold").values()
    with (checkout / "conf/studio/parameters.yml").open("a", encoding="utf-8") as file:
        file.write(f"\n{threshold}")
    return checkout


def test_the_export_is_read_as_it_is_meant(studio: Path) -> None:
    written = [line.split(";") for line in (studio / "data/studio/kunden.csv").read_text("utf-8").splitlines()]
    source = pd.DataFrame(written[1:], columns=written[0]).set_index("Kundennr")
    done = follow(studio, blocks("export")["command"])
    assert done.returncode == 0, done.stdout + done.stderr
    staging, results = studio / "data/studio/data-staging", studio / "data/studio/ml-result"

    # Every row is used, in training or as an account to score, and every number is the one that was meant.
    used = pd.concat([pd.read_parquet(staging / f"features/{part}_accounts.parquet") for part in ("train", "test")])
    folder = results / json.loads((results / "latest.json").read_text())["run_id"]
    scored = pd.read_parquet(folder / "inference_result.parquet")
    assert sorted([*used["Kundennr"], *scored["Kundennr"]]) == sorted(source.index)
    meant = source.loc[used["Kundennr"]]
    assert used["Beitrag"].tolist() == meant["Beitrag"].map(number).tolist()
    assert used["Besuche"].tolist() == meant["Besuche"].astype(float).tolist()
    assert used["Standort"].tolist() == meant["Standort"].tolist()
    assert used["Gekündigt"].tolist() == (meant["Gekündigt"] == "Ja").astype(int).tolist()
    assert "Eintritt" not in used

    # Threshold and bands are those of the page; the outcomes are those of the label.
    probability = scored["probability"].to_numpy()
    np.testing.assert_array_equal(scored["prediction"], probability >= np.float32(0.3))
    starts = np.array([0.1, 0.3], dtype=np.float32)
    names = np.array(["low", "medium", "high"])[np.searchsorted(starts, probability, side="right")]
    assert scored["risk_band"].tolist() == names.tolist()
    realised = json.loads((folder / "health_metrics.json").read_text())["realised_performance"]
    assert realised["coverage"] == 1.0
    assert realised["churned"] == int((source.loc[scored["Kundennr"], "Gekündigt"] == "Ja").sum())
    assert realised["roc_auc"] > 0.7
