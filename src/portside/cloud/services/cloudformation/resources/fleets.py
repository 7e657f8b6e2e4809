"""Types that are many machines at once: AWS::EC2::SpotFleet, AWS::EMR::Cluster and InstanceGroupConfig.

All are kept and shown only. A spot fleet's instances are there as others of the ancillary services are; no job
runs on any of these machines.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing, Tagging, at
from portside.cloud.services.cloudformation.resources.handler import Failure, Work
from portside.cloud.services.cloudformation.resources.shapes import request

_GROUPS = {"MasterInstanceGroup": "MASTER", "CoreInstanceGroup": "CORE", "TaskInstanceGroups": "TASK"}
_OVER = ("TERMINATED", "TERMINATED_WITH_ERRORS")


class SpotFleet(Declared):
    type = "AWS::EC2::SpotFleet"
    service = "ec2"
    creates = Call("RequestSpotFleet", path="SpotFleetRequestId")
    listing = Listing(Call("DescribeSpotFleetRequests", path="SpotFleetRequestConfigs"), "SpotFleetRequestId")
    renamed: ClassVar = {"SpotFleetRequestConfigData": "SpotFleetRequestConfig"}
    outputs: ClassVar = {"Id": "$id"}

    def given(self, properties: Params) -> Params:
        data = {"AllocationStrategy": "lowestPrice"} | properties["SpotFleetRequestConfigData"]
        if properties.get("Tags"):
            own = {"ResourceType": "spot-fleet-request", "Tags": properties["Tags"]}
            data["TagSpecifications"] = [*(data.get("TagSpecifications") or []), own]
        return {"SpotFleetRequestConfigData": data}

    async def settled(self, work: Work) -> bool:
        params = {"SpotFleetRequestIds": [work.physical_id]}
        answer = await work.call("ec2", "DescribeSpotFleetRequests", params)
        return bool(at(answer, "SpotFleetRequestConfigs.0.SpotFleetRequestState") == "active")

    async def update(self, work: Work) -> Params:
        wanted, old = (each["SpotFleetRequestConfigData"] for each in (work.properties, work.old))
        changed = {name for name in {*wanted, *old} if wanted.get(name) != old.get(name)}
        stuck = changed - {"TargetCapacity", "ExcessCapacityTerminationPolicy"}
        if work.properties.get("Tags") != work.old.get("Tags"):
            stuck.add("Tags")
        if stuck:
            raise self.not_changeable(stuck)
        params = request("ec2", "ModifySpotFleetRequest", {name: wanted[name] for name in changed & wanted.keys()})
        await work.call("ec2", "ModifySpotFleetRequest", params | {"SpotFleetRequestId": work.physical_id})
        return {}

    async def delete(self, work: Work) -> None:
        params = {"SpotFleetRequestIds": [work.physical_id], "TerminateInstances": True}
        await work.call("ec2", "CancelSpotFleetRequests", params)


class _Emr(Declared):
    service = "emr"

    def missing(self, error: AwsError) -> bool:
        return super().missing(error) or "is not valid" in error.message


class Cluster(_Emr):
    type = "AWS::EMR::Cluster"
    tagged = True
    creates = Call("RunJobFlow", path="JobFlowId")
    reads = Call("DescribeCluster", {"ClusterId": "$id"}, "Cluster")
    # Of clusters that have ended some may have the name.
    listing = Listing(Call("ListClusters", path="Clusters"), "Id", {"Name": "@Name"})
    updates = (Call("ModifyCluster", {"ClusterId": "$id"}, partial=True),)
    renamed: ClassVar = {"ConfigurationProperties": "Properties", "StepProperties": "Properties"}
    outputs: ClassVar = {"Id": "$id", "MasterPublicDNS": "MasterPublicDnsName"}
    tagging = Tagging("AddTags", "RemoveTags", "ResourceId")
    state_path = "Status.State"
    complete = frozenset({"RUNNING", "WAITING", "TERMINATED"})
    hopeless = frozenset({"TERMINATED_WITH_ERRORS"})
    unoffered: ClassVar = dict.fromkeys(
        (
            *("AdditionalInfo", "AutoTerminationPolicy", "LogEncryptionKmsKeyId", "ManagedScalingPolicy"),
            *("OSReleaseLabel", "PlacementGroupConfigs", "ScaleDownBehavior"),
        ),
        "",
    )

    def given(self, properties: Params) -> Params:
        instances = dict(properties.get("Instances") or {})
        groups: list[Params] = []
        for name, role in _GROUPS.items():
            found = instances.pop(name, None) or []
            groups += [{**each, "InstanceRole": role} for each in (found if isinstance(found, list) else [found])]
        return properties | {"Instances": instances | ({"InstanceGroups": groups} if groups else {})}

    async def delete(self, work: Work) -> None:
        await work.call("emr", "TerminateJobFlows", {"JobFlowIds": [work.physical_id]})

    async def gone(self, work: Work) -> bool:
        try:
            state = at(await self._ask(work, self.reads), self.state_path) if self.reads else ""
        except AwsError as error:
            if self.missing(error):
                return True
            raise
        return state in _OVER


class InstanceGroup(_Emr):
    type = "AWS::EMR::InstanceGroupConfig"
    creates = Call("AddInstanceGroups")
    listing = Listing(
        Call("ListInstanceGroups", {"ClusterId": "@JobFlowId"}, "InstanceGroups"),
        "Id",
        {"InstanceGroupType": "@InstanceRole", "InstanceType": "@InstanceType"},
    )
    renamed: ClassVar = {"ConfigurationProperties": "Properties"}
    outputs: ClassVar = {"InstanceGroupId": "$id"}

    def given(self, properties: Params) -> Params:
        group = {name: value for name, value in properties.items() if name != "JobFlowId"}
        return {"JobFlowId": properties["JobFlowId"], "InstanceGroups": [{"Market": "ON_DEMAND"} | group]}

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("emr", "AddInstanceGroups", self.given(work.properties), self.renamed)
        made = await work.call("emr", "AddInstanceGroups", params)
        found = (made.get("InstanceGroupIds") or [None])[0] or await self.find(work)
        if found is None:
            raise Failure("AddInstanceGroups did not say what it made.", "ServiceInternalError")
        return str(found), {}

    async def update(self, work: Work) -> Params:
        wanted = work.properties
        changed = {name for name in {*wanted, *work.old} if wanted.get(name) != work.old.get(name)}
        if "InstanceCount" in changed:
            await self._resize(work, int(wanted["InstanceCount"]))
        if "AutoScalingPolicy" in changed:
            which = {"ClusterId": wanted["JobFlowId"], "InstanceGroupId": work.physical_id}
            policy = wanted.get("AutoScalingPolicy")
            if policy is None:
                await work.call("emr", "RemoveAutoScalingPolicy", which)
            else:
                await work.call("emr", "PutAutoScalingPolicy", which | {"AutoScalingPolicy": policy})
        return {}

    async def _resize(self, work: Work, count: int) -> None:
        group = {"InstanceGroupId": work.physical_id, "InstanceCount": count}
        cluster = work.properties["JobFlowId"]
        await work.call("emr", "ModifyInstanceGroups", {"ClusterId": cluster, "InstanceGroups": [group]})

    async def delete(self, work: Work) -> None:
        """A group lasts as long as its cluster; without instances until then."""
        found = await work.call("emr", "DescribeCluster", {"ClusterId": work.properties["JobFlowId"]})
        if at(found, "Cluster.Status.State") not in ("TERMINATING", *_OVER):
            await self._resize(work, 0)
