"""AWS::ElasticLoadBalancingV2::ListenerCertificate and AWS::IAM::ServerCertificate."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Tagging
from portside.cloud.services.cloudformation.resources.handler import Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle

_ELB = "elbv2"


async def added(work: Work) -> list[str]:
    """The ARNs that a listener has besides its default certificate."""
    found: list[str] = []
    params = {"ListenerArn": work.properties["ListenerArn"]}
    while True:
        answer = await work.call(_ELB, "DescribeListenerCertificates", params)
        found += [str(each["CertificateArn"]) for each in answer["Certificates"] if not each["IsDefault"]]
        if not answer.get("NextMarker"):
            return found
        params |= {"Marker": answer["NextMarker"]}


class ListenerCertificate(Handler):
    """Takes away only what it has added: a certificate that the listener had before stays. `theirs` are those."""

    type = "AWS::ElasticLoadBalancingV2::ListenerCertificate"

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        return PLAIN.make(ids, stack_name, logical_id)

    async def baseline(self, work: Work) -> Params:
        ours = set(_arns(work.old)) - set(work.state.get("theirs") or ())
        return {"theirs": [arn for arn in await added(work) if arn not in ours]}

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._add(work, _arns(work.properties))
        return work.name, {}

    async def update(self, work: Work) -> Params:
        wanted = _arns(work.properties)
        await self._add(work, wanted)
        await self._remove(work, [arn for arn in _arns(work.old) if arn not in wanted])
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await self._remove(work, _arns(work.properties))

    async def _add(self, work: Work, arns: list[str]) -> None:
        if arns:
            await work.call(_ELB, "AddListenerCertificates", _params(work, arns))

    async def _remove(self, work: Work, arns: list[str]) -> None:
        theirs = work.state.get("theirs") or ()
        present = await added(work)
        ours = [arn for arn in arns if arn in present and arn not in theirs]
        if ours:
            await work.call(_ELB, "RemoveListenerCertificates", _params(work, ours))


def _arns(properties: Params) -> list[str]:
    return list(dict.fromkeys(str(each.get("CertificateArn")) for each in properties.get("Certificates") or []))


def _params(work: Work, arns: list[str]) -> Params:
    certificates = [{"CertificateArn": arn} for arn in arns]
    return {"ListenerArn": work.properties["ListenerArn"], "Certificates": certificates}


class ServerCertificate(Declared):
    type = "AWS::IAM::ServerCertificate"
    service = "iam"
    name_property = "ServerCertificateName"
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=128)
    creates = Call("UploadServerCertificate", {"ServerCertificateName": "$name"})
    reads = Call("GetServerCertificate", {"ServerCertificateName": "$id"}, "ServerCertificate")
    deletes = Call("DeleteServerCertificate", {"ServerCertificateName": "$id"})
    outputs: ClassVar = {"Arn": "ServerCertificateMetadata.Arn"}
    tagged = True
    tagging = Tagging("TagServerCertificate", "UntagServerCertificate", "ServerCertificateName")
