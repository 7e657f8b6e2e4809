"""The calls about drift, and the refusal of stack sets.

Owns the validation of requests and the forms of answers; the work is done in `detection.py`.
"""

from __future__ import annotations

from functools import partial

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Handler, Params, operation
from portside.cloud.services.cloudformation import drift_rows, rows
from portside.cloud.services.cloudformation.base import Operations, page
from portside.cloud.services.cloudformation.detection import Detections
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.drift import Status
from portside.cloud.services.cloudformation.drift_rows import Detection, Finding
from portside.cloud.services.cloudformation.records import UPDATABLE, Stack, StackStatus
from portside.cloud.services.cloudformation.resources import live

DETECTABLE = UPDATABLE | {StackStatus.UPDATE_ROLLBACK_FAILED}
A_PAGE = 100


class DriftCalls(Operations):
    detections: Detections

    def _at_rest(self, caller: Caller, name: str) -> Stack:
        stack = self._need(caller, name)
        if stack.status not in DETECTABLE:
            raise invalid(f"Drift detection cannot be performed on stack [{stack.id}] in status [{stack.status}].")
        return stack

    @operation("DetectStackDrift")
    def detect_stack_drift(self, caller: Caller, params: Params) -> Params:
        stack = self._at_rest(caller, params["StackName"])
        last = drift_rows.latest(self._db, stack.id)
        if last is not None and last.status == drift_rows.IN_PROGRESS:
            raise invalid(f"Drift detection is already in progress for stack [{stack.id}]")
        only = tuple(params.get("LogicalResourceIds") or ())
        present = rows.resources(self._db, stack.id)
        strangers = [each for each in only if each not in present]
        if strangers:
            raise invalid(f"Resources [{', '.join(strangers)}] do not exist for stack {stack.name}")
        begun = Detection(self._ids.uuid(), stack.id, stack.operation, self._clock.now(), only=only)
        with self._db.write() as tx:
            drift_rows.save_detection(tx, begun)
            tx.after_commit(lambda: self.detections.loop.wake(begun.id))
        return {"StackDriftDetectionId": begun.id}

    @operation("DescribeStackDriftDetectionStatus")
    def describe_stack_drift_detection_status(self, caller: Caller, params: Params) -> Params:
        wanted: str = params["StackDriftDetectionId"]
        found = drift_rows.detection(self._db, wanted)
        if found is None:
            raise invalid(f"Stack drift detection with id [{wanted}] does not exist")
        answer: Params = {
            "StackId": found.stack_id,
            "StackDriftDetectionId": found.id,
            "DetectionStatus": found.status,
            "DetectionStatusReason": found.reason or None,
            "Timestamp": found.started,
        }
        if found.status != drift_rows.IN_PROGRESS:
            answer |= {"StackDriftStatus": found.outcome, "DriftedStackResourceCount": found.drifted}
        return answer

    @operation("DetectStackResourceDrift")
    async def detect_stack_resource_drift(self, caller: Caller, params: Params) -> Params:
        stack = self._at_rest(caller, params["StackName"])
        name: str = params["LogicalResourceId"]
        found = next((each for each in self.detections.resources(stack, ()) if each.logical_id == name), None)
        if found is None:
            raise invalid(f"Resource {name} does not exist for stack {stack.name}")
        if not live.checked(found.type):
            raise invalid(f"Resource {name} of type {found.type} does not support drift detection.")
        finding = await self.detections.look(stack, found)
        with self._db.write() as tx:
            drift_rows.save_finding(tx, finding)
        return {"StackResourceDrift": _shown(finding)}

    @operation("DescribeStackResourceDrifts")
    def describe_stack_resource_drifts(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        wanted = params.get("StackResourceDriftStatusFilters") or []
        found = [
            each for each in drift_rows.findings(self._db, stack).values() if not wanted or each.status in wanted
        ]
        shown, following = page(found, params, min(int(params.get("MaxResults") or A_PAGE), A_PAGE))
        return {"StackResourceDrifts": [_shown(each) for each in shown], "NextToken": following}


def _shown(found: Finding) -> Params:
    return {
        "StackId": found.stack_id,
        "LogicalResourceId": found.logical_id,
        "PhysicalResourceId": found.physical_id,
        "ResourceType": found.type,
        "ExpectedProperties": found.expected or None,
        "ActualProperties": found.actual or None,
        "PropertyDifferences": list(found.differences) if found.status is not Status.DELETED else None,
        "StackResourceDriftStatus": found.status.value,
        "Timestamp": found.time,
    }


SET_OPERATIONS = (
    "CreateStackInstances", "CreateStackSet", "DeleteStackInstances", "DeleteStackSet", "DescribeStackInstance",
    "DescribeStackSet", "DescribeStackSetOperation", "DetectStackSetDrift", "ImportStacksToStackSet",
    "ListStackInstanceResourceDrifts", "ListStackInstances", "ListStackSetAutoDeploymentTargets",
    "ListStackSetOperationResults", "ListStackSetOperations", "ListStackSets", "StopStackSetOperation",
    "UpdateStackInstances", "UpdateStackSet",
)  # fmt: skip


def no_sets(name: str) -> AwsError:
    """Why the operation `name` cannot do anything with stack sets."""
    return invalid(
        f"{name}: portside's local cloud does not offer stack sets. They are out of its scope, for they deploy to "
        "many accounts and regions, and it is one; create the stacks themselves."
    )


def _refuse_sets(name: str, caller: Caller, params: Params) -> Params:
    raise no_sets(name)


def refused_operations() -> dict[str, Handler]:
    """The operations on stack sets, each of which only says why there are none."""
    return {name: partial(_refuse_sets, name) for name in SET_OPERATIONS}
