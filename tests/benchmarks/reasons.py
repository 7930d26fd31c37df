"""Time of scores with reasons beside the time of scores alone.

Run with ``python -m tests.benchmarks.reasons``. A model is trained on the simulated table as the base
environment says; then 100,000 other accounts are scored, and scored and given reasons, in turns.
"""

import sys
from statistics import median

import pandas as pd

from churn.config import Reasons, check_parameters
from churn.model import ChurnModel
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.retention import explain_accounts
from churn.retention.reasons import explain_in_words
from churn.retention.terms import Terms
from churn.tables import check_accounts
from tests.benchmarks.results import Result, in_turns, parser, ratio, report, seconds
from tests.benchmarks.simulated import trained
from tests.conftest import base_parameters

ROWS = 100_000
LIMIT = 12.0


def with_reasons(model: ChurnModel, accounts: pd.DataFrame, reasons: Reasons) -> pd.DataFrame:
    """Scores and reasons side by side."""
    scores = model.score(accounts)
    terms = Terms.of(model.encoder, model.reference)
    return scores.join(explain_accounts(model.explain_terms, accounts, scores["probability"], terms, reasons).words)


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=ROWS, help=f"accounts to score ({ROWS})")
    arguments = options.parse_args()
    parameters = check_parameters(base_parameters())
    model, reasons = trained(parameters), Reasons(texts=parameters.reasons.texts)
    simulated = simulate_accounts(arguments.rows, parameters.simulation.scoring_seed, parameters.simulation)
    accounts = check_accounts(simulated.accounts, parameters.accounts, subject="accounts", labelled=False).accounts
    ways = {"scores": lambda: model.score(accounts), "reasons": lambda: with_reasons(model, accounts, reasons)}
    times = in_turns(ways, arguments.rounds)
    contributions = model.explain_terms(accounts)
    terms = Terms.of(model.encoder, model.reference)
    words = seconds(lambda: explain_in_words(contributions, accounts, terms, reasons))
    work = f"scores and {reasons.count} reasons for each of {arguments.rows:,} accounts, in memory"
    results = [
        Result(work, ratio(times["reasons"], times["scores"]), "x scores alone", LIMIT),
        Result(f"{work}: time", median(times["reasons"]), "s"),
        Result(f"{work}: time of the sentences", words, "s"),
    ]
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
