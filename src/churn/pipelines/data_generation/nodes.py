"""Nodes of the pipeline data_generation."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from churn.config import AccountSchema, FeatureEngineering, Simulation, Staging
from churn.errors import AccountsError, ChurnError
from churn.pipelines.data_generation.population import CATEGORIES, RANGES
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.tables import as_text, check_accounts
from churn.training.feasibility import class_fault, snapshot_faults, split_fault

SOURCE = "source accounts"
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
    source_accounts: pd.DataFrame | None,
    schema: AccountSchema,
    simulation: Simulation,
    staging: Staging,
    feature_engineering: FeatureEngineering,
) -> Snapshots:
    """Stage the account table of the environment, or simulate one if it has none.

    What the later pipelines would refuse in the snapshots is refused here, before they replace the staged ones.
    """
    if source_accounts is None:
        return simulate_snapshots(schema, simulation)
    return stage_snapshots(source_accounts, schema, staging, feature_engineering)


def simulate_snapshots(schema: AccountSchema, simulation: Simulation) -> Snapshots:
    """Simulate a training and a scoring snapshot of the same population, the latter with drift.

    Raises:
        ChurnError: If the schema has columns that the simulated table does not have.
        AccountsError: If too few training accounts churn, or stay.
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
    if fault := class_fault(np.asarray(training.churned, dtype=np.int8), schema):
        remedy = f"raise simulation.training_rows ({simulation.training_rows:,})"
        raise AccountsError("simulated accounts", [f"{fault}; {remedy}"])
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


def stage_snapshots(
    source_accounts: pd.DataFrame, schema: AccountSchema, staging: Staging, feature_engineering: FeatureEngineering
) -> Snapshots:
    """Hold out a share of a labelled table as the scoring snapshot, stratified by label and seeded.

    Raises:
        AccountsError: Lists every fault of the table, and what the later pipelines would refuse in its snapshots.
    """
    from sklearn.model_selection import train_test_split

    checked = check_accounts(source_accounts, schema, subject=SOURCE, labelled=True).accounts
    label = schema.label.column
    labels = checked[label].to_numpy(np.int8)
    if fault := class_fault(labels, schema):
        raise AccountsError(SOURCE, [f"{fault}; add accounts"])
    if fault := split_fault(len(checked), staging.scoring_share, "staging.scoring_share"):
        raise AccountsError(SOURCE, [fault])
    training, scoring = train_test_split(
        np.arange(len(checked)),
        test_size=staging.scoring_share,
        random_state=staging.random_state,
        stratify=labels,
    )
    if fault := class_fault(labels[training], schema):
        raise AccountsError(
            SOURCE, [f"{fault}; add accounts, or lower staging.scoring_share ({staging.scoring_share:g})"]
        )
    if faults := snapshot_faults(checked.iloc[training], checked.iloc[scoring], schema, feature_engineering):
        raise AccountsError(SOURCE, faults)
    held_out = source_accounts.iloc[np.sort(scoring)]
    return Snapshots(
        training=source_accounts.iloc[np.sort(training)],
        scoring=held_out.drop(columns=label),
        outcomes=held_out[[schema.id, label]],
        oracle=pd.DataFrame({schema.id: as_text(pd.Series([], dtype="str")), "probability": np.zeros(0)}),
    )
