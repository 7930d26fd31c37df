"""Time of scores with reasons beside the time of scores alone.

Run with ``python -m tests.benchmarks.reasons``. A model is trained on the simulated table as the base environment says;
then 100,000 other accounts are scored, and scored and given reasons, in turns.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import pandas as pd

from churn.accounts import check_accounts
from churn.model import ChurnModel
from churn.parameters import Parameters, Reasons, check_parameters
from churn.reasons import explain_accounts, explain_in_words, typical_values
from churn.simulation import simulate_accounts

from ..conftest import base_parameters, train

ROUNDS = 5
LIMIT = 12.0


def trained(parameters: Parameters) -> ChurnModel:
    """A model of the simulated training table, with all defaults."""
    simulated = simulate_accounts(
        parameters.simulation.training_rows, parameters.simulation.training_seed, parameters.simulation
    )
    labelled = simulated.accounts.assign(**{parameters.accounts.label.column: simulated.churned})
    accounts = check_accounts(labelled, parameters.accounts, subject="accounts", labelled=True).accounts
    return train(accounts, parameters.accounts, parameters.feature_engineering, parameters.training)


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def with_reasons(model: ChurnModel, accounts: pd.DataFrame, reasons: Reasons) -> pd.DataFrame:
    """Scores and reasons side by side."""
    scores = model.score(accounts)
    typical = typical_values(model.encoder, model.reference)
    return scores.join(explain_accounts(model.explain, accounts, scores["probability"], typical, reasons))


def main() -> int:
    """Measure and print a table; 1 if the ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="accounts to score")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of which the median counts")
    arguments = parser.parse_args()
    parameters = check_parameters(base_parameters())
    model, reasons = trained(parameters), Reasons(texts=parameters.reasons.texts)
    simulated = simulate_accounts(arguments.rows, parameters.simulation.scoring_seed, parameters.simulation)
    accounts = check_accounts(simulated.accounts, parameters.accounts, subject="accounts", labelled=False).accounts
    # The first rows pay for what is loaded and prepared once a process.
    with_reasons(model, accounts.head(1000), reasons)
    alone, both = [], []
    for _ in range(arguments.rounds):
        alone.append(seconds(lambda: model.score(accounts)))
        both.append(seconds(lambda: with_reasons(model, accounts, reasons)))
    contributions = model.explain(accounts)
    typical = typical_values(model.encoder, model.reference)
    words = seconds(lambda: explain_in_words(contributions, accounts, typical, reasons))
    ratio = statistics.median(whole / scores for whole, scores in zip(both, alone, strict=True))
    print(f"| {len(accounts):,} accounts, {model.booster.num_boosted_rounds()} trees | seconds | ratio |")
    print("| --- | ---: | ---: |")
    print(f"| scores | {statistics.median(alone):.2f} | 1 |")
    print(f"| scores and {reasons.count} reasons each | {statistics.median(both):.2f} | {ratio:.1f} |")
    print(f"| of that, sentences | {words:.2f} | |")
    if ratio > LIMIT:
        print(f"the ratio is above its limit of {LIMIT:g}", file=sys.stderr)
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
