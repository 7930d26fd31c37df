"""`churn prune` on real stores: results on a disk, MLflow in SQLite, a cache; and killed at any moment."""

import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from churn.datasets import ResultsDataset
from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.operations.housekeeping import PublishedResults
from churn.operations.pruning import Limits, Listing, plan
from churn.operations.pruning_mlflow import Tracked
from churn.registry import flavor, versions
from churn.registry.cache import ModelCache
from churn.stores import open_store
from tests.conftest import run_process
from tests.datasets.test_results import aged, given, pointer
from tests.registry.test_rollback import decision

STRICT = Limits(keep=1, older_than=0)
LATER = 10 * 86_400.0


def publish(folder: Path, count: int) -> list[str]:
    """Runs, each of which was current, in the order of their publication."""
    results = ResultsDataset(filepath=str(folder))
    made = []
    for _ in range(count):
        results.save(given())
        assert results.published is not None
        made.append(results.published["run_id"])
    return made


def runs(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


# --- results ------------------------------------------------------------------------------------------------------


def test_results_are_removed_and_readers_notice_nothing(tmp_path: Path) -> None:
    first, second, current = publish(tmp_path, 3)
    house = PublishedResults(open_store(str(tmp_path)))
    before = pointer(tmp_path)
    assert house.remove([first, second, current]) == sorted([first, second])
    assert runs(tmp_path) == {current}
    assert pointer(tmp_path) == before
    assert ResultsDataset(filepath=str(tmp_path)).load().run_id == current


def test_what_became_current_meanwhile_stays(tmp_path: Path) -> None:
    _, chosen = publish(tmp_path, 2)
    assert PublishedResults(open_store(str(tmp_path))).remove([chosen]) == []
    assert chosen in runs(tmp_path)


def test_a_run_that_is_being_removed_cannot_become_current(tmp_path: Path) -> None:
    """Its process stood still between the manifest and the pointer while others published and pruned."""
    (before,) = publish(tmp_path, 1)
    results, house = ResultsDataset(filepath=str(tmp_path)), PublishedResults(open_store(str(tmp_path)))
    seen = []

    class Slow(ResultsDataset):
        def _point_to(self, manifest: dict[str, Any], record: Any) -> None:
            results.save(given())
            seen.append(manifest["run_id"])
            assert house.remove([manifest["run_id"], before]) == sorted([manifest["run_id"], before])
            super()._point_to(manifest, record)

    with pytest.raises(Exception, match="was removed before it became current"):
        Slow(filepath=str(tmp_path)).save(given())
    assert results.published is not None
    assert runs(tmp_path) == {results.published["run_id"]}
    assert results.load().run_id == results.published["run_id"]


def test_where_nothing_was_published_nothing_is_removed(tmp_path: Path) -> None:
    house = PublishedResults(open_store(str(tmp_path)))
    assert house.pointer() is None
    assert house.remove([str(uuid.uuid4())]) == []
    assert not (tmp_path / "latest.json").exists()


def test_a_damaged_pointer_or_ledger_removes_nothing(tmp_path: Path) -> None:
    first, current = publish(tmp_path, 2)
    house = PublishedResults(open_store(str(tmp_path)))
    (tmp_path / current / "partitions.json").write_text('{"a": 1}')
    with pytest.raises(ChurnError, match="score again, then prune"):
        house.remove([first])
    (tmp_path / current / "manifest.json").unlink()
    with pytest.raises(ChurnError, match="score again, then prune"):
        house.remove([first])
    (tmp_path / "latest.json").write_text("[]")
    with pytest.raises(ChurnError, match="is damaged"):
        house.pointer()
    with pytest.raises(ChurnError, match="is damaged"):
        house.remove([first])
    assert runs(tmp_path) == {first, current}


KILLED = """
import os, signal, sys
from pathlib import Path
from churn.operations.housekeeping import PublishedResults
from churn.stores import open_store
calls, moment = 0, int(sys.argv[2])
def dying(name):
    real = getattr(os, name)
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(os, name, call)
# What changes a disk: unlink and rmdir of files and folders, and the rename of what was written.
for name in ("unlink", "rmdir", "replace"):
    dying(name)
PublishedResults(open_store(sys.argv[1])).remove(sys.argv[3:])
print(calls)
"""


@pytest.mark.e2e
def test_killed_at_any_moment_it_leaves_the_current_results_and_the_next_completes_it(tmp_path: Path) -> None:
    store = tmp_path / "whole"
    *old, current = publish(store, 3)

    def removed(folder: Path, moment: int) -> "subprocess.CompletedProcess[str]":
        return run_process(sys.executable, "-c", KILLED, str(folder), str(moment), *old)

    import shutil

    shutil.copytree(store, tmp_path / "counted")
    counted = removed(tmp_path / "counted", 0)
    moments = int(counted.stdout)
    assert moments >= 2 + 2 * 8
    for moment in {1, 2, 3, 4, moments // 2, moments - 1, moments}:
        folder = tmp_path / f"killed-{moment}"
        shutil.copytree(store, folder)
        assert removed(folder, moment).returncode == -9
        results = ResultsDataset(filepath=str(folder))
        assert results.load().run_id == current
        # A run publishes as ever, and the next prune completes what was begun.
        results.save(given(0.3))
        listed = open_store(str(folder))
        house = PublishedResults(listed)
        present = house.pointer()
        assert present is not None
        listing = Listing(
            time.time() + LATER, present, files=listed.entries(), abandoned=frozenset(listed.abandoned("manifest.json"))
        )
        made = plan(listing, STRICT)
        house.remove(thing.name for kind in ("results", "unfinished") for thing in made.going(kind))  # type: ignore[arg-type]
        assert runs(folder) == {present.run_id}
        assert "removing" not in pointer(folder)
        assert results.load().predictions.column("probability").tolist() == [0.3, 0.75]


@pytest.mark.e2e
def test_publishing_and_pruning_at_once(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            # A copy of this process that must not go on with the tests.
            try:
                if number % 2:
                    publish(tmp_path, 10)
                else:
                    for _ in range(10):
                        house = PublishedResults(open_store(str(tmp_path)))
                        present = house.pointer()
                        assert present is not None
                        # Whatever has a manifest, also what is about to become current.
                        found = {path.parent.name for path in tmp_path.glob("*/manifest.json")}
                        house.remove(found - {present.run_id})
                os._exit(0)
            except ChurnError as error:
                os._exit(0 if "was removed before it became current" in str(error) else 1)
            except Exception as error:
                os._exit(0 if "was removed before it became current" in str(error) else 1)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 6
    ResultsDataset(filepath=str(tmp_path)).load()


# --- MLflow -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tracked(tmp_path: Path, tracking: None, model: ChurnModel) -> Tracked:
    """Five versions of a model: the first was trained last, the third is the champion and came after the second."""
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("pruned", artifact_location=str(tmp_path / "artifacts"))
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.6):
        each = replace(model, threshold=threshold)
        with mlflow.start_run(experiment_id=experiment):
            mlflow.log_text("x" * 1000, "page.html")
            flavor.log_model(each, registered_model_name="churn")
            versions.record_decision("churn", "champion", decision(each.sha256, promote=threshold in (0.2, 0.3)))
    client.set_registered_model_tag("churn", "last_trained", "1")
    return Tracked("pruned", "churn", tmp_path / "artifacts")


def listed(tracked: Tracked) -> Listing:
    found, elsewhere = tracked.versions()
    return Listing(
        time.time() + LATER, versions=found, needed_elsewhere=elsewhere, runs=tracked.runs(), models=tracked.models()
    )


def carry_out(tracked: Tracked, listing: Listing) -> None:
    made = plan(listing, STRICT)
    for thing in made.going("versions"):
        assert versions.delete_version("churn", thing.name)
    for thing in made.going("models"):
        tracked.remove_model(thing.name)
    for thing in made.going("runs"):
        assert tracked.remove_run(thing.name)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_versions_runs_and_their_artifacts_are_removed(tracked: Tracked, tmp_path: Path) -> None:
    client = mlflow.MlflowClient()
    gone = client.get_model_version("churn", "4")
    before, listing = size(tmp_path / "artifacts"), listed(tracked)
    assert sum(run.bytes for run in listing.runs) + sum(each.bytes for each in listing.models) == before
    made = plan(listing, STRICT)
    assert {thing.name for thing in made.going("versions")} == {"4"}
    assert {thing.name for thing in made.going("runs")} == {gone.run_id}
    (stored,) = made.going("models")
    (run,) = made.going("runs")
    carry_out(tracked, listing)
    assert {str(entry.version) for entry in client.search_model_versions("name = 'churn'")} == {"1", "2", "3", "5"}
    assert client.get_run(gone.run_id).info.lifecycle_stage == "deleted"
    assert size(tmp_path / "artifacts") == before - stored.bytes - run.bytes
    for uri in ("models:/churn@champion", "models:/churn/1", "models:/churn/5"):
        assert flavor.load_model(uri)
    assert versions.roll_back("churn", "champion") == ("3", "2")
    assert flavor.load_model("models:/churn@champion").version == "2"
    # Again: nothing is left to remove, and what is removed already does no harm.
    assert plan(listed(tracked), Limits(1, 30)).is_empty
    tracked.remove_model(stored.name)


def test_a_removal_of_a_run_that_was_interrupted_is_completed(tracked: Tracked, tmp_path: Path) -> None:
    """Killed after the artifacts, before the run."""
    import shutil

    run_id = str(mlflow.MlflowClient().get_model_version("churn", "4").run_id)
    assert versions.delete_version("churn", "4")
    listed(tracked)
    shutil.rmtree(tmp_path / "artifacts" / run_id)
    (thing,) = plan(listed(tracked), STRICT).going("runs")
    assert (thing.name, thing.bytes) == (run_id, 0)
    assert tracked.remove_run(thing.name)
    assert versions.delete_version("churn", "4")
    assert run_id not in {run.run_id for run in tracked.runs()}


def test_a_run_that_goes_on_again_stays(tracked: Tracked) -> None:
    client = mlflow.MlflowClient()
    run_id = str(client.get_model_version("churn", "4").run_id)
    (before,) = (run for run in tracked.runs() if run.run_id == run_id)
    client.update_run(run_id, status="RUNNING")
    assert not tracked.remove_run(run_id)
    client.set_terminated(run_id)
    (after,) = (run for run in tracked.runs() if run.run_id == run_id)
    assert after.bytes == before.bytes > 0


def test_where_mlflow_has_no_such_experiment_there_is_nothing(tracked: Tracked, tmp_path: Path) -> None:
    other = Tracked("another", "none", tmp_path / "artifacts")
    mine, elsewhere = other.versions()
    assert (mine, other.runs(), other.models()) == ((), (), ())
    assert {run.run_id for run in tracked.runs()} <= elsewhere


def test_an_alias_that_moves_meanwhile_keeps_its_version(tracked: Tracked) -> None:
    versions.roll_back("churn", "champion", "1")
    assert not versions.delete_version("churn", "1")
    assert versions.alias_version("churn", "champion") == "1"
    versions.roll_back("churn", "champion", "3")
    assert versions.roll_back("churn", "champion", "1") == ("3", "1")  # its mark is gone


def test_a_version_that_is_being_deleted_cannot_become_the_champion(tracked: Tracked) -> None:
    mlflow.MlflowClient().set_model_version_tag("churn", "4", versions.DOOMED_TAG, "true")
    with pytest.raises(ChurnError, match="version 4 of 'churn' is being removed by churn prune"):
        versions.roll_back("churn", "champion", "4")
    assert versions.alias_version("churn", "champion") == "3"


def test_artifacts_of_another_project_are_not_touched(tracked: Tracked, tmp_path: Path) -> None:
    """A copy of a checkout has a copy of the database, in which the paths are those of the original."""
    before = size(tmp_path / "artifacts")
    copy = Tracked("pruned", "churn", tmp_path / "copy/artifacts")
    listing = listed(copy)
    assert all(run.elsewhere for run in listing.runs)
    assert not plan(listing, STRICT).going("runs")
    with pytest.raises(ChurnError, match="is not in this project"):
        copy.remove_run(listing.runs[0].run_id)
    assert size(tmp_path / "artifacts") == before


# --- copies of models ---------------------------------------------------------------------------------------------


def test_copies_of_models_and_what_killed_processes_have_left(tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "trees.ubj").write_bytes(b"x" * 100)
    cache = ModelCache(tmp_path / "models")
    cache.keep("a" * 64, source)
    cache.remember("models:/churn@champion", "1", None, "a" * 64)
    left = [tmp_path / "models" / f".{uuid.uuid4().hex}"]
    left[0].mkdir()
    aged(*left)
    aged(tmp_path / "models" / ("a" * 64), time=2_082_758_400.0)
    cache.keep("b" * 64, source)
    assert not any(path.exists() for path in left)
    found = cache.copies()
    assert set(found) == {"a" * 64, "b" * 64}
    assert all(entry.bytes >= 100 and entry.modified <= time.time() for entry in found.values())
    assert cache.remembered() == {"a" * 64}
