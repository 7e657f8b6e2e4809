"""Instances join the cluster that their user data names, or the metadata that it has cfn-init carry out."""

import json
from pathlib import Path
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from worlds.ecs import REGION, VirtualWorld, virtual_world

SCRIPT = "#!/bin/bash\n/opt/aws/bin/cfn-init -v --stack web --resource Launch --region us-east-1\n"
INIT = {"config": {"commands": {"join": {"command": "echo ECS_CLUSTER=web >> /etc/ecs/ecs.config"}}}}


class Stacks:
    """One resource of one stack, once it is there."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] | None = None

    def describe(self, params: Params) -> Params:
        if params != {"StackName": "web", "LogicalResourceId": "Launch"} or self.metadata is None:
            raise AwsError("ValidationError", "Stack 'web' does not exist")
        return {"StackResourceDetail": {"Metadata": json.dumps(self.metadata)}}


def launch(world: VirtualWorld) -> Stacks:
    stacks = Stacks()
    world.calls.answers["cloudformation", "DescribeStackResource"] = stacks.describe
    world.ec2.instances["i-00000000000000009"] = ("t3.small", REGION + "a", SCRIPT)
    return stacks


async def instances(world: VirtualWorld) -> list[str]:
    found: list[str] = (await world.call("ListContainerInstances", {"cluster": "web"}))["containerInstanceArns"]
    return found


async def test_cfn_init_makes_an_instance_join(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.call("CreateCluster", {"clusterName": "web"})
        stacks = launch(world)
        stacks.metadata = {"AWS::CloudFormation::Init": INIT}
        world.ecs.capacity.wake()
        await world.clock.idle()
        await world.clock.advance(5)
        (arn,) = await instances(world)
        shown = await world.call("DescribeContainerInstances", {"cluster": "web", "containerInstances": [arn]})
        assert shown["containerInstances"][0]["ec2InstanceId"] == "i-00000000000000009"


async def test_an_instance_whose_stack_is_not_there_yet_joins_later(tmp_path: Path) -> None:
    async with virtual_world(tmp_path) as world:
        await world.call("CreateCluster", {"clusterName": "web"})
        stacks = launch(world)
        world.ecs.capacity.wake()
        await world.clock.advance(5)
        assert await instances(world) == []
        stacks.metadata = {"AWS::CloudFormation::Init": INIT}
        await world.clock.advance(120)
        assert len(await instances(world)) == 1
