"""Files: changes and all accounts, whole or not at all, with a ledger that is always that of what readers see."""

import json
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn.delivery.files import FilesSession
from churn.stores import Store, open_store
from tests.conftest import files_in
from tests.delivery.test_sending import LISTED, SCORES, numbers
from tests.delivery.worlds import World, with_scores
from tests.stack import Stack

READERS: dict[str, Any] = {
    "csv": lambda file: pd.read_csv(file, dtype={"account_id": str}, keep_default_na=False, na_values=[""]),
    "parquet": pd.read_parquet,
    "jsonl": lambda file: pd.read_json(file, lines=True, dtype={"account_id": str}),
}


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def drop(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path, {}, kind="files", path=str(tmp_path / "drop"), format=request.param)


@pytest.fixture
def csv_drop(tmp_path: Path) -> World:
    return World(tmp_path, {}, kind="files", path=str(tmp_path / "drop"))


def store_of(world: World) -> Store:
    return open_store(world.target["path"], world.credentials or None)


def read(world: World, name: str) -> pd.DataFrame:
    """The changes or all accounts of the last delivery, as a reader finds them."""
    store = store_of(world)
    with store.reading(store.read_json("latest.json")[name]) as file:
        found: pd.DataFrame = READERS[world.target.get("format", "csv")](file)
    return found


def test_a_delivery_has_the_changes_and_all_accounts(drop: World) -> None:
    drop.publish(SCORES, LISTED)
    assert numbers(drop.deliver()) == (1000, 0, 0, 0)
    assert len(read(drop, "changes")) == len(read(drop, "accounts")) == 1000
    before = files_in(drop.folder / "drop")
    drop.publish(SCORES, LISTED)
    assert numbers(drop.deliver()) == (0, 0, 1000, 0)
    assert files_in(drop.folder / "drop") == before
    changed = with_scores(SCORES.slice(2), [0, 1], 0.125)
    drop.publish(changed, LISTED)
    assert numbers(drop.deliver()) == (0, 2, 996, 2)
    changes = read(drop, "changes")
    assert changes["action"].tolist() == ["upsert", "upsert", "remove", "remove"]
    assert changes["account_id"].tolist() == [SCORES["account_id"][place].as_py() for place in (2, 3, 0, 1)]
    whole = read(drop, "accounts").set_index("account_id")
    assert list(whole.index) == changed["account_id"].to_pylist()
    assert whole["probability"].iloc[0] == 0.125
    assert whole["expected_profit"].notna().sum() == len(set(LISTED["account_id"].to_pylist()) & set(whole.index))


def test_the_newest_are_kept(csv_drop: World) -> None:
    csv_drop.target["keep"] = 2
    for number in range(4):
        csv_drop.publish(with_scores(SCORES, number, 0.125), LISTED)
        csv_drop.deliver()
    folders = sorted({name.partition("/")[0] for name in files_in(csv_drop.folder / "drop") if "/" in name})
    assert [name.partition("-")[0] for name in folders] == ["000003", "000004"]


def test_a_failure_leaves_the_last_delivery(csv_drop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    csv_drop.publish(SCORES, LISTED)
    csv_drop.deliver()
    before, pointer = files_in(csv_drop.folder / "drop"), store_of(csv_drop).read_json("latest.json")
    csv_drop.publish(with_scores(SCORES, [0, 1], 0.125), LISTED)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FilesSession, "end", fail)
        assert csv_drop.deliver().status == "failed"
    assert files_in(csv_drop.folder / "drop") == before
    now = store_of(csv_drop).read_json("latest.json")
    assert {**now, "claim": None} == {**pointer, "claim": None}
    # What a killed process leaves: a folder that no pointer names.
    left = csv_drop.folder / "drop/000002-0123abcd"
    left.mkdir()
    (left / "changes.csv").write_text("half")
    (csv_drop.folder / "drop/of-others").mkdir()
    assert numbers(csv_drop.deliver()) == (0, 2, 998, 0)
    assert not left.exists()
    assert (csv_drop.folder / "drop/of-others").exists()


def test_a_damaged_ledger_is_made_again_from_the_accounts(drop: World) -> None:
    drop.publish(SCORES, LISTED)
    drop.deliver()
    store = store_of(drop)
    folder = store.read_json("latest.json")["delivery"]
    (drop.folder / "drop" / folder / "ledger.parquet").write_bytes(b"damaged")
    drop.publish(with_scores(SCORES.slice(1), 3, 0.125), LISTED)
    assert numbers(drop.deliver()) == (0, 1, 998, 1)


def test_a_damaged_pointer_is_a_dry_run(csv_drop: World) -> None:
    csv_drop.target["first"] = "send"
    csv_drop.publish(SCORES, LISTED)
    csv_drop.deliver(first="dry_run")
    (csv_drop.folder / "drop/latest.json").write_text('{"delivery": ')
    outcome = csv_drop.deliver(first="dry_run")
    assert (outcome.status, outcome.counts.new) == ("dry_run", 1000)
    assert numbers(csv_drop.deliver(first="send"))[0] == 1000
    assert numbers(csv_drop.deliver(first="dry_run")) == (0, 0, 1000, 0)


def test_a_run_of_some_files_of_the_table_tells_its_changes_only(csv_drop: World) -> None:
    csv_drop.publish(SCORES, LISTED)
    csv_drop.deliver()
    csv_drop.publish(with_scores(SCORES.slice(0, 50), 0, 0.125), LISTED, partial=True)
    assert numbers(csv_drop.deliver(partial=True)) == (0, 1, 49, 0)
    assert store_of(csv_drop).read_json("latest.json")["accounts"] is None
    csv_drop.publish(with_scores(SCORES.slice(1), 0, 0.25), LISTED)
    assert numbers(csv_drop.deliver()) == (0, 1, 998, 1)


def test_a_delivery_that_was_overtaken_ends(csv_drop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    csv_drop.publish(SCORES, LISTED)
    end = FilesSession.end

    def overtaken(session: FilesSession) -> None:
        monkeypatch.setattr(FilesSession, "end", end)
        assert numbers(csv_drop.deliver())[0] == 1000
        end(session)

    monkeypatch.setattr(FilesSession, "end", overtaken)
    outcome = csv_drop.deliver()
    assert outcome.status == "failed"
    assert numbers(csv_drop.deliver()) == (0, 0, 1000, 0)


def test_a_bucket_is_a_folder_too(stack: Stack, tmp_path: Path) -> None:
    assert stack.s3
    bucket = f"s3://{stack.settings.results}/drop-{uuid.uuid4().hex[:8]}"
    credentials = stack.credentials(stack.settings.scoring)
    world = World(tmp_path, credentials, kind="files", path=bucket, format="parquet")
    world.publish(SCORES, LISTED)
    assert numbers(world.deliver()) == (1000, 0, 0, 0)
    world.publish(with_scores(SCORES.slice(1), 0, 0.125), LISTED)
    assert numbers(world.deliver()) == (0, 1, 998, 1)
    assert len(read(world, "changes")) == 2
    assert numbers(world.deliver()) == (0, 0, 999, 0)


def test_the_pointer_names_what_it_names(csv_drop: World) -> None:
    run_id = csv_drop.publish(SCORES, LISTED)
    csv_drop.deliver()
    pointer = json.loads((csv_drop.folder / "drop/latest.json").read_text())
    assert (pointer["run_id"], pointer["number"], pointer["rows"]["changed"]) == (run_id, 1, 1000)
    for name in ("changes", "accounts"):
        assert (csv_drop.folder / "drop" / pointer[name]).stat().st_size == pointer["files"][Path(pointer[name]).name][
            "bytes"
        ]
