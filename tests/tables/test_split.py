"""The split follows from the ids alone, and two splits tell what they have in common."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from churn.tables.ids import hashes_of
from churn.tables.split import SKETCH_SIZE, Split, sketch_of


def ids(rows: int, start: int = 0) -> pd.Series:
    return pd.Series([f"account-{at}" for at in range(start, start + rows)], dtype="str")


def sketched(split: Split, accounts: pd.Series) -> Split:
    return split.of(sketch_of([hashes_of(accounts)]))


def test_the_part_of_an_account_never_changes():
    # The hash of the library must stay what it is: accounts would change their part, and champions would be compared on
    # rows that they were trained on.
    mask = Split(31_459, 0.3).test_rows(ids(1000))
    assert np.flatnonzero(mask)[:8].tolist() == [2, 3, 4, 17, 28, 30, 35, 38]
    assert hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()[:16] == "ef82fdd67183e6b9"


def test_the_part_depends_on_nothing_but_id_key_and_share():
    split, accounts = Split(7, 0.3), ids(2000)
    mask = split.test_rows(accounts)
    order = np.random.default_rng(1).permutation(2000)
    assert (split.test_rows(accounts.iloc[order]) == mask[order]).all()
    assert (split.test_rows(accounts.iloc[500:600]) == mask[500:600]).all()
    assert (split.test_rows(accounts.astype("category").astype("str")) == mask).all()
    assert (Split(8, 0.3).test_rows(accounts) != mask).any()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_the_share_is_met_on_average_and_larger_shares_contain_smaller_ones(share):
    accounts = ids(20_000)
    mask = Split(7, share).test_rows(accounts)
    assert mask.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))
    larger = Split(7, (1 + share) / 2).test_rows(accounts)
    assert larger[mask].all()


def test_sketches_tell_whether_accounts_are_shared():
    split = Split(7, 0.3)
    first = sketched(split, ids(5000))
    assert first.shares_accounts(sketched(Split(8, 0.2), ids(5000, start=4900 - 1000)))
    assert first.shares_accounts(sketched(split, ids(50_000)))
    assert not first.shares_accounts(sketched(split, ids(5000, start=5000)))
    assert not sketched(split, ids(100)).shares_accounts(sketched(split, ids(100, start=100)))
    # Too few accounts are no evidence, and neither is a table of which nothing is known.
    assert sketched(split, ids(5)).shares_accounts(sketched(split, ids(5, start=5)))
    assert split.shares_accounts(first)


def test_the_sketch_of_parts_is_that_of_the_whole():
    accounts = ids(3000)
    whole = sketch_of([hashes_of(accounts)])
    parts = [sketch_of([hashes_of(accounts.iloc[start : start + 700])]) for start in range(0, 3000, 700)]
    assert sketch_of(np.array(part, dtype=np.uint64) for part in parts) == whole
    assert len(whole) == SKETCH_SIZE


def test_a_split_as_json():
    split = sketched(Split(2**32 - 1, 0.3), ids(700))
    written = json.loads(json.dumps(split.to_dict()))
    assert Split.from_dict(written) == split
    assert Split.from_dict(Split(1, 0.5).to_dict()) == Split(1, 0.5)
