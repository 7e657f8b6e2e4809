"""Capacity that is reserved for a load balancer: kept, shown, and asked for by a stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from elb_cloud import CALLER, SUBNETS, ElbCloud
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.server import quiet_log

DAY = 86_400.0


async def modify(cloud: ElbCloud, arn: str, units: int | None) -> Params:
    wanted: Params = {"ResetCapacityReservation": True}
    if units is not None:
        wanted = {"MinimumLoadBalancerCapacity": {"CapacityUnits": units}}
    return await cloud.call("ModifyCapacityReservation", LoadBalancerArn=arn, **wanted)


async def test_a_reservation_is_there_at_once(tmp_path: Path) -> None:
    cloud = ElbCloud(tmp_path)
    arn = await cloud.balancer()
    assert await cloud.call("DescribeCapacityReservation", LoadBalancerArn=arn) == {"DecreaseRequestsRemaining": 2}
    made = await modify(cloud, arn, 300)
    assert made["MinimumLoadBalancerCapacity"] == {"CapacityUnits": 300}
    assert made["CapacityReservationState"] == [
        {"State": {"Code": "provisioned"}, "AvailabilityZone": zone, "EffectiveCapacityUnits": 150.0}
        for zone in ("us-east-1a", "us-east-1b")
    ]
    assert made["LastModifiedTime"] == cloud.clock.now()
    assert await cloud.call("DescribeCapacityReservation", LoadBalancerArn=arn) == made
    assert set(await modify(cloud, arn, None)) == {"DecreaseRequestsRemaining", "LastModifiedTime"}
    # It goes with its load balancer.
    await modify(cloud, arn, 100)
    await cloud.call("DeleteLoadBalancer", LoadBalancerArn=arn)
    with pytest.raises(AwsError, match="not found"):
        await cloud.call("DescribeCapacityReservation", LoadBalancerArn=arn)
    assert cloud.database.read("SELECT * FROM elb_capacity") == []


async def test_it_is_decreased_twice_a_day(tmp_path: Path) -> None:
    cloud = ElbCloud(tmp_path)
    arn = await cloud.balancer()
    for units, left in ((500, 2), (400, 1), (600, 1), (300, 0), (300, 0)):
        assert (await modify(cloud, arn, units))["DecreaseRequestsRemaining"] == left
    with pytest.raises(AwsError) as error:
        await modify(cloud, arn, 200)
    assert error.value.code == "CapacityDecreaseRequestLimitExceeded"
    await cloud.clock.advance(DAY)
    assert (await modify(cloud, arn, 200))["DecreaseRequestsRemaining"] == 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "InvalidConfigurationRequest"),
        (
            {"MinimumLoadBalancerCapacity": {"CapacityUnits": 200}, "ResetCapacityReservation": True},
            "InvalidConfigurationRequest",
        ),
        ({"MinimumLoadBalancerCapacity": {"CapacityUnits": 99}}, "InvalidConfigurationRequest"),
        ({"MinimumLoadBalancerCapacity": {"CapacityUnits": 15_001}}, "CapacityUnitsLimitExceeded"),
    ],
)
async def test_what_cannot_be_reserved(tmp_path: Path, params: Any, code: str) -> None:
    cloud = ElbCloud(tmp_path)
    arn = await cloud.balancer()
    with pytest.raises(AwsError) as error:
        await cloud.call("ModifyCapacityReservation", LoadBalancerArn=arn, **params)
    assert error.value.code == code


class Stacks:
    """CloudFormation over these load balancers, in their virtual time."""

    def __init__(self, cloud: ElbCloud) -> None:
        self.cloud = cloud
        calls = Dispatcher(cloud.calls, [cloud.elb.service()])
        self.api = CloudFormationApi(
            database=cloud.database, ids=Ids(1), clock=cloud.clock, calls=calls, log=quiet_log()
        )

    async def do(self, operation: str, **params: Any) -> Params:
        caller = Caller(CALLER.account, CALLER.region, CALLER.arn, endpoint="http://127.0.0.1:4566")
        result: Any = self.api.service().operations[operation](caller, {"StackName": "web"} | params)
        answer: Params = await result if hasattr(result, "__await__") else result
        return answer

    async def status(self) -> str:
        for _ in range(60):
            await self.cloud.clock.advance(10)
            (stack,) = (await self.do("DescribeStacks"))["Stacks"]
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                break
        return str(stack["StackStatus"])

    async def drifted(self) -> list[str]:
        await self.do("DetectStackDrift")
        await self.cloud.clock.advance(20)
        found = (await self.do("DescribeStackResourceDrifts"))["StackResourceDrifts"]
        return [each["PropertyPath"] for one in found for each in one.get("PropertyDifferences") or []]


def template(more: Mapping[str, Any]) -> str:
    properties = {"Name": "web", "Subnets": SUBNETS} | dict(more)
    balancer = {"Type": "AWS::ElasticLoadBalancingV2::LoadBalancer", "Properties": properties}
    return json.dumps({"Resources": {"Balancer": balancer}})


async def test_a_stack_reserves_and_resets(tmp_path: Path) -> None:
    cloud = ElbCloud(tmp_path)
    stacks = Stacks(cloud)
    async with cloud.elb, stacks.api:
        wanted: dict[str, Any] = {
            "MinimumLoadBalancerCapacity": {"CapacityUnits": 200},
            "EnableCapacityReservationProvisionStabilize": True,
        }
        await stacks.do("CreateStack", TemplateBody=template(wanted))
        assert await stacks.status() == "CREATE_COMPLETE"
        (found,) = (await cloud.call("DescribeLoadBalancers"))["LoadBalancers"]
        arn = found["LoadBalancerArn"]
        shown = await cloud.call("DescribeCapacityReservation", LoadBalancerArn=arn)
        assert shown["MinimumLoadBalancerCapacity"] == {"CapacityUnits": 200}
        assert await stacks.drifted() == []
        await modify(cloud, arn, 300)
        assert await stacks.drifted() == ["/MinimumLoadBalancerCapacity/CapacityUnits"]
        await stacks.do("UpdateStack", TemplateBody=template({}))
        assert await stacks.status() == "UPDATE_COMPLETE"
        shown = await cloud.call("DescribeCapacityReservation", LoadBalancerArn=arn)
        assert "MinimumLoadBalancerCapacity" not in shown
