"""What can be switched on and off of a subnet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_ancillary import Cloud, of, showing


def resources(**more: Any) -> dict[str, Any]:
    subnet = of("EC2::Subnet", VpcId={"Ref": "Vpc"}, CidrBlock="10.9.1.0/24", EnableDns64=False, **more)
    return {"Vpc": of("EC2::VPC", CidrBlock="10.9.0.0/16"), "Subnet": subnet}


async def test_names_of_a_subnets_instances(cloud: Cloud) -> None:
    async def shown() -> Any:
        (found,) = (await cloud.ask("ec2", "DescribeSubnets", SubnetIds=[out["Subnet"]]))["Subnets"]
        return found["PrivateDnsNameOptionsOnLaunch"]["EnableResourceNameDnsARecord"]

    options = {"HostnameType": "ip-name", "EnableResourceNameDnsARecord": True}
    out = await cloud.create(showing(resources(PrivateDnsNameOptionsOnLaunch=options)))
    assert await shown() is True
    options["EnableResourceNameDnsARecord"] = False
    await cloud.update(showing(resources(PrivateDnsNameOptionsOnLaunch=options, MapPublicIpOnLaunch=True)))
    assert await shown() is False
    await cloud.delete()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"HostnameType": "resource-name"}, "HostnameType as resource-name"),
        ({"EnableResourceNameDnsAAAARecord": True}, "EnableResourceNameDnsAAAARecord"),
    ],
)
async def test_names_that_are_not_given(cloud: Cloud, options: Any, reason: str) -> None:
    template = json.dumps({"Resources": resources(PrivateDnsNameOptionsOnLaunch=options)})
    cloud.id = (await cloud.do("CreateStack", StackName="web", TemplateBody=template))["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any(reason in each for each in await cloud.reasons())
