"""What is close to the typical value."""

import numpy as np
import pandas as pd
import pytest

from churn.model import ChurnModel, Profile
from churn.model.profile import fit_profile
from churn.retention.terms import Term, Terms
from tests.conftest import rng


def term(values: list[float] | np.ndarray) -> Term:
    frame = pd.DataFrame({"x": np.asarray(values, dtype=np.float64)})
    return Term("x", "X", float(frame["x"].median()), None, fit_profile(frame, ["x"], []).numeric["x"])


def close(column: Term, limit: float, *numbers: float) -> list[bool]:
    of_rows = [column.close(limit).is_close(number) for number in numbers]
    assert column.close(limit).of(np.array(numbers, dtype=np.float64)).tolist() == of_rows
    return of_rows


def test_a_number_is_close_by_the_share_of_the_rows_in_between() -> None:
    normal = term(rng(1).normal(size=20_000))
    # A tenth of the rows on either side of the median: 0.253 standard deviations.
    assert close(normal, 0.1, 0.0, 0.22, -0.22, 0.29, -0.29, 9, -9) == [True, True, True, False, False, False, False]
    assert close(normal, 0.3, 0.8, -0.8, 0.9) == [True, True, False]


def test_values_of_two_or_few_kinds() -> None:
    assert close(term([0] * 97 + [1] * 3), 0.1, 0, 1) == [True, False]
    # The median of an even number of rows is a value that no row has.
    assert close(term([0, 1] * 50), 0.1, 0, 1) == [False, False]
    assert close(term([1] * 30 + [2] * 40 + [3] * 30), 0.1, 1, 2, 3) == [False, True, False]
    few = term(list(range(20)) * 10)
    assert close(few, 0.0, 9, 9.5, 10) == [False, True, False]
    assert close(few, 0.1, 7, 8, 9, 10, 11, 12) == [False, True, True, True, True, False]


@pytest.mark.parametrize("profile", [None, fit_profile(pd.DataFrame({"x": [np.nan]}), ["x"], []).numeric["x"]])
def test_without_a_profile_the_distance_counts(profile: object) -> None:
    bare = Term("x", "X", 200.0, None, profile)  # type: ignore[arg-type]
    assert close(bare, 0.1, 180, 220, 179, 221, float("inf")) == [True, True, False, False, False]
    assert not bare.close(0.1).is_close(float("nan"))
    assert close(Term("x", "X", 0.0), 0.1, 0, 1e-9) == [True, False]


def test_a_model_of_an_earlier_version_has_no_profile_of_ratios(model: ChurnModel, canonical: pd.DataFrame) -> None:
    stored = model.reference.to_dict()
    ratios = stored.pop("ratios")
    assert list(ratios) == [ratio.name for ratio in model.encoder.ratios]
    assert Profile.from_dict(model.reference.to_dict()) == model.reference
    earlier, now = Terms.of(model.encoder, Profile.from_dict(stored)), Terms.of(model.encoder, model.reference)
    assert [item.profile for item in earlier.items if item.columns] == [None, None]
    assert earlier.groups == now.groups
    share = next(item for item in now.items if item.name == "active_users_share")
    found = share.close(0.1).of(share.values(canonical))
    # A fifth of the rows, and those of the same values.
    assert 0.15 < found.mean() < 0.35
