"""From records to the members of answers.

Pure. Owns what each Describe and List call shows of a stack, resource, event or change set, masking included.
"""

from __future__ import annotations

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import parameters, secrecy, template
from portside.cloud.services.cloudformation.records import ChangeSet, Event, Resource, Spec, Stack, StackStatus

NOT_CHECKED = "NOT_CHECKED"
# Of a stack that came to nothing AWS shows no change set.
UNDONE = frozenset({StackStatus.ROLLBACK_COMPLETE, StackStatus.DELETE_COMPLETE})


def shown_parameters(spec: Spec) -> list[Params]:
    declared = template.declared_parameters(spec.sent)
    found = []
    for each in spec.parameters:
        hidden = secrecy.hides(declared, each)
        entry: Params = {"ParameterKey": each.key, "ParameterValue": parameters.MASK if hidden else each.value}
        if each.resolved is not None:
            entry["ResolvedValue"] = parameters.MASK if hidden else each.resolved
        found.append(entry)
    return found


def shown_tags(spec: Spec) -> list[Params]:
    return [{"Key": key, "Value": value} for key, value in spec.tags]


def stack(found: Stack, drift: Params | None = None) -> Params:
    answer: Params = {
        "StackId": found.id,
        "StackName": found.name,
        "ChangeSetId": None if found.status in UNDONE else found.change_set or None,
        "Description": found.description or None,
        "Parameters": shown_parameters(found.spec) or None,
        "CreationTime": found.created,
        "LastUpdatedTime": found.updated,
        "DeletionTime": found.deleted,
        "RollbackConfiguration": found.spec.rollback,
        "StackStatus": found.status.value,
        "StackStatusReason": found.reason or None,
        "DisableRollback": found.disable_rollback,
        "NotificationARNs": list(found.spec.notifications),
        "TimeoutInMinutes": found.timeout_minutes,
        "Capabilities": list(found.spec.capabilities) or None,
        "RoleARN": found.spec.role or None,
        "Tags": shown_tags(found.spec),
        "DriftInformation": drift or {"StackDriftStatus": NOT_CHECKED},
        "ParentId": found.parent or None,
        "RootId": found.root or None,
        "DeploymentConfig": {"Mode": "EXPRESS"} if found.express else None,
        "RetainExceptOnCreate": found.retain_except_on_create or None,
    }
    # Outputs are settled at the end of an operation and cannot be read before.
    settled = not found.status.busy or "CLEANUP" in found.status
    if found.outputs and settled:
        answer["Outputs"] = [
            {
                "OutputKey": each.key,
                "OutputValue": each.value,
                "Description": each.description or None,
                "ExportName": each.export or None,
            }
            for each in found.outputs
        ]
    if found.status is not StackStatus.DELETE_COMPLETE:
        answer["EnableTerminationProtection"] = found.termination_protection
    return answer


def stack_summary(found: Stack, drift: Params | None = None) -> Params:
    parsed = found.description
    return {
        "StackId": found.id,
        "StackName": found.name,
        "TemplateDescription": parsed or None,
        "CreationTime": found.created,
        "LastUpdatedTime": found.updated,
        "DeletionTime": found.deleted,
        "StackStatus": found.status.value,
        "StackStatusReason": found.reason or None,
        "DriftInformation": drift or {"StackDriftStatus": NOT_CHECKED},
        "ParentId": found.parent or None,
        "RootId": found.root or None,
    }


def resource(found: Resource, owner: Stack, drift: Params | None = None) -> Params:
    return {
        "StackName": owner.name,
        "StackId": owner.id,
        "LogicalResourceId": found.logical_id,
        "PhysicalResourceId": found.applied.physical_id or None,
        "ResourceType": found.type,
        "Timestamp": found.changed,
        "ResourceStatus": found.status.value,
        "ResourceStatusReason": found.reason or None,
        "DriftInformation": drift or {"StackResourceDriftStatus": NOT_CHECKED},
    }


def resource_detail(found: Resource, owner: Stack, metadata: str | None, drift: Params | None = None) -> Params:
    answer = resource(found, owner, drift)
    answer["LastUpdatedTimestamp"] = answer.pop("Timestamp")
    answer["Metadata"] = metadata
    return answer


def resource_summary(found: Resource, owner: Stack, drift: Params | None = None) -> Params:
    answer = resource(found, owner, drift)
    answer["LastUpdatedTimestamp"] = answer.pop("Timestamp")
    del answer["StackName"], answer["StackId"]
    return answer


def event(found: Event) -> Params:
    return {
        "StackId": found.stack_id,
        "EventId": found.id,
        "StackName": found.stack_name,
        "LogicalResourceId": found.logical_id,
        "PhysicalResourceId": found.physical_id,
        "ResourceType": found.type,
        "Timestamp": found.time,
        "ResourceStatus": found.status,
        "ResourceStatusReason": found.reason or None,
        "ResourceProperties": found.properties or None,
        "ClientRequestToken": found.token or None,
    }


def change_set_summary(found: ChangeSet) -> Params:
    return {
        "StackId": found.stack_id,
        "StackName": found.stack_name,
        "ChangeSetId": found.id,
        "ChangeSetName": found.name,
        "ExecutionStatus": found.execution.value,
        "Status": found.status.value,
        "StatusReason": found.reason or None,
        "CreationTime": found.created,
        "Description": found.description or None,
        "IncludeNestedStacks": found.nested,
        "ParentChangeSetId": found.parent or None,
        "RootChangeSetId": found.root or None,
    }


def change_set(found: ChangeSet, changes: list[Params]) -> Params:
    return change_set_summary(found) | {
        "Parameters": shown_parameters(found.spec) or None,
        "NotificationARNs": list(found.spec.notifications),
        "RollbackConfiguration": found.spec.rollback,
        "Capabilities": list(found.spec.capabilities),
        "Tags": shown_tags(found.spec) or None,
        "Changes": changes,
        "OnStackFailure": found.on_stack_failure or None,
        "ImportExistingResources": found.imports_existing or None,
        "DeploymentConfig": found.deployment or None,
    }
