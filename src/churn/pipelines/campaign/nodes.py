"""Nodes of the pipeline campaign."""

from datetime import date
from typing import Any

import pandas as pd

from churn.config import AccountSchema, Contacts, Experiment, FeatureEngineering, Profit
from churn.experiment import CallEffect, Record, call_effect_of, measured_campaigns, read_contacts, updated_record
from churn.experiment.measure import flat_campaign_metrics
from churn.experiment.record import known_outcomes
from churn.model import Encoder
from churn.scoring import Publication
from churn.tables import Batches
from churn.training.encoding import fit_encoder, plain_features


def update_record(
    results: Publication,
    known_campaign_record: pd.DataFrame | None,
    contacts: pd.DataFrame | None,
    scoring_outcomes: Batches | None,
    schema: AccountSchema,
    contacts_columns: Contacts,
    experiment: Experiment,
) -> Record:
    """Add new accounts, contacts and outcomes to the record of the campaigns."""
    cohort = None if results.campaign_accounts is None else results.campaign_accounts.frame()
    log = None if contacts is None else read_contacts(contacts, contacts_columns, schema)
    outcomes = None
    if scoring_outcomes is not None:
        accounts = pd.concat(
            [each["account"] for each in (known_campaign_record, cohort) if each is not None] or [NOBODY]
        )
        # The label that the training of the model took for stayed.
        labels = schema.taking_for_stayed(results.profile.get("stayed", ()))
        outcomes = known_outcomes(scoring_outcomes, labels, accounts)
    return updated_record(known_campaign_record, cohort, log, outcomes, experiment.outcomes_of)


NOBODY = pd.Series(dtype="str")


def keep_record(record: Record) -> pd.DataFrame:
    """Return the rows of the record, to be stored for the next time."""
    return record.rows


def measure_campaigns(record: Record, results: Publication, profit: Profit, experiment: Experiment) -> dict[str, Any]:
    """Compare called accounts with those that were kept back, by campaign and over all of them."""
    day: date | None = results.as_of
    return measured_campaigns(record, profit, experiment, day)


def learn_from_calls(
    record: Record,
    campaign_report: dict[str, Any],
    known_call_effect: CallEffect | None,
    profit: Profit,
    experiment: Experiment,
    schema: AccountSchema,
    feature_engineering: FeatureEngineering,
) -> CallEffect:
    """Return the save rate as measured, and whether the order by effect has proved better than that by risk."""

    def encoder_of(accounts: pd.DataFrame) -> Encoder:
        # Which other features help is found out by outcomes, and it is the effect of a call that counts here.
        return fit_encoder(accounts, schema, plain_features(feature_engineering))

    return call_effect_of(record, campaign_report, known_call_effect, profit, experiment, schema, encoder_of)


def report_campaigns(measured: dict[str, Any], effect: CallEffect) -> dict[str, Any]:
    """Return the campaign report as JSON and as a page."""
    from churn.reporting.campaign_report import render_campaign_report

    metrics = {**measured, "in_use": effect.model_dump(mode="json", exclude={"summary": True, "order": {"trees"}})}
    return {"metrics": metrics, "html": render_campaign_report(metrics)}


def track_campaigns(measured: dict[str, Any], effect: CallEffect) -> dict[str, float]:
    """Return the numbers of the report by the names that they have in MLflow."""
    return {**flat_campaign_metrics(measured), "save_rate": effect.save_rate.value}
