"""The draw of the accounts that are kept back, which follows from id, campaign and salt alone.

So an account stays in its group over all weeks of a campaign, in batches, in a stream and on Spark, and whoever knows the
three can check the draw. The draw of the next campaign is independent of it.
"""

import hashlib
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Experiment
from churn.tables.ids import hashes_of


def campaign_of(experiment: Experiment, as_of: date | None) -> str:
    """Return the name of the campaign: the configured one, or the month of the snapshot as ``2026-06``."""
    if experiment.campaign is not None:
        return experiment.campaign
    return "" if as_of is None else f"{as_of:%Y-%m}"


def drawn_rows(ids: pd.Series, campaign: str, salt: int, share: float) -> NDArray[np.bool_]:
    """Return which accounts are kept back if they would be called, shape (n,).

    Args:
        ids: Ids as canonical text, shape (n,).
        campaign: Name of the campaign.
        salt: Key of the draw.
        share: Share of the accounts to keep back, from 0 to 1. A larger share keeps back the same accounts and more.

    Returns:
        True for the accounts whose SipHash, keyed by campaign and salt, is among the lowest `share` of all hashes.
    """
    if share <= 0:
        return np.zeros(len(ids), dtype=np.bool_)
    # The hash of pandas has a key of 16 characters.
    key = hashlib.sha256(f"{salt}\n{campaign}".encode()).hexdigest()[:16]
    return np.asarray(hashes_of(ids, key) < np.uint64(int(share * 2**64)))
