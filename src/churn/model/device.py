"""Where XGBoost computes."""

import json

from churn.errors import ParametersError

CPU = "cpu"


def check_device(device: str, parameter: str) -> None:
    """Make sure that a device is there: XGBoost itself would go on, slowly, on the processor.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:<n>``.
        parameter: Where it was asked for.

    Raises:
        ParametersError: If XGBoost cannot use it.
    """
    if device == CPU:
        return
    import numpy as np
    import xgboost as xgb

    # The only way to ask: let it grow a stump, and see where it did.
    rows = xgb.DMatrix(np.array([[0.0], [1.0]], dtype=np.float32), label=[0, 1])
    with xgb.config_context(verbosity=0):
        booster = xgb.train({"device": device, "max_depth": 1}, rows, num_boost_round=1)
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if used.partition(":")[0] != device.partition(":")[0] or (":" in device and used != device):
        built = "" if xgb.build_info().get("USE_CUDA") else "; this XGBoost was built without CUDA"
        raise ParametersError(
            "parameters",
            [f"{parameter} = '{device}': XGBoost finds no such GPU here{built}. Use 'cpu', or run where there is one"],
        )
