"""Models in MLflow: their flavor, their versions and aliases, copies on this machine, and what each was trained on.

`churn.registry.fingerprint` knows no MLflow and is imported by itself; so nothing is imported here.
"""
