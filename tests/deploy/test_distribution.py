"""What the wheel holds besides modules."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    # As uv build calls it; with the locked hatchling, and nothing fetched.
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, timeout=120
    )
    (file,) = Path(folder).glob("kedro_churn-*.whl")
    return zipfile.ZipFile(file)


def test_type_checkers_are_told_of_the_hints(wheel: zipfile.ZipFile) -> None:
    assert "churn/py.typed" in wheel.namelist()


def test_pages_have_their_templates(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "src/churn/reporting/templates"
    templates = {f"churn/reporting/templates/{file.name}" for file in folder.iterdir()}
    assert len(templates) >= 4
    assert templates <= set(wheel.namelist())


def test_the_command_is_churn_and_tests_stay_out(wheel: zipfile.ZipFile) -> None:
    (entries,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "churn = churn.__main__:main" in wheel.read(entries).decode()
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"churn", "kedro_churn"}
