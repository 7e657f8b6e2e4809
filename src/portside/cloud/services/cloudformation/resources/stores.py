"""Stores of the ancillary services: AWS::DynamoDB::Table, AWS::Kinesis::Stream, AWS::EFS and AWS::RDS.

Tables and streams hold what is put into them. File systems and databases are kept and shown only: nothing is
mounted, and no database server runs.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing, Tagging
from portside.cloud.services.cloudformation.resources.handler import Failure, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle, Suffix

IDENTIFIER = NameStyle(suffix=Suffix.LOWER, limit=63, lower=True)


class Table(Declared):
    type = "AWS::DynamoDB::Table"
    service = "dynamodb"
    name_property = "TableName"
    name_style: ClassVar[NameStyle | None] = NameStyle(suffix=Suffix.UPPER)
    tagged = True
    creates = Call("CreateTable", {"TableName": "$name"}, "TableDescription.TableName")
    reads = Call("DescribeTable", {"TableName": "$id"}, "Table")
    updates = (Call("UpdateTable", {"TableName": "$id"}, partial=True),)
    further = (
        Call("UpdateTimeToLive", {"TableName": "$id"}),
        Call("UpdateContinuousBackups", {"TableName": "$id"}),
    )
    deletes = Call("DeleteTable", {"TableName": "$id"})
    renamed: ClassVar = {"SSEEnabled": "Enabled"}
    outputs: ClassVar = {"Arn": "TableArn", "StreamArn": "LatestStreamArn"}
    volatile = frozenset({"StreamArn"})
    tagging = Tagging("TagResource", "UntagResource", "ResourceArn", "Arn")
    state_path = "TableStatus"
    complete = frozenset({"ACTIVE"})
    absent: ClassVar = {"StreamSpecification": {"StreamEnabled": False}, "DeletionProtectionEnabled": False}

    def given(self, properties: Params) -> Params:
        stream = properties.get("StreamSpecification")
        return properties if not stream else properties | {"StreamSpecification": {"StreamEnabled": True} | stream}

    def replaces(self, old: Params, new: Params) -> bool:
        return bool(old.get("KeySchema") != new.get("KeySchema"))

    async def update(self, work: Work) -> Params:
        indexes, before = _indexes(work.properties), _indexes(work.old)
        throughput = work.properties.get("BillingMode", "PROVISIONED") == "PROVISIONED"
        steps: list[Params] = [{"Delete": {"IndexName": name}} for name in before if name not in indexes]
        for name, each in indexes.items():
            if name not in before:
                steps.append({"Create": each})
            elif each != before[name]:
                same = {k: v for k, v in each.items() if k != "ProvisionedThroughput"}
                if not throughput or same != {
                    k: v for k, v in before[name].items() if k != "ProvisionedThroughput"
                }:
                    raise Failure(f"Only the throughput of the index {name} can be changed.", "NotUpdatable")
                changed = {"IndexName": name, "ProvisionedThroughput": each["ProvisionedThroughput"]}
                steps.append({"Update": changed})
        # One index at a time, as the service insists.
        for step in steps:
            params: Params = {"TableName": work.physical_id, "GlobalSecondaryIndexUpdates": [step]}
            if work.properties.get("AttributeDefinitions"):
                params["AttributeDefinitions"] = work.properties["AttributeDefinitions"]
            await work.call("dynamodb", "UpdateTable", params)
        old = {key: value for key, value in work.old.items() if key != "GlobalSecondaryIndexes"}
        new = {key: value for key, value in work.properties.items() if key != "GlobalSecondaryIndexes"}
        await super().update(replace(work, properties=new, old=old))
        return {}

    async def gone(self, work: Work) -> bool:
        try:
            await work.call("dynamodb", "DescribeTable", {"TableName": work.physical_id})
        except AwsError as error:
            if self.missing(error):
                return True
            raise
        return False


def _indexes(properties: Params) -> dict[str, Params]:
    return {str(each["IndexName"]): each for each in properties.get("GlobalSecondaryIndexes") or []}


class Stream(Declared):
    type = "AWS::Kinesis::Stream"
    service = "kinesis"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=128)
    tagged = True
    creates = Call("CreateStream", {"StreamName": "$name"})
    reads = Call("DescribeStreamSummary", {"StreamName": "$id"}, "StreamDescriptionSummary")
    deletes = Call("DeleteStream", {"StreamName": "$id"})
    outputs: ClassVar = {"Arn": "StreamARN"}
    tagging = Tagging("AddTagsToStream", "RemoveTagsFromStream", "StreamName")
    state_path = "StreamStatus"
    complete = frozenset({"ACTIVE"})
    unoffered: ClassVar = {
        "DesiredShardLevelMetrics": "",
        "MaxRecordSizeInKiB": "",
        "WarmThroughputMiBps": "",
        "RecordDistributionStrategy": "",
    }

    def given(self, properties: Params) -> Params:
        found = {
            key: value
            for key, value in properties.items()
            if key not in ("RetentionPeriodHours", "StreamEncryption")
        }
        if "ShardCount" not in found and (found.get("StreamModeDetails") or {}).get("StreamMode") != "ON_DEMAND":
            found["ShardCount"] = 1
        return found

    async def configure(self, work: Work) -> None:
        name = {"StreamName": work.physical_id}
        hours = int(work.properties.get("RetentionPeriodHours", 24))
        before = int(work.old.get("RetentionPeriodHours", 24))
        if hours != before:
            verb = "Increase" if hours > before else "Decrease"
            params = name | {"RetentionPeriodHours": hours}
            await work.call("kinesis", f"{verb}StreamRetentionPeriod", params)
        wanted, old = work.properties.get("StreamEncryption"), work.old.get("StreamEncryption")
        if wanted != old:
            verb, chosen = ("Start", wanted) if wanted else ("Stop", old)
            await work.call("kinesis", f"{verb}StreamEncryption", name | dict(chosen or {}))

    async def update(self, work: Work) -> Params:
        given, old = work.properties, work.old
        await self.configure(work)
        if given.get("StreamModeDetails") != old.get("StreamModeDetails"):
            arn = (await self.read(work))["Arn"]
            mode = given.get("StreamModeDetails") or {"StreamMode": "PROVISIONED"}
            await work.call("kinesis", "UpdateStreamMode", {"StreamARN": arn, "StreamModeDetails": mode})
        if given.get("ShardCount") != old.get("ShardCount") and given.get("ShardCount"):
            params = {"StreamName": work.physical_id, "TargetShardCount": int(given["ShardCount"])}
            await work.call("kinesis", "UpdateShardCount", params | {"ScalingType": "UNIFORM_SCALING"})
        await self._retag(work)
        return {}


class FileSystem(Declared):
    type = "AWS::EFS::FileSystem"
    service = "efs"
    tags_property = "FileSystemTags"
    creates = Call("CreateFileSystem", {"CreationToken": "$token"}, "FileSystemId")
    reads = Call("DescribeFileSystems", {"FileSystemId": "$id"}, "FileSystems.0")
    listing = Listing(Call("DescribeFileSystems", {"CreationToken": "$token"}, "FileSystems"), "FileSystemId")
    updates = (Call("UpdateFileSystem", {"FileSystemId": "$id"}),)
    further = (
        Call("PutLifecycleConfiguration", {"FileSystemId": "$id"}),
        Call("PutBackupPolicy", {"FileSystemId": "$id"}),
        Call("PutFileSystemPolicy", {"FileSystemId": "$id"}),
    )
    deletes = Call("DeleteFileSystem", {"FileSystemId": "$id"})
    renamed: ClassVar = {"FileSystemPolicy": "Policy"}
    outputs: ClassVar = {"FileSystemId": "$id", "Arn": "FileSystemArn"}
    tagging = Tagging("TagResource", "UntagResource", "ResourceId")
    state_path = "LifeCycleState"
    complete = frozenset({"available"})
    absent: ClassVar = {"LifecyclePolicies": [], "BackupPolicy": {"Status": "DISABLED"}}
    unoffered: ClassVar = {"ReplicationConfiguration": "", "FileSystemProtection": ""}

    def own_tags(self, work: Work) -> dict[str, str]:
        return {each["Key"]: each["Value"] for each in work.properties.get("FileSystemTags") or []}


class MountTarget(Declared):
    type = "AWS::EFS::MountTarget"
    service = "efs"
    creates = Call("CreateMountTarget", {}, "MountTargetId")
    reads = Call("DescribeMountTargets", {"MountTargetId": "$id"}, "MountTargets.0")
    listing = Listing(
        Call("DescribeMountTargets", {"FileSystemId": "@FileSystemId"}, "MountTargets"),
        "MountTargetId",
        {"SubnetId": "@SubnetId"},
        unique=True,
    )
    updates = (Call("ModifyMountTargetSecurityGroups", {"MountTargetId": "$id"}),)
    deletes = Call("DeleteMountTarget", {"MountTargetId": "$id"})
    outputs: ClassVar = {"Id": "$id", "IpAddress": "IpAddress"}
    state_path = "LifeCycleState"
    complete = frozenset({"available"})


class AccessPoint(Declared):
    type = "AWS::EFS::AccessPoint"
    service = "efs"
    tags_property = "AccessPointTags"
    creates = Call("CreateAccessPoint", {"ClientToken": "$token"}, "AccessPointId")
    reads = Call("DescribeAccessPoints", {"AccessPointId": "$id"}, "AccessPoints.0")
    listing = Listing(
        Call("DescribeAccessPoints", {"FileSystemId": "@FileSystemId"}, "AccessPoints"),
        "AccessPointId",
        {"ClientToken": "$token"},
    )
    deletes = Call("DeleteAccessPoint", {"AccessPointId": "$id"})
    outputs: ClassVar = {"AccessPointId": "$id", "Arn": "AccessPointArn"}
    tagging = Tagging("TagResource", "UntagResource", "ResourceId")

    def given(self, properties: Params) -> Params:
        return {key: value for key, value in properties.items() if key != "ClientToken"}

    def own_tags(self, work: Work) -> dict[str, str]:
        return {each["Key"]: each["Value"] for each in work.properties.get("AccessPointTags") or []}

    def _names(self, work: Work, call: Call, identifier: str) -> Params:
        found = super()._names(work, call, identifier)
        if "ClientToken" in found and work.properties.get("ClientToken"):
            found["ClientToken"] = work.properties["ClientToken"]
        return found


class SubnetGroup(Declared):
    type = "AWS::RDS::DBSubnetGroup"
    service = "rds"
    name_property = "DBSubnetGroupName"
    name_style: ClassVar[NameStyle | None] = IDENTIFIER
    tagged = True
    creates = Call("CreateDBSubnetGroup", {"DBSubnetGroupName": "$name"})
    reads = Call("DescribeDBSubnetGroups", {"DBSubnetGroupName": "$id"}, "DBSubnetGroups.0")
    updates = (Call("ModifyDBSubnetGroup", {"DBSubnetGroupName": "$id"}),)
    deletes = Call("DeleteDBSubnetGroup", {"DBSubnetGroupName": "$id"})
    outputs: ClassVar = {"DBSubnetGroupArn": "DBSubnetGroupArn"}
    tagging = Tagging("AddTagsToResource", "RemoveTagsFromResource", "ResourceName", "DBSubnetGroupArn")


class ParameterGroup(Declared):
    type = "AWS::RDS::DBParameterGroup"
    service = "rds"
    name_property = "DBParameterGroupName"
    name_style: ClassVar[NameStyle | None] = IDENTIFIER
    tagged = True
    creates = Call("CreateDBParameterGroup", {"DBParameterGroupName": "$name"})
    reads = Call("DescribeDBParameterGroups", {"DBParameterGroupName": "$id"}, "DBParameterGroups.0")
    further = (Call("ModifyDBParameterGroup", {"DBParameterGroupName": "$id"}),)
    deletes = Call("DeleteDBParameterGroup", {"DBParameterGroupName": "$id"})
    renamed: ClassVar = {"Family": "DBParameterGroupFamily"}
    outputs: ClassVar = {
        "DBParameterGroupArn": "DBParameterGroupArn",
        "DBParameterGroupName": "DBParameterGroupName",
    }
    tagging = Tagging("AddTagsToResource", "RemoveTagsFromResource", "ResourceName", "DBParameterGroupArn")

    def given(self, properties: Params) -> Params:
        wanted = properties.get("Parameters")
        if not wanted:
            return properties
        pairs = [
            {"ParameterName": name, "ParameterValue": str(value), "ApplyMethod": "pending-reboot"}
            for name, value in wanted.items()
        ]
        return properties | {"Parameters": pairs}


class Database(Declared):
    type = "AWS::RDS::DBInstance"
    service = "rds"
    name_property = "DBInstanceIdentifier"
    name_style: ClassVar[NameStyle | None] = IDENTIFIER
    tagged = True
    creates = Call("CreateDBInstance", {"DBInstanceIdentifier": "$name"}, "DBInstance.DBInstanceIdentifier")
    reads = Call("DescribeDBInstances", {"DBInstanceIdentifier": "$id"}, "DBInstances.0")
    updates = (Call("ModifyDBInstance", {"DBInstanceIdentifier": "$id", "ApplyImmediately": "=true"}),)
    deletes = Call("DeleteDBInstance", {"DBInstanceIdentifier": "$id"})
    renamed: ClassVar = {"VPCSecurityGroups": "VpcSecurityGroupIds"}
    outputs: ClassVar = {
        "DBInstanceArn": "DBInstanceArn",
        "DbiResourceId": "DbiResourceId",
        "Endpoint.Address": "Endpoint.Address",
        "Endpoint.Port": "Endpoint.Port",
        "MasterUserSecret.SecretArn": "MasterUserSecret.SecretArn",
    }
    tagging = Tagging("AddTagsToResource", "RemoveTagsFromResource", "ResourceName", "DBInstanceArn")
    state_path = "DBInstanceStatus"
    complete = frozenset({"available"})

    def given(self, properties: Params) -> Params:
        found = dict(properties)
        key = (found.pop("MasterUserSecret", None) or {}).get("KmsKeyId")
        for name in ("AllowMajorVersionUpgrade", "ApplyImmediately", "DeleteAutomatedBackups"):
            # These say how later operations are to be done.
            found.pop(name, None)
        return found | ({"MasterUserSecretKmsKeyId": key} if key else {})

    def _names(self, work: Work, call: Call, identifier: str) -> Params:
        found = super()._names(work, call, identifier)
        return found | ({"ApplyImmediately": True} if "ApplyImmediately" in found else {})

    async def delete(self, work: Work) -> None:
        params: Params = {"DBInstanceIdentifier": work.physical_id, "SkipFinalSnapshot": True}
        if "DeleteAutomatedBackups" in work.properties:
            params["DeleteAutomatedBackups"] = bool(work.properties["DeleteAutomatedBackups"])
        await work.call("rds", "DeleteDBInstance", params)

    async def gone(self, work: Work) -> bool:
        try:
            await work.call("rds", "DescribeDBInstances", {"DBInstanceIdentifier": work.physical_id})
        except AwsError as error:
            if self.missing(error):
                return True
            raise
        return False
