"""Kedro data sets that no library provides."""

from churn.datasets.accounts import AccountBatchesDataset, AccountsDataset, OutcomeBatchesDataset
from churn.datasets.as_of import AsOfDataset
from churn.datasets.campaigns import (
    CallEffectDataset,
    CampaignAccountsDataset,
    CampaignReportDataset,
    ContactsDataset,
)
from churn.datasets.delivery import DeliveriesDataset, PublishedRunDataset
from churn.datasets.files import BatchesDataset, DocumentDataset, TableDataset
from churn.datasets.fingerprint import FingerprintDataset
from churn.datasets.ledger import LedgerDataset
from churn.datasets.metrics import MlflowMetricsDataset, MlflowModelCardDataset
from churn.datasets.models import AliasDataset, ChampionDataset, ChurnModelDataset
from churn.datasets.monitored import MonitoredDataset, RequestOutcomesDataset, RequestsDataset
from churn.datasets.optional import OptionalDataset
from churn.datasets.results import HealthReportDataset, ResultsDataset
from churn.datasets.source import SourceDataset
from churn.datasets.spark import SparkAccountsDataset, SparkOutcomesDataset, SparkResultsDataset
from churn.datasets.trials import TuningTrialsDataset

__all__ = [
    "AccountBatchesDataset",
    "AccountsDataset",
    "AliasDataset",
    "AsOfDataset",
    "BatchesDataset",
    "CallEffectDataset",
    "CampaignAccountsDataset",
    "CampaignReportDataset",
    "ChampionDataset",
    "ChurnModelDataset",
    "ContactsDataset",
    "DeliveriesDataset",
    "DocumentDataset",
    "FingerprintDataset",
    "HealthReportDataset",
    "LedgerDataset",
    "MlflowMetricsDataset",
    "MlflowModelCardDataset",
    "MonitoredDataset",
    "OptionalDataset",
    "OutcomeBatchesDataset",
    "PublishedRunDataset",
    "RequestOutcomesDataset",
    "RequestsDataset",
    "ResultsDataset",
    "SourceDataset",
    "SparkAccountsDataset",
    "SparkOutcomesDataset",
    "SparkResultsDataset",
    "TableDataset",
    "TuningTrialsDataset",
]
