"""What happens around every run, one concern a module: checks before it, tracking, notifications, a summary, Spark."""
