"""AWS::CodeDeploy: applications, deployment groups and deployment configurations.

They are kept and shown by CodeDeploy's own API; a deployment is refused by name, for nothing is deployed by it.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Tagging
from portside.cloud.services.cloudformation.resources.handler import Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle


class Application(Declared):
    type = "AWS::CodeDeploy::Application"
    service = "codedeploy"
    name_property = "ApplicationName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    creates = Call("CreateApplication", {"applicationName": "$name"})
    reads = Call("GetApplication", {"applicationName": "$id"}, "application")
    deletes = Call("DeleteApplication", {"applicationName": "$id"})
    tagging = Tagging(
        "TagResource", "UntagResource", "ResourceArn", "arn:aws:codedeploy:{region}:{account}:application:{id}"
    )


class DeploymentGroup(Declared):
    type = "AWS::CodeDeploy::DeploymentGroup"
    service = "codedeploy"
    name_property = "DeploymentGroupName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    creates = Call("CreateDeploymentGroup", {"deploymentGroupName": "$name"})
    reads = Call(
        "GetDeploymentGroup",
        {"applicationName": "@ApplicationName", "deploymentGroupName": "$id"},
        "deploymentGroupInfo",
    )
    updates = (
        Call(
            "UpdateDeploymentGroup",
            {"applicationName": "@ApplicationName", "currentDeploymentGroupName": "$id"},
        ),
    )
    deletes = Call("DeleteDeploymentGroup", {"applicationName": "@ApplicationName", "deploymentGroupName": "$id"})
    tagging = Tagging("TagResource", "UntagResource", "ResourceArn")
    unoffered: ClassVar = {"Deployment": "nothing would be deployed; use the deployment strategies of ECS."}
    # What a group that loses one of these properties has again.
    absent: ClassVar = {
        "AlarmConfiguration": {},
        "AutoRollbackConfiguration": {"Enabled": False, "Events": []},
        "AutoScalingGroups": [],
        "BlueGreenDeploymentConfiguration": {},
        "ECSServices": [],
        "Ec2TagFilters": [],
        "LoadBalancerInfo": {},
        "OnPremisesInstanceTagFilters": [],
        "TerminationHookEnabled": False,
        "TriggerConfigurations": [],
        "OutdatedInstancesStrategy": "UPDATE",
    }

    async def _tagged(self, work: Work, tagging: Tagging) -> Params:
        caller, application = work.caller, work.properties["ApplicationName"]
        place = f"arn:aws:codedeploy:{caller.region}:{caller.account}:deploymentgroup"
        return {tagging.target: f"{place}:{application}/{work.physical_id}"}


class DeploymentConfig(Declared):
    type = "AWS::CodeDeploy::DeploymentConfig"
    service = "codedeploy"
    name_property = "DeploymentConfigName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateDeploymentConfig", {"deploymentConfigName": "$name"})
    reads = Call("GetDeploymentConfig", {"deploymentConfigName": "$id"}, "deploymentConfigInfo")
    deletes = Call("DeleteDeploymentConfig", {"deploymentConfigName": "$id"})
