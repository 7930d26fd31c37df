"""The configuration loader."""

import copy
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf

from churn.errors import ChurnError, FaultsError, closest

# A required variable in the files of an environment; an optional one has a comma and a default after its name.
_REQUIRED = re.compile(r"\$\{env:(\w+)\}")
# Resolved configuration by everything that it depends on: a run reads the parameters several times, and a process with many
# runs reads the files again only after a change.
_RESOLVED: dict[Any, dict[str, Any]] = {}
_MOST_RESOLVED = 64

# Folder of the configuration in a project.
SOURCE = "conf"
# Arguments of the loader in this project.
LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"], "spark": ["spark.yml"]},
    # An environment changes the keys that it names and keeps the rest; lists are replaced as a whole.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft", "spark": "soft"},
}


def _plain(value: Any) -> Any:
    """Return nested values as plain types: Kedro gives those of its settings, which cannot be handed to another process."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader with two more resolvers.

    ``${parameters:accounts}``, in a catalog, is a parameter. The schema of an account table is a parameter that its data
    sets need; Kedro itself resolves parameters only in parameters.

    ``${env:NAME}`` and ``${env:NAME,default}``, in any file, are environment variables, or else variables of the file
    ``.env`` next to the configuration folder. An empty variable has the value of its default.

    Attributes:
        options: The arguments; with them another loader reads the files anew.
    """

    def __init__(
        self,
        conf_source: str | Path,
        env: str | None = None,
        runtime_params: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        # Kedro's constructor reads the globals, so the resolvers and attributes are set first.
        self.conf_source = str(conf_source)
        self.options: dict[str, Any] = _plain(
            {"conf_source": str(conf_source), "env": env, "runtime_params": runtime_params, **options}
        )
        self._resolved: tuple[str, Any] | None = None
        self._dotenv: dict[str, str | None] | None = None
        OmegaConf.register_new_resolver("parameters", self._parameter, replace=True)
        OmegaConf.register_new_resolver("env", self._variable, replace=True)
        self._check_place()
        self._check_environment(env)
        self._check_variables(env)
        super().__init__(conf_source, env, runtime_params, **options)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return a copy of a section of the configuration, for example ``parameters``."""
        if key in self.data or self._protocol != "file":
            return super().__getitem__(key)
        state = self._state(key)
        if state not in _RESOLVED:
            if len(_RESOLVED) >= _MOST_RESOLVED:
                _RESOLVED.clear()
            _RESOLVED[state] = super().__getitem__(key)
        return copy.deepcopy(_RESOLVED[state])

    def _state(self, key: str) -> Any:
        """Return everything that a section depends on: files, variables, runtime parameters."""
        seen = self.files()
        variables = frozenset(os.environ.items())
        set_here = repr({name: self.data.get(name) for name in ("globals", "parameters")})
        return key, self.conf_source, self.env, repr(self.runtime_params), set_here, seen, variables

    def files(self) -> frozenset[tuple[str, int, int]]:
        """Return path, size and time of each file of the configuration, and of ``.env``."""
        places = [Path(self.conf_source) / env for env in {self.base_env, self.env or self.default_run_env}]
        files = [file for place in places for file in place.rglob("*")]
        if (dotenv := self._dotenv_file()).exists():
            files.append(dotenv)
        return frozenset((str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)

    def _parameter(self, name: str) -> Any:
        # Read once for each set of runtime parameters: one process may run with several sets.
        given = repr(self.runtime_params)
        if self._resolved is None or self._resolved[0] != given:
            self._resolved = (given, OmegaConf.create(self["parameters"]))
        return OmegaConf.select(self._resolved[1], name)

    def _variable(self, name: str, default: str | None = None) -> str:
        value = self.variable(name)
        if value is None and default is None:
            raise ChurnError(f"{name} is not set; {self._remedy()}")
        return value or default or ""

    def variable(self, name: str) -> str | None:
        """Return a variable of the environment or of ``.env``; the environment takes precedence."""
        if self._dotenv is None:
            from dotenv import dotenv_values

            self._dotenv = dotenv_values(self._dotenv_file(), interpolate=False)
        return os.environ.get(name, self._dotenv.get(name))

    def _dotenv_file(self) -> Path:
        return Path(self.conf_source).absolute().parent / ".env"

    def _remedy(self) -> str:
        file = self._dotenv_file()
        return f"set it in the environment or in {file} (make env creates it, .env.example describes the variables)"

    def _check_place(self) -> None:
        """Check that Kedro will look for the files of the configuration in this folder and in no other.

        Raises:
            ChurnError: If the path has a sign of patterns.
        """
        place = Path(self.conf_source).absolute()
        if found := [sign for sign in "*?[" if sign in str(place)]:
            raise ChurnError(
                f"the configuration cannot be in {place}: Kedro reads {' and '.join(found)} as a pattern, which matches other "
                "folders. Move the project to a folder without it"
            )

    def _check_environment(self, env: str | None) -> None:
        """Check that the folder of the environment exists; configuration in an archive is left to Kedro.

        Raises:
            ChurnError: Names the environments that exist.
        """
        folder = Path(self.conf_source)
        if not env or not folder.is_dir() or (folder / env).is_dir():
            return
        known = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
        close = closest(env, known)
        hint = f"did you mean {close}?" if close else f"create {folder / env}, or choose from {', '.join(known)}"
        raise ChurnError(f"there is no environment '{env}' in {folder}; {hint}")

    def _check_variables(self, env: str | None) -> None:
        """Check that all required variables of the environment's files are set.

        Raises:
            FaultsError: Lists the missing variables.
        """
        files = sorted((Path(self.conf_source) / env).glob("*.yml")) if env else []
        needed = _REQUIRED.findall("".join(file.read_text(encoding="utf-8") for file in files))
        missing = [name for name in dict.fromkeys(needed) if self.variable(name) is None]
        if missing:
            raise FaultsError(f"environment '{env}'", [f"{name} is not set; {self._remedy()}" for name in missing])


def configuration(
    env: str | None, conf_source: str | None, given: Mapping[str, Any] | None = None
) -> tuple[ConfigLoader, Path]:
    """Return the configuration of an environment of the project in the current folder, and the project's folder.

    No session is opened: its hooks import MLflow, which takes seconds, refuse a database that is to be upgraded, and create one
    where a backup is to be restored.

    Args:
        env: Name of the environment; ``None`` for the variable ``KEDRO_ENV``, or ``local``.
        conf_source: Folder of the configuration; ``None`` for that of the project.
        given: Parameters that replace those of the files.

    Raises:
        ChurnError: If the current folder is in no project, or if the environment does not exist.
    """
    found = find_kedro_project(Path.cwd())
    if found is None:
        raise ChurnError("this folder is in no Kedro project; go to the one with conf and pyproject.toml")
    project = Path(found)
    source = conf_source or str(project / SOURCE)
    return ConfigLoader(source, env or os.environ.get("KEDRO_ENV"), dict(given or {}), **LOADER_ARGS), project
