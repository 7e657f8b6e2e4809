"""AWS::Route53: hosted zones, records and health checks.

Kept and shown by the ancillary services; inside the cloud, names are answered for namespaces of AWS Cloud Map and
for load balancers only.
"""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import lost, request

ROUTE53 = "route53"
_RECORD = "ChangeBatch"


def bare(identifier: str) -> str:
    """`/hostedzone/Z1` -> `Z1`."""
    return identifier.rpartition("/")[2]


class HostedZone(Declared):
    type = "AWS::Route53::HostedZone"
    service = ROUTE53
    name_property = "Name"
    name_is_unique = False
    tags_property = "HostedZoneTags"
    creates = Call("CreateHostedZone", {"Name": "$name", "CallerReference": "$token"}, "HostedZone.Id")
    reads = Call("GetHostedZone", {"Id": "$id"})
    listing = Listing(Call("ListHostedZones", {}, "HostedZones"), "Id", {"CallerReference": "$token"})
    deletes = Call("DeleteHostedZone", {"Id": "$id"})
    outputs: ClassVar = {"Id": "$id", "NameServers": "DelegationSet.NameServers"}
    unoffered: ClassVar = {"QueryLoggingConfig": "nothing here asks these zones.", "HostedZoneFeatures": ""}

    def given(self, properties: Params) -> Params:
        found = {key: value for key, value in properties.items() if key != "VPCs"}
        networks = properties.get("VPCs") or []
        if networks:
            found["VPC"] = networks[0]
            found["HostedZoneConfig"] = (found.get("HostedZoneConfig") or {}) | {"PrivateZone": True}
        return found

    def _identify(self, work: Work, made: Params) -> str:
        return bare(super()._identify(work, made))

    async def find(self, work: Work) -> str | None:
        found = await super().find(work)
        return None if found is None else bare(found)

    async def configure(self, work: Work) -> None:
        wanted = [(each["VPCId"], each["VPCRegion"]) for each in work.properties.get("VPCs") or []]
        old = [(each["VPCId"], each["VPCRegion"]) for each in work.old.get("VPCs") or []]
        before = old if work.old else wanted[:1]
        for operation, pairs in (
            ("AssociateVPCWithHostedZone", [each for each in wanted if each not in before]),
            ("DisassociateVPCFromHostedZone", [each for each in before if each not in wanted]),
        ):
            for network, region in pairs:
                params = {"HostedZoneId": work.physical_id, "VPC": {"VPCId": network, "VPCRegion": region}}
                await work.call(ROUTE53, operation, params)
        tags = [
            {"Key": each["Key"], "Value": each["Value"]} for each in work.properties.get("HostedZoneTags") or []
        ]
        gone = [each["Key"] for each in work.old.get("HostedZoneTags") or []]
        gone = [key for key in gone if key not in {each["Key"] for each in tags}]
        if tags or gone:
            params = {"ResourceType": "hostedzone", "ResourceId": work.physical_id}
            params |= ({"AddTags": tags} if tags else {}) | ({"RemoveTagKeys": gone} if gone else {})
            await work.call(ROUTE53, "ChangeTagsForResource", params)

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        comment = (work.properties.get("HostedZoneConfig") or {}).get("Comment", "")
        if comment != (work.old.get("HostedZoneConfig") or {}).get("Comment", ""):
            await work.call(ROUTE53, "UpdateHostedZoneComment", {"Id": work.physical_id, "Comment": comment})
        return {}


class HealthCheck(Declared):
    """Kept and shown; nobody checks."""

    type = "AWS::Route53::HealthCheck"
    service = ROUTE53
    tags_property = "HealthCheckTags"
    creates = Call("CreateHealthCheck", {"CallerReference": "$token"}, "HealthCheck.Id")
    listing = Listing(Call("ListHealthChecks", {}, "HealthChecks"), "Id", {"CallerReference": "$token"})
    deletes = Call("DeleteHealthCheck", {"HealthCheckId": "$id"})
    outputs: ClassVar = {"HealthCheckId": "$id"}

    async def configure(self, work: Work) -> None:
        tags = [
            {"Key": each["Key"], "Value": each["Value"]} for each in work.properties.get("HealthCheckTags") or []
        ]
        if tags:
            params = {"ResourceType": "healthcheck", "ResourceId": work.physical_id, "AddTags": tags}
            await work.call(ROUTE53, "ChangeTagsForResource", params)


class _Records(Handler):
    """One change batch makes, moves or removes all records of a resource."""

    _OUTER: ClassVar = frozenset({"HostedZoneId", "HostedZoneName", "Comment", "RecordSets"})

    def _sets(self, properties: Params) -> list[Params]:
        raise NotImplementedError

    def _converted(self, properties: Params) -> list[Params]:
        return [_record(each) for each in self._sets(properties)]

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        if ("HostedZoneId" in properties) == ("HostedZoneName" in properties):
            raise Failure("Exactly one of HostedZoneId and HostedZoneName must be given.", "InvalidRequest")
        for each in self._sets(properties):
            batch = {_RECORD: {"Changes": [{"Action": "CREATE", "ResourceRecordSet": _shaped(each)}]}}
            left = lost(ROUTE53, "ChangeResourceRecordSets", batch)
            if left:
                raise self.not_offered([path.rpartition("ResourceRecordSet/")[2] for path in left])

    async def _zone(self, work: Work, properties: Params) -> str:
        if properties.get("HostedZoneId"):
            return bare(str(properties["HostedZoneId"]))
        name = str(properties["HostedZoneName"]).rstrip(".") + "."
        found = await work.call(ROUTE53, "ListHostedZonesByName", {"DNSName": name})
        for each in found.get("HostedZones", []):
            if each["Name"] == name:
                return bare(str(each["Id"]))
        raise Failure(f"No hosted zone is called {name}", "NotFound")

    async def _change(self, work: Work, changes: list[Params]) -> None:
        if not changes:
            return
        batch: Params = {"Changes": changes}
        if work.properties.get("Comment"):
            batch["Comment"] = work.properties["Comment"]
        zone = await self._zone(work, work.properties)
        await work.call(ROUTE53, "ChangeResourceRecordSets", {"HostedZoneId": zone, _RECORD: batch})

    async def _present(self, work: Work, record: Params) -> Params | None:
        zone = await self._zone(work, work.properties)
        params: Params = {
            "HostedZoneId": zone,
            "StartRecordName": record["Name"],
            "StartRecordType": record["Type"],
        }
        found = await work.call(ROUTE53, "ListResourceRecordSets", params)
        for each in found.get("ResourceRecordSets", []):
            if _key(each) == _key(record):
                present: Params = each
                return present
        return None

    async def find(self, work: Work) -> str | None:
        for record in self._converted(work.properties):
            if await self._present(work, record) is not None:
                return work.name or str(record["Name"]).rstrip(".")
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        records = self._converted(work.properties)
        await self._change(work, [{"Action": "CREATE", "ResourceRecordSet": each} for each in records])
        return self._physical(work), {}

    def _physical(self, work: Work) -> str:
        return str(work.properties.get("Name", "")).rstrip(".") or work.name

    async def update(self, work: Work) -> Params:
        wanted, before = self._converted(work.properties), self._converted(work.old)
        kept = {_key(each) for each in wanted}
        gone = [each for each in before if _key(each) not in kept and await self._present(work, each)]
        changes = [{"Action": "DELETE", "ResourceRecordSet": each} for each in gone]
        changes += [{"Action": "UPSERT", "ResourceRecordSet": each} for each in wanted]
        await self._change(work, changes)
        return {}

    async def delete(self, work: Work) -> None:
        there = [each for each in self._converted(work.properties) if await self._present(work, each)]
        await self._change(work, [{"Action": "DELETE", "ResourceRecordSet": each} for each in there])


def _shaped(given: Params) -> Params:
    found = {key: value for key, value in given.items() if key not in _Records._OUTER}
    if "ResourceRecords" in found:
        found["ResourceRecords"] = [{"Value": each} for each in found["ResourceRecords"]]
    return found


def _record(given: Params) -> Params:
    name = str(given["Name"])
    batch = {_RECORD: {"Changes": [{"Action": "CREATE", "ResourceRecordSet": _shaped(given)}]}}
    made = request(ROUTE53, "ChangeResourceRecordSets", batch)
    record: Params = made[_RECORD]["Changes"][0]["ResourceRecordSet"]
    alias = record.get("AliasTarget")
    if alias is not None:
        alias.setdefault("EvaluateTargetHealth", False)
    return record | {"Name": name if name.endswith(".") else f"{name}."}


def _key(record: Params) -> tuple[Any, ...]:
    name = str(record["Name"]).replace("\\052", "*").rstrip(".").lower()
    return (name, record["Type"], record.get("SetIdentifier"))


class RecordSet(_Records):
    type = "AWS::Route53::RecordSet"

    def _sets(self, properties: Params) -> list[Params]:
        return [properties] if properties else []


class RecordSetGroup(_Records):
    type = "AWS::Route53::RecordSetGroup"
    name_style: ClassVar[NameStyle | None] = PLAIN

    def _sets(self, properties: Params) -> list[Params]:
        return list(properties.get("RecordSets") or [])

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}
