"""Account tables: rows are read by the schema, checked and passed on in batches."""

from churn.tables.batches import Batches, CheckedBatches, CheckedTable, checked_table
from churn.tables.cells import as_numbers, as_text, quoted
from churn.tables.checks import check_accounts
from churn.tables.names import humanize
from churn.tables.plain import flat, plain, ranked_shares
from churn.tables.table import FrameTable, Table, spacing

__all__ = [
    "Batches",
    "CheckedBatches",
    "CheckedTable",
    "FrameTable",
    "Table",
    "as_numbers",
    "as_text",
    "check_accounts",
    "checked_table",
    "flat",
    "humanize",
    "plain",
    "quoted",
    "ranked_shares",
    "spacing",
]
