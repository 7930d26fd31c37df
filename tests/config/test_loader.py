"""The configuration loader refuses what it cannot read, with the way out."""

from pathlib import Path

import pytest

from churn.config.loader import ConfigLoader
from churn.errors import ChurnError
from churn.settings import CONFIG_LOADER_ARGS
from tests.conftest import ROOT


def test_an_environment_that_does_not_exist_is_named_with_the_closest() -> None:
    with pytest.raises(ChurnError, match=r"no environment 'telko' in .*conf; did you mean telco\?$"):
        ConfigLoader(ROOT / "conf", "telko", **CONFIG_LOADER_ARGS)
    with pytest.raises(ChurnError, match=r"choose from base, local, .*telco"):
        ConfigLoader(ROOT / "conf", "zzz", **CONFIG_LOADER_ARGS)


def test_environments_that_exist_are_read(tmp_path: Path) -> None:
    for env in ("telco", "base", None):
        assert ConfigLoader(ROOT / "conf", env, **CONFIG_LOADER_ARGS)["globals"]["model"]["name"]
    # Kedro says what is wrong with the folder itself.
    ConfigLoader(tmp_path / "none", "telko", **CONFIG_LOADER_ARGS)


@pytest.mark.parametrize("name", ["a[1]", "a*b", "what?"])
def test_a_place_that_kedro_reads_as_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / "conf/base").mkdir(parents=True)
    with pytest.raises(ChurnError, match="as a pattern"):
        ConfigLoader(folder / "conf", None, **CONFIG_LOADER_ARGS)
