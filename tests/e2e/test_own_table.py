"""docs/bring-your-own-table.md, followed to the letter."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import files_in, rng
from tests.samples import GYM, blocks, follow, gym_samples, make_gym, outdated

pytestmark = pytest.mark.e2e


def members(rows: int) -> pd.DataFrame:
    random = rng(11)
    visits = random.poisson(4, rows)
    return pd.DataFrame(
        {
            "member_no": [f"{number:05}" for number in range(rows)],
            "joined_on": pd.to_datetime("2019-01-01") + pd.to_timedelta(random.integers(0, 2000, rows), unit="D"),
            "age": pd.Series(random.integers(16, 80, rows)).mask(pd.Series(random.random(rows) < 0.05)).astype("Int64"),
            "plan": random.choice(["basic", "plus", "family"], rows),
            "home_club": random.choice(["north", "harbour", "old town, left bank"], rows),
            "visits_last_month": visits,
            "classes_last_month": random.integers(0, visits + 1),
            "monthly_fee": random.choice([19.9, 34.9, 49.9], rows),
            "cancelled": random.random(rows) < np.where(visits < 3, 0.7, 0.1),
        }
    )


@pytest.fixture
def gym(checkout: Path) -> Path:
    make_gym(checkout)
    return checkout


def test_the_page_works(gym: Path) -> None:
    (command,) = blocks("command").values()
    done = follow(gym, command)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = outdated(gym_samples(gym, done.stdout))
    results = gym / "data/gym/ml-result"
    folder = results / json.loads((results / "latest.json").read_text())["run_id"]
    scored = pd.read_csv(folder / "inference_result.csv", dtype={"member_no": str})
    assert list(scored)[0] == "member_no"  # noqa: RUF015  (the first column is what is meant)
    assert len(scored) == 381
    assert scored["member_no"].str.fullmatch(r"\d{5}").all()
    metrics = json.loads((results / "training/metrics.json").read_text())
    assert metrics["test_roc_auc"] > 0.7
    health = json.loads((folder / "health_metrics.json").read_text())
    assert {entry["column"] for entry in health["drift"]} == {
        *("age", "visits_last_month", "classes_last_month", "monthly_fee", "plan", "home_club")
    }
    assert health["realised_performance"]["coverage"] == 1.0
    assert files_in(gym / "data/ml-result") == []

    # Members of today, with an outcome for one of them.
    today = members(2100).tail(100).drop(columns="cancelled")
    today.to_csv(gym / "data/gym/data-staging/inference_data.csv", index=False)
    outcomes = gym / "data/gym/data-staging/inference_outcomes.csv"
    outcomes.write_text(f"member_no,cancelled\n{today['member_no'].iloc[0]},true\n{today['member_no'].iloc[1]},\n")
    done = follow(gym, f"{command.strip()} --pipelines inference,monitoring")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 scored" in done.stdout
    folder = results / json.loads((results / "latest.json").read_text())["run_id"]
    health = json.loads((folder / "health_metrics.json").read_text())
    assert health["realised_performance"]["coverage"] == 0.01
    assert wrong == []


def test_what_a_refusal_looks_like(gym: Path) -> None:
    path = gym / "data/gym/members.csv"
    table = members(1500).astype({"age": "object", "cancelled": "object"})
    table.loc[9, "member_no"] = table.loc[0, "member_no"]
    table.loc[13, "age"] = "n.k."
    table.loc[3, ["visits_last_month", "classes_last_month"]] = [2, 9]
    table.loc[5, "cancelled"] = "false?"
    table.to_csv(path, index=False)
    done = follow(gym, next(iter(blocks("command").values())))
    assert done.returncode == 1
    (shown,) = re.findall(r"```\n(Error: source accounts: .*?)```", GYM.read_text(), re.DOTALL)
    assert done.stderr == shown
    assert files_in(gym / "data/gym/ml-result") == []
