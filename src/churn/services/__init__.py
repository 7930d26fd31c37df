"""Local servers for trials and tests: an S3 store, PostgreSQL and MLflow, on loopback only."""
