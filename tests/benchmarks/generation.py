"""Rows per second and memory of the simulation, beside a generator that works row by row.

Run with ``make bench``. The peer draws each cell of each row by itself with mimesis, as a proof of concept would.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mimesis import Generic

from churn.parameters import Simulation
from churn.simulation import CATEGORIES, RANGES, RATIOS, simulate_accounts

PEER_ROWS = 20_000
ROUNDS = 5


def row_by_row(rows: int) -> list[dict[str, object]]:
    """The peer: a dictionary for each account, cell by cell."""
    draw = Generic(seed=1)
    number, choice = draw.numeric.integer_number, draw.choice
    table = []
    for _ in range(rows):
        total = number(1, 150)
        row: dict[str, object] = {"account_id": draw.cryptographic.uuid()}
        row |= {name: choice(list(values)) for name, values in CATEGORIES.items()}
        row |= {
            "total_users_count": total,
            "active_users_count": number(1, total),
            "login_count_p1m": number(1, 1500),
            "p1m_tenure_since_conversion": number(0, 72),
            "payment_methods_active_count": number(0, 5),
            "is_churned": draw.development.boolean(),
        }
        row |= {name: draw.numeric.float_number(*RANGES[name], precision=4) for name in RATIOS}
        table.append(row)
    return table


def rate(make: object, rows: int) -> float:
    """Rows per second of one call."""
    start = time.perf_counter()
    make(rows)  # type: ignore[operator]
    return rows / (time.perf_counter() - start)


def pipeline(rows: int) -> dict[str, float]:
    """Seconds and peak memory of the whole pipeline in a process of its own, files included."""
    conf = Path(__file__).parents[2] / "conf"
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "conf"
        subprocess.run(["cp", "-r", str(conf), str(copied)], check=True)
        stores = {name: f"{folder}/{name}" for name in ("staging", "artifacts", "results")}
        (copied / "local/globals.yml").write_text(json.dumps({"stores": stores}))
        start = time.perf_counter()
        command = [
            *(sys.executable, "-m", "kedro", "run", "--conf-source", str(copied), "--pipelines", "data_generation"),
            *("--params", f"simulation.training_rows={rows},simulation.scoring_rows=1000"),
        ]
        subprocess.run(command, check=True, cwd=conf.parent, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": seconds, "peak_gib": peak}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large run")
    arguments = parser.parse_args()
    peer, ours = [], []
    for _ in range(ROUNDS):
        peer.append(rate(row_by_row, PEER_ROWS))
        ours.append(rate(lambda rows: simulate_accounts(rows, 1, Simulation()), 1_000_000))
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, peer, strict=True))
    whole = pipeline(arguments.rows)
    print("| work | rows/s | ratio | peak memory |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| row by row, in memory | {statistics.median(peer):,.0f} | 1 | |")
    print(f"| simulate_accounts, in memory | {statistics.median(ours):,.0f} | {ratio:.0f} | |")
    name = f"kedro run --pipelines data_generation, {arguments.rows:,} rows, files written"
    print(f"| {name} | {arguments.rows / whole['seconds']:,.0f} | | {whole['peak_gib']:.2f} GiB |")


if __name__ == "__main__":
    main()
