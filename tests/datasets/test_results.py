import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError

from churn.cli.commands import user_error
from churn.datasets import HealthReportDataset, LedgerDataset, ResultsDataset
from churn.reporting.retention_workbook import retention_workbook
from churn.scoring import Record
from churn.stores import open_store
from churn.stores.local import LocalStore
from tests.reporting.listed import record_of


class Given:
    """Scores that are there already, in one batch or several."""

    is_empty = False

    def __init__(self, *batches: pd.DataFrame, listed: pd.DataFrame | None = None, follows: str | None = None) -> None:
        self._batches, self._listed, self._follows = batches, listed, follows

    def batches(self) -> Iterator[pd.DataFrame]:
        yield from self._batches

    def record(self) -> Record:
        predictions = pd.concat(self._batches)
        listed = pd.DataFrame({"account_id": ["b"], "expected_profit": [1.25], "recommended_action": ["yes"]})
        return Record(
            rows=len(predictions),
            at_risk=int(predictions["prediction"].sum()),
            profile={"threshold": 0.5},
            model={"uri": "models:/churn@champion", "version": "3", "sha256": "00", "run_id": None},
            source={"name": "inference_data.csv", "bytes": 1, "sha256": "11", "rows": len(predictions)},
            as_of=date(2026, 11, 1),
            to_act_on=1,
            expected_profit=1.25,
            retention_list=listed if self._listed is None else self._listed,
            ledger={"old.csv": {"sha256": "22", "run_id": "r-0"}, "new.csv": {"sha256": "33", "run_id": None}},
            follows=self._follows,
        )


def scores(probability: float = 0.25, account_ids: tuple[str, str] = ("a", "b")) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "account_id": account_ids,
            "probability": [probability, 0.75],
            "prediction": [0, 1],
            "risk_band": pd.Categorical(["low", "high"]),
            "model_version": ["3", "3"],
        }
    )


def given(probability: float = 0.25, listed: pd.DataFrame | None = None) -> Given:
    return Given(scores(probability), listed=listed)


@pytest.fixture
def results(tmp_path: Path) -> ResultsDataset:
    return ResultsDataset(filepath=str(tmp_path))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def published(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_published_files_manifest_and_pointer(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given())
    pointer = json.loads((tmp_path / "latest.json").read_text())
    folder = tmp_path / pointer["run_id"]
    assert published(folder) == [
        "inference_result.csv",
        "inference_result.parquet",
        "input_profile.json",
        "manifest.json",
        "partitions.json",
        "retention_list.csv",
        "retention_list.parquet",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert pointer["manifest"] == f"{manifest['run_id']}/manifest.json"
    assert manifest["rows"] == 2
    assert manifest["at_risk"] == 1
    assert manifest["as_of"] == "2026-11-01"
    assert manifest["model"]["version"] == "3"
    assert manifest["input"]["sha256"] == "11"
    for name, described in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert described == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "for": "people" if name == "retention_list.csv" else "programs",
        }
    assert (folder / "inference_result.csv").read_text() == (
        "account_id,probability,prediction,risk_band,model_version\na,0.25,0,low,3\nb,0.75,1,high,3\n"
    )


def test_the_retention_list_is_safe_for_people_and_exact_for_programs(results: ResultsDataset, tmp_path: Path) -> None:
    listed = pd.DataFrame(
        {
            "account_id": ["=1+1", "b"],
            "expected_profit": [-2.5, 1.25],
            "recommended_action": ["no", "yes"],
            "reason_1": ["@x", None],
        }
    )
    results.save(given(listed=listed))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert (folder / "retention_list.csv").read_text() == (
        "account_id,expected_profit,recommended_action,reason_1\n'=1+1,-2.5,no,'@x\nb,1.25,yes,\n"
    )
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "retention_list.parquet"), listed)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["to_act_on"], manifest["expected_profit"]) == (1, 1.25)
    assert {"retention_list.csv", "retention_list.parquet"} <= set(manifest["files"])


def test_the_page_and_the_workbook_are_published_with_the_run(results: ResultsDataset, tmp_path: Path) -> None:
    class Listed(Given):
        def record(self) -> Record:
            return record_of(20, minimum_gain=1)

    results.save(Listed(scores()))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    manifest = json.loads((folder / "manifest.json").read_text())
    people = {name for name, described in manifest["files"].items() if described["for"] == "people"}
    assert people == {"retention_list.csv", "retention_list.html", "retention_list.xlsx"}
    for name in people:
        assert manifest["files"][name]["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert manifest["expected_cost"] > 0
    assert manifest["explained"]["at_risk"] == "10 accounts at risk: their probability of churn is 50 % or more"
    assert (folder / "retention_list.xlsx").read_bytes() == retention_workbook(record_of(20, minimum_gain=1))


def test_loading_follows_the_pointer(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given(0.1))
    results.save(given(0.2))
    assert len(published(tmp_path)) == 3
    loaded = results.load()
    assert loaded.predictions.column("probability").tolist() == [0.2, 0.75]
    assert loaded.run_id == json.loads((tmp_path / "latest.json").read_text())["run_id"]
    assert loaded.as_of == date(2026, 11, 1)


def test_same_input_gives_the_same_bytes_under_another_run_id(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given())
    results.save(given())
    first, second = (path for path in tmp_path.iterdir() if path.is_dir())
    for name in ("inference_result.csv", "inference_result.parquet", "input_profile.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_nothing_published_yet(results: ResultsDataset) -> None:
    assert not results.exists()
    with pytest.raises(DatasetError) as caught:
        results.load()
    assert "nothing was published" in str(user_error(caught.value))


def test_a_changed_file_is_noticed(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given())
    (file,) = tmp_path.glob("*/inference_result.parquet")
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(DatasetError, match="does not match its manifest"):
        results.load()


def test_nothing_to_score_publishes_nothing(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given())
    before = snapshot(tmp_path)
    nothing = given()
    nothing.is_empty = True
    results.save(nothing)
    assert snapshot(tmp_path) == before
    assert results.published is None


def test_the_ledger_is_that_of_the_current_results(results: ResultsDataset, tmp_path: Path) -> None:
    ledger = LedgerDataset(filepath=str(tmp_path))
    assert ledger.load() == (None, {})
    results.save(given())
    run_id = results.load().run_id
    assert ledger.load() == (
        run_id,
        {"old.csv": {"sha256": "22", "run_id": "r-0"}, "new.csv": {"sha256": "33", "run_id": run_id}},
    )


def test_results_that_do_not_follow_the_current_ones_are_not_published(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given(0.1))
    first = results.load().run_id
    results.save(Given(scores(0.2), follows=first))
    second = results.load().run_id
    assert second != first
    with pytest.raises(DatasetError, match="another run published results meanwhile"):
        results.save(Given(scores(0.3), follows=first))
    assert results.load().run_id == second


def test_batches_become_one_table(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(Given(scores(0.1), scores(0.2, ('c,"', "d"))))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    expected = pd.concat([scores(0.1), scores(0.2, ('c,"', "d"))], ignore_index=True)
    pd.testing.assert_frame_equal(results.load().predictions.frame(), expected, check_dtype=False)
    read = pd.read_csv(folder / "inference_result.csv", dtype={"model_version": "str"})
    pd.testing.assert_frame_equal(read, expected, check_dtype=False, check_categorical=False)


def test_scores_that_break_off_leave_no_file(results: ResultsDataset, tmp_path: Path) -> None:
    class Broken(Given):
        def batches(self) -> Iterator[pd.DataFrame]:
            yield scores()
            raise OSError(5, "the input is gone")

    results.save(given(0.1))
    before = published(tmp_path)
    with pytest.raises(DatasetError, match="the input is gone"):
        results.save(Broken(scores()))
    assert results.load().predictions.column("probability").tolist() == [0.1, 0.75]
    assert published(tmp_path) == before


@pytest.mark.parametrize("victim", ["inference_result.parquet", "input_profile.json", "manifest.json", "latest.json"])
def test_a_failure_at_any_file_leaves_the_previous_results_current(
    results: ResultsDataset, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    results.save(given(0.1))
    before = results.load()
    writing = LocalStore.writing

    def failing(self: LocalStore, name: str = "") -> AbstractContextManager[Any]:
        if name.endswith(victim):
            raise OSError(28, "No space left on device")
        return writing(self, name)

    monkeypatch.setattr(LocalStore, "writing", failing)
    with pytest.raises(DatasetError, match="No space left"):
        results.save(given(0.2))
    monkeypatch.undo()
    after = results.load()
    assert after.run_id == before.run_id
    assert after.predictions.column("probability").tolist() == [0.1, 0.75]


def test_the_health_report_joins_its_run(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given())
    run_id = results.load().run_id
    HealthReportDataset(filepath=str(tmp_path)).save(
        {"run_id": run_id, "metrics": {"status": "ok"}, "html": "<p>ü</p>"}
    )
    assert results.document(run_id, "health_metrics.json") == {"status": "ok"}
    assert (tmp_path / run_id / "health_report.html").read_text(encoding="utf-8") == "<p>ü</p>"
    assert results.load().run_id == run_id


def test_broken_json_is_named(results: ResultsDataset, tmp_path: Path) -> None:
    (tmp_path / "latest.json").write_text("{")
    with pytest.raises(DatasetError, match=r"latest.json is not valid JSON"):
        results.load()


def test_other_file_systems_write_in_a_transaction() -> None:
    store = open_store("memory://results/here")
    store.write(lambda file: file.write(b"old"), "a.txt")

    def half(file: Any) -> None:
        file.write(b"ne")
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        store.write(half, "a.txt")
    with store.reading("a.txt") as file:
        assert file.read() == b"old"


# --- clocks, damage and runs at the same time ---------------------------------------------------------------------


def pointer(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "latest.json").read_text())
    return content


def test_a_pointer_dated_ahead_does_not_swallow_results(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given(0.1))
    (tmp_path / "latest.json").write_text(
        json.dumps({**pointer(tmp_path), "published_at": "2036-01-01T00:00:00+00:00"})
    )
    results.save(given(0.2))
    assert results.published is not None
    assert pointer(tmp_path)["run_id"] == results.published["run_id"]
    assert pointer(tmp_path)["sequence"] == 2
    assert results.overtaken_by() is None


DAMAGED = {
    "empty": b"",
    "cut off": b'{"run_id": "6f1c7f7e-52',
    "a list": b"[]",
    "null": b"null",
    "no run": b"{}",
    "no time": b'{"run_id": null, "published_at": null}',
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_pointer_is_named_by_readers_and_mended_by_the_next_run(
    results: ResultsDataset, tmp_path: Path, content: bytes
) -> None:
    results.save(given(0.1))
    (tmp_path / "latest.json").write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        results.load()
    said = str(user_error(caught.value))
    assert said.startswith(str(tmp_path / "latest.json"))
    assert "score again" in said
    # All files count as new, so that nothing stays unscored.
    assert LedgerDataset(filepath=str(tmp_path)).load() == (None, {})
    results.save(given(0.2))
    assert results.load().predictions.column("probability").tolist() == [0.2, 0.75]


def test_a_folder_in_the_place_of_the_pointer(results: ResultsDataset, tmp_path: Path) -> None:
    (tmp_path / "latest.json").mkdir()
    for attempt in (results.load, lambda: results.save(given())):
        with pytest.raises(DatasetError, match=r"latest.json is a folder in the place of a file; move it away"):
            attempt()


def test_a_pointer_to_a_run_that_is_gone(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given(0.1))
    run_id = pointer(tmp_path)["run_id"]
    (tmp_path / run_id / "manifest.json").unlink()
    with pytest.raises(DatasetError, match=f"names the run {run_id}, but .*manifest.json does not exist; score again"):
        results.load()
    assert LedgerDataset(filepath=str(tmp_path)).load() == (None, {})
    results.save(given(0.2))
    assert results.load().run_id != run_id


@pytest.mark.parametrize("content", ["", "[]", '{"a.csv": null}', '{"a.csv": {"sha256": "1"}}'])
def test_a_damaged_ledger_means_that_all_files_are_new(results: ResultsDataset, tmp_path: Path, content: str) -> None:
    results.save(given(0.1))
    run_id = pointer(tmp_path)["run_id"]
    (tmp_path / run_id / "partitions.json").write_text(content)
    assert LedgerDataset(filepath=str(tmp_path)).load() == (run_id, {})


def test_of_two_runs_the_one_that_the_store_accepts_later_is_current_and_the_other_knows(tmp_path: Path) -> None:
    slow, quick = (ResultsDataset(filepath=str(tmp_path)) for _ in range(2))

    class Meanwhile(Given):
        def batches(self) -> Iterator[pd.DataFrame]:
            quick.save(given(0.2))
            yield from super().batches()

    slow.save(Meanwhile(scores(0.1)))
    assert slow.published is not None
    assert pointer(tmp_path)["run_id"] == slow.published["run_id"]
    assert slow.overtaken_by() is None
    assert quick.overtaken_by() == slow.published["run_id"]


def test_what_was_removed_while_it_was_written_does_not_become_current(
    results: ResultsDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.save(given(0.1))
    before = pointer(tmp_path)["run_id"]
    update = LocalStore.update_json

    def doomed(self: LocalStore, change: Any, name: str = "", **options: Any) -> Any:
        (new,) = (path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != before)
        (tmp_path / "latest.json").write_text(json.dumps({**pointer(tmp_path), "removing": [new]}))
        return update(self, change, name, **options)

    monkeypatch.setattr(LocalStore, "update_json", doomed)
    with pytest.raises(DatasetError, match="was removed before it became current"):
        results.save(given(0.2))
    assert pointer(tmp_path)["run_id"] == before
    assert results.published is None


def test_monitoring_follows_the_run_that_was_announced(results: ResultsDataset, tmp_path: Path) -> None:
    results.save(given(0.1))
    assert results.published is not None
    announced = results.published["run_id"]
    ResultsDataset(filepath=str(tmp_path)).save(given(0.2))
    latest = ResultsDataset(filepath=str(tmp_path))
    latest.follows = announced
    assert latest.load().run_id == announced
    latest.follows = None
    assert latest.load().run_id != announced


# --- what killed processes leave ----------------------------------------------------------------------------------

OLD = 1_600_000_000.0


def aged(*paths: Path, time: float = OLD) -> None:
    for path in paths:
        os.utime(path, (time, time))


@pytest.mark.parametrize("time", [OLD, 2_082_758_400.0], ids=["long ago", "2036"])
def test_the_next_run_removes_what_a_killed_one_has_left(results: ResultsDataset, tmp_path: Path, time: float) -> None:
    results.save(given(0.1))
    current = pointer(tmp_path)["run_id"]
    left = tmp_path / str(uuid.uuid4())
    left.mkdir()
    part = left / f".inference_result.csv.{'0' * 32}.part"
    part.write_bytes(b"x")
    beside = tmp_path / f".latest.json.{'0' * 32}.part"
    beside.write_bytes(b"x")
    for name in ("training", "something"):  # not runs
        (tmp_path / name).mkdir()
    new = tmp_path / str(uuid.uuid4())
    new.mkdir()  # has just begun
    aged(part, left, beside, tmp_path / "training", tmp_path / "something", time=time)
    results.save(given(0.2))
    assert not left.exists()
    assert not beside.exists()
    assert {"training", "something", current, new.name} <= set(published(tmp_path))


def test_what_is_still_written_stays(results: ResultsDataset, tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    run_id = str(uuid.uuid4())
    with store.working(run_id), store.writing(f"{run_id}/a.csv") as file, store.writing("latest.json") as other:
        file.write(b"x")
        other.write(b"{}")
        aged(tmp_path / run_id, *(tmp_path / run_id).iterdir(), *tmp_path.glob(".*.part"))
        ResultsDataset(filepath=str(tmp_path)).save(given())
        assert store.unfinished() == {}
        assert len(list((tmp_path / run_id).iterdir())) == 1
        assert len(list(tmp_path.glob(".*.part"))) == 1
    assert (tmp_path / run_id / "a.csv").read_bytes() == b"x"
