"""A service that scales, as a stack says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cfn_world import CALLER
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.server import quiet_log
from worlds.scaling import ScalingWorld, scaling_world, with_service

TARGET = {
    "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
    "Properties": {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": {"Fn::Join": ["/", ["service", "default", "web"]]},
        "MinCapacity": 1,
        "MaxCapacity": "4",
        "ScheduledActions": [
            {
                "ScheduledActionName": "night",
                "Schedule": "cron(0 22 * * ? *)",
                "StartTime": "2030-01-01T00:00:00Z",
                "ScalableTargetAction": {"MaxCapacity": 2},
            }
        ],
    },
}


def policy(target_value: float) -> Params:
    return {
        "Type": "AWS::ApplicationAutoScaling::ScalingPolicy",
        "Properties": {
            "PolicyName": "cpu",
            "PolicyType": "TargetTrackingScaling",
            "ScalingTargetId": {"Ref": "Target"},
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": target_value,
                "ScaleInCooldown": 60,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
            },
        },
    }


class Stack:
    def __init__(self, made: ScalingWorld) -> None:
        self.made = made
        world = made.ecs
        self.api = CloudFormationApi(
            database=world.database, ids=Ids(7), clock=world.clock, calls=world.calls, log=quiet_log()
        )

    async def run(self, operation: str, **resources: Params) -> str:
        body = {"Resources": resources, "Outputs": {"Arn": {"Value": {"Ref": "Policy"}}}}
        more = {"TemplateBody": json.dumps(body)} if resources else {}
        result: Any = self.api.service().operations[operation](CALLER, {"StackName": "scaling", **more})
        if hasattr(result, "__await__"):
            await result

        def status() -> str:
            rows = self.made.ecs.database.read("SELECT status FROM cfn_stack ORDER BY rowid DESC")
            return str(rows[0]["status"])

        await self.made.clock.idle()
        await self.made.ecs.until(lambda: not status().endswith("_IN_PROGRESS"), 3600)
        return status()


async def test_a_stack_makes_changes_and_removes_service_auto_scaling(tmp_path: Path) -> None:
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        await made.call("DeregisterScalableTarget")
        stack = Stack(made)
        async with stack.api:
            assert await stack.run("CreateStack", Target=TARGET, Policy=policy(50.0)) == "CREATE_COMPLETE"
            (target,) = (await made.call("DescribeScalableTargets"))["ScalableTargets"]
            assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
            (action,) = (await made.call("DescribeScheduledActions"))["ScheduledActions"]
            assert action["StartTime"] == 1893456000.0
            (found,) = (await made.call("DescribeScalingPolicies"))["ScalingPolicies"]
            assert found["TargetTrackingScalingPolicyConfiguration"]["ScaleInCooldown"] == 60
            assert len(await made.alarms()) == 2
            changed = json.loads(json.dumps(TARGET))
            del changed["Properties"]["ScheduledActions"]
            changed["Properties"]["MaxCapacity"] = 6
            assert await stack.run("UpdateStack", Target=changed, Policy=policy(70.0)) == "UPDATE_COMPLETE"
            (target,) = (await made.call("DescribeScalableTargets"))["ScalableTargets"]
            assert target["MaxCapacity"] == 6
            assert (await made.call("DescribeScheduledActions"))["ScheduledActions"] == []
            (again,) = (await made.call("DescribeScalingPolicies"))["ScalingPolicies"]
            assert again["PolicyARN"] == found["PolicyARN"]
            assert again["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 70.0
            assert await stack.run("DeleteStack") == "DELETE_COMPLETE"
        assert (await made.call("DescribeScalableTargets"))["ScalableTargets"] == []
        assert await made.alarms() == {}
