"""The three commands of docs/bring-your-own-table.md, followed to the letter."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.samples import blocks, follow

pytestmark = pytest.mark.e2e


def test_from_an_export_to_scores(checkout: Path) -> None:
    script = blocks("export table")[""].replace("python3 ", f"{sys.executable} ")
    subprocess.run(["bash", "-ec", script], cwd=checkout, check=True)
    parts = blocks("init")
    program, *arguments = shlex.split(parts["command"])
    assert program == "churn"
    done = subprocess.run(
        [sys.executable, "-m", "churn", *arguments],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (checkout / "conf/salon").iterdir()) == ["globals.yml", "parameters.yml"]
    run = follow(checkout, f"{parts['run'].strip()} --params training.portfolio=quick")
    assert run.returncode == 0, run.stdout + run.stderr
    results = checkout / "data/salon/ml-result"
    latest = json.loads((results / "latest.json").read_text())
    scores = pd.read_csv(results / latest["run_id"] / "inference_result.csv", dtype={"Kundennr": str})
    assert len(scores) > 200
    assert scores["Kundennr"].str.fullmatch(r"K-\d{5}").all()
    report = json.loads((results / "training/data_report.json").read_text())
    assert {entry["column"] for entry in report["columns"]} == {
        "Standort",
        "Beitrag",
        "Besuche",
        "months_since_Eintritt",
    }
