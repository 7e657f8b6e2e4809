"""Includes, rules and parameters of AWS's types, with the object store and the network behind the seam."""

from __future__ import annotations

from typing import Any

from cfn_ancillary import Cloud
from cfn_world import body

EXPAND = ["CAPABILITY_AUTO_EXPAND"]
TOPIC = {"Type": "AWS::SNS::Topic"}


async def ended(cloud: Cloud, name: str, template: Any, **parameters: str) -> tuple[str, list[str]]:
    """The status in which the stack comes to rest, and the reasons of its events."""
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    await cloud.do(
        "CreateStack", StackName=name, TemplateBody=body(template), Capabilities=EXPAND, Parameters=given
    )
    status = await cloud.settle(name)
    events = (await cloud.do("DescribeStackEvents", StackName=name))["StackEvents"]
    return status, [each["ResourceStatusReason"] or "" for each in events]


async def test_what_the_language_needs_of_other_services(cloud: Cloud) -> None:
    await cloud.ask("s3", "CreateBucket", Bucket="pieces")
    await cloud.ask("s3", "PutObject", Bucket="pieces", Key="a.yaml", Body=b"Type: AWS::SNS::Topic")

    def including(location: str) -> Any:
        return {
            "Resources": {"A": {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": location}}}}
        }

    assert (await ended(cloud, "one", including("s3://pieces/a.yaml")))[0] == "CREATE_COMPLETE"
    for name, location, reason in (
        ("two", "s3://pieces/none", "The specified key does not exist."),
        ("three", "s3://doesnotexist/a", "S3 bucket [doesnotexist] does not exist."),
    ):
        status, reasons = await ended(cloud, name, including(location))
        assert status == "ROLLBACK_COMPLETE"
        assert f"Transform AWS::Include failed with: {reason} Rollback requested by user." in reasons

    template = {
        "Parameters": {"Vpc": {"Type": "AWS::EC2::VPC::Id"}, "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"}},
        "Rules": {
            "Together": {
                "Assertions": [
                    {"Assert": {"Fn::EachMemberEquals": [{"Fn::ValueOf": ["Subnets", "VpcId"]}, {"Ref": "Vpc"}]}},
                    {"Assert": {"Fn::Contains": [{"Fn::RefAll": "AWS::EC2::VPC::Id"}, {"Ref": "Vpc"}]}},
                ]
            }
        },
        "Resources": {"A": TOPIC | {"Properties": {"DisplayName": {"Ref": "Vpc"}}}},
    }
    (vpc,) = (await cloud.ask("ec2", "DescribeVpcs"))["Vpcs"]
    subnets = [each["SubnetId"] for each in (await cloud.ask("ec2", "DescribeSubnets"))["Subnets"]]
    status, _ = await ended(cloud, "four", template, Vpc=vpc["VpcId"], Subnets=",".join(subnets[:2]))
    assert status == "CREATE_COMPLETE"
    status, reasons = await ended(cloud, "five", template, Vpc=vpc["VpcId"], Subnets="subnet-00000000")
    assert status == "ROLLBACK_COMPLETE"
    missing = "parameter value subnet-00000000 for parameter name Subnets does not exist"
    assert f"Parameter validation failed: {missing}. Rollback requested by user." in reasons
