"""Names of columns as reports show them."""

import pytest

from churn.tables import humanize


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("active_users_count", "Active users"),
        ("login_count_p1m", "Login count past month"),
        ("invoices_p1m_vs_prev_month_ratio", "Invoices past month vs previous month ratio"),
        ("MonthlyCharges", "MonthlyCharges"),
        ("count", "Count"),
        ("", ""),
        ("_", "_"),
    ],
)
def test_names_for_people(column: str, text: str) -> None:
    assert humanize(column) == text
