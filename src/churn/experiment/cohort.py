"""The accounts of the campaigns: who would have been called, with what was known of them on that day.

A scoring run publishes them with its results. The accounts of all campaigns so far are carried from run to run, as the next
list of the same campaign has other accounts, and outcomes come weeks later.
"""

from datetime import date

import numpy as np
import pandas as pd

# Before the name of an account column, so that none can be taken for one of the columns below.
FEATURE = "x."
COLUMNS = (
    "campaign",
    "account",
    "as_of",
    "held_out",
    "share",
    "probability",
    "risk_band",
    "account_value",
    "expected_profit",
    "save_rate",
    "model_version",
)


def listed_accounts(
    called: pd.DataFrame,
    kept_back: pd.DataFrame,
    *,
    id_column: str,
    campaign: str,
    share: float,
    save_rate: float,
    as_of: date,
) -> pd.DataFrame:
    """Return the accounts that a run asks to call and those that it keeps back, one row each.

    Args:
        called: Accounts to call: their canonical columns, then ``probability``, ``risk_band``, ``account_value``,
            ``expected_profit`` and ``model_version`` with a leading space, which no column of an account table has.
        kept_back: The same of the accounts that are kept back.
        id_column: Column of the ids.
        campaign: Name of the campaign.
        share: Share that is kept back.
        save_rate: Save rate that the profit was computed with.
        as_of: Date of the snapshot.

    Returns:
        The columns `COLUMNS`, and each other account column with `FEATURE` before its name.
    """
    rows = pd.concat([called, kept_back], ignore_index=True)
    own = [name for name in rows.columns if name.startswith(" ")]
    features = {f"{FEATURE}{name}": rows[name] for name in rows.columns if name not in own and name != id_column}
    known = pd.DataFrame(
        {
            "campaign": pd.array([campaign] * len(rows), dtype="str"),
            "account": rows[id_column].astype("str"),
            "as_of": pd.Series([pd.Timestamp(as_of)] * len(rows), dtype="datetime64[s]"),
            "held_out": np.arange(len(rows)) >= len(called),
            "share": float(share),
            **{name.strip(): rows[name] for name in own},
            "save_rate": float(save_rate),
        }
    )
    return pd.concat([known[list(COLUMNS)], pd.DataFrame(features)], axis=1)


def with_earlier(earlier: pd.DataFrame | None, now: pd.DataFrame) -> pd.DataFrame:
    """Return the accounts of all campaigns so far: an account is in a campaign from its first day on, as it was then.

    Args:
        earlier: Accounts of earlier runs; None if there are none.
        now: Accounts of this run.
    """
    if earlier is None or earlier.empty:
        return now
    both = pd.concat([earlier, now], ignore_index=True)
    return both[~both.duplicated(["campaign", "account"])].reset_index(drop=True)
