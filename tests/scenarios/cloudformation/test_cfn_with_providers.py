"""Stacks with capacity providers: made in order, used by a service, and gone again in the order that works."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from test_cfn_with_ecs import Stacks

from portside.testing.engine import RUNS
from worlds.groups import Groups, grouped


@asynccontextmanager
async def stacks(path: Path) -> AsyncIterator[tuple[Stacks, Groups]]:
    async with grouped(path, good=RUNS) as (world, groups):
        made = Stacks(world)
        async with made.api:
            yield made, groups


def template(target: int = 100, count: int = 2, *, by_cluster: bool = False) -> dict[str, Any]:
    item = {"CapacityProvider": {"Ref": "Provider"}, "Weight": 1}
    resources: dict[str, Any] = {
        "Group": {
            "Type": "AWS::AutoScaling::AutoScalingGroup",
            "Properties": {
                "MinSize": "0",
                "MaxSize": "4",
                "NewInstancesProtectedFromScaleIn": True,
                "LaunchConfigurationName": "lc",
            },
        },
        "Provider": {
            "Type": "AWS::ECS::CapacityProvider",
            "Properties": {
                "AutoScalingGroupProvider": {
                    "AutoScalingGroupArn": {"Ref": "Group"},
                    "ManagedScaling": {"Status": "ENABLED", "TargetCapacity": target},
                    "ManagedTerminationProtection": "ENABLED",
                }
            },
        },
        "Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "default"}},
        "Definition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {"ContainerDefinitions": [{"Name": "app", "Image": "good", "Memory": 600}]},
        },
        "Service": {
            "Type": "AWS::ECS::Service",
            "Properties": {
                "Cluster": {"Ref": "Cluster"},
                "TaskDefinition": {"Ref": "Definition"},
                "DesiredCount": count,
                "CapacityProviderStrategy": [item],
            },
        },
    }
    if by_cluster:
        resources["Cluster"]["Properties"] |= {
            "CapacityProviders": [{"Ref": "Provider"}],
            "DefaultCapacityProviderStrategy": [item],
        }
        del resources["Service"]["Properties"]["CapacityProviderStrategy"]
    else:
        resources["Associations"] = {
            "Type": "AWS::ECS::ClusterCapacityProviderAssociations",
            "Properties": {
                "Cluster": {"Ref": "Cluster"},
                "CapacityProviders": [{"Ref": "Provider"}],
                "DefaultCapacityProviderStrategy": [item],
            },
        }
        # What a template has to say on AWS as well.
        resources["Service"]["DependsOn"] = "Associations"
    return {"Resources": resources}


async def test_br_42_a_cluster_with_a_protected_provider_can_be_deleted(tmp_path: Path) -> None:
    async with stacks(tmp_path) as (made, groups):
        await made.world.call("DeleteCluster", {"cluster": "default"})
        assert await made.run("CreateStack", template()) == "CREATE_COMPLETE", await made.reasons()
        assert len(made.world.running()) == 2
        (group,) = groups.groups.values()
        assert [each["ProtectedFromScaleIn"] for each in group["Instances"]] == [True]
        assert await made.run("UpdateStack", template(target=50)) == "UPDATE_COMPLETE", await made.reasons()
        await made.world.until(lambda: len(group["Instances"]) == 2, 600)
        assert await made.run("DeleteStack") == "DELETE_COMPLETE", await made.reasons()
        gone = [
            each.split(" ")[0]
            for each in reversed(await made.reasons())
            if " DELETE_COMPLETE" in each and not each.startswith("web")
        ]
        order = [each for each in gone if each in ("Service", "Associations", "Provider", "Group", "Cluster")]
        assert order.index("Service") < order.index("Associations") < order.index("Provider")
        assert order.index("Provider") < order.index("Group")
        assert made.world.ec2.instances == {}


async def test_br_42_associations_wait_for_the_service_even_when_the_template_does_not_say_so(
    tmp_path: Path,
) -> None:
    async with stacks(tmp_path) as (made, _):
        await made.world.call("DeleteCluster", {"cluster": "default"})
        assert await made.run("CreateStack", template()) == "CREATE_COMPLETE", await made.reasons()
        changed = template(target=99)
        del changed["Resources"]["Service"]["DependsOn"]
        assert await made.run("UpdateStack", changed) == "UPDATE_COMPLETE", await made.reasons()
        assert await made.run("DeleteStack") == "DELETE_COMPLETE", await made.reasons()


async def test_a_cluster_may_name_its_providers_itself(tmp_path: Path) -> None:
    async with stacks(tmp_path) as (made, _):
        await made.world.call("DeleteCluster", {"cluster": "default"})
        assert await made.run("CreateStack", template(by_cluster=True)) == "CREATE_COMPLETE", await made.reasons()
        (arn,) = (await made.world.call("ListServices"))["serviceArns"]
        shown = made.world.service(arn)
        assert shown["capacityProviderStrategy"][0]["weight"] == 1
        assert await made.run("DeleteStack") == "DELETE_COMPLETE", await made.reasons()
