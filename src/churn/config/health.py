"""The statuses that monitoring gives to scores, for all that show them; importing this takes no time."""

from collections.abc import Mapping
from typing import Literal

Status = Literal["ok", "watch", "alarm"]
# From the best to the worst, as numbers of metrics.
SEVERITY: Mapping[str, int] = {"ok": 0, "watch": 1, "alarm": 2}
# What people read in place of them, in a line about the health of a project.
HEALTH_WORDS: Mapping[str, str] = {"ok": "healthy", "watch": "warnings", "alarm": "alarm"}
