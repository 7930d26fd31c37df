"""The MLflow flavor of a `ChurnModel`, under the module name that stored models refer to.

Every registered model names ``churn.mlflow_flavor`` as its loader, and a model with another loader is refused. So this module
keeps its name; the implementation is in `churn.registry.flavor`.
"""

from churn.registry.flavor import _load_pyfunc, load_model, log_model, save_model

__all__ = ["_load_pyfunc", "load_model", "log_model", "save_model"]
