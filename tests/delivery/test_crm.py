"""Salesforce and HubSpot, against stubs of their contracts: what their documentation says of requests and answers.

The stubs are no Salesforce and no HubSpot. They hold records by the external id, check the form of a request, and answer in the
documented form.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from churn.config import HubspotTarget
from churn.delivery import make_target
from tests.delivery.receiving import Answer, Server
from tests.delivery.test_sending import LISTED, SCORES, numbers
from tests.delivery.worlds import World, with_scores

IDS = SCORES["account_id"].to_pylist()
COLUMNS = [
    {"source": "account_id"},
    {"source": "probability", "name": "Churn_Risk__c"},
    {"source": "recommended_action", "name": "Call__c", "type": "boolean"},
    {"source": "as_of", "name": "Scored_On__c"},
    {"source": "removed", "name": "Not_Scored__c"},
]


class SalesforceStub(Server):
    """A stub of PATCH /services/data/vXX.X/composite/sobjects/<object>/<field>, "sObject Collections, upsert"."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        super().__init__()

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        method, path = self.requests[-1][:2]
        assert (method, path) == ("PATCH", "/services/data/v62.0/composite/sobjects/Account/Churn_Id__c")
        if headers["authorization"] != "Bearer a-token":
            return Answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        content = json.loads(body)
        assert content["allOrNone"] is False
        assert len(content["records"]) <= 200
        answers = []
        for record in content["records"]:
            assert record.pop("attributes") == {"type": "Account"}
            account = record.pop("Churn_Id__c")
            if account == IDS[3]:
                error = {"statusCode": "STRING_TOO_LONG", "message": "data value too large", "fields": ["Call__c"]}
                answers.append({"success": False, "errors": [error]})
                continue
            answers.append({"id": "001", "success": True, "errors": [], "created": account not in self.records})
            self.records.setdefault(account, {}).update(record)
        return Answer(200, answers)


class HubspotStub(Server):
    """A stub of POST /crm/v3/objects/<object>/batch/upsert."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        super().__init__()

    def answer(self, headers: dict[str, str], body: bytes) -> Answer:
        assert self.requests[-1][:2] == ("POST", "/crm/v3/objects/companies/batch/upsert")
        assert headers["authorization"] == "Bearer a-token"
        inputs = json.loads(body)["inputs"]
        assert len(inputs) <= 100
        bad = [each["id"] for each in inputs if each["id"] == IDS[3]]
        for each in inputs:
            assert each["idProperty"] == "churn_id"
            assert all(isinstance(value, str) for value in each["properties"].values())
            if each["id"] not in bad:
                self.records.setdefault(each["id"], {}).update(each["properties"])
        if not bad:
            return Answer(200, {"status": "COMPLETE", "results": []})
        error = {"status": "error", "message": "Property values were not valid", "context": {"ids": bad}}
        return Answer(207, {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [error]})


@pytest.fixture
def salesforce() -> Iterator[SalesforceStub]:
    stub = SalesforceStub()
    yield stub
    stub.close()


@pytest.fixture
def hubspot() -> Iterator[HubspotStub]:
    stub = HubspotStub()
    yield stub
    stub.close()


def test_records_of_salesforce(salesforce: SalesforceStub, tmp_path: Path) -> None:
    credentials = {"url": f"{salesforce.url}/", "token": "a-token"}
    world = World(tmp_path, credentials, kind="salesforce", external_id="Churn_Id__c", columns=COLUMNS, wait=0.01)
    world.publish(SCORES, LISTED)
    outcome = world.deliver()
    assert (outcome.status, outcome.counts.rejected, len(salesforce.requests)) == ("delivered", 1, 5)
    assert "STRING_TOO_LONG" in world.rejects.read_text()
    assert len(salesforce.records) == 999
    world.publish(with_scores(SCORES.slice(1), 0, 0.125), LISTED)
    assert numbers(world.deliver()) == (1, 1, 997, 1)
    assert salesforce.records[IDS[0]]["Not_Scored__c"] is True
    assert salesforce.records[IDS[1]] | {"Call__c": None} == {
        "Churn_Risk__c": 0.125,
        "Call__c": None,
        "Scored_On__c": "2026-11-28",
        "Not_Scored__c": False,
    }
    world.credentials["token"] = "another"
    world.publish(SCORES, LISTED)
    assert "401" in world.deliver().reason


def test_records_of_hubspot(hubspot: HubspotStub, tmp_path: Path) -> None:
    credentials = {"url": hubspot.url, "token": "a-token"}
    world = World(tmp_path, credentials, kind="hubspot", id_property="churn_id", columns=COLUMNS, wait=0.01)
    world.publish(SCORES.slice(0, 250), LISTED)
    outcome = world.deliver()
    assert (outcome.status, outcome.counts.rejected, len(hubspot.requests)) == ("delivered", 1, 3)
    world.publish(SCORES.slice(1, 249), LISTED)
    assert numbers(world.deliver()) == (1, 0, 248, 1)
    assert hubspot.records[IDS[0]]["Not_Scored__c"] == "true"
    assert hubspot.records[IDS[1]]["Scored_On__c"] == "2026-11-28"
    assert hubspot.records[IDS[1]]["Call__c"] in ("", "true", "false")


def test_an_answer_that_tells_nothing_is_no_delivery(tmp_path: Path) -> None:
    class Silent(Server):
        def answer(self, headers: dict[str, str], body: bytes) -> Answer:
            return Answer(200, {"hello": "world"})

    server = Silent()
    credentials = {"url": server.url, "token": "t"}
    world = World(tmp_path, credentials, kind="salesforce", external_id="Churn_Id__c")
    world.publish(SCORES.slice(0, 5), LISTED)
    outcome = world.deliver()
    server.close()
    assert outcome.status == "failed"
    assert "does not tell" in outcome.reason


def test_without_a_field_for_it_nobody_can_be_told_who_is_gone(tmp_path: Path) -> None:
    settings = {"name": "crm", "kind": "hubspot", "id_property": "x", "columns": COLUMNS[:-1]}
    (fault,) = make_target(HubspotTarget.model_validate(settings), {"crm": {"token": "t"}}, tmp_path).faults()
    assert "removed" in fault
