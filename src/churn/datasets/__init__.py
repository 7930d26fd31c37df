"""Kedro data sets that no library provides."""

from churn.datasets.accounts import AccountBatchesDataset, AccountsDataset, OutcomeBatchesDataset
from churn.datasets.as_of import AsOfDataset
from churn.datasets.files import BatchesDataset, DocumentDataset, TableDataset
from churn.datasets.fingerprint import FingerprintDataset
from churn.datasets.metrics import MlflowMetricsDataset
from churn.datasets.models import AliasDataset, ChampionDataset, ChurnModelDataset
from churn.datasets.optional import OptionalDataset
from churn.datasets.results import HealthReportDataset, LedgerDataset, ResultsDataset
from churn.datasets.source import SourceDataset
from churn.datasets.spark import SparkAccountsDataset, SparkOutcomesDataset, SparkResultsDataset
from churn.datasets.trials import TuningTrialsDataset

__all__ = [
    "AccountBatchesDataset",
    "AccountsDataset",
    "AliasDataset",
    "AsOfDataset",
    "BatchesDataset",
    "ChampionDataset",
    "ChurnModelDataset",
    "DocumentDataset",
    "FingerprintDataset",
    "HealthReportDataset",
    "LedgerDataset",
    "MlflowMetricsDataset",
    "OptionalDataset",
    "OutcomeBatchesDataset",
    "ResultsDataset",
    "SourceDataset",
    "SparkAccountsDataset",
    "SparkOutcomesDataset",
    "SparkResultsDataset",
    "TableDataset",
    "TuningTrialsDataset",
]
