"""Stack policies: what they are, and what they allow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import stack_policy
from portside.cloud.services.cloudformation.stack_policy import DELETE, MODIFY, REPLACE

ALLOW_ALL = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}


def policy(*statements: dict[str, Any]) -> stack_policy.StackPolicy:
    return stack_policy.parse(json.dumps({"Statement": list(statements)}))


def deny(**fields: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": "Update:*", "Principal": "*", "Resource": "*"} | fields


@pytest.mark.parametrize(
    ("statements", "action", "refused"),
    [
        ([ALLOW_ALL], MODIFY, ""),
        ([ALLOW_ALL, deny(Resource="LogicalResourceId/Other")], REPLACE, ""),
        ([ALLOW_ALL, deny(Resource="LogicalResourceId/Data")], DELETE, "#2"),
        ([deny(Resource="LogicalResourceId/D*"), ALLOW_ALL], MODIFY, "#1"),
        ([ALLOW_ALL, deny(Action=["Update:Replace", "Update:Delete"])], MODIFY, ""),
        ([ALLOW_ALL, deny(Action=["Update:Replace", "Update:Delete"])], REPLACE, "#2"),
        ([ALLOW_ALL, deny(Action="update:replace")], REPLACE, "#2"),
        ([{"Effect": "Allow", "NotAction": "Update:Delete", "Principal": "*", "Resource": "*"}], MODIFY, ""),
        (
            [{"Effect": "Allow", "NotAction": "Update:Delete", "Principal": "*", "Resource": "*"}],
            DELETE,
            "no stat",
        ),
        ([ALLOW_ALL | {"Resource": "LogicalResourceId/Other"}], MODIFY, "no statement allows"),
        (
            [
                {
                    "Effect": "Allow",
                    "Action": "Update:*",
                    "Principal": "*",
                    "NotResource": "LogicalResourceId/Data",
                }
            ],
            MODIFY,
            "no statement allows",
        ),
        (
            [
                ALLOW_ALL,
                deny(Condition={"StringEquals": {"ResourceType": ["AWS::SNS::Topic", "AWS::S3::Bucket"]}}),
            ],
            MODIFY,
            "#2",
        ),
        ([ALLOW_ALL, deny(Condition={"StringLike": {"ResourceType": "AWS::SN*"}})], MODIFY, "#2"),
        ([ALLOW_ALL, deny(Condition={"StringEquals": {"ResourceType": "AWS::SN*"}})], MODIFY, ""),
        ([ALLOW_ALL, deny(Condition={"StringNotLike": {"ResourceType": "AWS::SN*"}})], MODIFY, ""),
    ],
)
def test_what_is_allowed(statements: list[dict[str, Any]], action: str, refused: str) -> None:
    found = policy(*statements).refusal(action, "Data", "AWS::SNS::Topic")
    assert (refused in found) if refused else found == ""


def test_the_words_of_a_denial() -> None:
    found = policy(ALLOW_ALL, deny(Action="Update:Replace", Resource="LogicalResourceId/VPC"))
    assert found.refusal(REPLACE, "VPC", "AWS::EC2::VPC") == (
        "Action denied by stack policy: Statement [#2] does not allow [Update:Replace] for resource "
        "[LogicalResourceId/VPC];"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        '{"Statement": []}',
        '{"Statement": "x"}',
        json.dumps({"Statement": [ALLOW_ALL | {"Effect": "Maybe"}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"Action": "s3:*"}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"Principal": "me"}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"Resource": "Topic"}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"NotResource": "*"}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"Condition": {"Bool": {"ResourceType": "x"}}}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"Condition": {"StringLike": {"aws:x": "x"}}}]}),
        json.dumps({"Statement": [ALLOW_ALL | {"Resources": "*"}]}),
    ],
)
def test_what_is_no_policy(text: str) -> None:
    with pytest.raises(AwsError) as refused:
        stack_policy.parse(text)
    assert refused.value.message == "Error validating stack policy: Invalid stack policy"
