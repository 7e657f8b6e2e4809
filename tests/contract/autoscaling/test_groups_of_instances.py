"""Auto Scaling groups over the real ancillary services: what goes, what stays, and what is waited for."""

import asyncio
import inspect
from contextlib import asynccontextmanager

import boto3
import pytest

from portside.cloud.kernel.clock import Pace
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.calls import Caller
from portside.testing.calls import ScriptedCalls
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, quiet_log, serve

REGION = "eu-west-1"
CALLER = Caller.root(ACCOUNT, REGION, "portside")


class Groups:
    """`await groups.do("SetDesiredCapacity", DesiredCapacity=1)` for the group `g`; then the loop's turn."""

    def __init__(self, path, ancillary):
        self.ancillary = ancillary
        self.clock = VirtualClock()
        self.database = Database(path / "state.db")
        self.api = AutoScalingApi(
            database=self.database,
            clock=self.clock,
            pace=Pace(1.0, 0.0),
            calls=ScriptedCalls(),
            log=quiet_log(),
            ancillary=ancillary,
        )

    async def do(self, operation, **params):
        if operation not in ("DescribeAutoScalingGroups", "DescribeAutoScalingInstances"):
            params.setdefault("AutoScalingGroupName", "g")
        if operation == "TerminateInstanceInAutoScalingGroup":
            del params["AutoScalingGroupName"]
        handler = self.api.service().operations.get(operation)
        if handler is None:
            return await self.ancillary("autoscaling", operation, params, CALLER)
        result = handler(CALLER, params)
        return await result if inspect.isawaitable(result) else result

    async def turn(self):
        for _ in range(3):
            await self.api.groups.turn(f"{REGION} g")

    async def look(self):
        found = await self.do("DescribeAutoScalingGroups", AutoScalingGroupNames=["g"])
        return found["AutoScalingGroups"][0]

    async def ids(self, state="InService"):
        return [e["InstanceId"] for e in (await self.look())["Instances"] if e["LifecycleState"] == state]

    async def running(self):
        answer = await self.ancillary(
            "ec2",
            "DescribeInstances",
            {"Filters": [{"Name": "instance-state-name", "Values": ["running"]}]},
            CALLER,
        )
        return {e["InstanceId"] for r in answer.get("Reservations") or [] for e in r["Instances"]}


@asynccontextmanager
async def grouped(path, **more):
    async with Ancillary(directory=path, account=ACCOUNT, endpoint="", log=quiet_log()) as ancillary:
        made = Groups(path, ancillary)
        images = await ancillary("ec2", "DescribeImages", {}, CALLER)
        await ancillary(
            "autoscaling",
            "CreateLaunchConfiguration",
            {
                "LaunchConfigurationName": "lc",
                "ImageId": images["Images"][0]["ImageId"],
                "InstanceType": "t3.small",
            },
            CALLER,
        )
        await made.do(
            "CreateAutoScalingGroup",
            LaunchConfigurationName="lc",
            AvailabilityZones=[REGION + "a"],
            **{"MinSize": 0, "MaxSize": 5, "DesiredCapacity": 3} | more,
        )
        yield made
        made.database.close()


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_scale_in_honours_protection_and_goes_on_when_it_ends(directory):
    async with grouped(directory) as groups:
        first, second, _ = await groups.ids()
        await groups.do("SetInstanceProtection", InstanceIds=[first, second], ProtectedFromScaleIn=True)
        await groups.do("SetDesiredCapacity", DesiredCapacity=1)
        await groups.turn()
        assert await groups.ids() == [first, second], "one more should go, but may not"
        assert (await groups.look())["DesiredCapacity"] == 1
        await groups.do("SetInstanceProtection", InstanceIds=[second], ProtectedFromScaleIn=False)
        await groups.turn()
        assert await groups.ids() == [first]
        assert await groups.running() == {first}
        await groups.do("SetDesiredCapacity", DesiredCapacity=2)
        assert len(await groups.ids()) == 2


async def test_scale_in_takes_those_that_the_policy_names(directory):
    async with grouped(directory, DesiredCapacity=2, TerminationPolicies=["NewestInstance"]) as groups:
        before = await groups.ids()
        await groups.do("SetDesiredCapacity", DesiredCapacity=3)
        (newest,) = set(await groups.ids()) - set(before)
        await groups.do("SetDesiredCapacity", DesiredCapacity=2)
        await groups.turn()
        assert newest not in await groups.ids()
        assert set(await groups.ids()) == set(before)


async def test_an_instance_waits_for_its_hook(directory):
    async with grouped(directory) as groups:
        hook = {"LifecycleHookName": "drain", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
        await groups.do("PutLifecycleHook", **hook, HeartbeatTimeout=600, DefaultResult="CONTINUE")
        await groups.do("SetDesiredCapacity", DesiredCapacity=1)
        await groups.turn()
        waiting = await groups.ids("Terminating:Wait")
        assert len(waiting) == 2
        assert len(await groups.running()) == 3
        assert (await groups.look())["DesiredCapacity"] == 1
        await groups.do(
            "CompleteLifecycleAction",
            LifecycleHookName="drain",
            InstanceId=waiting[0],
            LifecycleActionResult="CONTINUE",
        )
        await groups.turn()
        assert await groups.ids("Terminating:Wait") == [waiting[1]]
        assert waiting[0] not in await groups.running()
        await groups.clock.advance(601)
        await groups.turn()
        assert await groups.ids("Terminating:Wait") == []
        assert len(await groups.running()) == 1
        assert len(await groups.ids()) == 1, "nothing was launched in their place"


async def test_growing_while_instances_still_leave(directory):
    async with grouped(directory) as groups:
        hook = {"LifecycleHookName": "drain", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
        await groups.do("PutLifecycleHook", **hook, HeartbeatTimeout=600)
        await groups.do("SetDesiredCapacity", DesiredCapacity=1)
        await groups.turn()
        await groups.do("SetDesiredCapacity", DesiredCapacity=2)
        assert len(await groups.ids()) == 2
        await groups.clock.advance(601)
        await groups.turn()
        assert len(await groups.ids()) == 2
        assert len(await groups.running()) == 2
        assert (await groups.look())["DesiredCapacity"] == 2


async def test_bounds_move_the_desired_capacity(directory):
    async with grouped(directory) as groups:
        await groups.do("UpdateAutoScalingGroup", MaxSize=2)
        await groups.turn()
        assert ((await groups.look())["DesiredCapacity"], len(await groups.ids())) == (2, 2)
        await groups.do("UpdateAutoScalingGroup", MinSize=4, MaxSize=6)
        assert ((await groups.look())["DesiredCapacity"], len(await groups.ids())) == (4, 4)
        for wanted, words in ((3, "is below min value 4"), (7, "is above max value 6")):
            with pytest.raises(AwsError) as refused:
                await groups.do("SetDesiredCapacity", DesiredCapacity=wanted)
            assert words in refused.value.message


async def test_an_instance_that_is_terminated_is_replaced(directory):
    async with grouped(directory) as groups:
        first, second, third = await groups.ids()
        await groups.ancillary("ec2", "TerminateInstances", {"InstanceIds": [first]}, CALLER)
        assert len(await groups.ids()) == 3, "from outside"
        await groups.do(
            "TerminateInstanceInAutoScalingGroup", InstanceId=second, ShouldDecrementDesiredCapacity=False
        )
        await groups.turn()
        assert second not in await groups.running()
        assert len(await groups.ids()) == 3
        await groups.do(
            "TerminateInstanceInAutoScalingGroup", InstanceId=third, ShouldDecrementDesiredCapacity=True
        )
        await groups.turn()
        assert len(await groups.ids()) == 2
        assert (await groups.look())["DesiredCapacity"] == 2


async def test_a_group_goes_with_all_of_its_instances_however_protected(directory):
    async with grouped(directory, NewInstancesProtectedFromScaleIn=True) as groups:
        with pytest.raises(AwsError) as refused:
            await groups.do("DeleteAutoScalingGroup")
        assert refused.value.code == "ResourceInUse"
        hook = {"LifecycleHookName": "drain", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
        await groups.do("PutLifecycleHook", **hook)
        await groups.do("DeleteAutoScalingGroup", ForceDelete=True)
        assert await groups.running() == set()
        assert (await groups.do("DescribeLifecycleHooks"))["LifecycleHooks"] == [], "a new group begins without"


async def test_what_was_chosen_to_go_goes_after_a_restart(directory):
    async with grouped(directory) as groups:
        hook = {"LifecycleHookName": "drain", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
        await groups.do("PutLifecycleHook", **hook, HeartbeatTimeout=600)
        await groups.do("SetDesiredCapacity", DesiredCapacity=2)
        await groups.turn()
        (waiting,) = await groups.ids("Terminating:Wait")
        groups.database.close()
        again = Groups(directory, groups.ancillary)
        assert await again.ids("Terminating:Wait") == [waiting]
        await again.clock.advance(10_000)
        await again.turn()
        assert waiting not in await again.running()
        again.database.close()


async def test_what_a_group_launches_is_spread_over_the_zones_of_its_subnets(directory):
    async with grouped(directory, DesiredCapacity=0) as groups:
        vpc = (await groups.ancillary("ec2", "DescribeVpcs", {}, CALLER))["Vpcs"][0]["VpcId"]
        found = await groups.ancillary(
            "ec2", "DescribeSubnets", {"Filters": [{"Name": "vpc-id", "Values": [vpc]}]}, CALLER
        )
        subnets = [each["SubnetId"] for each in found["Subnets"]][:3]
        assert len({each["AvailabilityZone"] for each in found["Subnets"][:3]}) == 3
        await groups.do("DeleteAutoScalingGroup", ForceDelete=True)
        await groups.do(
            "CreateAutoScalingGroup",
            LaunchConfigurationName="lc",
            VPCZoneIdentifier=",".join(subnets),
            MinSize=2,
            MaxSize=9,
        )
        zones = [each["AvailabilityZone"][-1] for each in (await groups.look())["Instances"]]
        assert len(set(zones)) == 2
        await groups.do("SetDesiredCapacity", DesiredCapacity=6)
        zones = sorted(each["AvailabilityZone"][-1] for each in (await groups.look())["Instances"])
        assert zones == ["a", "a", "b", "b", "c", "c"]
        assert (await groups.look())["VPCZoneIdentifier"] == ",".join(subnets)
        await groups.do("SetDesiredCapacity", DesiredCapacity=3)
        await groups.turn()
        zones = sorted(each["AvailabilityZone"][-1] for each in (await groups.look())["Instances"])
        assert zones == ["a", "b", "c"]


async def test_boto3_reads_what_is_laid_over_the_ancillary_answers(directory):
    async with (
        grouped(directory, DesiredCapacity=1) as groups,
        serve([groups.api.service()], ancillary=groups.ancillary) as url,
    ):
        client = boto3.client(
            "autoscaling",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        (group,) = (await asyncio.to_thread(client.describe_auto_scaling_groups))["AutoScalingGroups"]
        assert (group["AutoScalingGroupName"], len(group["Instances"])) == ("g", 1)
        assert group["CreatedTime"].year > 2000
        listed = await asyncio.to_thread(client.describe_auto_scaling_instances)
        assert [each["LifecycleState"] for each in listed["AutoScalingInstances"]] == ["InService"]
        client.close()
