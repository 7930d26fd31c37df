"""What the campaign report claims, measured on simulated campaigns whose truth is known.

``python -m tests.benchmarks.campaigns`` prints the tables of docs/experiments.md; the tests run smaller versions.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from churn.config import Experiment
from churn.experiment.always_valid import always_valid_mean, doubly_robust, enough
from churn.experiment.effect import adjusted_difference, difference_of_shares
from churn.experiment.power import campaign_power

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


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1_000)
    options = parser.parse_args()
    started = time.perf_counter()
    looks = coverage(options.campaigns, 4_526, 0.1, 0.3, seed=1)
    weekly = first_look_errors(options.campaigns, 4_526, 0.1, 26, seed=2)
    for name, value in {**looks, **weekly}.items():
        print(f"{name:<32} {value:.4f}")
    print(f"{options.campaigns:,} campaigns of 4,526 accounts, 10% kept back: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
