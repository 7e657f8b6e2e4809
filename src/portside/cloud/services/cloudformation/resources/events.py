"""AWS::Events::Rule. Its targets are put and removed with it; which of them act is the business of their
services."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

_RENAMED = {"PlacementStrategies": "PlacementStrategy", "TagList": "Tags"}


class Rule(Handler):
    type = "AWS::Events::Rule"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = NameStyle(limit=64)
    attributes = frozenset({"Arn"})

    def _bus(self, work: Work) -> Params:
        bus = work.properties.get("EventBusName")
        return {"EventBusName": bus} if bus else {}

    def _name(self, work: Work) -> str:
        return work.physical_id.rpartition("|")[2]

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("events", "DescribeRule", {"Name": work.name} | self._bus(work))
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        return self._physical(work)

    def _physical(self, work: Work) -> str:
        bus = work.properties.get("EventBusName")
        return f"{bus}|{work.name}" if bus and bus != "default" else work.name

    async def _put(self, work: Work, name: str) -> None:
        given = {key: value for key, value in work.properties.items() if key not in ("Targets", "Name", "Tags")}
        params = request("events", "PutRule", given) | {"Name": name}
        tags = work.properties.get("Tags") or []
        if tags:
            params["Tags"] = [{"Key": each["Key"], "Value": each["Value"]} for each in tags]
        await work.call("events", "PutRule", params)

    async def _targets(self, work: Work, name: str) -> None:
        wanted = work.properties.get("Targets") or []
        if wanted:
            params = (
                request("events", "PutTargets", {"Targets": wanted}, _RENAMED) | {"Rule": name} | self._bus(work)
            )
            answer = await work.call("events", "PutTargets", params)
            for each in answer.get("FailedEntries") or []:
                raise Failure(f"Target {each.get('TargetId')} was refused: {each.get('ErrorMessage')}")
        ids = {each["Id"] for each in wanted}
        stale = [each["Id"] for each in work.old.get("Targets") or [] if each["Id"] not in ids]
        await self._drop(work, name, stale)

    async def _drop(self, work: Work, name: str, ids: list[str]) -> None:
        if ids:
            await work.call("events", "RemoveTargets", {"Rule": name, "Ids": ids} | self._bus(work))

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._put(work, work.name)
        return self._physical(work), {}

    async def configure(self, work: Work) -> None:
        await self._targets(work, self._name(work))

    async def update(self, work: Work) -> Params:
        await self._put(work, self._name(work))
        await self._targets(work, self._name(work))
        return {}

    async def read(self, work: Work) -> Params:
        found = await work.call("events", "DescribeRule", {"Name": self._name(work)} | self._bus(work))
        return {"Arn": found["Arn"]}

    async def delete(self, work: Work) -> None:
        name = self._name(work)
        found = await work.call("events", "ListTargetsByRule", {"Rule": name} | self._bus(work))
        await self._drop(work, name, [str(each["Id"]) for each in found.get("Targets") or []])
        await work.call("events", "DeleteRule", {"Name": name} | self._bus(work))
