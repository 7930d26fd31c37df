"""Names of the columns that the project publishes beside the id of an account."""

import re

# Columns of the scores, after the id.
SCORE_COLUMNS = ("probability", "prediction", "risk_band", "model_version")
# Columns of the retention list, after the id; those of the reasons, `reason_1_code`, `reason_1`, ..., are in between.
LIST_COLUMNS = (
    "probability",
    "risk_band",
    "account_value",
    "expected_profit",
    "recommended_action",
    "suggested_action",
    "model_version",
    "as_of",
)

_REASON = re.compile(r"reason_[0-9]+(_code)?")


def is_published(name: str) -> bool:
    """Return whether a published table has a column of this name beside the id; case is ignored, as Spark does."""
    lowered = name.lower()
    return lowered in {*SCORE_COLUMNS, *LIST_COLUMNS} or _REASON.fullmatch(lowered) is not None
