"""AWS::WAFv2: web ACLs and what they are associated with.

They are kept and shown by the ancillary services. No request is looked at: load balancers here let everything
through, whatever a web ACL says.
"""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Tagging
from portside.cloud.services.cloudformation.resources.handler import Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle

SERVICE = "wafv2"


class WebAcl(Declared):
    """Its physical id is `name|id|scope`."""

    type = "AWS::WAFv2::WebACL"
    service = SERVICE
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    creates = Call("CreateWebACL", {"Name": "$name"}, "Summary.Id")
    updates = (Call("UpdateWebACL"),)
    deletes = Call("DeleteWebACL")
    outputs: ClassVar = {
        "Arn": "WebACL.ARN",
        "Capacity": "WebACL.Capacity",
        "Id": "WebACL.Id",
        "LabelNamespace": "WebACL.LabelNamespace",
    }
    tagging = Tagging("TagResource", "UntagResource", "ResourceARN", "Arn")
    absent: ClassVar = {"Description": "", "Rules": [], "CustomResponseBodies": {}, "TokenDomains": []}

    async def find(self, work: Work) -> str | None:
        scope = work.properties["Scope"]
        found = await work.call(SERVICE, "ListWebACLs", {"Scope": scope})
        ids = [each["Id"] for each in found.get("WebACLs") or [] if each["Name"] == work.name]
        return f"{work.name}|{ids[0]}|{scope}" if ids else None

    def _identify(self, work: Work, made: Params) -> str:
        return f"{work.name}|{super()._identify(work, made)}|{work.properties['Scope']}"

    async def _apply(self, work: Work, call: Call, given: Params) -> None:
        given = {name: value for name, value in given.items() if name != "Scope"}
        found = await self._read(work)
        names = _parts(work.physical_id) | {"LockToken": found["LockToken"]}
        await super()._apply(work, Call(call.operation, {k: f"={v}" for k, v in names.items()}), given)

    async def _read(self, work: Work) -> Params:
        return await work.call(SERVICE, "GetWebACL", _parts(work.physical_id))

    async def _ask(self, work: Work, call: Call, identifier: str = "", **more: Any) -> Any:
        return (
            await self._read(work) if call.operation == "GetWebACL" else await super()._ask(work, call, identifier)
        )

    reads = Call("GetWebACL")

    async def delete(self, work: Work) -> None:
        found = await self._read(work)
        params = _parts(work.physical_id) | {"LockToken": found["LockToken"]}
        await work.call(SERVICE, "DeleteWebACL", params)


def _parts(identifier: str) -> Params:
    name, made, scope = identifier.split("|")
    return {"Name": name, "Id": made, "Scope": scope}


class WebAclAssociation(Handler):
    """Its physical id is `resource|acl`, both ARNs. A resource has one web ACL at most."""

    type = "AWS::WAFv2::WebACLAssociation"

    def _id(self, work: Work) -> str:
        return f"{work.properties['ResourceArn']}|{work.properties['WebACLArn']}"

    def may_exist(self, work: Work) -> bool:
        return True

    async def find(self, work: Work) -> str | None:
        asked = {"ResourceArn": work.properties["ResourceArn"]}
        try:
            found = (await work.call(SERVICE, "GetWebACLForResource", asked)).get("WebACL") or {}
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        return self._id(work) if found.get("ARN") == work.properties["WebACLArn"] else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = {name: work.properties[name] for name in ("ResourceArn", "WebACLArn")}
        await work.call(SERVICE, "AssociateWebACL", params)
        return self._id(work), {}

    async def delete(self, work: Work) -> None:
        resource, _, acl = work.physical_id.partition("|")
        found = (await work.call(SERVICE, "GetWebACLForResource", {"ResourceArn": resource})).get("WebACL") or {}
        if found.get("ARN") == acl:
            await work.call(SERVICE, "DisassociateWebACL", {"ResourceArn": resource})

    def missing(self, error: AwsError) -> bool:
        return error.code == "WAFNonexistentItemException" or super().missing(error)
