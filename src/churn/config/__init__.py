"""Configuration: typed parameters, the configuration loader, secrets and the console.

The parameters are pure: the core uses them, and they depend on neither Kedro nor files. `churn.config.loader` is Kedro's
configuration loader with two more resolvers, `churn.config.secrets` masks secrets in logs and messages.
"""

from churn.config.blocks import Block, dumped
from churn.config.delivery import (
    Delivery,
    DeliveryColumn,
    DeliveryTarget,
    FilesTarget,
    HttpTarget,
    HubspotTarget,
    SalesforceTarget,
    SqlTarget,
    WebhookTarget,
)
from churn.config.experiment import Contacts, EffectModel, Experiment, Policy
from churn.config.generation import Intervention, Simulation, Staging
from churn.config.idle import idle_parameters
from churn.config.languages import Language
from churn.config.operation import EventKind, Inference, Monitoring, Notifications, Prune, Watch
from churn.config.parameters import Parameters, check_parameters
from churn.config.reading import FileFormat
from churn.config.retention import Action, Decision, Profit, Reasons, ReasonText, at_costs
from churn.config.schema import AccountSchema, DateColumn, Label, NotAbove, NumericColumn
from churn.config.serving import Serve, ServeLog
from churn.config.training import (
    Booster,
    Evaluation,
    FeatureEngineering,
    Leakage,
    Promotion,
    Ratio,
    RiskBand,
    Training,
    Tuning,
)

__all__ = [
    "AccountSchema",
    "Action",
    "Block",
    "Booster",
    "Contacts",
    "DateColumn",
    "Decision",
    "Delivery",
    "DeliveryColumn",
    "DeliveryTarget",
    "EffectModel",
    "Evaluation",
    "EventKind",
    "Experiment",
    "FeatureEngineering",
    "FileFormat",
    "FilesTarget",
    "HttpTarget",
    "HubspotTarget",
    "Inference",
    "Intervention",
    "Label",
    "Language",
    "Leakage",
    "Monitoring",
    "NotAbove",
    "Notifications",
    "NumericColumn",
    "Parameters",
    "Policy",
    "Profit",
    "Promotion",
    "Prune",
    "Ratio",
    "ReasonText",
    "Reasons",
    "RiskBand",
    "SalesforceTarget",
    "Serve",
    "ServeLog",
    "Simulation",
    "SqlTarget",
    "Staging",
    "Training",
    "Tuning",
    "Watch",
    "WebhookTarget",
    "at_costs",
    "check_parameters",
    "dumped",
    "idle_parameters",
]
