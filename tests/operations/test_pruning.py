"""What `churn prune` chooses: a pure function of what there is."""

import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from churn.errors import ChurnError
from churn.operations.pruning import (
    DAY,
    Limits,
    Listing,
    Plan,
    Run,
    StoredModel,
    Version,
    plan,
)
from churn.operations.pruning_table import render
from churn.scoring.pointer import Pointer
from churn.stores import Entry

NOW = 1_790_000_000.0
STRICT = Limits(keep=1, older_than=0)
A, B, C, D = (str(uuid.UUID(int=number)) for number in range(1, 5))


def ago(days: float) -> float:
    return NOW - days * DAY


def files(ages: dict[str, float], *, finished: bool = True) -> dict[str, Entry]:
    """Runs in the store of results, by age in days."""
    names = ("inference_result.csv", *(["manifest.json"] if finished else []))
    return {f"{run_id}/{name}": Entry(100, ago(age)) for run_id, age in ages.items() for name in names}


def going(made: Plan) -> set[str]:
    return {verdict.thing.name for verdict in made.verdicts if verdict.goes}


def reason(made: Plan, name: str) -> str:
    return next(verdict.reason for verdict in made.verdicts if verdict.thing.name == name)


@pytest.mark.parametrize(("keep", "older_than"), [(0, 1), (-1, 1), (1, -1), (1, float("nan"))])
def test_limits_by_which_the_newest_would_go_are_refused(keep: int, older_than: float) -> None:
    with pytest.raises(ChurnError, match="at least 1 and 0 days are expected"):
        Limits(keep, older_than)


def test_only_what_is_beyond_the_newest_and_old_enough_goes() -> None:
    listing = Listing(NOW, Pointer(A), files=files({A: 1, B: 20, C: 40, D: 60}))
    assert going(plan(listing, Limits(1, 0))) == {B, C, D}
    assert going(plan(listing, Limits(1, 30))) == {C, D}
    assert going(plan(listing, Limits(3, 30))) == {D}
    assert going(plan(listing, Limits(4, 0))) == set()
    assert going(plan(listing, Limits(1, 365))) == set()


def test_the_current_results_and_those_of_their_ledger_stay_whatever_their_age() -> None:
    listing = Listing(NOW, Pointer(D), ledger=frozenset({C}), files=files({A: 1, B: 20, C: 40, D: 60}))
    made = plan(listing, STRICT)
    assert going(made) == {B}
    assert reason(made, D) == "current"
    assert "ledger" in reason(made, C)


def test_without_a_pointer_no_results_go() -> None:
    assert going(plan(Listing(NOW, None, files=files({A: 500, B: 600})), STRICT)) == set()


def test_days_of_requests_go_by_their_date_alone() -> None:
    today = datetime.fromtimestamp(NOW, UTC).date()
    days = {today - timedelta(days=age): {"a.parquet": Entry(7, ago(0.5))} for age in (0, 29, 30, 31, 400)}
    fresh, ahead = today - timedelta(days=500), today + timedelta(days=500)
    days |= {fresh: {"a.parquet": Entry(7, NOW - 60)}, ahead: {"a.parquet": Entry(7, ago(600))}}
    listing = Listing(NOW, None, requests=days)
    made = plan(listing, replace(STRICT, requests=30))
    assert going(made) == {str(today - timedelta(days=age)) for age in (31, 400)}
    assert reason(made, str(fresh)) == "written in the last hour"
    assert reason(made, str(ahead)) == "not older than 30 days"
    assert going(plan(listing, replace(STRICT, requests=0))) == {
        str(today - timedelta(days=age)) for age in (29, 30, 31, 400)
    }
    assert going(plan(listing, STRICT)) == set()
    assert "requests     2  14 bytes      5  35 bytes" in render(made)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ChurnError, match="requests_older_than"):
            Limits(1, 0, wrong)


def test_what_is_no_run_is_not_looked_at() -> None:
    others = {"training/metrics.json": Entry(1, 0), "latest.json": Entry(1, 0), "x/manifest.json": Entry(1, 0)}
    assert plan(Listing(NOW, Pointer(A), files=others), STRICT).verdicts == ()


def test_a_time_ahead_counts_as_now() -> None:
    listing = Listing(NOW, Pointer(A), files=files({A: 1, B: -3650, C: 40}))
    made = plan(listing, STRICT)
    assert going(made) == {C}
    assert reason(made, B) == "from the last hour"


def test_a_clock_behind_removes_nothing() -> None:
    listing = Listing(0.0, Pointer(A), files=files({A: 1, B: 20, C: 40}))
    assert plan(listing, STRICT).is_empty


def test_nothing_from_the_last_hour_goes() -> None:
    listing = Listing(NOW, Pointer(A), files=files({A: 0.5, B: 0.03, C: 0.05}))
    assert going(plan(listing, STRICT)) == {C}


def test_runs_without_a_manifest_go_once_their_process_has_ended() -> None:
    unfinished = files({B: 0.5, C: 3}, finished=False)
    bucket = Listing(NOW, Pointer(A), files=files({A: 9}) | unfinished)
    assert going(plan(bucket, Limits(100, 365))) == {C}
    disk = replace(bucket, abandoned=frozenset({B, D}))
    assert going(plan(disk, Limits(100, 365))) == {B, D}
    assert reason(plan(disk, STRICT), C) == "it may still be written"


def test_a_removal_that_was_interrupted_is_completed() -> None:
    pointer = Pointer(A, removing=(B, C))
    listing = Listing(NOW, pointer, files=files({A: 9, B: 9}) | files({C: 0.5}, finished=False), abandoned=frozenset())
    assert going(plan(listing, Limits(100, 365))) == {B, C}


VERSIONS = (
    Version("1", ago(50), run_ids=("r1",), model_id="m1"),
    Version("2", ago(40), previous="1", run_ids=("r2",), model_id="m2"),
    Version("3", ago(30), aliases=("champion",), previous="2", run_ids=("r3", "f3"), model_id="m3"),
    Version("4", ago(20), sha256="used", run_ids=("r4",), model_id="m4"),
    Version("5", ago(10), run_ids=("r5",), model_id="m5"),
    Version("6", ago(9), is_last=True, run_ids=("r6",), model_id="m6"),
)


def registry(**changes: object) -> Listing:
    runs = [Run(f"r{number}", None, False, ago(60 - 10 * number), 10) for number in range(1, 7)]
    models = tuple(StoredModel(f"m{number}", f"r{number}", ago(60 - 10 * number), 1000) for number in range(1, 7))
    listing = Listing(NOW, versions=VERSIONS, runs=(*runs, Run("f3", None, False, ago(30), 10)), models=models)
    return replace(listing, needed_models=frozenset({"used"}), **changes)


def test_versions_that_something_needs_stay_and_so_do_their_runs_and_models() -> None:
    made = plan(registry(), STRICT)
    assert going(made) == {"1", "5", "r1", "r5", "m1", "m5"}
    assert reason(made, "3") == "@champion"
    assert "rollback" in reason(made, "2")
    assert reason(made, "6") == "trained last"
    assert reason(made, "4") == "made needed results"
    assert reason(made, "f3") == "version 3"


def test_runs_that_go_on_or_belong_to_others_stay() -> None:
    runs = (
        Run("open", None, True, ago(99), 1),
        Run("trial of open", "open", False, ago(99), 1),
        Run("parent", None, False, ago(99), 1),
        Run("trial", "parent", True, ago(99), 1),
        Run("other", None, False, ago(99), 1),
        Run("copied", None, False, ago(99), 0, elsewhere="/srv/original/mlflow-artifacts/1"),
        Run("newest", None, False, ago(1), 1),
    )
    models = (
        StoredModel("m-copied", "copied", ago(99), 0, elsewhere="/srv/original/mlflow-artifacts/m"),
        StoredModel("m-other", "gone", ago(99), 1),
        StoredModel("m-gone", "gone", ago(99), 1),
    )
    listing = Listing(NOW, runs=runs, models=models, needed_elsewhere=frozenset({"other", "m-other"}))
    made = plan(listing, STRICT)
    assert going(made) == {"m-gone"}
    assert "/srv/original" in reason(made, "copied")


def test_trials_stay_and_go_with_their_run() -> None:
    runs = (
        Run("new", None, False, ago(1), 1),
        Run("old", None, False, ago(90), 10),
        Run("trial", "old", False, ago(91), 20),
        Run("trial of a trial", "trial", False, ago(91), 30),
        Run("orphan", "deleted", False, ago(95), 1),
    )
    made = plan(Listing(NOW, runs=runs), STRICT)
    (thing, orphan) = made.going("runs")
    assert (thing.name, thing.bytes, thing.members) == ("old", 60, ("trial", "trial of a trial"))
    assert orphan.name == "orphan"


def test_copies_of_models_in_use_stay() -> None:
    versions = (Version("1", ago(90), aliases=("champion",), sha256="a"),)
    copies = {name: Entry(5, ago(age)) for name, age in {"a": 90, "b": 80, "c": 70, "d": 1}.items()}
    listing = Listing(NOW, versions=versions, copies=copies, needed_models=frozenset({"b"}))
    assert going(plan(listing, STRICT)) == {"c"}


def test_files_that_were_set_aside_go_when_they_are_old() -> None:
    listing = Listing(NOW, set_aside={"names.json.damaged-1": Entry(5, ago(9)), "x.damaged-2": Entry(5, ago(1))})
    assert going(plan(listing, Limits(10, 7))) == {"names.json.damaged-1"}


@pytest.mark.parametrize("seed", range(200))
def test_nothing_that_is_needed_goes(seed: int) -> None:
    """Listings at random, against the promise in the words of the documentation."""
    chance = random.Random(seed)
    ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(chance.randint(1, 12))]
    runs = tuple(
        Run(
            f"r{n}",
            chance.choice([None, f"r{chance.randint(0, 9)}"]),
            chance.random() < 0.2,
            ago(chance.uniform(-5, 99)),
            1,
        )
        for n in range(10)
    )
    versions = tuple(
        Version(
            str(n),
            ago(chance.uniform(-5, 99)),
            aliases=("champion",) if n == 4 else (),
            previous=chance.choice([None, str(chance.randint(0, 7))]),
            is_last=n == 7,
            run_ids=(f"r{chance.randint(0, 9)}",),
            model_id=f"m{n}",
        )
        for n in range(8)
    )
    models = tuple(StoredModel(f"m{n}", f"r{n}", ago(chance.uniform(-5, 99)), 1) for n in range(10))
    ledger = frozenset(chance.sample(ids, chance.randint(0, len(ids))))
    listing = Listing(
        NOW,
        Pointer(chance.choice(ids)),
        ledger=ledger,
        files=files({run_id: chance.uniform(-5, 99) for run_id in ids}, finished=chance.random() < 0.8),
        versions=versions,
        runs=runs,
        models=models,
    )
    limits = Limits(chance.randint(1, 4), chance.choice([0, 1, 30]))
    made = plan(listing, limits)
    gone = going(made) | {name for thing in made.going("runs") for name in thing.members}
    assert listing.pointer is not None
    assert not gone & {listing.pointer.run_id, *ledger}
    assert not gone & {"4", versions[4].previous, "7"}
    assert not gone & {run.run_id for run in runs if run.is_open}
    for version in versions:
        if version.number not in gone:
            assert not gone & {*version.run_ids, version.model_id}
    for verdict in made.verdicts:
        if verdict.goes and verdict.thing.kind != "unfinished" and verdict.thing.kind != "models":
            assert NOW - verdict.thing.written >= max(limits.older_than * DAY, 3600)
    # The same listing gives the same plan, and what is left gives nothing more to remove of the same kinds.
    assert plan(listing, limits) == made


def test_the_table_adds_up() -> None:
    listing = Listing(NOW, Pointer(A), files=files({A: 1, B: 20, C: 40}))
    text = render(plan(listing, STRICT), details=True).splitlines()
    assert text[1].split() == ["results", "2", "400", "bytes", "1", "200", "bytes"]
    assert text[2].split() == ["together", "2", "400", "bytes", "1", "200", "bytes"]
    assert any(line.startswith("stays  results") and line.endswith("current") for line in text)
    assert "There is nothing to remove." in render(plan(Listing(NOW), STRICT))
