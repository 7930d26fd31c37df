"""What is learned from the calls: the save rate, and who can be persuaded."""

from collections.abc import Mapping
from typing import Any

from churn.config import AccountSchema, Experiment, Profit
from churn.experiment.always_valid import enough
from churn.experiment.measure import rows_of
from churn.experiment.record import Record
from churn.experiment.save_rate import CallEffect, EffectOrder, MeasuredRate, measured_rate, updated_rate


def call_effect_of(
    record: Record,
    report: Mapping[str, Any],
    known: CallEffect | None,
    profit: Profit,
    experiment: Experiment,
    schema: AccountSchema,
) -> CallEffect:
    """Return what the campaigns have shown so far.

    Args:
        record: Accounts, contacts and outcomes of all campaigns.
        report: Content of the campaign report, see `churn.experiment.measure.measured_campaigns`.
        known: What was known before, for the trials of the order by effect; None if nothing was.
        profit: Assumed save rate, and costs.
        experiment: When the order by effect is tried.
        schema: Schema of the account table, for the model of the effect.
    """
    rows = record.rows
    measured: MeasuredRate | None = None
    if len(rows):
        found = rows_of(rows, profit, logged=record.counts.logged is not None)
        if len(found) and enough(found.churned, found.called):
            measured = measured_rate(found.terms.effect, found.terms.baseline, found.called)
    names = [each["campaign"] for each in report["campaigns"] if each["known"]["called"]]
    last = next(iter(report["campaigns"]), None)
    return CallEffect(
        save_rate=updated_rate(profit, measured),
        assumed=profit.save_rate,
        measured=None if measured is None else measured.value,
        error=None if measured is None else measured.error,
        called=0 if measured is None else measured.called,
        held_out=0 if measured is None else measured.held_out,
        campaigns=tuple(reversed(names)),
        order=EffectOrder() if known is None else known.order,
        verdict=report["sentence"],
        summary={
            "verdict": report["verdict"],
            "as_of": report["as_of"],
            "last": None if last is None else last["sentence"],
            "warnings": report["warnings"],
        },
    )
