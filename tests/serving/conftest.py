from collections.abc import Iterator

import pandas as pd
import pytest

from churn.config import AccountSchema, Parameters
from churn.model import ChurnModel
from tests.serving.driving import Driven


@pytest.fixture
def driven(parameters: Parameters, model: ChurnModel) -> Iterator[Driven]:
    made = Driven(parameters, model)
    yield made
    made.service.close()


@pytest.fixture(scope="session")
def accounts(canonical: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    """Canonical accounts without their label."""
    return canonical.drop(columns=schema.label.column)
