"""An account table in PostgreSQL."""

import os
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sql
import yaml

from churn.config.loader import ConfigLoader
from churn.datasets import SourceDataset
from churn.services.postgres import database_uri
from tests.cli.test_onboarding import init
from tests.conftest import make_project
from tests.stack import Stack
from tests.survey.tables import customers


def test_an_environment_for_a_table_in_postgresql(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stack.database is None:
        pytest.skip("PostgreSQL is not installed here")
    url = database_uri(stack.folder, stack.settings)
    frame = customers().assign(**{"Joined On": lambda rows: pd.to_datetime(rows["Joined On"]).dt.date})
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sql.text("CREATE SCHEMA IF NOT EXISTS crm"))
        frame.to_sql("members", connection, schema="crm", index=False, dtype={"Monthly Fee": sql.Numeric(10, 2)})
    engine.dispose()
    project = make_project(tmp_path)
    result = init(project, url, "--table", "crm.members", "--yes")
    assert result.exit_code == 0, result.output
    text = (project.conf / "members/globals.yml").read_text()
    password = url.split(":")[2].split("@")[0]
    assert password not in text + (project.conf / "members/parameters.yml").read_text() + result.output
    assert "Set CHURN_MEMBERS_PASSWORD in the environment" in result.output
    monkeypatch.setitem(os.environ, "CHURN_MEMBERS_PASSWORD", password)
    loader = ConfigLoader(str(project.conf), env="members", base_env="base", default_run_env="local")
    accounts = yaml.safe_load((project.conf / "members/parameters.yml").read_text())["accounts"]
    loaded = SourceDataset(filepath=loader["globals"]["source_accounts"], schema=accounts).load()
    assert len(loaded) == 400
    assert str(loaded["Monthly Fee"].iloc[0]) in ("29.90", "49.90", "1049.00")
