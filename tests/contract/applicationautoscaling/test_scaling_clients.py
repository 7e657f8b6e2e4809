"""Unmodified boto3 against Application Auto Scaling."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.testing.server import serve
from worlds.scaling import SERVICE, scaling_world, with_service


def client(endpoint: str) -> Any:
    return boto3.client(
        "application-autoscaling",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


async def test_targets_policies_actions_and_tags(tmp_path: Path) -> None:
    async with scaling_world(tmp_path) as made:
        await with_service(made)
        await made.call("DeregisterScalableTarget")
        async with serve([made.scaling.service()], ancillary=made.ecs.calls) as url:
            scaling = client(url)

            def work() -> None:
                arn = scaling.register_scalable_target(
                    **SERVICE, MinCapacity=1, MaxCapacity=3, Tags={"team": "web"}
                )["ScalableTargetARN"]
                assert ":scalable-target/" in arn
                assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"team": "web"}
                scaling.tag_resource(ResourceARN=arn, Tags={"more": "1"})
                scaling.untag_resource(ResourceARN=arn, TagKeys=["team"])
                assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"more": "1"}
                (target,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
                assert target["RoleARN"].endswith("AWSServiceRoleForApplicationAutoScaling_ECSService")
                assert target["CreationTime"].year == 2023
                put = scaling.put_scaling_policy(
                    **SERVICE,
                    PolicyName="cpu",
                    PolicyType="TargetTrackingScaling",
                    TargetTrackingScalingPolicyConfiguration={
                        "TargetValue": 50.0,
                        "PredefinedMetricSpecification": {
                            "PredefinedMetricType": "ECSServiceAverageMemoryUtilization"
                        },
                    },
                )
                pages = scaling.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="ecs")
                (policy,) = [each for page in pages for each in page["ScalingPolicies"]]
                assert policy["PolicyARN"] == put["PolicyARN"]
                assert policy["Alarms"] == put["Alarms"]
                scaling.put_scheduled_action(
                    **SERVICE,
                    ScheduledActionName="night",
                    Schedule="cron(0 22 * * ? *)",
                    Timezone="Europe/Berlin",
                    ScalableTargetAction={"MaxCapacity": 2},
                )
                (action,) = scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
                assert action["Timezone"] == "Europe/Berlin"
                scaling.delete_scheduled_action(**SERVICE, ScheduledActionName="night")
                scaling.delete_scaling_policy(**SERVICE, PolicyName="cpu")
                with pytest.raises(scaling.exceptions.ObjectNotFoundException):
                    scaling.delete_scaling_policy(**SERVICE, PolicyName="cpu")
                with pytest.raises(ClientError) as caught:
                    scaling.get_predictive_scaling_forecast(
                        **SERVICE, PolicyName="cpu", StartTime=1700000000, EndTime=1700003600
                    )
                assert "does not offer" in caught.value.response["Error"]["Message"]
                scaling.deregister_scalable_target(**SERVICE)
                with pytest.raises(scaling.exceptions.ObjectNotFoundException):
                    scaling.deregister_scalable_target(**SERVICE)

            await asyncio.to_thread(work)
            scaling.close()
