"""AWS::CloudWatch::Alarm, metric math included."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request


class Alarm(Handler):
    type = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True

    async def find(self, work: Work) -> str | None:
        return work.name if await self._describe(work, work.name) is not None else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        found = await work.call("cloudwatch", "DescribeAlarms", {"AlarmNames": [name]})
        alarms: list[Params] = found.get("MetricAlarms", [])
        return alarms[0] if alarms else None

    async def _put(self, work: Work, name: str) -> None:
        params = request("cloudwatch", "PutMetricAlarm", work.properties) | {"AlarmName": name}
        tags = work.tag_list(system=False)
        if tags:
            params["Tags"] = tags
        await work.call("cloudwatch", "PutMetricAlarm", params)

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
