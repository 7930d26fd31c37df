"""What is learned from the calls: the save rate, and who can be persuaded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, Experiment, Profit
from churn.experiment.always_valid import doubly_robust, enough
from churn.experiment.measure import rows_of
from churn.experiment.record import Record
from churn.experiment.save_rate import CallEffect, EffectOrder, MeasuredRate, measured_rate, updated_rate
from churn.experiment.uplift import EffectTrees, EncoderOf, Gain, fit_effects, gain_of_order
from churn.retention import expected_profit

# The order is tried again when so many times the called accounts of the last trial are known.
AGAIN = 1.5


def call_effect_of(
    record: Record,
    report: Mapping[str, Any],
    known: CallEffect | None,
    profit: Profit,
    experiment: Experiment,
    schema: AccountSchema,
    encoder_of: EncoderOf,
) -> CallEffect:
    """Return what the campaigns have shown so far.

    Args:
        record: Accounts, contacts and outcomes of all campaigns.
        report: Content of the campaign report, see `churn.experiment.measure.measured_campaigns`.
        known: What was known before, for the trials of the order by effect; None if nothing was.
        profit: Assumed save rate, and costs.
        experiment: When the order by effect is tried.
        schema: Schema of the account table, for the model of the effect.
        encoder_of: Returns the encoder that is fitted to account rows, for the same.
    """
    rows, logged = record.rows, record.counts.logged is not None
    measured: MeasuredRate | None = None
    if len(rows):
        found = rows_of(rows, profit, logged=logged)
        if len(found) and enough(found.churned, found.called):
            measured = measured_rate(found.terms.effect, found.terms.baseline, found.called)
    names = [each["campaign"] for each in report["campaigns"] if each["known"]["called"]]
    last = next(iter(report["campaigns"]), None)
    rate = updated_rate(profit, measured)
    before = EffectOrder() if known is None else known.order
    return CallEffect(
        save_rate=rate,
        assumed=profit.save_rate,
        measured=None if measured is None else measured.value,
        error=None if measured is None else measured.error,
        called=0 if measured is None else measured.called,
        held_out=0 if measured is None else measured.held_out,
        campaigns=tuple(reversed(names)),
        order=before
        if measured is None
        else tried_order(rows, rate.value, before, profit, experiment, schema, encoder_of, logged=logged),
        verdict=report["sentence"],
        summary={
            "verdict": report["verdict"],
            "as_of": report["as_of"],
            "last": None if last is None else last["sentence"],
            "warnings": report["warnings"],
        },
    )


def tried_order(
    record: pd.DataFrame,
    save_rate: float,
    before: EffectOrder,
    profit: Profit,
    experiment: Experiment,
    schema: AccountSchema,
    encoder_of: EncoderOf,
    *,
    logged: bool,
) -> EffectOrder:
    """Return whether the list is to be ordered by the effect of a call, after another trial if one is due.

    The order by effect is taken if the interval of its gain over the order by risk excludes 0. The k-th trial has the error
    rate ``wrong_switch_rate / 2^k``, so that all trials together keep to it. An order in use is kept until its gain is 0 or
    below.

    Args:
        record: Rows of `churn.experiment.record.Record`.
        save_rate: Save rate in the order by risk.
        before: Result of the last trial.
        profit: Costs.
        experiment: When a trial is due, and its error rate.
        schema: Schema of the account table.
        encoder_of: Returns the encoder that is fitted to account rows.
        logged: Whether there is a log of contacts.
    """
    settings = experiment.effects
    known = record[record["churned"].notna()].reset_index(drop=True)
    called = int((~known["held_out"].to_numpy(bool)).sum())
    if called < settings.contacts:
        reason = (
            f"{called:,} called accounts with a known outcome are fewer than experiment.effects.contacts "
            f"({settings.contacts:,})"
        )
        return before if before.trials else before.model_copy(update={"reason": reason, "contacts": called})
    if before.trials and called < AGAIN * before.contacts:
        return before
    trial = before.trials + 1
    level = 1 - settings.wrong_switch_rate / 2**trial
    trees, gain = trial_of(known, save_rate, profit, experiment, schema, encoder_of, level, logged=logged)
    in_use = gain.low > 0 or (before.in_use and gain.value > 0)
    said = (
        f"on {called:,} called accounts, the order by effect brings {gain.value:,.2f} an account over that by risk, between "
        f"{gain.low:,.2f} and {gain.high:,.2f} (Qini, {level:.1%})"
    )
    return EffectOrder(
        in_use=in_use,
        reason=said if gain.low > 0 else f"{said}, which does not exclude 0",
        contacts=called,
        trials=trial,
        gain=gain.value,
        low=gain.low,
        high=gain.high,
        trees=trees.to_json() if in_use else None,
    )


def trial_of(
    known: pd.DataFrame,
    save_rate: float,
    profit: Profit,
    experiment: Experiment,
    schema: AccountSchema,
    encoder_of: EncoderOf,
    level: float,
    *,
    logged: bool,
) -> tuple[EffectTrees, Gain]:
    """Fit the model of the effect, and return it with the gain of its order on accounts that it has not seen."""
    fitted = fit_effects(known, save_rate, schema, encoder_of, experiment.effects)
    score, value = known["probability"].to_numpy(np.float64), known["account_value"].to_numpy(np.float64)
    assumed = profit.model_copy(update={"save_rate": save_rate})
    by_risk = expected_profit(score, value, assumed)
    by_effect = expected_profit(score, value, assumed, saved=fitted.saved)
    money = _money_terms(known, save_rate, profit, fitted.saved, logged=logged)
    return fitted.trees, gain_of_order(money, by_effect, by_risk, level)


def _money_terms(
    known: pd.DataFrame, save_rate: float, profit: Profit, saved: NDArray[np.float64], *, logged: bool
) -> NDArray[np.float64]:
    """Return the doubly robust terms of what calling each account brings, in currency, shape (n,)."""
    rows = rows_of(known, profit, logged=logged)
    score, value = known["probability"].to_numpy(np.float64), known["account_value"].to_numpy(np.float64)
    expected = -value * score
    spent = float(np.mean((rows.money + value * rows.churned)[rows.called]))
    with_call = expected + value * saved + spent
    return doubly_robust(rows.money, rows.called, 1 - known["share"].to_numpy(np.float64), expected, with_call).effect
