"""Devices that are not there are refused, and where one is the scores are the same."""

import re

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from churn.config import AccountSchema, Parameters
from churn.errors import ParametersError
from churn.model import ChurnModel
from churn.model.device import check_device
from tests.conftest import train


def has_gpu() -> bool:
    try:
        check_device("cuda", "x")
    except ParametersError:
        return False
    return True


def test_the_processor_is_always_there() -> None:
    check_device("cpu", "training.device")


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParametersError, match=re.escape("training.device = 'cuda:99': XGBoost finds no such GPU here")):
        check_device("cuda:99", "training.device")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu_training_is_refused(canonical: pd.DataFrame, parameters: Parameters) -> None:
    training = parameters.training.model_copy(update={"device": "cuda"})
    with pytest.raises(ParametersError, match=r"training\.device = 'cuda'"):
        train(canonical, parameters.accounts, parameters.feature_engineering, training)


@pytest.mark.skipif(not has_gpu(), reason="there is no GPU that XGBoost can use")
def test_a_gpu_scores_the_same(
    canonical: pd.DataFrame, schema: AccountSchema, parameters: Parameters, model: ChurnModel
) -> None:
    training = parameters.training.model_copy(update={"device": "cuda"})
    grown = train(canonical, schema, parameters.feature_engineering, training)
    for each in (model, grown):
        on_processor = each.use(device="cpu").probability(canonical)
        on_gpu = each.use(device="cuda").probability(canonical)
        each.use(device="cpu")
        np.testing.assert_allclose(on_gpu, on_processor, atol=1e-5)
    assert xgb.build_info()["USE_CUDA"]
