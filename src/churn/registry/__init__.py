"""Models in MLflow: flavor, versions and aliases, local copies, and fingerprints.

This package imports nothing, so that `churn.registry.fingerprint` can be imported without MLflow.
"""
