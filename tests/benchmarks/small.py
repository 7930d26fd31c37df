"""Small tables and rare churn: this project's model beside a regularised logistic regression on samples of public tables.

Run with ``python -m tests.benchmarks.small``. Each case draws training rows from a table several times, with the churn rate
of the table or with so few churned rows that the rate is smaller, and measures both models on all other rows, which have
the rate of the training rows too. The regularisation of the logistic regression is chosen by cross-validation. The
difference has a 95% interval over the draws: t distribution, the draws of a case taken as independent.
"""

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from tests.benchmarks.board import markdown
from tests.benchmarks.peers import Fitter, encoded, fit_churn, measured
from tests.benchmarks.public_tables import Table, public_table

TABLES = ("telco", "mlc_churn", "credit_data", "stackoverflow", "flchain", "crashes", "lending_club")


class Case(NamedTuple):
    """What is drawn: so many training rows, with so large a share of churned ones; None for that of the table."""

    rows: int
    rate: float | None = None

    @classmethod
    def of(cls, text: str) -> "Case":
        """Read a case of the command line: ``200`` or ``2000:0.005``."""
        rows, _, rate = text.partition(":")
        return cls(int(rows), float(rate) if rate else None)


def regularised() -> Any:
    """A logistic regression on standardised features whose L2 penalty cross-validation chooses by log loss."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=10, cv=5, scoring="neg_log_loss", max_iter=500))


def draws(table: Table, case: Case, count: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Training rows and the other rows, as often as is asked for."""
    random = np.random.default_rng(0)
    churned, stayed = np.flatnonzero(table.labels), np.flatnonzero(table.labels == 0)
    rate = table.labels.mean() if case.rate is None else case.rate
    of_churned = max(2, round(case.rows * rate))
    for _ in range(count):
        for places in (churned, stayed):
            random.shuffle(places)
        others = stayed[case.rows - of_churned :]
        fresh = churned[of_churned : of_churned + max(1, round(len(others) * rate / (1 - rate)))]
        train = np.append(churned[:of_churned], stayed[: case.rows - of_churned])
        random.shuffle(train)
        yield (
            table.accounts.iloc[train].reset_index(drop=True),
            table.accounts.iloc[np.append(fresh, others)].reset_index(drop=True),
        )


def compared(table: Table, case: Case, count: int) -> dict[str, Any]:
    """Measures of both models on one case, means over the draws, and their differences."""
    models: dict[str, Fitter] = {"churn": fit_churn, "logistic regression": encoded(regularised)}
    found = [
        {name: measured(table, fitter, *rows) for name, fitter in models.items()} for rows in draws(table, case, count)
    ]
    row: dict[str, Any] = {
        "table": table.name,
        "rows": case.rows,
        "churned": "" if case.rate is None else f"{case.rate:.1%}",
    }
    for measure in ("roc_auc", "log_loss"):
        each = pd.DataFrame([{name: values[measure] for name, values in draw.items()} for draw in found])
        gain = each["churn"] - each["logistic regression"]
        reach = t.ppf(0.975, count - 1) * gain.std() / np.sqrt(count)
        row |= {f"{measure}: {name}": float(each[name].mean()) for name in models}
        row[f"{measure}: difference"] = f"{gain.mean():+.4f} ± {reach:.4f}"
    return row


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(TABLES), help="public tables, separated by commas")
    parser.add_argument(
        "--cases", default="200,500,2000,2000:0.005,2000:0.03", help="rows, or rows:rate, separated by commas"
    )
    parser.add_argument("--draws", type=int, default=10, help="draws of each case (default: 10)")
    parser.add_argument("--json", type=Path, help="file to write the figures to as well")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in arguments.tables.split(","):
        for case in map(Case.of, arguments.cases.split(",")):
            rows.append(compared(public_table(name), case, arguments.draws))
            print(rows[-1], flush=True)
    print(markdown("small tables and rare churn", rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
