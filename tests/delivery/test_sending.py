"""What a target is told: what has changed, once; what is gone; and nothing before it was seen in a dry run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from churn.delivery import Counts, Outcome
from tests.delivery.worlds import World, list_of, rows_of, scores_of, with_scores

SCORES = scores_of(1000)
LISTED = list_of(SCORES, 100)


def rows(world: World) -> dict[str, dict[str, Any]]:
    return rows_of(world.credentials["url"], world.target["table"])


def numbers(outcome: Outcome) -> tuple[int, int, int, int]:
    """New, changed, unchanged and removed accounts of a delivery that succeeded."""
    assert outcome.status == "delivered", outcome
    counts = outcome.counts
    return counts.new, counts.changed, counts.unchanged, counts.removed


def same(world: World, scores: pa.Table) -> None:
    """Check that the table has the published scores, and no other account that is not marked."""
    held = {account: row["probability"] for account, row in rows(world).items() if not row["removed"]}
    expected = [float(str(each)) for each in scores["probability"].to_numpy()]
    assert held == dict(zip(scores["account_id"].to_pylist(), expected, strict=True))


def test_a_first_delivery_is_a_dry_run_and_shows_no_ids(sqlite: World, tmp_path: Path) -> None:
    sqlite.publish(SCORES, LISTED)
    outcome = sqlite.deliver(first="dry_run")
    assert (outcome.status, outcome.counts) == ("dry_run", Counts(new=1000))
    assert "delivery.first=send" in outcome.reason
    assert outcome.examples[0]["risk_band"] in ("low", "medium", "high")
    told = str(outcome) + json.dumps([outcome.as_dict(), *outcome.examples])
    assert not any(account in told for account in SCORES["account_id"].to_pylist())
    assert not (tmp_path / "crm.db").exists() or (tmp_path / "crm.db").stat().st_size == 0
    assert not sqlite.state.exists()


def test_a_target_may_ask_for_its_first_delivery(sqlite: World) -> None:
    sqlite.target["first"] = "send"
    sqlite.publish(SCORES, LISTED)
    assert numbers(sqlite.deliver(first="dry_run")) == (1000, 0, 0, 0)


def test_only_what_has_changed_is_sent(sqlite: World) -> None:
    sqlite.publish(SCORES, LISTED)
    assert numbers(sqlite.deliver()) == (1000, 0, 0, 0)
    same(sqlite, SCORES)
    run_id = sqlite.publish(SCORES, LISTED)  # another run with the same scores
    assert numbers(sqlite.deliver(first="dry_run")) == (0, 0, 1000, 0)
    changed = with_scores(SCORES, [3, 500, 999], 0.125)
    second = sqlite.publish(changed, LISTED)
    assert numbers(sqlite.deliver()) == (0, 3, 997, 0)
    same(sqlite, changed)
    runs = [row["run_id"] for row in rows(sqlite).values()]
    assert (runs.count(second), runs.count(run_id)) == (3, 0)


def test_a_change_of_the_list_alone_is_sent(sqlite: World) -> None:
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    shorter = LISTED.slice(0, 90)
    sqlite.publish(SCORES, shorter)
    assert numbers(sqlite.deliver()) == (0, 10, 990, 0)
    gone = LISTED["account_id"][95].as_py()
    assert rows(sqlite)[gone]["recommended_action"] is None
    assert rows(sqlite)[gone]["removed"] == 0


def test_a_score_that_moves_less_than_the_tolerance_is_not_sent(sqlite: World) -> None:
    sqlite.target |= {
        "tolerance": 0.05,
        "columns": [{"source": "account_id"}, {"source": "probability"}, {"source": "removed"}],
    }
    base = with_scores(SCORES, slice(0, 10), 0.5)
    sqlite.publish(base)
    sqlite.deliver()
    for value, sent in ((0.53, 0), (0.54, 0), (0.551, 10), (0.53, 0)):
        sqlite.publish(with_scores(base, slice(0, 10), value))
        assert numbers(sqlite.deliver())[1] == sent, value
    assert rows(sqlite)[SCORES["account_id"][0].as_py()]["probability"] == pytest.approx(0.551)


def test_accounts_that_are_gone_are_marked_and_may_come_back(sqlite: World) -> None:
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    fewer = SCORES.slice(10)
    run_id = sqlite.publish(fewer, LISTED)
    assert numbers(sqlite.deliver())[3] == 10
    same(sqlite, fewer)
    marked = rows(sqlite)[SCORES["account_id"][0].as_py()]
    assert (marked["removed"], marked["run_id"]) == (1, run_id)
    assert numbers(sqlite.deliver()) == (0, 0, 990, 0)
    sqlite.publish(SCORES, LISTED)
    assert numbers(sqlite.deliver()) == (10, 0, 990, 0)
    same(sqlite, SCORES)


def test_rows_of_accounts_that_are_gone_may_be_deleted(sqlite: World) -> None:
    sqlite.target["on_removed"] = "delete"
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    sqlite.publish(SCORES.slice(700), LISTED)
    assert numbers(sqlite.deliver())[3] == 700
    assert sorted(rows(sqlite)) == sorted(SCORES["account_id"].to_pylist()[700:])


@pytest.mark.parametrize("left", [0, 50])
def test_too_many_that_are_gone_are_an_error(sqlite: World, left: int) -> None:
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    sqlite.publish(SCORES.slice(0, left), LISTED.slice(0, 0))
    outcome = sqlite.deliver()
    assert outcome.status == "failed"
    assert "most_removed" in outcome.reason
    assert not any(row["removed"] for row in rows(sqlite).values())
    assert numbers(sqlite.deliver(most_removed=1.0))[3] == 1000 - left
    assert sum(row["removed"] for row in rows(sqlite).values()) == 1000 - left


def test_a_run_of_some_files_of_the_table_removes_nothing(sqlite: World) -> None:
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    sqlite.publish(with_scores(SCORES.slice(0, 50), 0, 0.125), LISTED, partial=True)
    assert numbers(sqlite.deliver(partial=True))[1:] == (1, 49, 0)
    assert not any(row["removed"] for row in rows(sqlite).values())


@pytest.mark.parametrize(("accounts", "expected"), [("listed", LISTED), ("to_act_on", None)])
def test_a_target_may_get_the_list_alone(sqlite: World, accounts: str, expected: pa.Table | None) -> None:
    sqlite.target["accounts"] = accounts
    mixed = LISTED.set_column(5, "recommended_action", pa.array(["yes", "no"] * 50))
    sqlite.publish(SCORES, mixed)
    sqlite.deliver()
    ids = mixed["account_id"].to_pylist()
    wanted = ids if expected is not None else ids[::2]
    found = rows(sqlite)
    assert sorted(found) == sorted(wanted)
    # The prediction is in the scores, the profit in the list.
    profit = dict(zip(ids, mixed["expected_profit"].to_pylist(), strict=True))
    assert all(row["expected_profit"] == profit[account] for account, row in found.items())
    assert {row["prediction"] for row in found.values()} == {1}
    sqlite.publish(SCORES, mixed.slice(2))
    assert numbers(sqlite.deliver())[3] == (2 if accounts == "listed" else 1)


def test_a_dry_run_changes_nothing(sqlite: World) -> None:
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    before = rows(sqlite)
    sqlite.publish(with_scores(SCORES.slice(5), [0, 1], 0.125), LISTED)
    outcome = sqlite.deliver(dry_run=True)
    assert (outcome.status, outcome.counts) == ("dry_run", Counts(0, 2, 993, 5))
    assert len(outcome.examples) == 2
    assert rows(sqlite) == before
    assert numbers(sqlite.deliver()) == (0, 2, 993, 5)


def test_results_that_another_run_has_replaced_are_not_delivered(sqlite: World) -> None:
    sqlite.publish(SCORES, LISTED)
    sqlite.is_current = False
    outcome = sqlite.deliver()
    assert outcome.status == "failed"
    assert "another run" in outcome.reason
    assert not rows(sqlite)


def test_more_rows_than_a_batch_and_exactly_a_batch(sqlite: World) -> None:
    for rows_of_batch in (1000, 333, 1):
        sqlite.target |= {"batch": rows_of_batch, "table": f"t{rows_of_batch}", "name": f"crm{rows_of_batch}"}
        some = SCORES if rows_of_batch > 1 else SCORES.slice(0, 7)
        sqlite.publish(some, LISTED)
        assert numbers(sqlite.deliver())[0] == len(some)
        same(sqlite, some)


@pytest.mark.parametrize(
    "account", ["=1+1", "\u0645\u0631\u062d\u0628\u0627", "a'b\"c\nd,e;f", " ", "NULL", "\\N", "0012"]
)
def test_ids_are_delivered_as_they_are(sqlite: World, account: str) -> None:
    one = SCORES.slice(0, 1).set_column(0, "account_id", pa.array([account]))
    sqlite.publish(one, list_of(one, 1))
    assert numbers(sqlite.deliver()) == (1, 0, 0, 0)
    assert numbers(sqlite.deliver()) == (0, 0, 1, 0)
    assert list(rows(sqlite)) == [account]


def test_other_columns_of_the_results_can_be_mapped(sqlite: World) -> None:
    """As they may be in later versions."""
    with_more = SCORES.append_column("held_out", pa.array(np.arange(1000) % 10 == 0))
    sqlite.target["columns"] = [
        {"source": "account_id", "name": "Account Id"},
        {"source": "held_out", "name": "do not call"},
        {"source": "removed", "name": "gone"},
    ]
    sqlite.publish(with_more, LISTED)
    sqlite.deliver()
    found = rows_of(sqlite.credentials["url"], "scores", "Account Id")
    assert sum(row["do not call"] for row in found.values()) == 100
    assert numbers(sqlite.deliver()) == (0, 0, 1000, 0)


def test_a_damaged_file_of_results_is_no_delivery(sqlite: World) -> None:
    run_id = sqlite.publish(SCORES, LISTED)
    file = sqlite.results / run_id / "inference_result.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="does not match its manifest"):
        sqlite.deliver()
