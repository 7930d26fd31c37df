"""A day of logged requests is judged as a batch of the same accounts is."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from churn.config import AccountSchema, Monitoring, Parameters
from churn.datasets import RequestOutcomesDataset
from churn.errors import AccountsError, ChurnError
from churn.model import ChurnModel
from churn.model.profile import count_profile
from churn.pipelines.monitoring.nodes import measure_health, report_health
from churn.scoring import Publication
from churn.scoring.publication import reference_of
from churn.scoring.request_day import requests_of
from churn.stores import DamagedError, Store
from churn.tables import FrameTable, Table
from tests.conftest import InMemory
from tests.scoring.logged import DAY, NOW, Logging, at, named


@pytest.fixture(scope="module")
def accounts(canonical: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    """Accounts that the service is asked for."""
    return canonical.drop(columns=schema.label.column).head(600)


@pytest.fixture
def one(model: ChurnModel) -> ChurnModel:
    return named(model, "1")


def requests(store: Store, schema: AccountSchema, **options: Any) -> Publication:
    return requests_of(store, schema, **{"now": NOW, **options})


def day_of(found: Publication) -> Any:
    assert found.requests is not None
    return found.requests


def ids_of(found: Publication) -> list[str]:
    return [each.partition("\x1f")[0] for each in found.predictions.column("account_id")]


def test_the_health_is_that_of_a_batch(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema, canonical: pd.DataFrame
) -> None:
    service = Logging(store, one)
    service.answer(accounts.head(300), at(9))
    service.answer(accounts.tail(300), at(10))
    found = requests(store, schema)
    assert (found.as_of, day_of(found).day, found.run_id) == (DAY, DAY, None)
    assert found.model == {
        "uri": "models:/churn@champion",
        "version": "1",
        "sha256": one.sha256,
        "run_id": "0" * 32,
    }
    assert day_of(found).notes == ("600 of 600 answers of version 1 are judged",)
    assert day_of(found).to_watch == ()

    scores = one.score(accounts)
    batch = Publication(
        FrameTable(scores),
        {
            **reference_of(one),
            "scored": count_profile(one.reference, accounts, scores["probability"].to_numpy()).to_dict(),
        },
        found.model,
        found.source,
        DAY,
        "r-1",
    )
    outcomes = canonical.loc[accounts.index, [schema.id, schema.label.column]]
    dated = outcomes.assign(as_of=str(DAY))
    # An outcome of the same account as of another day is another one.
    other = outcomes.assign(as_of="2025-12-31", **{schema.label.column: 1 - outcomes[schema.label.column]})
    limits = Monitoring()
    expected = measure_health(batch, InMemory(outcomes), None, schema, limits)
    health = measure_health(found, None, InMemory(pd.concat([other, dated])), schema, limits)
    assert health["realised_performance"]["coverage"] == 1.0
    assert expected["realised_performance"]["roc_auc"] > 0.7
    differing = {name for name in expected if json.dumps(expected[name]) != json.dumps(health[name])}
    assert differing == {"provenance", "notes"}
    assert health["notes"] == [*day_of(found).notes, *expected["notes"]]
    report = report_health(health, lambda _: None)
    assert (report["run_id"], report["day"]) == (None, "2026-01-30")
    assert "600 of 600 answers" in report["html"]
    # Before outcomes come, and where only some have.
    assert measure_health(found, InMemory(outcomes), None, schema, limits)["realised_performance"] is None
    half = measure_health(found, None, InMemory(dated.head(200)), schema, limits)["realised_performance"]
    assert half["outcomes"] == 200


def test_of_an_account_the_last_answer_counts(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema
) -> None:
    first, second = Logging(store, one), Logging(store, one)
    changed = accounts.head(100).assign(login_count_p1m=3.0)
    second.answer(changed, at(15))  # written first, answered last
    first.answer(accounts.head(100), at(9))
    first.answer(accounts.head(100), at(9), as_of=date(2026, 1, 1))  # another date of the values: another question
    found = requests(store, schema)
    assert day_of(found).notes == (
        "200 of 300 answers of version 1 are judged",
        "100 answers are repeated: of each account and date of its values, the last one counts",
    )
    frame = found.predictions.frame()
    assert len(frame) == len(found.predictions) == 200
    of_day = frame[frame["account_id"].str.endswith("\x1f2026-01-30")]
    expected = one.score(changed).set_index("account_id")["probability"]
    got = of_day.set_index(of_day["account_id"].str.partition("\x1f")[0])["probability"]
    pd.testing.assert_series_equal(got.sort_index(), expected.sort_index(), check_names=False)
    assert found.profile["scored"]["rows"] == 200


def test_the_version_with_the_most_answers_is_judged_and_the_others_are_named(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema
) -> None:
    service = Logging(store, one)
    service.answer(accounts.head(100), at(9))
    service.use(named(replace(one, threshold=0.1), "2"))
    service.answer(accounts.head(150), at(11))
    service.use(named(replace(one, threshold=0.2), "10"))
    service.answer(accounts.tail(20), at(12))
    found = requests(store, schema)
    assert (found.model["version"], found.profile["threshold"], len(found.predictions)) == ("2", 0.1, 150)
    assert "Other versions have answered too and are not judged: 1 (100), 10 (20)" in day_of(found).notes[1]
    assert set(found.predictions.column("model_version")) == {"2"}
    asked = requests(store, schema, version="10")
    assert (asked.profile["threshold"], len(asked.predictions)) == (0.2, 20)
    with pytest.raises(ChurnError, match=r"requests_version = 7: no answer .* there are 1, 2, 10"):
        requests(store, schema, version="7")
    # Of equally many, the one that answered last.
    service.use(one)
    service.answer(accounts.tail(50), at(13))
    assert requests(store, schema).model["version"] == "1"


def test_what_was_left_out_of_the_log_is_said_and_not_judged(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema
) -> None:
    redact = ("account_id", "login_count_p1m", "revenue_trend")
    service = Logging(store, one, sample=0.5, redact=redact)
    service.answer(accounts.head(100), at(9))
    service.answer(accounts.head(100), at(10))
    found = requests(store, schema)
    drift = {**found.profile["scored"]["numeric"], **found.profile["scored"]["categorical"]}
    assert not set(redact) & set(drift)
    assert day_of(found).notes == (
        "200 of 200 answers of version 1 are judged",
        "Only a part of the requests was logged: 50% (serve.log.sample)",
        "Columns that are not logged cannot be judged: login_count_p1m, revenue_trend (serve.log.redact)",
        "200 answers have no id (serve.log.redact), so that each of them counts, and none has an outcome",
    )
    health = measure_health(found, None, None, schema, Monitoring())
    assert (health["total_samples"], health["unique_accounts"]) == (200, 200)
    assert not [each for each in health["alarms"] if "Login" in each or "Revenue" in each or "no value" in each]
    assert "login_count_p1m" not in {entry["column"] for entry in health["drift"]}
    # In another part of the day all was logged.
    Logging(store, one).answer(accounts.tail(100), at(11))
    notes = day_of(requests(store, schema)).notes
    assert notes[0] == "300 of 300 answers of version 1 are judged"
    assert "50% to 100%" in notes[1]


def test_damaged_segments_are_named_and_left_out(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema, tmp_path: Path
) -> None:
    service = Logging(store, one)
    for hour in range(4):
        service.answer(accounts.iloc[100 * hour : 100 * hour + 100], at(9 + hour))
    folder = tmp_path / "requests" / str(DAY)
    cut, empty, whole, other = sorted(folder.glob("*.parquet"))
    cut.write_bytes(cut.read_bytes()[:-100])
    empty.write_bytes(b"")
    (folder / f".{other.name}.0123.part").write_bytes(b"PAR1")  # what a killed process left
    (folder / "notes.txt").write_text("mine")
    parquet.write_table(parquet.read_table(other).drop_columns(["login_count_p1m"]), other)  # of another table
    (folder / "120000000000-x-000001.parquet").write_bytes(b"\x1f\x8b damaged and compressed")
    found = requests(store, schema)
    assert ids_of(found) == accounts["account_id"].iloc[200:300].tolist()
    [unreadable, strangers] = day_of(found).to_watch
    assert unreadable.startswith("3 segments of the log cannot be read")
    assert cut.name in unreadable
    assert empty.name in unreadable
    assert strangers == "100 answers are of a table with other columns and are left out"
    health = measure_health(found, None, None, schema, Monitoring())
    assert health["status"] == "watch"
    assert health["to_watch"][:2] == [unreadable, strangers]
    for file in (whole, other):
        file.write_bytes(b"PAR1")
    with pytest.raises(ChurnError, match="none of the 5 segments of the day can be read"):
        requests(store, schema)


def test_which_day_is_judged(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema, tmp_path: Path
) -> None:
    with pytest.raises(ChurnError, match=r"no requests were logged in .*requests yet"):
        requests(store, schema)
    (tmp_path / "requests/2026-01-20").mkdir(parents=True)  # empty, as after a removal
    (tmp_path / "requests/other").mkdir()
    service, today = Logging(store, one), NOW.date()
    service.answer(accounts.head(10), at(9, today))
    with pytest.raises(ChurnError, match=r"days that are not over yet .*: 2026-01-31; name one"):
        requests(store, schema)
    assert "The day is not over yet" in day_of(requests(store, schema, day=today)).notes
    service.answer(accounts.head(10), at(9, DAY - timedelta(days=10)))
    late = requests(store, schema)
    assert day_of(late).day == date(2026, 1, 20)
    assert day_of(late).to_watch[0].startswith("No requests were logged for 10 days before today")
    service.answer(accounts.head(10), at(9))
    assert day_of(requests(store, schema)).day == DAY
    assert day_of(requests(store, schema)).to_watch == ()
    with pytest.raises(
        ChurnError, match=r"requests_day = 2025-05-05: no requests .* 2026-01-20, 2026-01-30, 2026-01-31"
    ):
        requests(store, schema, day=date(2025, 5, 5))


def test_without_the_description_of_the_model_it_says_so(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema, tmp_path: Path
) -> None:
    Logging(store, one).answer(accounts.head(10), at(9))
    Logging(store, named(replace(one, threshold=0.1), "1")).answer(accounts.head(10), at(10))
    with pytest.raises(ChurnError, match="version 1 stands for 2 different models"):
        requests(store, schema)
    [first, second] = (tmp_path / f"requests/{DAY}").glob("model-*.json")
    for segment in (tmp_path / f"requests/{DAY}").glob("10*.parquet"):
        segment.unlink()
    own = first if one.sha256 in first.name else second
    own.write_text("[]")
    with pytest.raises(DamagedError, match="does not describe a model"):
        requests(store, schema)
    own.unlink()
    with pytest.raises(ChurnError, match="the file that describes version 1 of the model is missing"):
        requests(store, schema)


def test_columns_with_the_names_of_the_log(store: Store, canonical: pd.DataFrame, parameters: Parameters) -> None:
    """An own table may have a column that is called like one of the log."""
    from tests.conftest import train

    names = {"login_count_p1m": "row", "revenue_trend": "request_id", "account_id": "answered_at"}
    dumped = parameters.accounts.model_dump(mode="json")
    dumped["id"] = "answered_at"
    for column in dumped["numeric"]:
        column["column"] = names.get(column["column"], column["column"])
    dumped["categorical"] = [names.get(name, name) for name in dumped["categorical"]]
    dumped["not_above"] = []
    schema = AccountSchema.model_validate(dumped)
    table = canonical.rename(columns=names)
    features = parameters.feature_engineering.model_copy(update={"ratios": ()})
    few = parameters.training.model_copy(
        update={"folds": 2, "booster": parameters.training.booster.model_copy(update={"n_estimators": 5})}
    )
    model = named(train(table, schema, features, few), "1")
    accounts = table.drop(columns=schema.label.column).head(50)
    Logging(store, model).answer(accounts, at(9))
    found = requests(store, schema)
    assert [each.partition("\x1f")[0] for each in found.predictions.column("answered_at")] == accounts[
        "answered_at"
    ].tolist()
    scored = count_profile(model.reference, accounts, model.probability(accounts))
    assert found.profile["scored"] == json.loads(json.dumps(scored.to_dict()))


def test_outcomes_have_dates(
    tmp_path: Path, schema: AccountSchema, store: Store, one: ChurnModel, accounts: pd.DataFrame
) -> None:
    Logging(store, one).answer(accounts.head(4), at(9))
    found = requests(store, schema)
    ids, file = accounts["account_id"].head(4).tolist(), tmp_path / "request_outcomes.csv"

    def realised(text: str) -> Any:
        file.write_text(text)
        outcomes = RequestOutcomesDataset(filepath=str(file), schema=schema.model_dump(mode="json")).load()
        return measure_health(found, None, outcomes, schema, Monitoring())["realised_performance"]

    label, day = schema.label.column, str(DAY)
    head = f"account_id,as_of,{label}\n"
    assert (
        realised(head + f"{ids[0]},{day},1\n{ids[1]},{day},0\n{ids[2]},2026-02-01,1\n{ids[3]},{day},\n")["outcomes"]
        == 2
    )
    assert realised(f"{label};account_id;as_of\n1;{ids[0]};{day}\n0;{ids[1]};{day}\n")["outcomes"] == 2
    assert realised(head)["outcomes"] == 0
    with pytest.raises(AccountsError, match="missing columns: as_of"):
        realised(f"account_id,{label}\n{ids[0]},1\n")
    with pytest.raises(
        AccountsError, match=r"as_of: 3 values are no dates like 2026-01-31, .*'30.01.2026' \(row 1, 2, 4\)"
    ):
        realised(head + f"{ids[0]},30.01.2026,1\n{ids[1]},2026-02-30,1\n{ids[2]},{day},1\n{ids[3]},,1\n")
    with pytest.raises(AccountsError, match=r"repetition .*row 2"):
        realised(head + f"{ids[0]},{day},1\n{ids[0]},{day},1\n")


def test_segments_that_are_merged_while_they_are_read(
    store: Store, one: ChurnModel, accounts: pd.DataFrame, schema: AccountSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn.scoring import request_day
    from churn.scoring.request_files import merge_day

    service = Logging(store, one)
    for hour in range(3):
        service.answer(accounts.iloc[100 * hour : 100 * hour + 100], at(9 + hour))
    inner, merges = request_day.segments, list[Any]()

    def merging(*arguments: Any) -> list[str]:
        found = inner(*arguments)
        if not merges:
            files = {name.partition("/")[2]: entry for name, entry in store.entries(str(DAY)).items()}
            merges.append(merge_day(store, DAY, files))
        return found

    monkeypatch.setattr(request_day, "segments", merging)
    found = requests(store, schema)
    assert merges[0].sources == 3
    assert ids_of(found) == accounts["account_id"].head(300).tolist()
    table: Table = found.predictions
    assert np.array_equal(table.column("probability"), one.probability(accounts.head(300)))
