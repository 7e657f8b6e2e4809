"""AWS::EC2::Instance, KeyPair, Volume, VolumeAttachment and NetworkInterface.

Kept and shown by the ancillary services. An instance of a template is no slice of this machine's capacity (those
come from Auto Scaling groups), and runs nothing.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.network import Tagged
from portside.cloud.services.cloudformation.resources.shapes import request

_PLACEMENT = {
    "AvailabilityZone": "AvailabilityZone",
    "Tenancy": "Tenancy",
    "HostId": "HostId",
    "Affinity": "Affinity",
    "PlacementGroupName": "GroupName",
    "HostResourceGroupArn": "HostResourceGroupArn",
}
# Changed while the instance is stopped, as long as its root volume is of EBS, which all are here.
_INTERRUPTED = frozenset({"InstanceType", "EbsOptimized", "UserData", "KernelId", "RamdiskId"})
_IN_PLACE = frozenset(
    {
        "SecurityGroupIds",
        "SourceDestCheck",
        "DisableApiTermination",
        "Monitoring",
        "IamInstanceProfile",
        "InstanceInitiatedShutdownBehavior",
    }
)


class Instance(Tagged):
    type = "AWS::EC2::Instance"
    noun, thing, key, plural = "instance", "", "InstanceId", "Instances"
    creates, describes, deletes = "RunInstances", "DescribeInstances", "TerminateInstances"
    handled = frozenset({"Volumes", "SourceDestCheck"})
    unoffered: ClassVar = {
        "ElasticGpuSpecifications": "AWS no longer does either.",
        "ElasticInferenceAccelerators": "AWS no longer does either.",
        "SsmAssociations": "",
    }
    attributes = frozenset({"AvailabilityZone"})

    def given(self, properties: Params) -> Params:
        found = {
            k: v for k, v in properties.items() if k not in _PLACEMENT and k != "PropagateTagsToVolumeOnCreation"
        }
        placement = {to: properties[name] for name, to in _PLACEMENT.items() if name in properties}
        if placement:
            found["Placement"] = placement
        if "Monitoring" in found:
            found["Monitoring"] = {"Enabled": found["Monitoring"]}
        if "IamInstanceProfile" in found:
            found["IamInstanceProfile"] = {"Name": found["IamInstanceProfile"]}
        if "CreditSpecification" in found:
            found["CreditSpecification"] = {"CpuCredits": found["CreditSpecification"].get("CPUCredits")}
        if "Ipv6Addresses" in found:
            found["Ipv6Addresses"] = [
                each if isinstance(each, dict) else {"Ipv6Address": each} for each in found["Ipv6Addresses"]
            ]
        if "NetworkInterfaces" in found:
            found["NetworkInterfaces"] = [_interface(each) for each in found["NetworkInterfaces"]]
        return found

    def replaces(self, old: Params, new: Params) -> bool:
        changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
        return bool(changed - _INTERRUPTED - _IN_PLACE - self.handled - {"Tags"})

    async def _ours(self, work: Work) -> list[str]:
        filters = [
            {"Name": "tag:aws:cloudformation:stack-id", "Values": [work.stack_id]},
            {"Name": "tag:aws:cloudformation:logical-id", "Values": [work.logical_id]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
        ]
        found = await work.call("ec2", self.describes, {"Filters": filters})
        return [str(each["InstanceId"]) for one in found.get("Reservations", []) for each in one["Instances"]]

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ec2", self.creates, self._plain(work.properties))
        tagged = ["instance"]
        if work.properties.get("PropagateTagsToVolumeOnCreation"):
            tagged.append("volume")
        params |= {
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": [{"ResourceType": each, "Tags": work.tag_list()} for each in tagged],
        }
        if params.get("LaunchTemplate"):
            params["LaunchTemplate"].setdefault("Version", "$Default")
        made = await work.call("ec2", self.creates, params)
        return str(made["Instances"][0]["InstanceId"]), {}

    async def _describe(self, work: Work) -> Params:
        found = await work.call("ec2", self.describes, {"InstanceIds": [work.physical_id]})
        if not found.get("Reservations"):
            raise Failure(f"The instance ID '{work.physical_id}' does not exist", "NotFound")
        thing: Params = found["Reservations"][0]["Instances"][0]
        return thing

    async def configure(self, work: Work) -> None:
        wanted, before = work.properties.get("Volumes") or [], work.old.get("Volumes") or []
        for each in wanted:
            if each not in before:
                params = {"InstanceId": work.physical_id, "VolumeId": each["VolumeId"], "Device": each["Device"]}
                await work.call("ec2", "AttachVolume", params)
        for each in before:
            if each not in wanted:
                await work.call("ec2", "DetachVolume", {"VolumeId": each["VolumeId"]})
        await self._modify(work, "SourceDestCheck", {"Value": bool(work.properties.get("SourceDestCheck", True))})

    async def _modify(self, work: Work, name: str, value: object, member: str = "") -> None:
        if work.properties.get(name) == work.old.get(name):
            return
        await work.call("ec2", "ModifyInstanceAttribute", {"InstanceId": work.physical_id, member or name: value})

    async def settled(self, work: Work) -> bool:
        state = (await self._describe(work))["State"]["Name"]
        if state in ("terminated", "shutting-down"):
            raise Failure(f"Instance {work.physical_id} went to state {state}.", "NotStabilized")
        return bool(state == "running")

    def stuck(self, old: Params, new: Params) -> list[str]:
        changeable = _INTERRUPTED | _IN_PLACE
        return [name for name in super().stuck(old, new) if name not in changeable]

    async def update(self, work: Work) -> Params:
        await super().update(work)
        given = work.properties
        stopped = any(given.get(name) != work.old.get(name) for name in _INTERRUPTED)
        target = {"InstanceIds": [work.physical_id]}
        if stopped:
            await work.call("ec2", "StopInstances", target)
            await self._modify(work, "InstanceType", {"Value": given.get("InstanceType", "m1.small")})
            await self._modify(work, "EbsOptimized", {"Value": bool(given.get("EbsOptimized", False))})
            await self._modify(work, "UserData", {"Value": str(given.get("UserData", ""))})
            await self._modify(work, "KernelId", {"Value": given.get("KernelId", "")}, "Kernel")
            await self._modify(work, "RamdiskId", {"Value": given.get("RamdiskId", "")}, "Ramdisk")
            await work.call("ec2", "StartInstances", target)
        if given.get("SecurityGroupIds"):
            await self._modify(work, "SecurityGroupIds", given["SecurityGroupIds"], "Groups")
        protected = {"Value": bool(given.get("DisableApiTermination", False))}
        await self._modify(work, "DisableApiTermination", protected)
        behaviour = {"Value": given.get("InstanceInitiatedShutdownBehavior", "stop")}
        await self._modify(work, "InstanceInitiatedShutdownBehavior", behaviour)
        if given.get("Monitoring") != work.old.get("Monitoring"):
            verb = "MonitorInstances" if given.get("Monitoring") else "UnmonitorInstances"
            await work.call("ec2", verb, target)
        if given.get("IamInstanceProfile") != work.old.get("IamInstanceProfile"):
            await self._profile(work)
        return {}

    async def _profile(self, work: Work) -> None:
        filters = [{"Name": "instance-id", "Values": [work.physical_id]}]
        found = await work.call("ec2", "DescribeIamInstanceProfileAssociations", {"Filters": filters})
        present = found.get("IamInstanceProfileAssociations", [])
        wanted = work.properties.get("IamInstanceProfile")
        if wanted and present:
            params = {"AssociationId": present[0]["AssociationId"], "IamInstanceProfile": {"Name": wanted}}
            await work.call("ec2", "ReplaceIamInstanceProfileAssociation", params)
        elif wanted:
            params = {"InstanceId": work.physical_id, "IamInstanceProfile": {"Name": wanted}}
            await work.call("ec2", "AssociateIamInstanceProfile", params)
        elif present:
            params = {"AssociationId": present[0]["AssociationId"]}
            await work.call("ec2", "DisassociateIamInstanceProfile", params)

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        answers = {
            "InstanceId": work.physical_id,
            "AvailabilityZone": (found.get("Placement") or {}).get("AvailabilityZone"),
            "PrivateIp": found.get("PrivateIpAddress"),
            "PublicIp": found.get("PublicIpAddress"),
            "PrivateDnsName": found.get("PrivateDnsName"),
            "PublicDnsName": found.get("PublicDnsName"),
            "VpcId": found.get("VpcId"),
        }
        return {name: value for name, value in answers.items() if value is not None}

    async def delete(self, work: Work) -> None:
        await work.call("ec2", self.deletes, {"InstanceIds": [work.physical_id]})

    async def gone(self, work: Work) -> bool:
        try:
            return bool((await self._describe(work))["State"]["Name"] == "terminated")
        except (Failure, AwsError) as error:
            if isinstance(error, Failure) or self.missing(error):
                return True
            raise


def _interface(given: Params) -> Params:
    found = {key: value for key, value in given.items() if key != "GroupSet"}
    return found | ({"Groups": given["GroupSet"]} if "GroupSet" in given else {})


class KeyPair(Handler):
    """A pair made here leaves its private half in a parameter, as on AWS: /ec2/keypair/ID."""

    type = "AWS::EC2::KeyPair"
    name_property = "KeyName"

    async def find(self, work: Work) -> str | None:
        try:
            found = await work.call("ec2", "DescribeKeyPairs", {"KeyNames": [work.name]})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        return work.name if found.get("KeyPairs") else None

    async def create(self, work: Work) -> tuple[str, Params]:
        imported = work.properties.get("PublicKeyMaterial")
        operation = "ImportKeyPair" if imported else "CreateKeyPair"
        given = {key: value for key, value in work.properties.items() if key != "Tags"}
        params = request("ec2", operation, given) | {"KeyName": work.name}
        tags = work.tag_list(system=False)
        if tags:
            params["TagSpecifications"] = [{"ResourceType": "key-pair", "Tags": tags}]
        if imported:
            params["PublicKeyMaterial"] = str(imported).encode()
        made = await work.call("ec2", operation, params)
        if not imported:
            parameter = {
                "Name": f"/ec2/keypair/{made['KeyPairId']}",
                "Value": made["KeyMaterial"],
                "Type": "SecureString",
            }
            await work.call("ssm", "PutParameter", parameter)
        return work.name, {}

    async def read(self, work: Work) -> Params:
        found = await work.call("ec2", "DescribeKeyPairs", {"KeyNames": [work.physical_id]})
        pair = found["KeyPairs"][0]
        return {"KeyPairId": pair["KeyPairId"], "KeyFingerprint": pair["KeyFingerprint"]}

    async def delete(self, work: Work) -> None:
        if not work.properties.get("PublicKeyMaterial"):
            name = f"/ec2/keypair/{(await self.read(work))['KeyPairId']}"
            try:
                await work.call("ssm", "DeleteParameter", {"Name": name})
            except AwsError as error:
                if error.code != "ParameterNotFound":
                    raise
        await work.call("ec2", "DeleteKeyPair", {"KeyName": work.physical_id})


class Volume(Tagged):
    type = "AWS::EC2::Volume"
    noun, thing, key, plural = "volume", "", "VolumeId", "Volumes"
    creates, describes, deletes = "CreateVolume", "DescribeVolumes", "DeleteVolume"
    unoffered: ClassVar = {"AutoEnableIO": "", "SourceVolumeId": "", "OutpostArn": ""}
    _CHANGED: ClassVar = ("Size", "VolumeType", "Iops", "Throughput", "MultiAttachEnabled")

    def stuck(self, old: Params, new: Params) -> list[str]:
        return [name for name in super().stuck(old, new) if name not in self._CHANGED]

    async def update(self, work: Work) -> Params:
        await super().update(work)
        changed = {k: work.properties.get(k) for k in self._CHANGED if work.properties.get(k) != work.old.get(k)}
        if changed:
            params = request("ec2", "ModifyVolume", {k: v for k, v in changed.items() if v is not None})
            await work.call("ec2", "ModifyVolume", params | {"VolumeId": work.physical_id})
        return {}

    async def settled(self, work: Work) -> bool:
        return (await self._describe(work)).get("State") in ("available", "in-use")


class VolumeAttachment(Handler):
    type = "AWS::EC2::VolumeAttachment"
    unoffered: ClassVar = {"EbsCardIndex": ""}

    async def find(self, work: Work) -> str | None:
        found = await work.call("ec2", "DescribeVolumes", {"VolumeIds": [work.properties["VolumeId"]]})
        for each in found["Volumes"][0].get("Attachments", []):
            if each.get("InstanceId") == work.properties["InstanceId"]:
                return self._physical(work)
        return None

    def _physical(self, work: Work) -> str:
        return f"{work.properties['VolumeId']}|{work.properties['InstanceId']}"

    async def create(self, work: Work) -> tuple[str, Params]:
        await work.call("ec2", "AttachVolume", request("ec2", "AttachVolume", work.properties))
        return self._physical(work), {}

    async def delete(self, work: Work) -> None:
        params = {key: work.properties[key] for key in ("VolumeId", "InstanceId")}
        await work.call("ec2", "DetachVolume", params)


class NetworkInterface(Tagged):
    type = "AWS::EC2::NetworkInterface"
    noun, thing, key, plural = (
        "network-interface",
        "NetworkInterface",
        "NetworkInterfaceId",
        "NetworkInterfaces",
    )
    creates, describes, deletes = (
        "CreateNetworkInterface",
        "DescribeNetworkInterfaces",
        "DeleteNetworkInterface",
    )
    handled = frozenset({"SourceDestCheck"})
    renamed: ClassVar = {"GroupSet": "Groups"}

    def stuck(self, old: Params, new: Params) -> list[str]:
        return [name for name in super().stuck(old, new) if name not in ("Description", "GroupSet")]

    async def configure(self, work: Work) -> None:
        given, old = work.properties, work.old
        changes: list[Params] = []
        if given.get("SourceDestCheck", True) != old.get("SourceDestCheck", True):
            changes.append({"SourceDestCheck": {"Value": bool(given.get("SourceDestCheck", True))}})
        if old and given.get("Description", "") != old.get("Description", ""):
            changes.append({"Description": {"Value": given.get("Description", "")}})
        if old and given.get("GroupSet") and given.get("GroupSet") != old.get("GroupSet"):
            changes.append({"Groups": given["GroupSet"]})
        for each in changes:
            params = {"NetworkInterfaceId": work.physical_id} | each
            await work.call("ec2", "ModifyNetworkInterfaceAttribute", params)

    async def read(self, work: Work) -> Params:
        found = await self._describe(work)
        others = [
            each["PrivateIpAddress"] for each in found.get("PrivateIpAddresses", []) if not each.get("Primary")
        ]
        return {
            "Id": work.physical_id,
            "PrimaryPrivateIpAddress": found.get("PrivateIpAddress"),
            "SecondaryPrivateIpAddresses": others,
            "VpcId": found.get("VpcId"),
        }
