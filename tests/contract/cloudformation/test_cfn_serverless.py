"""AWS::Serverless-2016-10-31: what its resources become, what is said of those that cannot, and what is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_ancillary import Cloud
from portside.cloud.protocol.errors import AwsError

FUNCTION: dict[str, Any] = {
    "Type": "AWS::Serverless::Function",
    "Properties": {
        "Handler": "index.handler",
        "InlineCode": "def handler(event, context): return event",
        "Policies": [
            "AmazonSQSReadOnlyAccess",
            {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]},
        ],
        "Events": {"Nightly": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 day)"}}},
    },
}
TEMPLATE: dict[str, Any] = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {"Runtime": {"Type": "String", "Default": "python3.12"}},
    "Globals": {"Function": {"Runtime": {"Ref": "Runtime"}, "Timeout": 7}},
    "Resources": {"Hello": FUNCTION, "Orders": {"Type": "AWS::Serverless::SimpleTable"}},
    "Outputs": {"Hello": {"Value": {"Ref": "Hello"}}, "Role": {"Value": {"Ref": "HelloRole"}}},
}
ALL = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]


def changed(**properties: Any) -> dict[str, Any]:
    function = FUNCTION | {"Properties": FUNCTION["Properties"] | properties}
    return TEMPLATE | {"Resources": TEMPLATE["Resources"] | {"Hello": function}}


async def test_a_serverless_template(cloud: Cloud) -> None:
    with pytest.raises(AwsError) as refused:
        await cloud.create(TEMPLATE, Capabilities=["CAPABILITY_IAM"])
    assert refused.value.code == "InsufficientCapabilitiesException"
    assert refused.value.message == "Requires capabilities : [CAPABILITY_AUTO_EXPAND]"
    with pytest.raises(AwsError, match="CAPABILITY_IAM"):
        await cloud.create(TEMPLATE, Capabilities=["CAPABILITY_AUTO_EXPAND"])

    out = await cloud.create(TEMPLATE, Capabilities=ALL)
    made = (await cloud.ask("lambda", "GetFunction", FunctionName=out["Hello"]))["Configuration"]
    assert (made["Runtime"], made["Timeout"]) == ("python3.12", 7)
    attached = await cloud.ask("iam", "ListAttachedRolePolicies", RoleName=out["Role"])
    assert "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess" in {
        each["PolicyArn"] for each in attached["AttachedPolicies"]
    }
    resources = (await cloud.do("DescribeStackResources", StackName="web"))["StackResources"]
    assert {each["LogicalResourceId"]: each["ResourceType"] for each in resources} == {
        "Hello": "AWS::Lambda::Function",
        "HelloRole": "AWS::IAM::Role",
        "HelloNightly": "AWS::Events::Rule",
        "HelloNightlyPermission": "AWS::Lambda::Permission",
        "Orders": "AWS::DynamoDB::Table",
    }

    original = await cloud.do("GetTemplate", StackName="web", TemplateStage="Original")
    processed = await cloud.do("GetTemplate", StackName="web", TemplateStage="Processed")
    assert "Globals" in str(original["TemplateBody"]) and "AWS::Serverless::Function" in str(
        original["TemplateBody"]
    )
    assert "Globals" not in str(processed["TemplateBody"]) and "HelloNightly" in str(processed["TemplateBody"])

    await cloud.do(
        "CreateChangeSet",
        StackName="web",
        ChangeSetName="slower",
        TemplateBody=json.dumps(changed(Timeout=9)),
        Capabilities=["CAPABILITY_IAM"],
    )
    found = await cloud.do("DescribeChangeSet", StackName="web", ChangeSetName="slower")
    changes = {each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"] for each in found["Changes"]}
    assert (changes["Hello"]["Action"], changes["Hello"]["Replacement"]) == ("Modify", "False")
    assert "Orders" not in changes
    await cloud.update(changed(Timeout=9), Capabilities=ALL)
    made = (await cloud.ask("lambda", "GetFunction", FunctionName=out["Hello"]))["Configuration"]
    assert made["Timeout"] == 9
    await cloud.delete()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            changed(Speed="fast"),
            "Invalid Serverless Application Specification document. Number of errors found: 1. Resource with id "
            "[Hello] is invalid. property Speed not defined for resource of type AWS::Serverless::Function",
        ),
        (
            TEMPLATE
            | {
                "Resources": {
                    "Shared": {
                        "Type": "AWS::Serverless::Application",
                        "Properties": {"Location": {"ApplicationId": "arn:x", "SemanticVersion": "1.0.0"}},
                    }
                },
                "Outputs": {},
            },
            "Resource with id [Shared] is an application of the AWS Serverless Application Repository, which portside's "
            "local cloud does not offer; give the address of a template.",
        ),
    ],
)
async def test_what_the_transform_cannot_read(cloud: Cloud, template: dict[str, Any], reason: str) -> None:
    made = await cloud.do("CreateStack", StackName="web", TemplateBody=json.dumps(template), Capabilities=ALL)
    cloud.id = made["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    said = f"Transform AWS::Serverless-2016-10-31 failed with: {reason}"
    assert any(said in each for each in await cloud.reasons()), await cloud.reasons()
    made = await cloud.do(
        "CreateChangeSet",
        StackName="other",
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(template),
    )
    found = await cloud.do("DescribeChangeSet", ChangeSetName=made["Id"])
    assert (found["Status"], found["StatusReason"]) == ("FAILED", said)
