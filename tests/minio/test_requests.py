"""The log of requests in a bucket: judged, merged and pruned there."""

import uuid

import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.model import ChurnModel
from churn.scoring.request_day import requests_of
from churn.scoring.request_files import INDEX, MERGED, days_of, merge_day, remove_day
from churn.stores import Store, open_store
from tests.scoring.logged import DAY, NOW, Logging, at, named
from tests.stack import Stack


@pytest.fixture
def store(stack: Stack) -> Store:
    assert stack.s3
    place = f"s3://{stack.settings.results}/{uuid.uuid4().hex}/requests"
    return open_store(place, stack.credentials(stack.settings.scoring))


def test_a_day_in_a_bucket(store: Store, model: ChurnModel, canonical: pd.DataFrame, schema: AccountSchema) -> None:
    accounts = canonical.drop(columns=schema.label.column).head(120)
    service = Logging(store, named(model, "1"))
    for hour in range(6):
        service.answer(accounts.iloc[20 * hour : 20 * hour + 20], at(hour))
    before = requests_of(store, schema, now=NOW)
    ids = before.predictions.column("account_id").tolist()
    assert [each.partition("\x1f")[0] for each in ids] == accounts["account_id"].tolist()
    done = merge_day(store, DAY, days_of(store.entries())[DAY])
    assert (done.sources, done.files) == (6, 1)
    names = [name for name in store.names() if not name.endswith(".json")]
    assert len(names) == 1
    assert MERGED in names[0]
    after = requests_of(store, schema, now=NOW)
    assert after.predictions.column("account_id").tolist() == ids
    assert after.profile == before.profile
    assert store.exists(f"{DAY}/{INDEX}")
    remove_day(store, DAY)
    assert store.names() == []
