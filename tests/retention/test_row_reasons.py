"""Reasons of single rows are those of a table."""

import pandas as pd
import pytest

from churn.config import Parameters, Reasons
from churn.errors import ParametersError
from churn.model import ChurnModel
from churn.retention import explain_accounts
from churn.retention.reasons import RowReasons, typical_values
from churn.tables import check_accounts


@pytest.mark.parametrize("minimum", [0.0, 0.2])
@pytest.mark.parametrize("texts", [False, True])
def test_the_reasons_of_single_rows_are_those_of_a_table(
    model: ChurnModel, labelled: pd.DataFrame, parameters: Parameters, minimum: float, texts: bool
) -> None:
    reasons = Reasons(count=4, minimum_probability=minimum, texts=parameters.reasons.texts if texts else ())
    rows = [dict(row) for _, row in labelled.head(400).iterrows()]
    accounts = check_accounts(labelled.head(400), model.schema, subject="accounts", labelled=False).accounts
    typical = typical_values(model.encoder, model.reference)
    table = explain_accounts(model.explain, accounts, model.probability(accounts), typical, reasons)
    of_row = RowReasons(typical, reasons)
    found = [of_row(score) for score in model.score_rows(rows, reasons=of_row.count)]
    for expected, each in zip(table.to_numpy(object).tolist(), found, strict=True):
        told = [part for reason in each for part in (reason.code, reason.text)]
        assert told == [part for part in expected if not pd.isna(part)]
    assert any(found)


def test_faulty_sentences_are_refused_before_the_first_row(model: ChurnModel) -> None:
    texts = [{"column": "operating_country", "category": "{0}"}]
    with pytest.raises(ParametersError, match="is not a placeholder"):
        RowReasons(typical_values(model.encoder, model.reference), Reasons(texts=texts))
