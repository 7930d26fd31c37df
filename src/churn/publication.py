"""What a scoring run publishes."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Publication:
    """Scores of one table by one model, with all that is needed to trace and to monitor them.

    Attributes:
        predictions: One row an account: id, probability, prediction, risk band, model version.
        profile: Binned counts of the scored rows, on the bins of the model's reference profile.
        model: ``name`` (its URI), ``version``, ``sha256`` and ``run_id``.
        source: ``name``, ``bytes`` and ``sha256`` of the scored file, and its ``rows``.
        as_of: Date of the scored snapshot.
        retention_list: The accounts in the order in which acting pays, with reasons; not read back.
        run_id: Given when published.
    """

    predictions: pd.DataFrame
    profile: dict[str, Any]
    model: dict[str, Any]
    source: dict[str, Any]
    as_of: date
    retention_list: pd.DataFrame | None = None
    run_id: str = ""
