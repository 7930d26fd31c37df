"""Kedro hooks, one concern per module: checks before a run, tracking, notifications, the summary, Spark."""
