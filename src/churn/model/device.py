"""The device on which XGBoost computes."""

import json

from churn.errors import ParametersError

CPU = "cpu"


def check_device(device: str, parameter: str) -> None:
    """Check that XGBoost can use a device; without it, XGBoost would continue slowly on the CPU.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:<n>``.
        parameter: Name of the parameter that sets the device, for messages.

    Raises:
        ParametersError: If XGBoost cannot use it.
    """
    if device == CPU:
        return
    import numpy as np
    import xgboost as xgb

    # XGBoost has no query for this: grow a stump and read the device that it used.
    rows = xgb.DMatrix(np.array([[0.0], [1.0]], dtype=np.float32), label=[0, 1])
    with xgb.config_context(verbosity=0):
        booster = xgb.train({"device": device, "max_depth": 1}, rows, num_boost_round=1)
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if used.partition(":")[0] != device.partition(":")[0] or (":" in device and used != device):
        built = "" if xgb.build_info().get("USE_CUDA") else "; this XGBoost was built without CUDA"
        raise ParametersError(
            "parameters",
            [
                f"{parameter} = '{device}': XGBoost finds no such GPU here{built}. Set 'cpu', or run on a machine with a GPU"
            ],
        )
