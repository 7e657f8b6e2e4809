"""Stacks over the cloud's own ECS and logs: every call fits its shape, and a service is what the stack says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cfn_world import CALLER
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.protocol.shapes import violations
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.engine import EXITS, RUNS
from portside.testing.server import quiet_log
from worlds.ecs import VirtualWorld, virtual_world


class Stacks:
    """CloudFormation on top of the world of ECS."""

    def __init__(self, world: VirtualWorld) -> None:
        self.world = world
        self.api = CloudFormationApi(
            database=world.database, ids=Ids(7), clock=world.clock, calls=self.checked, log=quiet_log()
        )

    async def checked(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        described = model(service)
        assert described is not None
        found = violations(described.operation_model(operation).input_shape, params)
        assert not found, (service, operation, [str(each) for each in found])
        return await self.world.calls(service, operation, params, caller)

    async def do(self, operation: str, **params: Any) -> Params:
        result: Any = self.api.service().operations[operation](CALLER, params)
        return await result if hasattr(result, "__await__") else result  # type: ignore[no-any-return]

    def status(self) -> str:
        rows = self.world.database.read("SELECT status FROM cfn_stack ORDER BY rowid DESC")
        return str(rows[0]["status"])

    async def run(self, operation: str, template: Any = None) -> str:
        more = {} if template is None else {"TemplateBody": json.dumps(template)}
        await self.do(operation, StackName="web", **more)
        for _ in range(20):
            await self.world.clock.idle()
        await self.world.until(lambda: not self.status().endswith("_IN_PROGRESS"), 4 * 3600)
        return self.status()

    async def reasons(self) -> list[str]:
        stack_id = self.world.database.read("SELECT id FROM cfn_stack")[0]["id"]
        events = (await self.do("DescribeStackEvents", StackName=stack_id))["StackEvents"]
        return [f"{e['LogicalResourceId']} {e['ResourceStatus']} {e['ResourceStatusReason']}" for e in events]


@asynccontextmanager
async def stacks(path: Path) -> AsyncIterator[Stacks]:
    async with virtual_world(path, good=RUNS, better=RUNS, bad=EXITS) as world:
        made = Stacks(world)
        async with made.api:
            yield made


def template(image: str, **properties: Any) -> dict[str, Any]:
    return {
        "Resources": {
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
            "Definition": {
                "Type": "AWS::ECS::TaskDefinition",
                "Properties": {
                    "ContainerDefinitions": [
                        {
                            "Name": "app",
                            "Image": image,
                            "Memory": "128",
                            "Essential": "true",
                            "PortMappings": [{"ContainerPort": "3000"}],
                            "Environment": [{"Name": "STAGE", "Value": "staging"}],
                            "LogConfiguration": {
                                "LogDriver": "awslogs",
                                "Options": {
                                    "awslogs-group": {"Ref": "Logs"},
                                    "awslogs-region": {"Ref": "AWS::Region"},
                                    "awslogs-stream-prefix": "app",
                                },
                            },
                        }
                    ]
                },
            },
            "Service": {
                "Type": "AWS::ECS::Service",
                "Properties": {
                    "TaskDefinition": {"Ref": "Definition"},
                    "DesiredCount": 1,
                    "DeploymentConfiguration": {"DeploymentCircuitBreaker": {"Enable": True, "Rollback": True}},
                }
                | properties,
            },
        }
    }


async def test_br_50_a_service_from_a_template_really_runs(tmp_path: Path) -> None:
    async with stacks(tmp_path) as made:
        assert await made.run("CreateStack", template("good")) == "CREATE_COMPLETE", await made.reasons()
        (task,) = made.world.running()
        described = await made.world.call(
            "DescribeTaskDefinition", {"taskDefinition": task["taskDefinitionArn"], "include": ["TAGS"]}
        )
        container = described["taskDefinition"]["containerDefinitions"][0]
        assert (container["name"], container["memory"]) == ("app", 128)
        assert container["environment"] == [{"name": "STAGE", "value": "staging"}]
        assert {each["key"] for each in described["tags"]} >= {"aws:cloudformation:stack-name"}
        assert await made.run("UpdateStack", template("better", DesiredCount=2)) == "UPDATE_COMPLETE"
        assert len(made.world.running()) == 2
        assert await made.run("DeleteStack") == "DELETE_COMPLETE", await made.reasons()
        assert made.world.running() == []


async def test_br_01_a_broken_image_rolls_the_stack_back(tmp_path: Path) -> None:
    async with stacks(tmp_path) as made:
        assert await made.run("CreateStack", template("good")) == "CREATE_COMPLETE"
        (before,) = made.world.running()
        assert await made.run("UpdateStack", template("bad")) == "UPDATE_ROLLBACK_COMPLETE"
        assert any("Circuit Breaker was triggered" in each for each in await made.reasons())
        (after,) = made.world.running()
        assert after["taskDefinitionArn"] == before["taskDefinitionArn"]
        listed = await made.world.call("ListTaskDefinitions", {"status": "ACTIVE"})
        assert listed["taskDefinitionArns"] == [before["taskDefinitionArn"]]
        assert await made.run("UpdateStack", template("better")) == "UPDATE_COMPLETE"


async def test_br_40_a_cluster_of_a_fixed_name_can_be_made_again(tmp_path: Path) -> None:
    cluster = {"Resources": {"C": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "prod"}}}}
    async with stacks(tmp_path) as made:
        for _ in range(2):
            assert await made.run("CreateStack", cluster) == "CREATE_COMPLETE", await made.reasons()
            assert await made.run("DeleteStack") == "DELETE_COMPLETE", await made.reasons()


async def test_of_two_stacks_that_want_one_name_at_once_only_one_gets_it(tmp_path: Path) -> None:
    """CreateCluster would hand the same cluster to both."""
    cluster = {"Resources": {"C": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "prod"}}}}
    async with stacks(tmp_path) as made:
        for name in ("one", "two"):
            await made.do("CreateStack", StackName=name, TemplateBody=json.dumps(cluster))
        statuses: set[str] = set()

        async def rested() -> bool:
            found = (await made.do("DescribeStacks"))["Stacks"]
            statuses.clear()
            statuses.update(each["StackStatus"] for each in found)
            return not any(each.endswith("_IN_PROGRESS") for each in statuses)

        while not await rested():
            await made.world.clock.advance(1)
        assert statuses == {"CREATE_COMPLETE", "ROLLBACK_COMPLETE"}
        (alive,) = (await made.world.call("DescribeClusters", {"clusters": ["prod"]}))["clusters"]
        assert alive["status"] == "ACTIVE"


async def test_br_60_a_nonce_redeploys_the_same_revision_with_the_tag_resolved_again(tmp_path: Path) -> None:
    def forced(nonce: str) -> dict[str, Any]:
        return template(
            "good", ForceNewDeployment={"EnableForceNewDeployment": "true", "ForceNewDeploymentNonce": nonce}
        )

    async with stacks(tmp_path) as made:
        assert await made.run("CreateStack", forced("1")) == "CREATE_COMPLETE", await made.reasons()
        (before,) = made.world.running()
        assert await made.run("UpdateStack", forced("2")) == "UPDATE_COMPLETE", await made.reasons()
        (after,) = made.world.running()
        assert after["taskArn"] != before["taskArn"]
        assert after["taskDefinitionArn"] == before["taskDefinitionArn"]


async def test_an_alarm_fails_the_update_with_its_name_even_on_the_same_revision(tmp_path: Path) -> None:
    watched = {"Alarms": {"AlarmNames": ["errors"], "Enable": True, "Rollback": True}}

    def forced(nonce: str) -> dict[str, Any]:
        nonces = {"EnableForceNewDeployment": True, "ForceNewDeploymentNonce": nonce}
        return template("good", DeploymentConfiguration=watched, ForceNewDeployment=nonces)

    async with stacks(tmp_path) as made:
        made.world.watch(errors="OK")
        assert await made.run("CreateStack", forced("1")) == "CREATE_COMPLETE", await made.reasons()
        await made.do("UpdateStack", StackName="web", TemplateBody=json.dumps(forced("2")))
        await made.world.until(lambda: len(made.world.running()) == 2)
        made.world.alarms["errors"] = "ALARM"
        await made.world.until(lambda: not made.status().endswith("_IN_PROGRESS"), 4 * 3600)
        assert made.status() == "UPDATE_ROLLBACK_COMPLETE", await made.reasons()
        assert any(
            each.startswith("Service UPDATE_FAILED") and "errors went into ALARM" in each
            for each in await made.reasons()
        )


async def test_a_blue_green_service_that_cannot_shift_fails_with_the_reason(tmp_path: Path) -> None:
    async with stacks(tmp_path) as made:
        world = made.world
        blue, green = world.balancer.group("blue"), world.balancer.group("green", attached=False)
        rule = world.balancer.rule("production", blue)
        further = {
            "AlternateTargetGroupArn": green,
            "ProductionListenerRule": rule,
            "RoleArn": "arn:aws:iam::000000000000:role/shift",
        }
        balancer = {"TargetGroupArn": blue, "ContainerName": "app", "ContainerPort": 3000}
        pause = {
            "TargetType": "PAUSE",
            "LifecycleStages": ["POST_SCALE_UP"],
            "TimeoutConfiguration": {"TimeoutInMinutes": 5, "Action": "ROLLBACK"},
        }
        shifting: dict[str, Any] = {
            "LoadBalancers": [balancer | {"AdvancedConfiguration": further}],
            "DeploymentConfiguration": {"Strategy": "BLUE_GREEN", "BakeTimeInMinutes": 5},
        }
        assert await made.run("CreateStack", template("good", **shifting)) == "CREATE_COMPLETE", (
            await made.reasons()
        )
        assert await made.run("UpdateStack", template("better", **shifting)) == "UPDATE_COMPLETE"
        assert world.balancer.rules[rule] == {green: 100, blue: 0}
        shifting["DeploymentConfiguration"] = {"Strategy": "BLUE_GREEN", "LifecycleHooks": [pause]}
        assert await made.run("UpdateStack", template("good", **shifting)) == "UPDATE_ROLLBACK_COMPLETE"
        assert any("was not continued in time" in each for each in await made.reasons()), await made.reasons()
        assert world.balancer.rules[rule] == {green: 100, blue: 0}
        assert [each["containers"][0]["image"] for each in world.running()] == ["better"]


async def test_br_61_a_template_with_latest_has_no_changes_whatever_was_pushed(tmp_path: Path) -> None:
    async with stacks(tmp_path) as made:
        made.world.engine.programs["good:latest"] = RUNS
        assert await made.run("CreateStack", template("good:latest")) == "CREATE_COMPLETE", await made.reasons()
        made.world.engine.programs["good:latest"] = EXITS
        with pytest.raises(AwsError, match="No updates are to be performed"):
            await made.run("UpdateStack", template("good:latest"))
