"""Nodes of the pipeline inference. Their tables are lazy: rows are processed in batches when the results are saved."""

import logging
from datetime import date
from typing import Any

import pandas as pd

from churn.config import AccountSchema, Contacts, Decision, Experiment, Inference, Policy, Profit, Reasons
from churn.experiment import CallEffect, campaign_for, effects_in_use, profit_in_use, published_rate, read_contacts
from churn.model import ChurnModel
from churn.model.device import check_device
from churn.scoring import CampaignRun, CurrentLedger, Scores, Selection, scoring_run, select
from churn.tables import Batches, checked_table

logger = logging.getLogger(__name__)

SUBJECT = "accounts to score"


def select_partitions(
    scoring_fingerprint: dict[str, Any], current_ledger: CurrentLedger, champion: ChurnModel, inference: Inference
) -> Selection:
    """Select the files of the table to score: all, or those that are new, or new to this model."""
    selection = select(
        scoring_fingerprint,
        current_ledger.ledger,
        champion.sha256,
        incremental=inference.incremental,
        rescore=inference.rescore,
    )
    if inference.incremental:
        logger.info(
            "%s of %s files %s",
            len(selection.names),
            len(selection.ledger),
            "were not scored by this model" if inference.rescore else "are new or have changed",
        )
    return selection


def validate_scoring_accounts(
    scoring_accounts: Batches,
    selected_partitions: Selection,
    champion: ChurnModel,
    schema: AccountSchema,
    inference: Inference,
) -> Any:
    """Check the table against the schema and the model, and the model on its canary rows; convert it to canonical form."""
    champion.check_fits(schema)
    champion.check_canaries()
    schema = schema.counted_to(inference.as_of)
    return checked_table(scoring_accounts.only(selected_partitions.names), schema, champion, SUBJECT)


def use_save_rate(profit: Profit, experiment: Experiment, call_effect: CallEffect | None) -> Profit:
    """Return the amounts with the save rate in use: the assumed one, or the measured one if that is to be used."""
    return profit_in_use(profit, experiment, call_effect)


def plan_campaign(
    contacts: pd.DataFrame | None,
    campaign_accounts: pd.DataFrame | None,
    call_effect: CallEffect | None,
    as_of: date,
    schema: AccountSchema,
    experiment: Experiment,
    contacts_columns: Contacts,
    policy: Policy,
    profit: Profit,
) -> CampaignRun:
    """Return who is kept back and who is not contacted in this run, perhaps nobody."""
    log = None if contacts is None else read_contacts(contacts, contacts_columns, schema)
    effects = effects_in_use(experiment, call_effect)
    campaign = campaign_for(experiment, policy, log, as_of, schema.id, effects)
    save_rate = published_rate(profit) if experiment.use else None
    return CampaignRun(campaign, experiment, campaign_accounts, save_rate)


def score_accounts(
    valid_scoring_accounts: Any,
    champion: ChurnModel,
    selected_partitions: Selection,
    current_ledger: CurrentLedger,
    as_of: date,
    inference: Inference,
    profit: Profit,
    decision: Decision,
    reasons: Reasons,
    schema: AccountSchema,
    campaign_run: CampaignRun,
) -> Scores:
    """Compute the scores, the retention list, and the record for provenance and monitoring."""
    check_device(inference.device, "inference.device")
    return scoring_run(
        valid_scoring_accounts,
        champion.use(device=inference.device),
        selection=selected_partitions,
        follows=current_ledger.run_id if inference.incremental else None,
        as_of=as_of,
        profit=profit,
        decision=decision,
        reasons=reasons,
        carry=schema.carry,
        campaign=campaign_run,
    )
