"""Churn risk of every account: from a raw account table to published scores and a health report."""
