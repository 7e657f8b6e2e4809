"""AWS::CloudWatch::Alarm, metric math included, CompositeAlarm and Dashboard."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import lost, request


class Alarm(Handler):
    type = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    puts: ClassVar[str] = "PutMetricAlarm"

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        left = lost("cloudwatch", self.puts, properties)
        if left:
            raise self.not_offered(left)

    async def find(self, work: Work) -> str | None:
        return work.name if await self._describe(work, work.name) is not None else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        # Alarms of both kinds share their names.
        params = {"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
        found = await work.call("cloudwatch", "DescribeAlarms", params)
        alarms: list[Params] = found.get("MetricAlarms", []) + found.get("CompositeAlarms", [])
        return alarms[0] if alarms else None

    async def _put(self, work: Work, name: str) -> None:
        params = request("cloudwatch", self.puts, work.properties) | {"AlarmName": name}
        tags = work.tag_list(system=False)
        if tags:
            params["Tags"] = tags
        await work.call("cloudwatch", self.puts, params)

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._put(work, work.name)
        return work.name, {}

    async def update(self, work: Work) -> Params:
        await self._put(work, work.physical_id)
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        if found is None:
            raise Failure(f"Alarm {work.physical_id} does not exist.", "NotFound")
        return {"Arn": found["AlarmArn"]}

    async def delete(self, work: Work) -> None:
        await work.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [work.physical_id]})


class CompositeAlarm(Alarm):
    type = "AWS::CloudWatch::CompositeAlarm"
    puts = "PutCompositeAlarm"


class Dashboard(Declared):
    """Kept and shown; nobody draws it."""

    type = "AWS::CloudWatch::Dashboard"
    service = "cloudwatch"
    name_property = "DashboardName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("PutDashboard", {"DashboardName": "$name"})
    reads = Call("GetDashboard", {"DashboardName": "$id"})
    updates = (Call("PutDashboard", {"DashboardName": "$id"}),)
    deletes = Call("DeleteDashboards")

    async def delete(self, work: Work) -> None:
        await work.call("cloudwatch", "DeleteDashboards", {"DashboardNames": [work.physical_id]})
