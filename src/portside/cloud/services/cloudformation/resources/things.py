"""AWS::IoT: things, their types, policies, role aliases, billing groups and job templates.

Kept and shown by the ancillary services; nothing connects.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Tagging
from portside.cloud.services.cloudformation.resources.handler import Failure, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import text


class Thing(Declared):
    type = "AWS::IoT::Thing"
    service = "iot"
    name_property = "ThingName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateThing", {"thingName": "$name"})
    reads = Call("DescribeThing", {"thingName": "$id"})
    updates = (Call("UpdateThing", {"thingName": "$id"}),)
    deletes = Call("DeleteThing", {"thingName": "$id"})
    outputs: ClassVar = {"Arn": "thingArn", "Id": "thingId"}


class ThingType(Declared):
    type = "AWS::IoT::ThingType"
    service = "iot"
    name_property = "ThingTypeName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    creates = Call("CreateThingType", {"thingTypeName": "$name"})
    reads = Call("DescribeThingType", {"thingTypeName": "$id"})
    deletes = Call("DeleteThingType", {"thingTypeName": "$id"})
    outputs: ClassVar = {"Arn": "thingTypeArn", "Id": "thingTypeId"}
    tagging = Tagging("TagResource", "UntagResource", "resourceArn", "Arn", "tagKeys", "tags")
    unoffered: ClassVar = {"DeprecateThingType": ""}


class ThingPolicy(Declared):
    type = "AWS::IoT::Policy"
    service = "iot"
    name_property = "PolicyName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreatePolicy", {"policyName": "$name"})
    reads = Call("GetPolicy", {"policyName": "$id"})
    deletes = Call("DeletePolicy", {"policyName": "$id"})
    outputs: ClassVar = {"Arn": "policyArn", "Id": "$id"}

    async def update(self, work: Work) -> Params:
        if work.properties.get("Tags") != work.old.get("Tags"):
            raise Failure(f"portside's local cloud cannot change the tags of {self.type}.", "NotUpdatable")
        document = text(work.properties["PolicyDocument"])
        params = {"policyName": work.physical_id, "policyDocument": document, "setAsDefault": True}
        await work.call("iot", "CreatePolicyVersion", params)
        return {}

    async def delete(self, work: Work) -> None:
        policy = {"policyName": work.physical_id}
        for each in (await work.call("iot", "ListPolicyVersions", policy)).get("policyVersions", []):
            if not each.get("isDefaultVersion"):
                params = policy | {"policyVersionId": each["versionId"]}
                await work.call("iot", "DeletePolicyVersion", params)
        await super().delete(work)


class RoleAlias(Declared):
    type = "AWS::IoT::RoleAlias"
    service = "iot"
    name_property = "RoleAlias"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateRoleAlias", {"roleAlias": "$name"})
    reads = Call("DescribeRoleAlias", {"roleAlias": "$id"}, "roleAliasDescription")
    updates = (Call("UpdateRoleAlias", {"roleAlias": "$id"}),)
    deletes = Call("DeleteRoleAlias", {"roleAlias": "$id"})
    outputs: ClassVar = {"RoleAliasArn": "roleAliasArn"}


class BillingGroup(Declared):
    type = "AWS::IoT::BillingGroup"
    service = "iot"
    name_property = "BillingGroupName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateBillingGroup", {"billingGroupName": "$name"})
    reads = Call("DescribeBillingGroup", {"billingGroupName": "$id"})
    updates = (Call("UpdateBillingGroup", {"billingGroupName": "$id"}),)
    deletes = Call("DeleteBillingGroup", {"billingGroupName": "$id"})
    outputs: ClassVar = {"Arn": "billingGroupArn", "Id": "billingGroupId"}


class JobTemplate(Declared):
    type = "AWS::IoT::JobTemplate"
    service = "iot"
    name_property = "JobTemplateId"
    creates = Call("CreateJobTemplate", {"jobTemplateId": "$name"})
    reads = Call("DescribeJobTemplate", {"jobTemplateId": "$id"})
    deletes = Call("DeleteJobTemplate", {"jobTemplateId": "$id"})
    outputs: ClassVar = {"Arn": "jobTemplateArn"}
