"""This project's model and others at their defaults, and what is measured of each on the same rows."""

import importlib.util
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from churn.config import Profit
from churn.metrics import calibration_error, classification_metrics
from churn.retention.profit import profit_policies
from churn.training import train_model
from churn.training.encoding import fit_encoder, plain_features
from tests.benchmarks.public_tables import Table

MEASURES = ("roc_auc", "average_precision", "log_loss", "brier", "lift_at_10", "calibration_error")
# The example costs of the base environment.
PROFIT = Profit()


# Fits on training rows and gives the probabilities of test rows.
Fitter = Callable[[Table, pd.DataFrame], Callable[[pd.DataFrame], np.ndarray]]


def fit_churn(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """This project's model with the configured parameters."""
    return train_model(rows, table.schema, table.features, table.training).probability


def encoded(estimator: Any) -> Fitter:
    """An estimator of scikit-learn's interface on the same encoded features."""

    def fit(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
        encoder = fit_encoder(rows, table.schema, plain_features(table.features))
        fitted = estimator().fit(encoder.transform(rows), rows[table.schema.label.column].to_numpy(np.int8))
        return lambda others: fitted.predict_proba(encoder.transform(others))[:, 1]

    return fit


def logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def columns(table: Table, accounts: pd.DataFrame, categories: dict[str, pd.CategoricalDtype]) -> pd.DataFrame:
    """The account columns themselves: numbers, and categories as pandas has them, missing where they are not known."""
    numeric = list(table.schema.numeric_names)

    def known(name: str, kind: pd.CategoricalDtype) -> pd.Series:
        values = accounts[name].astype(object)
        return values.where(values.isin(kind.categories)).astype(kind)

    return accounts[numeric].astype(np.float64).assign(**{name: known(name, kind) for name, kind in categories.items()})


def native(estimator: Callable[[], Any]) -> Fitter:
    """An estimator that splits categories by itself, on the account columns."""

    def fit(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
        kinds = {name: pd.CategoricalDtype(sorted(rows[name].dropna().unique())) for name in table.schema.categorical}
        names = {
            name: f"c{at}" for at, name in enumerate([*table.schema.numeric_names, *kinds])
        }  # no special characters

        def given(accounts: pd.DataFrame) -> pd.DataFrame:
            return columns(table, accounts, kinds).rename(columns=names)

        fitted = estimator().fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8))
        return lambda others: fitted.predict_proba(given(others))[:, 1]

    return fit


def default_xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(enable_categorical=True, random_state=0)


def default_lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=0, verbose=-1)


def fit_catboost(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """CatBoost with its default parameters, on the account columns themselves."""
    from catboost import CatBoostClassifier

    numeric, categorical = list(table.schema.numeric_names), list(table.schema.categorical)

    def given(accounts: pd.DataFrame) -> pd.DataFrame:
        texts = {name: accounts[name].astype(object).where(accounts[name].notna(), "(missing)") for name in categorical}
        return accounts[numeric].astype(np.float64).assign(**texts)

    model = CatBoostClassifier(random_seed=0, verbose=0, allow_writing_files=False, cat_features=categorical)
    model.fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8))
    return lambda others: model.predict_proba(given(others))[:, 1]


def fit_ebm(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """InterpretML's explainable boosting machine with its default parameters, on the account columns themselves."""
    from interpret.glassbox import ExplainableBoostingClassifier

    numeric, categorical = list(table.schema.numeric_names), list(table.schema.categorical)

    def given(accounts: pd.DataFrame) -> pd.DataFrame:
        texts = {name: accounts[name].astype(object).where(accounts[name].notna(), None) for name in categorical}
        return accounts[numeric].astype(np.float64).assign(**texts)

    kinds = ["continuous"] * len(numeric) + ["nominal"] * len(categorical)
    model = ExplainableBoostingClassifier(feature_types=kinds, n_jobs=-1)
    model.fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8))
    return lambda others: model.predict_proba(given(others))[:, 1]


def network(kind: str) -> Fitter:
    """A neural network of pytabkit with its default parameters, on the account columns themselves.

    A fifth of the training rows, which the library draws, ends the training. It takes no missing numbers: they are the
    median of the training rows, with a column that says so.
    """

    def fit(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
        import joblib
        import pytabkit

        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        numeric, categorical = list(table.schema.numeric_names), list(table.schema.categorical)
        medians = rows[numeric].astype(np.float64).median().fillna(0.0)
        incomplete = [name for name in numeric if rows[name].isna().any()]

        def given(accounts: pd.DataFrame) -> pd.DataFrame:
            numbers = accounts[numeric].astype(np.float64)
            said = numbers[incomplete].isna().astype(np.float64).add_prefix("missing: ")
            texts = {
                name: accounts[name].astype(object).where(accounts[name].notna(), "(missing)") for name in categorical
            }
            return pd.concat([numbers.fillna(medians), said], axis=1).assign(**texts)

        # It draws a seed for itself otherwise, and takes threads for cores that it may not use.
        model = getattr(pytabkit, kind)(random_state=0, n_threads=joblib.cpu_count())
        model.fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8), cat_col_names=categorical)
        return lambda others: model.predict_proba(given(others))[:, 1]

    return fit


# The models that are compared: the package each needs, and how it is fitted.
MODELS: dict[str, tuple[str, Fitter]] = {
    "churn": ("churn", fit_churn),
    "CatBoost": ("catboost", fit_catboost),
    "LightGBM": ("lightgbm", native(default_lightgbm)),
    "XGBoost": ("xgboost", native(default_xgboost)),
    "EBM": ("interpret", fit_ebm),
    "TabM": ("pytabkit", network("TabM_D_Classifier")),
    "RealMLP": ("pytabkit", network("RealMLP_TD_Classifier")),
    "logistic regression": ("sklearn", encoded(logistic_regression)),
}


def fitters(names: Iterable[str]) -> dict[str, Fitter]:
    """Those of some models whose packages are installed."""
    return {name: MODELS[name][1] for name in names if importlib.util.find_spec(MODELS[name][0]) is not None}


def measured(table: Table, fitter: Fitter, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Measures on the test rows and seconds to fit."""
    start = time.perf_counter()
    predict = fitter(table, train)
    seconds = time.perf_counter() - start
    probability = np.asarray(predict(test), dtype=np.float64)
    labels = test[table.schema.label.column].to_numpy(np.int8)
    values = classification_metrics(labels, probability, 0.5)
    made = profit_policies(labels, probability, np.full(len(test), PROFIT.account_value), PROFIT, 0.5)
    return {
        **{name: values[name] for name in MEASURES},
        "floor": floor(probability),
        "profit": made["expected_profit"],
        "profit_at_half": made["profit_threshold"],
        "seconds": seconds,
    }


def floor(probability: np.ndarray, samples: int = 20) -> float:
    """Calibration error of probabilities that are exactly right, by chance alone: outcomes are drawn from them."""
    random = np.random.default_rng(0)
    drawn = [calibration_error(random.random(len(probability)) < probability, probability) for _ in range(samples)]
    return float(np.mean(drawn))
