"""CloudFormation over the ancillary endpoint, in real time, for the tests of resource types."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cfn_world import CALLER, body
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.server import ACCOUNT, quiet_log

SETTLE_LIMIT = 60.0


class Cloud:
    """CloudFormation over the ancillary endpoint, in real time."""

    def __init__(self, api: CloudFormationApi, calls: Ancillary) -> None:
        self.calls = calls
        self.operations = api.service().operations

    async def do(self, operation: str, **params: Any) -> Any:
        result: Any = self.operations[operation](CALLER, params)
        return await result if hasattr(result, "__await__") else result

    async def ask(self, service: str, operation: str, **params: Any) -> Any:
        return await self.calls(service, operation, params, CALLER)

    async def settle(self, name: str) -> str:
        clock = SystemClock()
        end = clock.now() + SETTLE_LIMIT
        while clock.now() < end:
            status: str = (await self.do("DescribeStacks", StackName=name))["Stacks"][0]["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                return status
            await clock.sleep_until(clock.now() + 0.02)
        raise AssertionError("the stack does not come to rest")

    async def create(self, template: Any, **params: Any) -> dict[str, str]:
        made = await self.do("CreateStack", StackName="web", TemplateBody=body(template), **params)
        self.id = made["StackId"]
        status = await self.settle(self.id)
        assert status == "CREATE_COMPLETE", await self.reasons()
        return await self.outputs()

    async def update(self, template: Any, **params: Any) -> dict[str, str]:
        await self.do("UpdateStack", StackName="web", TemplateBody=body(template), **params)
        assert await self.settle(self.id) == "UPDATE_COMPLETE", await self.reasons()
        return await self.outputs()

    async def delete(self) -> None:
        await self.do("DeleteStack", StackName="web")
        assert await self.settle(self.id) == "DELETE_COMPLETE", await self.reasons()

    async def outputs(self) -> dict[str, str]:
        (stack,) = (await self.do("DescribeStacks", StackName=self.id))["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}

    async def drifted(self) -> list[str]:
        """The paths of what drift detection finds."""
        started = await self.do("DetectStackDrift", StackName="web")
        clock = SystemClock()
        end = clock.now() + SETTLE_LIMIT
        found = {"DetectionStatus": "DETECTION_IN_PROGRESS"}
        while found["DetectionStatus"] == "DETECTION_IN_PROGRESS" and clock.now() < end:
            await clock.sleep_until(clock.now() + 0.02)
            found = await self.do("DescribeStackDriftDetectionStatus", **started)
        assert found["DetectionStatus"] == "DETECTION_COMPLETE", found
        drifts = (await self.do("DescribeStackResourceDrifts", StackName="web"))["StackResourceDrifts"]
        return [each["PropertyPath"] for one in drifts for each in one.get("PropertyDifferences") or []]

    async def reasons(self) -> list[str]:
        events = (await self.do("DescribeStackEvents", StackName=self.id))["StackEvents"]
        return [
            f"{each['LogicalResourceId']} {each['ResourceStatus']} {each['ResourceStatusReason']}"
            for each in events
            if each["ResourceStatusReason"]
        ]


def of(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties}


def showing(resources: dict[str, Any], *attributes: str) -> dict[str, Any]:
    """A template with an output for each resource's Ref, and `A.Arn` as `AArn`."""
    outputs: dict[str, Any] = {name: {"Value": {"Ref": name}} for name in resources}
    for each in attributes:
        outputs[each.replace(".", "")] = {"Value": {"Fn::GetAtt": each.split(".", 1)}}
    return {"Resources": resources, "Outputs": outputs}


@asynccontextmanager
async def ancillary_cloud(directory: Path) -> AsyncIterator[Cloud]:
    """The endpoint's socket lies in the working directory, which has to be `directory`: its name may be too long."""
    database = Database(directory / "state.db")
    try:
        async with Ancillary(directory=directory, account=ACCOUNT, endpoint="", log=quiet_log()) as calls:
            api = CloudFormationApi(
                database=database, ids=Ids(), clock=SystemClock(), calls=calls, log=quiet_log()
            )
            async with api:
                yield Cloud(api, calls)
    finally:
        database.close()
