"""Types around AWS Lambda, Step Functions, EventBridge and EventBridge Scheduler.

They are kept and shown by the ancillary services. None of them runs anything here: a function has no runtime, and
nothing is sent to the targets of a schedule.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, ClassVar

from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing, Tagging
from portside.cloud.services.cloudformation.resources.handler import Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, SHORT, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import text


def packed(source: str, handler: str, runtime: str) -> bytes:
    """Source text as the archive that the service takes: one file, named after the handler."""
    name = (handler.partition(".")[0] or "index") + (".js" if runtime.startswith("nodejs") else ".py")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        # A fixed date, so that the same source gives the same archive.
        archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), source)
    return held.getvalue()


class Function(Declared):
    type = "AWS::Lambda::Function"
    service = "lambda"
    name_property = "FunctionName"
    name_style: ClassVar[NameStyle | None] = SHORT
    tagged = True
    creates = Call("CreateFunction", {"FunctionName": "$name"}, "FunctionName")
    reads = Call("GetFunction", {"FunctionName": "$id"}, "Configuration")
    updates = (Call("UpdateFunctionConfiguration", {"FunctionName": "$id"}),)
    further = (Call("PutFunctionConcurrency", {"FunctionName": "$id"}),)
    deletes = Call("DeleteFunction", {"FunctionName": "$id"})
    outputs: ClassVar = {"Arn": "FunctionArn"}
    tagging = Tagging("TagResource", "UntagResource", "Resource", "Arn")
    absent: ClassVar = {"Description": "", "Layers": [], "Environment": {"Variables": {}}, "Timeout": 3}

    def given(self, properties: Params) -> Params:
        code = dict(properties.get("Code") or {})
        if "ZipFile" in code:
            runtime = str(properties.get("Runtime", ""))
            code["ZipFile"] = packed(str(code["ZipFile"]), str(properties.get("Handler", "index")), runtime)
        return properties | ({"Code": code} if code else {})

    async def update(self, work: Work) -> Params:
        new, old = self.given(work.properties), self.given(work.old)
        if new.get("Code") != old.get("Code"):
            params = {"FunctionName": work.physical_id} | new["Code"]
            await work.call("lambda", "UpdateFunctionCode", params)
        kept = replace(work, old=work.old | {"Code": work.properties.get("Code")})
        return await super().update(kept)


class Permission(Declared):
    type = "AWS::Lambda::Permission"
    service = "lambda"
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=100)
    creates = Call("AddPermission", {"StatementId": "$name"})
    deletes = Call("RemovePermission", {"FunctionName": "@FunctionName", "StatementId": "$id"})
    outputs: ClassVar = {"Id": "$id"}

    async def find(self, work: Work) -> str | None:
        try:
            policy = await work.call("lambda", "GetPolicy", {"FunctionName": work.properties["FunctionName"]})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        said = json.loads(policy.get("Policy") or "{}").get("Statement", [])
        return work.name if any(each.get("Sid") == work.name for each in said) else None


class EventSourceMapping(Declared):
    type = "AWS::Lambda::EventSourceMapping"
    service = "lambda"
    creates = Call("CreateEventSourceMapping", {}, "UUID")
    reads = Call("GetEventSourceMapping", {"UUID": "$id"})
    listing = Listing(
        Call("ListEventSourceMappings", {"FunctionName": "@FunctionName"}, "EventSourceMappings"),
        "UUID",
        {"EventSourceArn": "@EventSourceArn"},
    )
    updates = (Call("UpdateEventSourceMapping", {"UUID": "$id"}),)
    deletes = Call("DeleteEventSourceMapping", {"UUID": "$id"})
    outputs: ClassVar = {"Id": "$id", "EventSourceMappingArn": "EventSourceMappingArn"}


class LayerVersion(Declared):
    type = "AWS::Lambda::LayerVersion"
    service = "lambda"
    name_property = "LayerName"
    name_is_unique = False
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("PublishLayerVersion", {"LayerName": "$name"}, "LayerVersionArn")
    listing = Listing(Call("ListLayerVersions", {"LayerName": "$name"}, "LayerVersions"), "LayerVersionArn")
    deletes = Call("DeleteLayerVersion", {})
    outputs: ClassVar = {"LayerVersionArn": "$id"}

    async def delete(self, work: Work) -> None:
        layer, _, version = work.physical_id.rpartition(":")
        await work.call("lambda", "DeleteLayerVersion", {"LayerName": layer, "VersionNumber": int(version)})


class Version(Declared):
    type = "AWS::Lambda::Version"
    service = "lambda"
    creates = Call("PublishVersion", {}, "FunctionArn")
    listing = Listing(Call("ListVersionsByFunction", {"FunctionName": "@FunctionName"}, "Versions"), "FunctionArn")
    deletes = Call("DeleteFunction")
    unoffered: ClassVar = dict.fromkeys(
        ("ProvisionedConcurrencyConfig", "RuntimePolicy", "FunctionScalingConfig"), "functions do not run here."
    )

    async def read(self, work: Work) -> Params:
        return {"FunctionArn": work.physical_id, "Version": work.physical_id.rpartition(":")[2]}

    async def delete(self, work: Work) -> None:
        function, _, version = work.physical_id.rpartition(":")
        await work.call("lambda", "DeleteFunction", {"FunctionName": function, "Qualifier": version})


class StateMachine(Declared):
    type = "AWS::StepFunctions::StateMachine"
    service = "stepfunctions"
    name_property = "StateMachineName"
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=80)
    tagged = True
    creates = Call("CreateStateMachine", {"name": "$name"}, "stateMachineArn")
    reads = Call("DescribeStateMachine", {"stateMachineArn": "$id"})
    listing = Listing(
        Call("ListStateMachines", {}, "stateMachines"), "stateMachineArn", {"name": "$name"}, unique=True
    )
    updates = (Call("UpdateStateMachine", {"stateMachineArn": "$id"}),)
    deletes = Call("DeleteStateMachine", {"stateMachineArn": "$id"})
    renamed: ClassVar = {"StateMachineType": "type", "DefinitionString": "definition"}
    outputs: ClassVar = {"Arn": "$id", "Name": "name"}
    tagging = Tagging("TagResource", "UntagResource", "resourceArn", "Arn", "tagKeys", "tags")

    def given(self, properties: Params) -> Params:
        found = dict(properties)
        definition: Any = found.pop("Definition", None) or found.pop("DefinitionString", None)
        if definition is not None:
            written = text(definition)
            for name, value in (found.pop("DefinitionSubstitutions", None) or {}).items():
                written = written.replace(f"${{{name}}}", text(value))
            found["DefinitionString"] = written
        return found


class EventBus(Declared):
    type = "AWS::Events::EventBus"
    service = "events"
    name_property = "Name"
    tagged = True
    creates = Call("CreateEventBus", {"Name": "$name"})
    reads = Call("DescribeEventBus", {"Name": "$id"})
    updates = (Call("UpdateEventBus", {"Name": "$id"}),)
    further = (Call("PutPermission", {"EventBusName": "$id"}),)
    deletes = Call("DeleteEventBus", {"Name": "$id"})
    outputs: ClassVar = {"Arn": "Arn", "Name": "Name"}
    tagging = Tagging("TagResource", "UntagResource", "ResourceARN", "Arn")

    def given(self, properties: Params) -> Params:
        policy = properties.get("Policy")
        return properties if policy is None else properties | {"Policy": text(policy)}


class Archive(Declared):
    type = "AWS::Events::Archive"
    service = "events"
    name_property = "ArchiveName"
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=48)
    creates = Call("CreateArchive", {"ArchiveName": "$name"})
    reads = Call("DescribeArchive", {"ArchiveName": "$id"})
    updates = (Call("UpdateArchive", {"ArchiveName": "$id"}),)
    deletes = Call("DeleteArchive", {"ArchiveName": "$id"})
    renamed: ClassVar = {"SourceArn": "EventSourceArn"}
    outputs: ClassVar = {"Arn": "ArchiveArn", "ArchiveName": "ArchiveName"}


class ScheduleGroup(Declared):
    type = "AWS::Scheduler::ScheduleGroup"
    service = "scheduler"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = SHORT
    tagged = True
    creates = Call("CreateScheduleGroup", {"Name": "$name", "ClientToken": "$token"})
    reads = Call("GetScheduleGroup", {"Name": "$id"})
    deletes = Call("DeleteScheduleGroup", {"Name": "$id"})
    outputs: ClassVar = {"Arn": "Arn", "State": "State"}
    tagging = Tagging("TagResource", "UntagResource", "ResourceArn", "Arn")


class Schedule(Declared):
    """An update is sent whole, for the service takes it so."""

    type = "AWS::Scheduler::Schedule"
    service = "scheduler"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = SHORT
    creates = Call("CreateSchedule", {"Name": "$name", "ClientToken": "$token"})
    reads = Call("GetSchedule", {"Name": "$id", "GroupName": "@GroupName"})
    updates = (Call("UpdateSchedule", {"Name": "$id"}),)
    deletes = Call("DeleteSchedule", {"Name": "$id", "GroupName": "@GroupName"})
    outputs: ClassVar = {"Arn": "Arn"}
    absent: ClassVar = {"Description": "", "State": "ENABLED", "ScheduleExpressionTimezone": "UTC"}
