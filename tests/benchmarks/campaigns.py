"""What the campaign report claims, measured on simulated campaigns whose truth is known.

``python -m tests.benchmarks.campaigns`` prints the tables of docs/experiments.md; the tests run smaller versions.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from churn.config import Experiment, Intervention, Parameters, Profit, Simulation
from churn.experiment.always_valid import always_valid_mean, doubly_robust, enough
from churn.experiment.effect import adjusted_difference, difference_of_shares
from churn.experiment.learning import trial_of
from churn.experiment.power import campaign_power
from churn.pipelines.data_generation.frames import columns_of
from churn.pipelines.data_generation.intervention import mean_effect
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.training.encoding import fit_encoder, plain_features
from tests.conftest import base_parameters

# Mean and standard deviation of the log of an account's value.
VALUE = (6.0, 0.5)
MEAN_VALUE = float(np.exp(VALUE[0] + VALUE[1] ** 2 / 2))
# Scores are a beta distribution with these parameters, as those of accounts that are worth a call, and a noise.
RISK, NOISE = (2.0, 3.0), 0.1
MEAN_RISK = RISK[0] / sum(RISK)


def drawn_campaigns(campaigns: int, accounts: int, holdout: float, save_rate: float, seed: int) -> Iterator[dict]:
    """Yield campaigns: the score of each account, whether it is called, whether it churned, and its value."""
    random = np.random.default_rng(seed)
    for _ in range(campaigns):
        risk = random.beta(*RISK, accounts)
        called = random.random(accounts) >= holdout
        yield {
            "score": np.clip(risk + NOISE * random.normal(size=accounts), 0.01, 0.99),
            "called": called,
            "churned": (random.random(accounts) < risk * (1 - save_rate * called)).astype(float),
            "value": random.lognormal(*VALUE, accounts),
        }


def coverage(campaigns: int, accounts: int, holdout: float, save_rate: float, seed: int) -> dict[str, float]:
    """Return how often the intervals of one look cover the truth, their widths, and how often an effect is found."""
    effect, worth = -save_rate * MEAN_RISK, save_rate * MEAN_RISK * MEAN_VALUE
    hits = {"share": 0, "adjusted": 0, "money": 0, "found": 0}
    widths = {"share_width": 0.0, "adjusted_width": 0.0}
    power = 0.0
    for each in drawn_campaigns(campaigns, accounts, holdout, save_rate, seed):
        share = difference_of_shares(each["churned"], each["called"])
        adjusted = adjusted_difference(each["churned"], each["called"], each["score"])
        money = adjusted_difference(-each["value"] * each["churned"], each["called"], -each["value"] * each["score"])
        for name, found, truth in (("share", share, effect), ("adjusted", adjusted, effect), ("money", money, worth)):
            hits[name] += found.low <= truth <= found.high
        hits["found"] += adjusted.p_value < 0.05
        widths["share_width"] += share.high - share.low
        widths["adjusted_width"] += adjusted.high - adjusted.low
        power += campaign_power(each["score"], int((~each["called"]).sum()), save_rate, Experiment()).power
    means = {name: value / campaigns for name, value in {**hits, **widths}.items()}
    return means | {"promised_power": power / campaigns}


def first_look_errors(
    campaigns: int, accounts: int, holdout: float, looks: int, seed: int, save_rate: float = 0.3, horizon: int = 5_000
) -> dict[str, float]:
    """Return the errors of weekly looks: at a known effect, and where the calls do nothing."""
    found = {"covered_at_all_looks": 0, "said_to_help": 0, "said_to_help_without_effect": 0, "one_look_said_to_help": 0}
    ends = [accounts * look // looks for look in range(1, looks + 1)]
    truth = -save_rate * MEAN_RISK
    for each in drawn_campaigns(campaigns, accounts, holdout, save_rate, seed):
        terms = doubly_robust(
            each["churned"], each["called"], 1 - holdout, each["score"], each["score"] * (1 - save_rate)
        ).effect
        seen = [
            always_valid_mean(terms[:end], horizon)
            for end in ends
            if enough(each["churned"][:end], each["called"][:end])
        ]
        found["covered_at_all_looks"] += all(look.low <= truth <= look.high for look in seen)
        found["said_to_help"] += any(look.high < 0 for look in seen)
    for each in drawn_campaigns(campaigns, accounts, holdout, 0.0, seed + 1):
        terms = doubly_robust(each["churned"], each["called"], 1 - holdout, each["score"], each["score"] * 0.7).effect
        ready = [end for end in ends if enough(each["churned"][:end], each["called"][:end])]
        found["said_to_help_without_effect"] += any(always_valid_mean(terms[:end], horizon).high < 0 for end in ready)
        found["one_look_said_to_help"] += any(
            difference_of_shares(each["churned"][:end], each["called"][:end]).high < 0 for end in ready
        )
    return {name: count / campaigns for name, count in found.items()}


class World:
    """Accounts that are worth a call, of which a part was called, and the truth about them.

    Attributes:
        record: The record of the campaign, as `churn.experiment.record` keeps it.
        kept: True expected share of each account that a call keeps, given its columns.
    """

    def __init__(self, called: int, holdout: float, heterogeneity: float, seed: int) -> None:
        # About a third of the accounts are worth a call.
        rows = round(called / (1 - holdout) / 0.33)
        intervention = Intervention(enabled=True, heterogeneity=heterogeneity, seed=seed)
        drawn = simulate_accounts(rows, seed, Simulation(base_rate=0.25, intervention=intervention, missing_share=0.0))
        random = np.random.default_rng(seed)
        risk = drawn.probability
        # The score of a model is off by some noise.
        score = 1 / (1 + np.exp(-np.log(risk / (1 - risk)) - 0.3 * random.normal(size=rows)))
        worth = np.flatnonzero(score >= 0.256)
        reach = intervention.worked * intervention.reached
        kept_back = random.random(len(worth)) < holdout
        reached = ~kept_back & (random.random(len(worth)) < reach)
        chance = np.where(reached, drawn.effects.probability[worth], risk[worth])
        accounts = drawn.accounts.iloc[worth].reset_index(drop=True)
        self.record = pd.DataFrame(
            {
                "campaign": "a",
                "account": accounts["account_id"].astype("str"),
                "held_out": kept_back,
                "share": holdout,
                "probability": score[worth],
                "account_value": 600.0,
                "save_rate": 0.3,
                "attempts": (~kept_back).astype(int),
                "reached": reached,
                "accepted": reached & (random.random(len(worth)) < 0.4),
                "churned": pd.array((random.random(len(worth)) < chance).astype(int), dtype="Int8"),
                **{f"x.{name}": accounts[name] for name in accounts.columns if name != "account_id"},
            }
        )
        self.accounts = accounts
        self.kept = -mean_effect(columns_of(accounts), risk[worth], intervention) * reach

    def value_of(self, ranked_by: np.ndarray) -> float:
        """Return what calling the first 10 to 50 % of an order keeps, of what the best order would keep."""
        shares = np.arange(0.1, 0.51, 0.05)
        ends = (shares * len(self.kept)).astype(int) - 1

        def kept(order: np.ndarray) -> float:
            return float(np.cumsum(self.kept[order])[ends].mean())

        return kept(np.argsort(-ranked_by, kind="stable")) / kept(np.argsort(-self.kept, kind="stable"))


def persuadable(
    worlds: int, called: int, holdout: float, heterogeneity: float, seed: int, test_called: int = 20_000
) -> list[dict[str, float]]:
    """Return for each world whether the order by effect is taken, and what the orders bring on accounts not seen."""
    parameters = Parameters.model_validate(base_parameters())
    encoder_of = partial(
        fit_encoder, schema=parameters.accounts, settings=plain_features(parameters.feature_engineering)
    )
    found = []
    for world in range(worlds):
        past = World(called, holdout, heterogeneity, seed + 2 * world)
        known = past.record
        rates = [known.loc[group, "churned"].astype(float).mean() for group in (~known["held_out"], known["held_out"])]
        rate = max(0.02, 1 - rates[0] / rates[1])
        # The error rate of the first trial.
        level = 1 - 0.05 / 2
        trees, gain = trial_of(known, rate, Profit(), Experiment(), parameters.accounts, encoder_of, level, logged=True)
        each = {"taken": float(gain.low > 0), "gain": gain.value}
        if test_called:
            new = World(test_called, holdout, heterogeneity, seed + 2 * world + 1)
            score = new.record["probability"].to_numpy()
            canonical = new.accounts.astype(dict.fromkeys(parameters.accounts.numeric_names, float))
            each |= {"effect": new.value_of(trees.saved(canonical, score)), "risk": new.value_of(score)}
        found.append(each)
    return found


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1_000)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--alike", type=int, default=100)
    options = parser.parse_args()
    started = time.perf_counter()
    looks = coverage(options.campaigns, 4_526, 0.1, 0.3, seed=1)
    weekly = first_look_errors(options.campaigns, 4_526, 0.1, 26, seed=2)
    for name, value in {**looks, **weekly}.items():
        print(f"{name:<32} {value:.4f}")
    print(f"{options.campaigns:,} campaigns of 4,526 accounts, 10% kept back: {time.perf_counter() - started:.0f} s")
    for holdout in (0.1, 0.2):
        worlds = pd.DataFrame(persuadable(options.worlds, 20_000, holdout, 1.0, seed=1_000))
        print(f"{holdout:.0%} kept back, 20,000 called, effects differ, {len(worlds)} worlds:")
        print(worlds.describe().loc[["mean", "min", "max"]].round(3).to_string())
    alike = pd.DataFrame(persuadable(options.alike, 20_000, 0.2, 0.0, seed=5_000, test_called=0))
    print(f"effects alike: taken in {alike['taken'].sum():.0f} of {len(alike)} worlds")


if __name__ == "__main__":
    main()
