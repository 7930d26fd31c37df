"""Profiles and drift measures against hand-made and SciPy figures."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, fisher_exact, ks_2samp

from churn.model import Profile
from churn.model.profile import CategoricalProfile, NumericProfile, count_profile, fit_profile, fit_score_profile
from churn.monitoring import compare_profiles
from churn.monitoring.chance import FalseAlarms, missing_by_chance, unseen_by_chance
from churn.monitoring.drift import ColumnDrift, outline

RATE = 0.05


def numeric_drift(reference: Sequence[float], analysis: Sequence[float]) -> ColumnDrift:
    before, after = pd.DataFrame({"x": reference}, dtype="float64"), pd.DataFrame({"x": analysis}, dtype="float64")
    profile = fit_profile(before, ["x"], [])
    return compare_profiles(profile, count_profile(profile, after), RATE)[0]


def categorical_drift(reference: Sequence[str | None], analysis: Sequence[str | None]) -> ColumnDrift:
    before, after = pd.DataFrame({"c": reference}, dtype="str"), pd.DataFrame({"c": analysis}, dtype="str")
    profile = fit_profile(before, [], ["c"])
    return compare_profiles(profile, count_profile(profile, after), RATE)[0]


def accounts(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "ratio": pd.Series(rng.normal(shift, 1, rows)).mask(rng.random(rows) < 0.05),
            "users": pd.array(rng.integers(1, 151, rows), dtype="Int64"),
            "methods": rng.integers(0, 6, rows),
            "trend": pd.Series(rng.choice(["up", "flat", "down"], rows), dtype="str").mask(rng.random(rows) < 0.1),
        }
    )


@pytest.fixture
def reference() -> Profile:
    frame = accounts(5000, seed=1)
    score = np.random.default_rng(2).beta(1, 6, 2000)
    return fit_profile(frame, ["ratio", "users", "methods"], ["trend"]).with_score(fit_score_profile(score))


# --- bins and counts


def test_a_column_of_few_values_gets_a_bin_for_each():
    profile = fit_profile(pd.DataFrame({"x": [2, 0, 1, 1, 5, 5, 5]}), ["x"], []).numeric["x"]
    assert profile == NumericProfile(edges=(0.0, 1.0, 2.0), counts=(1, 2, 1, 3), minimum=0.0, maximum=5.0)


def test_a_column_of_many_values_gets_its_percentiles():
    profile = fit_profile(pd.DataFrame({"x": np.arange(1, 10_001)}), ["x"], []).numeric["x"]
    assert profile.edges == tuple(float(100 * step) for step in range(1, 100))
    assert profile.counts == (100,) * 100


def test_percentiles_that_fall_together_are_one_edge():
    values = np.concatenate([np.zeros(5000), np.random.default_rng(0).random(5000)])
    profile = fit_profile(pd.DataFrame({"x": values}), ["x"], []).numeric["x"]
    assert profile.edges[0] == 0.0
    assert list(profile.edges) == sorted(set(profile.edges))
    assert profile.counts[0] == 5000
    assert sum(profile.counts) == 10_000


def test_values_beyond_the_reference_and_missing_ones_are_counted_apart():
    profile = fit_profile(pd.DataFrame({"x": [0.0, 1.0, 2.0]}), ["x"], []).numeric["x"]
    counted = profile.count([-0.1, -math.inf, 0, 1.5, 2, 2.1, math.inf, math.nan])
    assert (counted.below, counted.counts, counted.above, counted.missing) == (2, (1, 0, 2), 2, 1)
    assert (counted.rows, counted.present) == (8, 7)


def test_categories_missing_and_unseen_are_counted():
    profile = fit_profile(pd.DataFrame({"c": ["b", "a", "b", None]}, dtype="str"), [], ["c"])
    assert profile.categorical["c"] == CategoricalProfile(values=("a", "b"), counts=(1, 2), missing=1)
    other = count_profile(profile, pd.DataFrame({"c": ["a", "z", "z", None, None]}, dtype="str")).categorical["c"]
    assert (other.counts, other.unseen, other.missing) == ((1, 0), 2, 2)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float32", "float64", "Float64"])
def test_the_type_of_a_numeric_column_does_not_matter(dtype):
    values = pd.Series([1, 2, 2, 3], dtype="int64")
    expected = fit_profile(pd.DataFrame({"x": values}), ["x"], [])
    assert fit_profile(pd.DataFrame({"x": values.astype(dtype)}), ["x"], []) == expected


@pytest.mark.parametrize("dtype", ["object", "category", "string", "string[pyarrow]"])
def test_the_type_of_a_categorical_column_does_not_matter(dtype):
    values = pd.Series(["a", "b", "b", None], dtype="str")
    expected = fit_profile(pd.DataFrame({"c": values}), [], ["c"])
    assert fit_profile(pd.DataFrame({"c": values.astype(dtype)}), [], ["c"]) == expected


def test_unused_categories_of_a_categorical_type_are_not_known():
    column = pd.Categorical(["a"], categories=["a", "never"])
    assert fit_profile(pd.DataFrame({"c": column}), [], ["c"]).categorical["c"].values == ("a",)


def test_profiles_of_the_parts_add_up_to_the_profile_of_the_whole(reference):
    frame, score = accounts(1000, seed=3, shift=0.5), np.random.default_rng(4).random(1000)
    whole = count_profile(reference, frame, score)
    parts = [count_profile(reference, frame[at : at + 300], score[at : at + 300]) for at in range(0, 1000, 300)]
    assert parts[0] + parts[1] + parts[2] + parts[3] == whole
    assert whole.rows == 1000
    assert whole.score is not None
    assert whole.score.rows == 1000


def test_the_order_of_the_rows_does_not_matter(reference):
    frame = accounts(5000, seed=1).sample(frac=1, random_state=0)
    assert fit_profile(frame, ["ratio", "users", "methods"], ["trend"]).with_score(reference.score) == reference


def test_counting_does_not_change_the_frame(reference):
    frame = accounts(50, seed=3)
    before = frame.copy()
    count_profile(reference, frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_profile_survives_json_exactly(reference):
    text = json.dumps(reference.to_dict(), allow_nan=False)
    again = Profile.from_dict(json.loads(text))
    assert again == reference
    assert list(again.numeric) == list(reference.numeric)
    assert json.dumps(again.to_dict()) == text


def test_a_profile_without_scores_survives_json(reference):
    bare = reference.with_score(None)
    assert Profile.from_dict(json.loads(json.dumps(bare.to_dict()))) == bare


# --- measures


def test_stability_index_by_hand():
    drift = categorical_drift(["a"] * 50 + ["b"] * 50, ["a"] * 90 + ["b"] * 10)
    assert drift.psi == pytest.approx(0.4 * math.log(0.9 / 0.5) + -0.4 * math.log(0.1 / 0.5))
    assert drift.ks is None
    assert drift.kind == "categorical"


def test_stability_index_uses_ten_bins_of_equal_mass():
    reference, analysis = np.arange(10_000), np.arange(10_000) ** 2 / 10_000
    shares = np.histogram(analysis, bins=np.quantile(reference, np.linspace(0, 1, 11)))[0] / 10_000
    expected = np.sum((shares - 0.1) * np.log(shares / 0.1))
    assert numeric_drift(reference, analysis).psi == pytest.approx(expected, rel=0.01)


def test_an_empty_bin_counts_as_half_a_row_of_a_small_table_and_as_a_thousandth_of_a_large_one():
    for rows, floor in ((200, 0.5 / 200), (20_000, 1e-3)):
        drift = categorical_drift(["a"] * (rows // 2) + ["b"] * (rows // 2), ["a"] * rows)
        assert drift.psi == pytest.approx(0.5 * math.log(2) + (floor - 0.5) * math.log(floor / 0.5))


def test_missing_and_unseen_are_bins_of_their_own():
    drift = categorical_drift(["a"] * 80 + [None] * 20, ["a"] * 50 + [None] * 40 + ["z"] * 10)
    floor = 0.005
    expected = -0.3 * math.log(0.5 / 0.8) + 0.2 * math.log(0.4 / 0.2) + (0.1 - floor) * math.log(0.1 / floor)
    assert drift.psi == pytest.approx(expected)
    assert drift.jensen_shannon == pytest.approx(jensenshannon([0.8, 0.2, 0], [0.5, 0.4, 0.1], base=2))
    assert (drift.missing_reference, drift.missing_analysis, drift.unseen_share) == (0.2, 0.4, 0.1)


def test_jensen_shannon_distance_is_that_of_scipy():
    rng = np.random.default_rng(5)
    before, after = rng.integers(0, 6, 3000), np.minimum(rng.integers(0, 8, 2000), 5)
    expected = jensenshannon(np.bincount(before) / 3000, np.bincount(after) / 2000, base=2)
    assert numeric_drift(before, after).jensen_shannon == pytest.approx(expected)


def test_tables_that_share_nothing_are_at_distance_one():
    drift = categorical_drift(["a"] * 10, ["z"] * 10)
    assert drift.jensen_shannon == pytest.approx(1)
    assert drift.unseen_share == 1
    far = numeric_drift([1.0] * 10, [2.0] * 10)
    assert far.jensen_shannon == pytest.approx(1)
    assert far.ks == 1


def test_ks_is_exact_where_every_value_has_its_bin():
    rng = np.random.default_rng(6)
    before, after = rng.integers(0, 73, 4000), rng.integers(-3, 60, 3000)
    assert numeric_drift(before, after).ks == pytest.approx(ks_2samp(before, after).statistic)


@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
def test_ks_is_at_most_a_fine_bin_below_the_exact_one(shift):
    rng = np.random.default_rng(7)
    before, after = rng.normal(0, 1, 5000), rng.normal(shift, 1, 3000)
    exact, found = ks_2samp(before, after).statistic, numeric_drift(before, after).ks
    assert found is not None
    assert exact - 0.015 <= found <= exact + 1e-12


def test_ks_leaves_missing_values_out():
    assert numeric_drift([1.0, 2.0], [1.0, 2.0, math.nan, math.nan]).ks == 0


def test_the_index_that_chance_exceeds_is_a_quantile_of_chi_squared():
    level = FalseAlarms.of(RATE, 1, 0).distribution / 2
    for bins in (2, 5, 10):
        drift = numeric_drift(np.arange(1000) % bins, np.arange(500) % bins)
        assert drift.psi_chance == pytest.approx(chi2.isf(level, bins - 1) * (1 / 1000 + 1 / 500))


def test_the_more_columns_the_further_chance_reaches():
    one, many = FalseAlarms.of(RATE, 1, 1), FalseAlarms.of(RATE, 50, 10)
    assert many.distribution == pytest.approx(one.distribution / 50)
    assert many.unseen == pytest.approx(one.unseen / 10)
    for levels in (one, many):
        columns = 1 if levels is one else 50
        of_columns = columns * (levels.distribution + levels.missing) + levels.unseen * (1 if levels is one else 10)
        assert of_columns + levels.scores + levels.calibration + levels.ranking == pytest.approx(RATE)


@pytest.mark.parametrize("sizes", [(5000, 200), (140, 60), (140, 3000)])
def test_chance_seldom_looks_like_a_move(sizes):
    rng = np.random.default_rng(8)
    beyond = 0
    for _ in range(300):
        reference, analysis = (pd.DataFrame({"x": rng.normal(size=size)}) for size in sizes)
        profile = fit_profile(reference, ["x"], [])
        beyond += not compare_profiles(profile, count_profile(profile, analysis), RATE)[0].moved_by_chance
    assert beyond <= 300 * FalseAlarms.of(RATE, 1, 0).distribution + 5


def test_many_missing_values_by_fishers_exact_test():
    for reference, analysis in (((3, 50), (9, 40)), ((0, 1400), (12, 600)), ((190, 591), (222, 591)), ((5, 5), (5, 5))):
        table = [[analysis[0], analysis[1] - analysis[0]], [reference[0], reference[1] - reference[0]]]
        assert missing_by_chance(reference, analysis) == pytest.approx(fisher_exact(table, "greater").pvalue)


@pytest.mark.parametrize(("rows", "more"), [(1000, 300), (300, 3000), (200, 100)])
def test_unseen_categories_of_an_unmoved_column_are_chance(rows, more):
    # A city of many: there is always one that the reference has not.
    rng = np.random.default_rng(4)
    shares = 1 / np.arange(1, 400)
    beyond = 0
    for _ in range(300):
        drawn = rng.choice(len(shares), rows + more, p=shares / shares.sum())
        reference, analysis = drawn[:rows], drawn[rows:]
        known, counts = np.unique(reference, return_counts=True)
        unseen = int((~np.isin(analysis, known)).sum())
        beyond += unseen_by_chance(int((counts == 1).sum()), rows, unseen, more) <= 0.01
    assert beyond <= 8
    # Where no category is rare, one new category in a twentieth of the rows is none of chance.
    assert unseen_by_chance(0, rows, more // 20, more) < 1e-3 or more < 200 or more > rows


def test_a_table_has_not_moved_from_itself(reference):
    frame, score = accounts(5000, seed=1), np.random.default_rng(2).beta(1, 6, 2000)
    drifts = compare_profiles(reference, count_profile(reference, frame, score), RATE)
    assert [drift.column for drift in drifts] == ["ratio", "users", "methods", "trend", "score"]
    assert [drift.kind for drift in drifts] == ["numeric", "numeric", "numeric", "categorical", "score"]
    for drift in drifts:
        assert drift.psi == 0
        assert drift.jensen_shannon == pytest.approx(0, abs=1e-7)
        assert drift.ks in (0, None)
        assert drift.unseen_share == 0
        assert drift.missing_reference == drift.missing_analysis


def test_a_rising_transformation_of_both_tables_changes_nothing():
    rng = np.random.default_rng(9)
    before, after = rng.normal(0, 1, 3000), rng.normal(0.3, 1, 3000)
    plain, bent = numeric_drift(before, after), numeric_drift(np.exp(before), np.exp(after))
    assert bent == plain


def test_a_larger_shift_is_a_larger_drift():
    rng = np.random.default_rng(10)
    before, after = rng.normal(0, 1, 5000), rng.normal(0, 1, 5000)
    found = [numeric_drift(before, after + shift) for shift in (0.0, 0.2, 0.5, 1.0)]
    for name in ("psi", "jensen_shannon", "ks"):
        figures = [getattr(drift, name) for drift in found]
        assert figures == sorted(figures)


def test_the_index_is_symmetric_in_the_two_tables():
    one, two = ["a"] * 30 + ["b"] * 70, ["a"] * 60 + ["b"] * 40
    assert categorical_drift(one, two).psi == pytest.approx(categorical_drift(two, one).psi)


def test_many_categories_are_merged_so_that_rare_ones_do_not_look_like_drift():
    rng = np.random.default_rng(11)
    names = [f"c{number:03d}" for number in range(500)]
    drift = categorical_drift(list(rng.choice(names, 5000)), list(rng.choice(names, 5000)))
    assert drift.psi is not None
    assert drift.psi < 0.05


# --- edge cases


def test_a_constant_column_that_changes_its_value_has_moved():
    drift = numeric_drift([5.0] * 100, [6.0] * 100)
    assert drift.psi is not None
    assert drift.psi > 1
    assert drift.unseen_share == 1
    assert numeric_drift([5.0] * 100, [5.0] * 100).psi == 0


def test_a_column_without_values_in_the_reference():
    drift = numeric_drift([math.nan] * 10, [1.0] * 10)
    assert drift.jensen_shannon == pytest.approx(1)
    assert drift.ks is None
    assert (drift.missing_reference, drift.missing_analysis) == (1, 0)
    assert numeric_drift([math.nan] * 10, [math.nan] * 5).psi == 0
    assert categorical_drift([None] * 10, ["a"] * 10).unseen_share == 1


def test_a_column_that_lost_all_its_values():
    drift = numeric_drift([1.0, 2.0] * 10, [math.nan] * 20)
    assert drift.ks is None
    assert drift.missing_analysis == 1
    assert drift.jensen_shannon == pytest.approx(1)


@pytest.mark.parametrize("sides", [([1.0, 2.0], []), ([], [1.0, 2.0]), ([], [])])
def test_without_rows_there_is_no_figure(sides):
    drift = numeric_drift(*sides)
    assert (drift.psi, drift.psi_chance, drift.jensen_shannon, drift.ks) == (None, None, None, None)


def test_an_infinite_value_lies_beyond_the_reference():
    profile = fit_profile(pd.DataFrame({"x": [1.0, 2.0, math.inf]}), ["x"], []).numeric["x"]
    assert (profile.minimum, profile.maximum, profile.above) == (1.0, 2.0, 1)


def test_a_missing_column_is_named(reference):
    with pytest.raises(ValueError, match="lacks columns that its profile needs: users, trend"):
        count_profile(reference, accounts(5, seed=1).drop(columns=["users", "trend"]))


def test_profiles_with_other_bins_are_refused(reference):
    other = fit_profile(accounts(5000, seed=12), ["ratio", "users", "methods"], ["trend"]).with_score(reference.score)
    with pytest.raises(ValueError, match="same bins"):
        _ = reference + other
    with pytest.raises(ValueError, match="same bins"):
        compare_profiles(reference, other, RATE)
    with pytest.raises(ValueError, match="different columns; only one of them has: users"):
        compare_profiles(reference, fit_profile(accounts(50, seed=1), ["ratio", "methods"], ["trend"]), RATE)
    with pytest.raises(ValueError, match="same categories"):
        _ = CategoricalProfile(("a",), (1,)) + CategoricalProfile(("b",), (1,))


def test_scores_need_a_reference_of_scores(reference):
    frame = accounts(3, seed=1)
    with pytest.raises(ValueError, match="no scores"):
        count_profile(reference.with_score(None), frame, np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="only one of the profiles has scores"):
        _ = count_profile(reference, frame) + count_profile(reference, frame, np.array([0.1, 0.2, 0.3]))
    assert [drift.kind for drift in compare_profiles(reference, count_profile(reference, frame), RATE)].count(
        "score"
    ) == 0


def test_a_damaged_profile_is_refused(reference):
    damaged = reference.to_dict()
    damaged["numeric"]["users"]["counts"].pop()
    with pytest.raises(ValueError, match="99"):
        Profile.from_dict(damaged)


def test_numbers_are_not_compared_with_categories():
    numbers, categories = NumericProfile((), (1,), 1.0, 1.0), CategoricalProfile(("a",), (1,))
    with pytest.raises(TypeError, match=r"numeric.* categorical"):
        outline(numbers, categories)
    with pytest.raises(ValueError, match="there are 1 categories, but 2 counts"):
        CategoricalProfile(("a",), (1, 2))


# --- drawing


def test_the_outline_of_few_values_has_a_bar_for_each():
    profile = fit_profile(pd.DataFrame({"x": [0, 0, 1, 2]}), ["x"], []).numeric["x"]
    drawn = outline(profile, profile.count([0, 1, 1, 9]))
    assert drawn == (("0", "1", "2", "above"), (0.5, 0.25, 0.25, 0.0), (0.25, 0.5, 0.0, 0.25))


def test_the_outline_of_many_values_follows_their_density():
    values = np.random.default_rng(13).normal(size=20_000)
    profile = fit_profile(pd.DataFrame({"x": values}), ["x"], []).numeric["x"]
    drawn = outline(profile, profile.count(values + 10), bars=20)
    exact = np.histogram(np.clip(values, *np.quantile(values, [0.01, 0.99])), bins=20)[0] / 20_000
    np.testing.assert_allclose(drawn.reference, exact, atol=0.01)
    assert sum(drawn.reference) == pytest.approx(1)
    assert drawn.analysis[-1] == pytest.approx(1)


def test_the_outline_of_categories_puts_the_rare_ones_together():
    column = pd.Series(["a"] * 5 + ["b"] * 9 + ["c"] * 2 + ["d"], dtype="str")
    profile = fit_profile(pd.DataFrame({"c": column}), [], ["c"]).categorical["c"]
    drawn = outline(profile, profile.count(pd.Series(["a", "z"], dtype="str")), bars=3)
    assert drawn.labels == ("b", "a", "other", "never seen before")
    assert drawn.reference == pytest.approx((9 / 17, 5 / 17, 3 / 17, 0))
    assert drawn.analysis == (0.0, 0.5, 0.0, 0.5)


def test_an_outline_without_values_is_flat():
    profile = fit_profile(pd.DataFrame({"x": [math.nan]}), ["x"], []).numeric["x"]
    assert outline(profile, profile) == (("any",), (0.0,), (0.0,))
