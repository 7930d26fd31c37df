"""Settings of the Kedro project."""

import sys
from pathlib import Path

from churn.config.machine import check_interpreter, use_writable_folders

# Before the imports below, of libraries that need both.
check_interpreter(sys.flags.optimize)
use_writable_folders(Path.cwd())

from churn.config.catalog import Catalog
from churn.config.loader import LOADER_ARGS, ConfigLoader
from churn.hooks.delivery import DeliveryHook
from churn.hooks.notifications import NotificationHook
from churn.hooks.preflight import PreflightHook
from churn.hooks.published import PublishedHook
from churn.hooks.retraining import RetrainingHook
from churn.hooks.spark import SparkHook
from churn.hooks.stages import StagesHook
from churn.hooks.summary import SummaryHook
from churn.hooks.tracking import TrackingHook
from churn.hooks.written import WrittenHook

# kedro-mlflow's own hook is replaced by TrackingHook, which extends it.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)
# Hooks are called last registered first.
HOOKS = (
    *(SummaryHook(), NotificationHook(), TrackingHook(), PreflightHook(), SparkHook(), RetrainingHook()),
    PublishedHook(),
    WrittenHook(),  # before the notification of a failure, which shows the error
    DeliveryHook(),  # at its end the last, because it may raise an error after everything is done
    StagesHook(),  # first, so that its bar is gone before anything else is written
)

DATA_CATALOG_CLASS = Catalog

CONFIG_LOADER_CLASS = ConfigLoader
CONFIG_LOADER_ARGS = LOADER_ARGS
