"""A campaign from the list to the save rate in use, in a world whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Project, copy_of

pytestmark = pytest.mark.pipelines

TERMS = {
    "experiment__holdout": 0.3,
    "simulation__intervention": {"enabled": True, "strength": 0.9, "persuadable": 0.65},
}
JUNE = {**TERMS, "inference__as_of": "2026-06-01", "simulation__scoring_rows": 6_000, "simulation__base_rate": 0.3}


@pytest.fixture(scope="module")
def campaign(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished project after a campaign."""
    folder = tmp_path_factory.mktemp("campaign")
    project = copy_of(finished, folder / "project", folder / "mlflow-artifacts")
    project.run("data_generation", **JUNE)
    project.run("inference", **JUNE)
    project.run("simulate_campaign", **JUNE)
    project.run("campaign", **JUNE)
    return project


def report_of(project: Project) -> dict:
    return json.loads((project.results / "campaigns/campaign_report.json").read_text())


def test_who_is_kept_back_is_flagged_and_not_on_the_list(campaign: Project) -> None:
    folder = campaign.run_folder()
    scores = pd.read_csv(folder / "inference_result.csv")
    listed = pd.read_csv(folder / "retention_list.csv")
    held = set(scores.loc[scores["held_out"] == 1, "account_id"])
    assert held
    assert not held & set(listed["account_id"])
    manifest = json.loads((folder / "manifest.json").read_text())["campaign"]
    assert (manifest["campaign"], manifest["held_out"]) == ("2026-06", len(held))
    assert "is told from none with a power of" in manifest["power"]["sentence"]


def test_the_report_covers_the_truth(campaign: Project) -> None:
    last = report_of(campaign)["campaigns"][0]
    cohort = pd.read_parquet(campaign.run_folder() / "campaign_accounts.parquet")
    truth = pd.read_parquet(campaign.staging / "oracle.parquet").set_index("account_id").loc[cohort["account"]]
    gain = (truth["probability"] - truth["probability_if_reached"]).to_numpy()[~cohort["held_out"].to_numpy()]
    # 95 % of the list are worked off within the days, about as many after the delay, and 70 % of the calls reach someone.
    expected = 0.95 * 0.7 * (1 - (7 / 8) ** 30) * gain.sum()
    assert last["kept"]["low"] < expected < last["kept"]["high"]
    assert last["kept"]["low"] > 0
    assert last["sentence"].startswith("The calls of 2026-06 kept ")
    assert last["contacts"]["reached"] > 0.5 * last["called"]
    page = (campaign.results / "campaigns/campaign_report.html").read_text()
    assert "What the calls of 2026-06 changed" in page


def test_a_second_look_at_the_same_outcomes_says_the_same(campaign: Project) -> None:
    before = report_of(campaign)
    state = (campaign.results / "campaigns/call_effect.json").read_bytes()
    campaign.run("campaign", **JUNE)
    assert report_of(campaign) == before
    assert (campaign.results / "campaigns/call_effect.json").read_bytes() == state


def test_the_record_outlives_the_files_that_it_is_made_of(campaign: Project) -> None:
    record = pd.read_parquet(campaign.results / "campaigns/record.parquet")
    known = record["churned"].notna().sum()
    assert known == len(record)
    outcomes, contacts = (campaign.staging / name for name in ("inference_outcomes.csv", "contacts.csv"))
    kept = outcomes.read_bytes(), contacts.read_bytes()
    try:
        outcomes.unlink()
        contacts.unlink()
        campaign.run("campaign", **JUNE)
        after = pd.read_parquet(campaign.results / "campaigns/record.parquet")
        pd.testing.assert_frame_equal(after, record)
    finally:
        outcomes.write_bytes(kept[0])
        contacts.write_bytes(kept[1])


def test_the_measured_save_rate_is_used_where_that_is_wanted(campaign: Project) -> None:
    effect = json.loads((campaign.results / "campaigns/call_effect.json").read_text())
    rate = effect["save_rate"]["value"]
    assert rate != effect["assumed"] == 0.3
    july = JUNE | {"inference__as_of": "2026-07-01", "policy__days_between": 60}
    campaign.run("inference", **july, experiment__use=True)
    campaign.run("monitoring", **july)
    manifest = json.loads((campaign.run_folder() / "manifest.json").read_text())["campaign"]
    assert manifest["save_rate"]["source"] == "measured"
    assert manifest["save_rate"]["value"] == pytest.approx(rate, abs=1e-6)
    # Who was called in June is not called again within 60 days; the accounts of June are carried on.
    assert manifest["not_contacted"]["contacted_lately"] > 200
    cohort = pd.read_parquet(campaign.run_folder() / "campaign_accounts.parquet")
    assert set(cohort["campaign"]) == {"2026-06", "2026-07"}
    assert "Do the calls help?" in (campaign.run_folder() / "health_report.html").read_text()
    listed = pd.read_parquet(campaign.run_folder() / "retention_list.parquet").iloc[0]
    chance, worth = float(listed["probability"]), float(listed["account_value"])
    by_hand = chance * rate * (worth - 50) - (1 - chance) * 50 - 5
    assert listed["expected_profit"] == pytest.approx(by_hand, abs=0.02)


@pytest.mark.parametrize("content", [b"", b"{", b'{"save_rate": 3}'])
def test_a_damaged_state_counts_as_none(campaign: Project, content: bytes) -> None:
    from churn.datasets import CallEffectDataset

    file: Path = campaign.results / "campaigns/call_effect.json"
    kept = file.read_bytes()
    try:
        file.write_bytes(content)
        assert CallEffectDataset(filepath=str(file)).load() is None
    finally:
        file.write_bytes(kept)


def test_a_campaign_without_anything_says_so(finished: Project, copied: Project) -> None:
    copied.run("campaign")
    report = report_of(copied)
    assert (report["verdict"], report["campaigns"]) == ("none", [])
    assert np.isclose(
        json.loads((copied.results / "campaigns/call_effect.json").read_text())["save_rate"]["value"], 0.3
    )
