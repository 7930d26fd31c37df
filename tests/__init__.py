"""The tests; README.md says which there are, and how to run them."""

import os

# Workers, and the processes that they start, share the cores. Threads of XGBoost that wait in a loop for each other would take
# more time than they work; OpenMP reads this when it is loaded. The benchmarks measure what users have.
if "PYTEST_VERSION" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
