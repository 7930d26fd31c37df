"""Small tables as people have them."""

import datetime as dt

import numpy as np
import pandas as pd

AS_OF = dt.date(2024, 6, 30)


def customers(rows: int = 400, seed: int = 5) -> pd.DataFrame:
    """Customers with a column of every kind, of whom those with few visits leave."""
    draw = np.random.default_rng(seed)
    visits = draw.integers(0, 12, rows)
    left = draw.random(rows) < np.where(visits < 3, 0.7, 0.12)
    joined = [AS_OF - dt.timedelta(days=int(day)) for day in draw.integers(0, 2000, rows)]
    joined[0] = AS_OF
    ended = [day + dt.timedelta(days=3) if gone else None for day, gone in zip(joined, left, strict=True)]
    return pd.DataFrame(
        {
            "Customer No": [f"K-{number:05}" for number in range(rows)],
            "Name": [f"Person {number}" for number in range(rows)],
            "E-Mail": [f"person{number}@example.org" for number in range(rows)],
            "Account Manager": draw.choice(["Ana", "Bo", "Chi"], rows),
            "Joined On": [day.isoformat() for day in joined],
            "Contract End": [(day + dt.timedelta(days=3000)).isoformat() for day in joined],
            "Plan": draw.choice(["basic", "plus", "family"], rows),
            "Visits": visits,
            "Monthly Fee": draw.choice([29.9, 49.9, 1049.0], rows),
            "Postcode": [f"{code:05}" for code in draw.integers(1000, 1012, rows)],
            "Country": "DE",
            "Comment": [f"what person {number} said about the place and everything in it" for number in range(rows)],
            "Cancelled On": [day.isoformat() if day else "" for day in ended],
            "Churn Reason": np.where(left, "price", ""),
            "Churn Score": draw.integers(1, 99, rows),
            "Annual Value": draw.integers(100, 900, rows),
            "Left": np.where(left, "Yes", "No"),
        }
    )
