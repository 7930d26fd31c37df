"""How configuration is read."""

from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with a catalog that may refer to parameters: ``${parameters:accounts}``.

    The roles of an account table are parameters, and its data sets read the columns by their roles. Kedro itself
    resolves parameters only in parameters.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._resolved: tuple[str, Any] | None = None
        OmegaConf.register_new_resolver("parameters", self._parameter, replace=True)

    def _parameter(self, name: str) -> Any:
        # Read once for each set of runtime parameters: a warm process may run with one set after another.
        given = repr(self.runtime_params)
        if self._resolved is None or self._resolved[0] != given:
            self._resolved = (given, OmegaConf.create(self["parameters"]))
        return OmegaConf.select(self._resolved[1], name)
