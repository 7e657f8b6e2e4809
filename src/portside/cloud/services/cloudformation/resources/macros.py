"""AWS::CloudFormation::Macro: a name for a function that changes templates. Templates that use it fail."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import macros
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work


class Macro(Handler):
    type = macros.TYPE
    name_property = "Name"
    unoffered: ClassVar = dict.fromkeys(
        ("LogGroupName", "LogRoleARN"), "no function runs that would log anything."
    )

    async def create(self, work: Work) -> tuple[str, Params]:
        found = await macros.declaration(work.name, work.calls, work.caller)
        own = (work.stack_id, work.logical_id)
        if found is not None and (found["StackId"], found["LogicalResourceId"]) != own:
            known = f"Resource of type '{self.type}' with identifier '{work.name}' already exists."
            raise Failure(known, "AlreadyExists")
        return work.name, {}

    async def update(self, work: Work) -> Params:
        return {}

    async def delete(self, work: Work) -> None:
        return None
