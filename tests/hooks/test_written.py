"""An error does not claim that nothing was changed after something was."""

import pickle

import pytest
from kedro.io import DatasetError, MemoryDataset
from kedro.pipeline import Pipeline
from kedro_datasets.json import JSONDataset

from churn.config.catalog import Catalog
from churn.errors import AccountsError, FaultsError
from churn.hooks.written import WrittenHook


@pytest.fixture
def hook() -> WrittenHook:
    begun = WrittenHook()
    catalog = Catalog({"sound": MemoryDataset(), "encoder": JSONDataset(filepath="unused.json")})
    catalog["split@batches"] = JSONDataset(filepath="split.json")
    begun.before_pipeline_run({}, Pipeline([]), catalog)
    return begun


def test_nothing_was_changed_before_something_is_stored(hook: WrittenHook) -> None:
    error = FaultsError("accounts", ["age: no", "plan: no"])
    hook.after_dataset_saved("sound", None)
    hook.on_pipeline_error(error)
    assert str(error) == "accounts: 2 faults found, nothing was changed.\n  - age: no\n  - plan: no"


def test_what_was_stored_is_named_once(hook: WrittenHook) -> None:
    error = FaultsError("accounts", ["age: no"])
    for name in ("split@batches", "sound", "encoder", "split@batches"):
        hook.after_dataset_saved(name, None)
    hook.on_pipeline_error(error)
    assert error.written == ("split", "encoder")
    assert str(error) == "accounts: 1 fault found after this run had stored split, encoder.\n  - age: no"


def test_an_error_inside_another_is_completed_too(hook: WrittenHook) -> None:
    hook.after_dataset_saved("encoder", None)
    inner = FaultsError("accounts", ["age: no"])
    outer = DatasetError("failed while saving")
    outer.__cause__ = inner
    hook.on_pipeline_error(outer)
    assert inner.written == ("encoder",)
    hook.before_pipeline_run({}, Pipeline([]), Catalog())
    later = FaultsError("accounts", ["age: no"])
    hook.on_pipeline_error(later)
    assert later.written == ()


def test_faults_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(AccountsError("accounts", ["age: no"])))  # noqa: S301
    assert isinstance(error, AccountsError)
    assert (error.subject, error.faults, str(error)) == ("accounts", ["age: no"], str(error))
