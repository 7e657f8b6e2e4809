"""Moments that another endpoint answers with are passed on in each wire format."""

import json
from datetime import UTC, datetime

import cbor2
import pytest

from portside.cloud.protocol import serialise
from portside.cloud.protocol.models import model

AT = 1_795_669_171.5


@pytest.mark.parametrize("moment", [AT, datetime.fromtimestamp(AT, UTC)])
def test_in_every_form(moment):
    acm, cloudwatch = model("acm"), model("cloudwatch")
    assert acm is not None and cloudwatch is not None
    answer = {"Certificate": {"NotAfter": moment}}
    made = serialise.json_response(acm.operation_model("DescribeCertificate"), answer, "id")
    assert json.loads(made.body)["Certificate"]["NotAfter"] == AT
    answer = {"Label": "a", "Datapoints": [{"Timestamp": moment}]}
    operation = cloudwatch.operation_model("GetMetricStatistics")
    found = cbor2.loads(serialise.cbor_response(operation, answer, "id").body)
    assert found["Datapoints"][0]["Timestamp"] == datetime.fromtimestamp(AT, UTC)
    assert b"2026-11-26T04:59:31.500Z" in serialise.query_response(operation, answer, "id").body
