"""Which lane a test belongs to, and which tests share a worker of pytest-xdist. README.md beside this file has the table.

A test that uses a resource is marked by the fixture that gives it, so that no test can forget its mark. Tests that share
something that is slow to start (a Spark session, a set of servers) run in one worker; all others run module by module, as
fixtures of a module are then made once.
"""

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# What the fixtures of these names start or run.
MARKS = {
    "stack": {"servers"},
    "deployed": {"servers", "slow"},
    "spark": {"spark"},
    "java": {"spark"},
    "finished": {"pipelines"},
    "copied": {"pipelines"},
    "project": {"pipelines"},
    "context": {"pipelines"},
}
# Modules that share a fixture of the session.
GROUPS = {
    r"tests/minio/.*": "servers",
    r"tests/delivery/test_(files|postgres)\.py": "delivery",
    r"tests/spark/test_(features|inference|monitoring|session|training)\.py": "spark",
}
# The longest groups come first: what takes long and begins late keeps one worker busy when the others have nothing to do.
LONGEST = (
    "servers",
    "spark",
    "tests/spark/test_cluster.py",
    "tests/spark/test_s3.py",
    "tests/operations/test_watch_runs.py",
    "tests/e2e/test_first_start.py",
    "tests/test_kills.py",
    "tests/e2e/test_command_line.py",
    "tests/pipelines/test_runs.py",
    "tests/spark/test_connect.py",
    "tests/e2e/test_notebooks.py",
    "tests/e2e/test_own_table.py",
    "tests/e2e/test_memory.py",
    "tests/e2e/test_backup.py",
    "tests/stores/test_s3.py",
    "tests/deploy/test_aws.py",
    "tests/containers/test_jobs.py",
    "tests/hooks/test_retraining.py",
)


def group_of(test: str) -> str:
    """The group of a test, given as pytest names it: the resource that it shares, or else its module."""
    module = test.partition("::")[0]
    return next((group for pattern, group in GROUPS.items() if re.fullmatch(pattern, module)), module)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by their fixtures, and put the longest groups first."""
    places = {group: place for place, group in enumerate(LONGEST)}
    for item in items:
        for mark in set().union(*(MARKS.get(name, set()) for name in getattr(item, "fixturenames", ()))):
            item.add_marker(mark)
    items.sort(key=lambda item: places.get(group_of(item.nodeid), len(places)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadScopeScheduling | None":
    """Give whole groups to the workers under ``--dist loadgroup``.

    What pytest-xdist 3.8 itself does for it no longer works: it adds groups to the names of tests, and pytest 9.2 ignores that.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroup(config, log)
