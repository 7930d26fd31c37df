"""The draw of the accounts that are kept back."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from churn.config import Experiment
from churn.experiment.assignment import campaign_of, drawn_rows

IDS = pd.Series([f"account-{at}" for at in range(20_000)])


def test_an_account_stays_in_its_group_whatever_else_the_table_has():
    whole = drawn_rows(IDS, "2026-06", 42, 0.1)
    assert whole.mean() == pytest.approx(0.1, abs=0.01)
    shuffled = IDS.sample(frac=0.5, random_state=1)
    assert (drawn_rows(shuffled, "2026-06", 42, 0.1) == whole[shuffled.index]).all()


def test_campaigns_and_salts_draw_independently():
    june = drawn_rows(IDS, "2026-06", 42, 0.2)
    for other in (drawn_rows(IDS, "2026-07", 42, 0.2), drawn_rows(IDS, "2026-06", 43, 0.2)):
        assert (june & other).mean() == pytest.approx(0.04, abs=0.006)


def test_a_larger_share_keeps_back_the_same_accounts_and_more():
    small, large = (drawn_rows(IDS, "été 2026 ☎", 42, share) for share in (0.05, 0.3))
    assert not (small & ~large).any()


def test_the_draw_does_not_change_between_versions():
    # Someone who measures a campaign later must find the same groups.
    assert np.flatnonzero(drawn_rows(IDS[:60], "2026-06", 42, 0.1)).tolist() == [11, 25, 31, 36, 43, 48, 58]


def test_nobody_is_drawn_without_a_share_and_of_no_accounts():
    assert not drawn_rows(IDS, "2026-06", 42, 0.0).any()
    assert drawn_rows(IDS[:0], "2026-06", 42, 0.5).shape == (0,)


def test_a_campaign_is_named_or_the_month_of_the_snapshot():
    assert campaign_of(Experiment(campaign="spring"), date(2026, 6, 3)) == "spring"
    assert campaign_of(Experiment(), date(2026, 6, 3)) == "2026-06"
