"""The split into training and test rows."""

import numpy as np
import pytest

from churn.config import FeatureEngineering
from churn.errors import AccountsError
from churn.training.splitting import split_rows
from tests.conftest import rng

SETTINGS = FeatureEngineering(test_share=0.25)


def test_rows_that_are_left_out_are_in_neither_part() -> None:
    labels = rng(1).choice(np.array([-1, 0, 1], dtype=np.int8), 1000)
    train, test = split_rows(labels, SETTINGS, label="left", subject="t")
    np.testing.assert_array_equal(train | test, labels >= 0)
    assert not (train & test).any()
    assert test.sum() == np.ceil((labels >= 0).sum() * 0.25)
    assert labels[train].mean() == pytest.approx(labels[test].mean(), abs=0.01)


def test_without_such_rows_every_row_is_in_one_part() -> None:
    labels = (np.arange(400) % 3 == 0).astype(np.int8)
    train, test = split_rows(labels, SETTINGS, label="left", subject="t")
    assert (train ^ test).all()
    # Rows that are left out do not change which of the others are drawn.
    longer = np.concatenate([labels, np.full(100, -1, dtype=np.int8)])
    np.testing.assert_array_equal(split_rows(longer, SETTINGS, label="left", subject="t")[0][:400], train)


def test_a_class_needs_rows_that_are_not_left_out() -> None:
    labels = np.array([1] * 9 + [0] * 50 + [-1] * 50, dtype=np.int8)
    with pytest.raises(AccountsError, match="left: a class has only 9 rows, 10 are needed"):
        split_rows(labels, SETTINGS, label="left", subject="t")
