"""What the project needs of the interpreter and of the home folder, checked before libraries are imported."""

import os
import sys
from pathlib import Path


def check_interpreter(level: int) -> None:
    """End the process if the interpreter removes docstrings: XGBoost cannot be imported without them.

    Args:
        level: Level of optimisation, ``sys.flags.optimize``.
    """
    if level > 1:
        sys.exit(
            f"Error: Python runs without docstrings (PYTHONOPTIMIZE={level}, or -OO), which XGBoost and MLflow need; unset "
            "PYTHONOPTIMIZE, or set it to 1"
        )


def use_writable_folders(project: Path) -> None:
    """Let Matplotlib keep its fonts in the project if the home folder cannot be written; it would find them at every start.

    Args:
        project: Folder of the project.
    """
    if "MPLCONFIGDIR" in os.environ:
        return
    try:
        usable = os.access(Path.home(), os.W_OK)
    except RuntimeError:  # this user has none
        usable = False
    if not usable:
        os.environ["MPLCONFIGDIR"] = str(project / ".cache/matplotlib")
