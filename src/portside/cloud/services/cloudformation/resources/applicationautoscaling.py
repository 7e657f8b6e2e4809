"""AWS::ApplicationAutoScaling::ScalableTarget, with its scheduled actions, and ScalingPolicy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

SERVICE = "application-autoscaling"
SEPARATOR = "|"


def _of(identifier: str) -> Params:
    """The parameters that name a target, by its physical id."""
    resource, dimension, namespace = identifier.split(SEPARATOR)
    return {"ResourceId": resource, "ScalableDimension": dimension, "ServiceNamespace": namespace}


class ScalableTarget(Handler):
    type = "AWS::ApplicationAutoScaling::ScalableTarget"
    attributes: ClassVar[frozenset[str]] = frozenset({"Id"})

    def _id(self, work: Work) -> str:
        given = work.properties
        return SEPARATOR.join((given["ResourceId"], given["ScalableDimension"], given["ServiceNamespace"]))

    async def find(self, work: Work) -> str | None:
        identifier = self._id(work)
        named = _of(identifier)
        params = {"ServiceNamespace": named["ServiceNamespace"], "ResourceIds": [named["ResourceId"]]}
        found = (await work.call(SERVICE, "DescribeScalableTargets", params)).get("ScalableTargets") or []
        return identifier if found else None

    async def _register(self, work: Work) -> None:
        given = {key: value for key, value in work.properties.items() if key != "ScheduledActions"}
        params = request(SERVICE, "RegisterScalableTarget", given)
        if "SuspendedState" in work.old and "SuspendedState" not in given:
            suspendable = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
            params["SuspendedState"] = dict.fromkeys(suspendable, False)
        await work.call(SERVICE, "RegisterScalableTarget", params)

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._register(work)
        return self._id(work), {}

    async def configure(self, work: Work) -> None:
        target = _of(work.physical_id)
        for each in work.properties.get("ScheduledActions") or []:
            params = request(SERVICE, "PutScheduledAction", each) | target
            for key in ("StartTime", "EndTime"):
                if key in params:
                    params[key] = _moment(params[key])
            await work.call(SERVICE, "PutScheduledAction", params)

    async def update(self, work: Work) -> Params:
        await self._register(work)
        await self.configure(work)
        kept = {each["ScheduledActionName"] for each in work.properties.get("ScheduledActions") or []}
        for each in work.old.get("ScheduledActions") or []:
            if each["ScheduledActionName"] not in kept:
                params = _of(work.physical_id) | {"ScheduledActionName": each["ScheduledActionName"]}
                try:
                    await work.call(SERVICE, "DeleteScheduledAction", params)
                except AwsError as error:
                    if not self.missing(error):
                        raise
        return {}

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call(SERVICE, "DeregisterScalableTarget", _of(work.physical_id))


def _moment(given: Any) -> float:
    if isinstance(given, (int, float)):
        return float(given)
    read = datetime.fromisoformat(str(given).replace("Z", "+00:00"))
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


class ScalingPolicy(Handler):
    type = "AWS::ApplicationAutoScaling::ScalingPolicy"
    name_property = "PolicyName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    attributes: ClassVar[frozenset[str]] = frozenset({"Arn"})

    def _target(self, work: Work) -> Params:
        given = work.properties
        if given.get("ScalingTargetId"):
            return _of(given["ScalingTargetId"])
        return {key: given[key] for key in ("ResourceId", "ScalableDimension", "ServiceNamespace")}

    async def find(self, work: Work) -> str | None:
        params = self._target(work) | {"PolicyNames": [work.name]}
        found = (await work.call(SERVICE, "DescribeScalingPolicies", params)).get("ScalingPolicies") or []
        return str(found[0]["PolicyARN"]) if found else None

    async def _put(self, work: Work, name: str) -> str:
        params = request(SERVICE, "PutScalingPolicy", work.properties)
        params |= self._target(work) | {"PolicyName": name}
        return str((await work.call(SERVICE, "PutScalingPolicy", params))["PolicyARN"])

    async def create(self, work: Work) -> tuple[str, Params]:
        return await self._put(work, work.name), {}

    async def update(self, work: Work) -> Params:
        await self._put(work, _name(work.physical_id))
        return {}

    async def read(self, work: Work) -> Params:
        return {"Arn": work.physical_id}

    async def delete(self, work: Work) -> None:
        params = self._target(work) | {"PolicyName": _name(work.physical_id)}
        await work.call(SERVICE, "DeleteScalingPolicy", params)


def _name(arn: str) -> str:
    return arn.rpartition("policyName/")[2]
