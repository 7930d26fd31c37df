"""Servers for a try-out and for tests on this machine: an S3 store, PostgreSQL and MLflow, on loopback only."""
