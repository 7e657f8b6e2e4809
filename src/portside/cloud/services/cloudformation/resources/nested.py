"""AWS::CloudFormation::Stack: a stack as a resource of another one.

Calls the service's own public API. A nested stack does not roll itself back when it is created, its parent deletes
it; when it is updated it keeps what it replaced until the parent is done, so that it can still turn back with it.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import PARENT_KEY, Params
from portside.cloud.services.cloudformation import secrecy
from portside.cloud.services.cloudformation.resources.handler import Handler, PlainFailure, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle, Suffix

SERVICE = "cloudformation"
NO_UPDATES = "No updates are to be performed."
_RESTING = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
# Done as far as the parent is concerned: what was replaced is removed when the parent is done.
_UPDATED = (*_RESTING, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")


class NestedStack(Handler):
    type = "AWS::CloudFormation::Stack"
    name_style: ClassVar[NameStyle | None] = NameStyle(suffix=Suffix.UPPER, limit=128)
    attributes: ClassVar[frozenset[str]] = frozenset({"Outputs"})
    volatile: ClassVar[frozenset[str]] = frozenset({"Outputs"})
    tagged = True
    # As long as the longest of its resources may take, and more than one of them.
    stable_within = 12 * 3600.0
    gone_within = 12 * 3600.0

    async def find(self, work: Work) -> str | None:
        found = await self._describe(work, work.name)
        # One that is under review has only been announced, by the change set that is executed now.
        made = found is not None and found["StackStatus"] != "REVIEW_IN_PROGRESS"
        return str(found["StackId"]) if found is not None and made else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        try:
            found = await work.call(SERVICE, "DescribeStacks", {"StackName": name})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        stack: Params = found["Stacks"][0]
        return stack

    def _params(self, work: Work) -> Params:
        return stack_request(work.properties, work.tag_list(system=False)) | {"ClientRequestToken": work.token}

    async def create(self, work: Work) -> tuple[str, Params]:
        params = self._params(work) | {"StackName": work.name, "OnFailure": "DO_NOTHING"}
        if work.properties.get("TimeoutInMinutes"):
            params["TimeoutInMinutes"] = work.properties["TimeoutInMinutes"]
        params[PARENT_KEY] = {
            "stack": work.stack_id,
            "resource": work.logical_id,
            "hidden": _hidden(work, params),
        }
        made = await work.call(SERVICE, "CreateStack", params)
        return str(made["StackId"]), {}

    async def update(self, work: Work) -> Params:
        if work.rolls_back:
            return await self._turn_back(work)
        return await self._update(work, held=True)

    async def _update(self, work: Work, *, held: bool) -> Params:
        params = self._params(work) | {"StackName": work.physical_id}
        params[PARENT_KEY] = {"stack": work.stack_id, "held": held, "hidden": _hidden(work, params)}
        if not work.rolls_back:
            params[PARENT_KEY]["resource"] = work.logical_id
        try:
            await work.call(SERVICE, "UpdateStack", params)
        except AwsError as error:
            if error.message == NO_UPDATES:
                return {"changed": False}
            raise
        return {"changed": True}

    async def _turn_back(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        status = found["StackStatus"] if found is not None else ""
        params: Params = {"StackName": work.physical_id, PARENT_KEY: {"stack": work.stack_id}}
        if status == "UPDATE_IN_PROGRESS":
            await work.call(SERVICE, "CancelUpdateStack", {"StackName": work.physical_id})
        elif status in ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_FAILED"):
            await work.call(SERVICE, "RollbackStack", params)
        elif status == "UPDATE_ROLLBACK_FAILED":
            await work.call(SERVICE, "ContinueUpdateRollback", params)
        elif status in ("CREATE_COMPLETE", "UPDATE_COMPLETE") and work.state.get("changed"):
            return await self._update(work, held=False)
        return {"changed": False}

    async def settled(self, work: Work) -> bool:
        found = await self._describe(work, work.physical_id)
        if found is None:
            raise PlainFailure(f"Embedded stack {work.physical_id} does not exist")
        status, reason = found["StackStatus"], found.get("StackStatusReason") or ""
        if status == "CREATE_FAILED" or status.startswith(("ROLLBACK", "DELETE")):
            raise PlainFailure(f"Embedded stack {work.physical_id} was not successfully created: {reason.strip()}")
        if work.rolls_back:
            if status == "UPDATE_ROLLBACK_FAILED":
                raise _not_updated(work, status, reason)
            return status in _RESTING
        if work.state.get("changed") and (status.startswith("UPDATE_ROLLBACK") or status == "UPDATE_FAILED"):
            raise _not_updated(work, "UPDATE_ROLLBACK_IN_PROGRESS", await self._why(work) or reason)
        return status in _UPDATED

    async def _why(self, work: Work) -> str:
        """Why the nested stack turned back: it may have come further since."""
        found = await work.call(SERVICE, "DescribeStackEvents", {"StackName": work.physical_id})
        for each in found["StackEvents"]:
            turned = each["ResourceStatus"] == "UPDATE_ROLLBACK_IN_PROGRESS"
            if turned and each["PhysicalResourceId"] == work.physical_id:
                return str(each.get("ResourceStatusReason") or "")
        return ""

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        outputs = (found or {}).get("Outputs") or []
        return {f"Outputs.{each['OutputKey']}": each["OutputValue"] for each in outputs}

    async def delete(self, work: Work) -> None:
        found = await self._describe(work, work.physical_id)
        if found is not None and _may_be_deleted(found["StackStatus"]):
            await work.call(SERVICE, "DeleteStack", {"StackName": work.physical_id})

    async def gone(self, work: Work) -> bool:
        found = await self._describe(work, work.physical_id)
        if found is None or found["StackStatus"] == "DELETE_COMPLETE":
            return True
        reason = found.get("StackStatusReason") or ""
        if found["StackStatus"] == "DELETE_FAILED":
            raise PlainFailure(f"Embedded stack {work.physical_id} was not successfully deleted: {reason.strip()}")
        if reason.startswith("Delete canceled."):
            raise PlainFailure(f"Embedded stack {work.physical_id} was not successfully deleted: {reason}")
        if _may_be_deleted(found["StackStatus"]):
            # It was in the middle of something else when its deletion was asked for.
            await work.call(SERVICE, "DeleteStack", {"StackName": work.physical_id})
        return False


def _hidden(work: Work, params: Params) -> list[str]:
    """The parameters that are given what the parent stack does not show."""
    return hiding(params, work.secrets())


def hiding(params: Params, secrets: list[str]) -> list[str]:
    """Those of the parameters that hold one of the secrets."""
    return [each["ParameterKey"] for each in params["Parameters"] if secrecy.told(each["ParameterValue"], secrets)]


def stack_request(properties: Params, tags: list[dict[str, str]]) -> Params:
    """What CreateStack and UpdateStack are asked for a nested stack with those properties."""
    return {
        "TemplateURL": properties["TemplateURL"],
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": _text(value)}
            for key, value in (properties.get("Parameters") or {}).items()
        ],
        "Tags": tags,
        "NotificationARNs": properties.get("NotificationARNs") or [],
    }


def _may_be_deleted(status: str) -> bool:
    return not status.endswith("_IN_PROGRESS") or status == "CREATE_IN_PROGRESS"


def _not_updated(work: Work, status: str, reason: str) -> PlainFailure:
    return PlainFailure(
        f"Embedded stack {work.physical_id} was not successfully updated. Currently in {status} with reason: "
        f"{reason.strip()}"
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_text(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
