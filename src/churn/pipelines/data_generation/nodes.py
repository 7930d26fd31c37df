"""Nodes of the pipeline data_generation."""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from churn.config import AccountSchema, FeatureEngineering, Simulation, Staging
from churn.errors import AccountsError, ChurnError
from churn.pipelines.data_generation.intervention import IF_REACHED, KIND, KINDS, ActedOut, act_out
from churn.pipelines.data_generation.population import CATEGORIES, RANGES
from churn.pipelines.data_generation.simulation import SimulatedAccounts, simulate_accounts
from churn.scoring import Publication
from churn.tables import as_text, check_accounts
from churn.tables.cells import text_of
from churn.tables.split import held_out_rows
from churn.training.feasibility import class_fault, snapshot_faults

logger = logging.getLogger(__name__)

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
    known = {schema.id, *schema.numeric_names, *schema.categorical, *schema.carry}
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
    oracle = pd.concat([_truth_of(each, schema) for each in (training, scoring)], ignore_index=True)
    return Snapshots(
        training=training.accounts.assign(**{label: training.churned}),
        scoring=scoring.accounts,
        outcomes=scoring.accounts[[schema.id]].assign(**{label: scoring.churned}),
        oracle=oracle,
    )


def _truth_of(simulated: SimulatedAccounts, schema: AccountSchema) -> pd.DataFrame:
    """Return what is known of simulated accounts and of no real one."""
    truth = pd.DataFrame({schema.id: simulated.accounts[schema.id], "probability": simulated.probability})
    effects = simulated.effects
    if effects is None:
        return truth
    truth[KIND] = pd.array(np.array(KINDS)[effects.kind], dtype="str")
    truth[IF_REACHED] = effects.probability
    return truth


def simulate_campaign(
    results: Publication, oracle: pd.DataFrame | None, schema: AccountSchema, simulation: Simulation
) -> ActedOut:
    """Call the accounts of the last list of simulated accounts: a log of contacts, and outcomes that the calls have changed.

    Raises:
        ChurnError: If nobody is kept back, or the truth about calls is not known.
    """
    if results.campaign_accounts is None:
        raise ChurnError("the current results have no campaign: set experiment.holdout, and score again")
    if oracle is None or IF_REACHED not in oracle:
        raise ChurnError(
            "what a call changes is not known: set simulation.intervention.enabled to true, and run data_generation, inference "
            "and simulate_campaign again"
        )
    return act_out(results.campaign_accounts.frame(), oracle, schema, simulation.intervention)


def stage_snapshots(
    source_accounts: pd.DataFrame, schema: AccountSchema, staging: Staging, feature_engineering: FeatureEngineering
) -> Snapshots:
    """Hold out a share of a labelled table as the scoring snapshot, by a keyed hash of the id.

    So an account is held out from every table or from none, as long as key and share stay: a later table with more accounts
    trains on those that an earlier one trained on.

    Raises:
        AccountsError: Lists every fault of the table, and what the later pipelines would refuse in its snapshots.
    """
    checked = check_accounts(source_accounts, schema, subject=SOURCE, labelled=True)
    if lacking := [name for name in schema.carry if name not in source_accounts.columns]:
        names = ", ".join(lacking)
        raise AccountsError(
            SOURCE, [f"missing columns: {names}; take them out of accounts.carry, or add them to the table"]
        )
    for note in checked.left_out:
        logger.info(note)
    used = _storable(source_accounts[checked.used])
    label, accounts = schema.label.column, checked.accounts
    labels = accounts[label].to_numpy(np.int8)
    if fault := class_fault(labels, schema):
        raise AccountsError(SOURCE, [f"{fault}; add accounts"])
    scored = held_out_rows(accounts[schema.id], staging.random_state, staging.scoring_share)
    if fault := class_fault(labels[~scored], schema) or (
        None if scored.any() else "the scoring snapshot would be empty"
    ):
        remedy = (
            f"add accounts, or choose another staging.scoring_share ({staging.scoring_share:g}) or staging.random_state"
        )
        raise AccountsError(SOURCE, [f"{fault}; {remedy}"])
    if faults := snapshot_faults(accounts[~scored], accounts[scored], schema, feature_engineering):
        raise AccountsError(SOURCE, faults)
    held_out = used[scored]
    return Snapshots(
        training=used[~scored],
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
