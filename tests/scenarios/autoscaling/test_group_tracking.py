"""Target tracking of EC2 Auto Scaling groups: the metric of a group's instances moves its capacity."""

from contextlib import asynccontextmanager

import pytest
from test_system_rule import GROUP, USER, policy_arn
from test_system_rule import scaled as with_groups

from portside.cloud.kernel.clock import FAST_PACE
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.autoscaling.tracking_policies import TrackingPolicies
from portside.cloud.services.calls import Caller
from portside.testing.server import ACCOUNT, REGION, quiet_log

INSIDE = Caller.root(ACCOUNT, REGION)
CPU = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}}


class Tracked:
    def __init__(self, world, groups, service):
        self.world, self.groups = world, groups
        self.operations = service.operations

    async def put(self, name="cpu", target=50.0, **more):
        params = {
            "AutoScalingGroupName": GROUP,
            "PolicyName": name,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": {"TargetValue": target, **CPU, **more},
        }
        return await self.operations["PutScalingPolicy"](USER, params)

    async def alarms(self):
        found = await self.world.call("DescribeAlarms", {}, "cloudwatch")
        return {each["AlarmName"]: each for each in found["MetricAlarms"]}

    async def used(self, percent, minutes):
        for _ in range(minutes):
            datum = {
                "MetricName": "CPUUtilization",
                "Dimensions": [{"Name": "AutoScalingGroupName", "Value": GROUP}],
                "Value": percent,
            }
            params = {"Namespace": "AWS/EC2", "MetricData": [datum]}
            await self.world.calls("cloudwatch", "PutMetricData", params, INSIDE)
            await self.world.clock.advance(6)
        return len(self.world.ec2.instances)


@asynccontextmanager
async def tracked(tmp_path):
    async with with_groups(tmp_path) as (world, groups):
        kept = {}

        def put(params):
            arn = policy_arn(params["PolicyName"])
            kept[params["PolicyName"]] = params | {"PolicyARN": arn}
            return {"PolicyARN": arn}

        def describe(params):
            return {"ScalingPolicies": [each for name, each in kept.items() if name in params["PolicyNames"]]}

        def delete(params):
            del kept[params["PolicyName"]]
            return {}

        ancillary = {"PutScalingPolicy": put, "DescribePolicies": describe, "DeletePolicy": delete}

        async def forward(service, operation, params, caller):
            return ancillary[operation](params)

        shared = {
            "database": world.database,
            "clock": world.clock,
            "pace": FAST_PACE,
            "calls": world.calls,
            "log": quiet_log(),
        }
        policies = TrackingPolicies(ids=Ids(1), ancillary=forward, **shared)
        del world.calls.answers["autoscaling", "DescribePolicies"]
        service = AutoScalingApi(**shared, tracking=policies).service()
        world.calls.add(service)
        async with policies.loop:
            made = Tracked(world, groups, service)
            made.kept = kept
            yield made


async def test_load_adds_instances_and_quiet_takes_them_away(tmp_path):
    async with tracked(tmp_path) as made:
        await made.put()
        assert await made.used(100.0, 6) == 2
        assert await made.used(48.0, 10) == 2, "at the target it stays"
        assert await made.used(0.0, 30) == 1


async def test_what_warms_up_has_been_asked_for_already(tmp_path):
    async with tracked(tmp_path) as made:
        await made.put()
        assert await made.used(150.0, 7) == 3, "150 % at 50 %: three, and not nine a minute later"


async def test_the_alarms_come_and_go_with_the_policy(tmp_path):
    async with tracked(tmp_path) as made:
        answer = await made.put()
        found = await made.alarms()
        assert sorted(each["AlarmName"] for each in answer["Alarms"]) == sorted(found)
        assert sorted((e["EvaluationPeriods"], e["Threshold"]) for e in found.values()) == [(3, 50.0), (15, 45.0)]
        assert all(name.startswith(f"TargetTracking-{GROUP}-Alarm") for name in found)
        shown = await made.operations["DescribePolicies"](USER, {"PolicyNames": ["cpu"]})
        assert shown["ScalingPolicies"][0]["Alarms"] == answer["Alarms"]
        await made.put(DisableScaleIn=True)
        assert len(await made.alarms()) == 1
        await made.operations["DeletePolicy"](USER, {"PolicyName": "cpu", "AutoScalingGroupName": GROUP})
        assert await made.alarms() == {}


async def test_the_alarms_of_a_group_that_was_deleted_go_too(tmp_path):
    async with tracked(tmp_path) as made:
        await made.put()
        no_groups = {"AutoScalingGroups": []}
        made.world.calls.answers["autoscaling", "DescribeAutoScalingGroups"] = lambda params: no_groups
        await made.world.clock.advance(40)
        assert await made.alarms() == {}
        assert made.kept == {}, "nor does another group of that name inherit its policies"


async def test_a_group_may_be_told_to_grow_only(tmp_path):
    async with tracked(tmp_path) as made:
        await made.put(DisableScaleIn=True)
        assert await made.used(100.0, 6) == 2
        assert await made.used(0.0, 40) == 2


async def test_only_alarms_execute_such_a_policy(tmp_path):
    async with tracked(tmp_path) as made:
        await made.put()
        with pytest.raises(AwsError) as caught:
            await made.operations["ExecutePolicy"](USER, {"PolicyName": "cpu", "AutoScalingGroupName": GROUP})
        assert caught.value.code == "ValidationError"


@pytest.mark.parametrize("kind", ["ASGAverageNetworkIn", "ASGAverageNetworkOut"])
async def test_metrics_that_cannot_be_observed_are_refused_by_name(tmp_path, kind):
    async with tracked(tmp_path) as made:
        with pytest.raises(AwsError) as caught:
            await made.put(PredefinedMetricSpecification={"PredefinedMetricType": kind})
        assert kind in caught.value.message
        assert made.kept == {}
