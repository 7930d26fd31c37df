import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from churn.metrics import calibration_error
from churn.model.calibration import Calibration, sigmoid
from churn.training.calibration import fit_calibration
from tests.conftest import rng

CURVE = Calibration("isotonic", margins=(-2.0, 0.0, 1.0), log_odds=(-3.0, -1.0, 2.0))


def outcomes(log_odds: np.ndarray, seed: int = 1) -> np.ndarray:
    return (rng(seed).random(len(log_odds)) < sigmoid(log_odds)).astype(np.int8)


@pytest.fixture(scope="module")
def margin() -> np.ndarray:
    return rng().normal(-1, 1.5, 20_000)


def test_none_takes_the_margin_for_the_log_odds() -> None:
    assert Calibration().apply([0.0, np.log(3)]).tolist() == [0.5, 0.75]
    assert Calibration().apply([0.0]).dtype == np.float32


def test_sigmoid_is_a_line_in_log_odds() -> None:
    np.testing.assert_allclose(Calibration("sigmoid", 2.0, -1.0).log_odds_of([-1.0, 0.0, 3.0]), [-3, -1, 5])


def test_isotonic_joins_knots_and_goes_on_with_slope_one() -> None:
    np.testing.assert_allclose(CURVE.log_odds_of([-5, -2, -1, 0, 0.5, 1, 4]), [-6, -3, -2, -1, 0.5, 2, 5])


@pytest.mark.parametrize("calibration", [Calibration(), Calibration("sigmoid", 3.0, 1.0), CURVE])
def test_extreme_margins_stay_probabilities(calibration: Calibration) -> None:
    with np.errstate(all="raise", under="ignore"):
        low, high = calibration.apply([-1e6, 1e6])
    assert 0 <= low < 1e-30
    assert high == 1


@pytest.mark.parametrize("calibration", [Calibration(), Calibration("sigmoid", 0.7, 0.1), CURVE])
def test_rows_do_not_influence_each_other(calibration: Calibration, margin: np.ndarray) -> None:
    whole = calibration.apply(margin)
    parts = np.concatenate([calibration.apply(margin[start : start + 7]) for start in range(0, len(margin), 7)])
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(calibration.apply(margin[::3]), whole[::3])


def test_stored_as_plain_json(margin: np.ndarray) -> None:
    for method in ("none", "sigmoid", "isotonic"):
        fitted = fit_calibration(margin, outcomes(1.5 * margin), method)
        assert fitted.method == method
        assert Calibration.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "sigmoid", "slope": 0.0}, "slope must be above 0, but is 0.0"),
        ({"method": "isotonic"}, "needs knots"),
        ({"method": "isotonic", "margins": (0.0,)}, "1 margins.*0 log_odds"),
        ({"method": "isotonic", "margins": (0.0, 1.0), "log_odds": (1.0, 1.0)}, "must rise"),
    ],
)
def test_what_would_not_rise_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(**wrong)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -0.5), (2.5, 1.0)])
def test_the_line_is_found(margin: np.ndarray, slope: float, intercept: float) -> None:
    fitted = fit_calibration(margin, outcomes(slope * margin + intercept), "sigmoid")
    assert fitted.slope == pytest.approx(slope, rel=0.08)
    assert fitted.intercept == pytest.approx(intercept, abs=0.07)


def test_the_line_equals_logistic_regression(margin: np.ndarray) -> None:
    from sklearn.linear_model import LogisticRegression

    labels = outcomes(0.8 * margin + 0.3)
    peer = LogisticRegression(C=np.inf, tol=1e-8).fit(margin[:, None], labels)
    fitted = fit_calibration(margin, labels, "sigmoid")
    assert fitted.slope == pytest.approx(float(peer.coef_[0, 0]), abs=0.01)
    assert fitted.intercept == pytest.approx(float(peer.intercept_[0]), abs=0.01)


def bent(margin: np.ndarray) -> np.ndarray:
    """True log-odds that no line comes near: flat, then steep, then flat."""
    return -3 + 5 * sigmoid(4 * (margin + 1))


def test_auto_takes_the_curve_only_where_it_is_better(margin: np.ndarray) -> None:
    assert fit_calibration(margin, outcomes(bent(margin))).method == "isotonic"
    assert fit_calibration(margin[:500], outcomes(margin[:500])).method == "sigmoid"
    taken = [fit_calibration(margin, outcomes(1.2 * margin, seed)).method for seed in range(20)]
    assert taken.count("sigmoid") >= 18


def test_calibrated_probabilities_mean_what_they_say(margin: np.ndarray) -> None:
    fitted = fit_calibration(margin, outcomes(bent(margin)))
    fresh = rng(5).normal(-1, 1.5, 20_000)
    labels = outcomes(bent(fresh), seed=6)
    assert calibration_error(labels, Calibration().apply(fresh)) > 0.05
    assert calibration_error(labels, fitted.apply(fresh)) < 0.02


def test_the_curve_keeps_the_ranking(margin: np.ndarray) -> None:
    labels = outcomes(bent(margin))
    fitted = fit_calibration(margin, labels, "isotonic")
    assert (np.diff(fitted.log_odds_of(np.sort(margin))) > 0).all()
    assert roc_auc_score(labels, fitted.log_odds_of(margin)) == roc_auc_score(labels, margin)


@pytest.mark.parametrize("method", ["auto", "sigmoid", "isotonic"])
def test_nothing_to_learn_from(method: str) -> None:
    assert fit_calibration([0.1, 0.2, 0.3], [1, 1, 1], method) == Calibration()
    assert fit_calibration([0.2, 0.2, 0.2], [1, 0, 1], method) == Calibration()


@pytest.mark.parametrize("method", ["auto", "sigmoid", "isotonic"])
@pytest.mark.parametrize("direction", [1, -1])
def test_few_rows_and_margins_that_are_wrong_still_rise(method: str, direction: int) -> None:
    margin = np.linspace(-3, 3, 60)
    labels = (direction * margin > 0).astype(np.int8)
    fitted = fit_calibration(margin, labels, method)
    assert np.isfinite(fitted.log_odds_of(margin)).all()
    assert (np.diff(fitted.log_odds_of(margin)) > 0).all()


def test_many_equal_margins() -> None:
    margin = np.repeat([-1.0, 0.0, 1.0], 400)
    labels = outcomes(np.repeat([-2.0, -1.0, 1.0], 400))
    fitted = fit_calibration(margin, labels, "isotonic")
    observed = labels.reshape(3, 400).mean(axis=1)
    np.testing.assert_allclose(fitted.apply([-1, 0, 1]), observed, atol=0.01)
