"""Which lane a test belongs to, and which tests share a worker of pytest-xdist. README.md beside this file has the table.

A test that uses a resource is marked by the fixture that gives it, so that no test can forget its mark. Tests that share
something that is slow to start (a Spark session, a set of servers) run in one worker; all others run module by module, as
fixtures of a module are then made once.
"""

import pytest

# What the fixtures of these names start or run.
MARKS = {
    "stack": "servers",
    "spark": "spark",
    "java": "spark",
    "finished": "pipelines",
    "copied": "pipelines",
    "project": "pipelines",
    "checkout": "pipelines",
}
# One set of servers for all tests of this folder, and what a run on it left.
SERVERS = "tests/minio/"
# The longest groups; what takes long must begin early, or the last worker works alone.
LONGEST = (
    "servers",
    "cluster",
    "spark",
    "buckets",
    "tests/e2e/test_command_line.py",
    "tests/operations/test_watch.py",
    "connect",
    "tests/pipelines/test_runs.py",
    "tests/e2e/test_memory.py",
    "tests/e2e/test_notebooks.py",
    "tests/e2e/test_own_table.py",
    "tests/deploy/test_aws.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests by their fixtures, and put the longest groups first."""
    for item in items:
        for mark in sorted({MARKS[name] for name in getattr(item, "fixturenames", ()) if name in MARKS}):
            item.add_marker(mark)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_place)


def _group(item: pytest.Item) -> str:
    """The shared resource of a test, or else its module."""
    module = item.nodeid.partition("::")[0]
    if module.startswith(SERVERS):
        return "servers"
    return "spark" if item.get_closest_marker("spark") else module


def _place(item: pytest.Item) -> int:
    """Where the group of a test comes; the order inside a group stays."""
    mark = item.get_closest_marker("xdist_group")
    assert mark is not None
    return LONGEST.index(mark.args[0]) if mark.args[0] in LONGEST else len(LONGEST)
