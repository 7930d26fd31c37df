"""Nodes of the pipeline data_generation."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from churn.config import AccountSchema, Simulation, Staging
from churn.errors import ChurnError
from churn.pipelines.data_generation.population import CATEGORIES, RANGES
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.tables import as_text, check_accounts
from churn.tables.cells import text_of

logger = logging.getLogger(__name__)

SIMULATED_COLUMNS = ("account_id", *RANGES, *CATEGORIES)


class Snapshots(NamedTuple):
    """Training and scoring snapshot, with outcomes and true probabilities.

    Attributes:
        training: Accounts with their label.
        scoring: Accounts without label.
        outcomes: Outcomes of the scored accounts: id and label.
        oracle: True probability of churn of each account of both snapshots; empty if it is not known.
    """

    training: pd.DataFrame
    scoring: pd.DataFrame
    outcomes: pd.DataFrame
    oracle: pd.DataFrame


def make_snapshots(
    source_accounts: pd.DataFrame | None, schema: AccountSchema, simulation: Simulation, staging: Staging
) -> Snapshots:
    """Stage the account table of the environment, or simulate one if it has none."""
    if source_accounts is None:
        return simulate_snapshots(schema, simulation)
    return stage_snapshots(source_accounts, schema, staging)


def simulate_snapshots(schema: AccountSchema, simulation: Simulation) -> Snapshots:
    """Simulate a training and a scoring snapshot of the same population, the latter with drift.

    Raises:
        ChurnError: If the schema has columns that the simulated table does not have.
    """
    known = {schema.id, *schema.numeric_names, *schema.categorical}
    strange = sorted(known - set(SIMULATED_COLUMNS))
    if strange:
        raise ChurnError(
            f"the schema (accounts) names columns that a simulated table does not have: {', '.join(strange)}. Set "
            "source_accounts in the environment's globals.yml to the table that has them"
        )
    label = schema.label.column
    training = simulate_accounts(simulation.training_rows, simulation.training_seed, simulation)
    scoring = simulate_accounts(simulation.scoring_rows, simulation.scoring_seed, simulation, drift=simulation.drift)
    oracle = pd.DataFrame(
        {
            schema.id: pd.concat([training.accounts[schema.id], scoring.accounts[schema.id]], ignore_index=True),
            "probability": np.concatenate([training.probability, scoring.probability]),
        }
    )
    return Snapshots(
        training=training.accounts.assign(**{label: training.churned}),
        scoring=scoring.accounts,
        outcomes=scoring.accounts[[schema.id]].assign(**{label: scoring.churned}),
        oracle=oracle,
    )


def stage_snapshots(source_accounts: pd.DataFrame, schema: AccountSchema, staging: Staging) -> Snapshots:
    """Hold out a share of a labelled table as the scoring snapshot, stratified by label and seeded."""
    from sklearn.model_selection import train_test_split

    checked = check_accounts(source_accounts, schema, subject="source accounts", labelled=True)
    for note in checked.left_out:
        logger.info(note)
    used = _storable(source_accounts[checked.used])
    label = schema.label.column
    training, scoring = train_test_split(
        np.arange(len(used)),
        test_size=staging.scoring_share,
        random_state=staging.random_state,
        stratify=checked.accounts[label],
    )
    held_out = used.iloc[np.sort(scoring)]
    return Snapshots(
        training=used.iloc[np.sort(training)],
        scoring=held_out.drop(columns=label),
        outcomes=held_out[[schema.id, label]],
        oracle=pd.DataFrame({schema.id: as_text(pd.Series([], dtype="str")), "probability": np.zeros(0)}),
    )


def _storable(accounts: pd.DataFrame) -> pd.DataFrame:
    """Return accounts whose columns with values of several types are text, as a file has one type for each column."""
    texts = {}
    for name in accounts.columns:
        if not pd.api.types.is_object_dtype(accounts[name].dtype):
            continue
        texts[name], unreadable = text_of(accounts[name])
        if unreadable.any():
            logger.info(
                "source accounts: %s of %s values of %s are lists, records or bytes, which a snapshot cannot hold; they are "
                "empty in it",
                unreadable.sum(),
                len(accounts),
                name,
            )
    return accounts.assign(**texts)
