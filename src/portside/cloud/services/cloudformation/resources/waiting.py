"""AWS::CloudFormation::WaitCondition and WaitConditionHandle.

Neither calls a service. The wait itself is `waits.py` of the service's folder; here is only what they are called.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import handles
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work


class WaitConditionHandle(Handler):
    """Its Ref is the URL to which whoever has finished sends a message."""

    type = "AWS::CloudFormation::WaitConditionHandle"

    async def create(self, work: Work) -> tuple[str, Params]:
        return handles.url(work.caller.endpoint, work.stack_id, work.logical_id, work.token), {}

    async def update(self, work: Work) -> Params:
        return {}

    async def delete(self, work: Work) -> None:
        return None


class WaitCondition(Handler):
    type = "AWS::CloudFormation::WaitCondition"
    attributes: ClassVar[frozenset[str]] = frozenset({"Data"})

    def complete_at_once(self, work: Work) -> bool:
        return False

    async def create(self, work: Work) -> tuple[str, Params]:
        parts = handles.parts(str(work.properties.get("Handle", "")))
        return f"{work.stack_id}/{parts[1] if parts else work.logical_id}", {}

    async def update(self, work: Work) -> Params:
        raise Failure(f"Update to resource type {self.type} is not supported.", "NotUpdatable")

    async def delete(self, work: Work) -> None:
        return None
