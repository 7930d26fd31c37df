"""The MLflow flavor of a `ChurnModel`, under the name that stored models have for it.

Every registered model names ``churn.mlflow_flavor`` as what loads it, and is refused if it names anything else. So this
module stays where it is; what it does lies in `churn.registry.flavor`.
"""

from churn.registry.flavor import _load_pyfunc, load_model, log_model, save_model

__all__ = ["_load_pyfunc", "load_model", "log_model", "save_model"]
