"""Every notebook runs from top to bottom in a fresh checkout."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

pytestmark = pytest.mark.e2e

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, checkout: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    here = {"metadata": {"path": str(checkout / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=here).execute()
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 6
    assert (checkout / "data/ml-result/latest.json").exists()
    assert (checkout / "data/mlflow-artifacts/mlflow.db").exists()
    assert not (checkout / "notebooks/data").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_there_is_a_first_notebook() -> None:
    assert NOTEBOOKS
    assert NOTEBOOKS[0].name.startswith("01-")
