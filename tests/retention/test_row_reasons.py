"""Reasons of single rows are those of a table."""

import numpy as np
import pandas as pd
import pytest

from churn.config import Parameters, Reasons
from churn.errors import ParametersError
from churn.model import ChurnModel
from churn.retention import explain_accounts
from churn.retention.row_reasons import RowReasons
from churn.retention.terms import Terms
from churn.tables import check_accounts


@pytest.mark.parametrize("minimum", [0.0, 0.2])
@pytest.mark.parametrize("texts", [False, True])
def test_the_reasons_of_single_rows_are_those_of_a_table(
    model: ChurnModel, labelled: pd.DataFrame, parameters: Parameters, minimum: float, texts: bool
) -> None:
    reasons = Reasons(count=4, minimum_probability=minimum, texts=parameters.reasons.texts if texts else ())
    accounts = check_accounts(labelled.head(400), model.schema, subject="accounts", labelled=False).accounts
    rows = accounts.to_dict("records")
    terms = Terms.of(model.encoder, model.reference)
    table = explain_accounts(model.explain_terms, accounts, model.probability(accounts), terms, reasons)
    of_row = RowReasons(terms, reasons)
    found = [of_row(score) for score in model.score_rows(rows, reasons=True)]
    for expected, each in zip(table.words.to_numpy(object).tolist(), found, strict=True):
        told = [part for reason in each.reasons for part in (reason.code, reason.text)]
        assert told == [part for part in expected if not pd.isna(part)]
    # To the last bit.
    np.testing.assert_array_equal([each.other for each in found], table.other)
    assert [[reason.contribution for reason in each.reasons] for each in found] == [
        [part for part in row if part] for row in table.contributions.tolist()
    ]
    assert [each.action for each in found] == table.actions.tolist()
    assert any(each.reasons for each in found)
    assert (table.actions >= 0).any() == texts


def test_faulty_sentences_are_refused_before_the_first_row(model: ChurnModel) -> None:
    texts = [{"column": "operating_country", "category": "{0}"}]
    with pytest.raises(ParametersError, match="is not a placeholder"):
        RowReasons(Terms.of(model.encoder, model.reference), Reasons(texts=texts))
