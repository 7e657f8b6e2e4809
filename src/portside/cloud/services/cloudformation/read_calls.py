"""The calls that only read: stacks, events, resources, exports and templates.

No call here changes anything. What a record looks like in an answer is `describe.py`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudformation import (
    describe,
    documents,
    drift_rows,
    parameters,
    rows,
    schema,
    template,
    transforms,
)
from portside.cloud.services.cloudformation.base import Operations, page
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.drift_calls import no_sets
from portside.cloud.services.cloudformation.proposal import read_body
from portside.cloud.services.cloudformation.records import Resource, Spec, Stack, StackStatus
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.template import Template

STACKS_A_PAGE = 100
EVENTS_A_PAGE = 100
# More than these are only listed.
RESOURCES_SHOWN = 100


class ReadCalls(Operations):
    @operation("DescribeStacks")
    def describe_stacks(self, caller: Caller, params: Params) -> Params:
        name = params.get("StackName")
        if name is not None:
            return {"Stacks": [self._shown(self._need_with_id(caller, name))]}
        alive = [
            each for each in rows.stacks(self._db, caller.region) if each.status is not StackStatus.DELETE_COMPLETE
        ]
        found, following = page(alive, params, STACKS_A_PAGE)
        return {"Stacks": [self._shown(each) for each in found], "NextToken": following}

    def _shown(self, stack: Stack) -> Params:
        return describe.stack(stack, drift_rows.of_stack(self._db, stack))

    @operation("ListStacks")
    def list_stacks(self, caller: Caller, params: Params) -> Params:
        wanted = set(params.get("StackStatusFilter") or ())
        every = [each for each in rows.stacks(self._db, caller.region) if not wanted or each.status in wanted]
        found, following = page(every, params, STACKS_A_PAGE)
        return {
            "StackSummaries": [
                describe.stack_summary(each, drift_rows.of_stack(self._db, each)) for each in found
            ],
            "NextToken": following,
        }

    @operation("DescribeStackEvents")
    def describe_stack_events(self, caller: Caller, params: Params) -> Params:
        if not params.get("StackName"):
            raise invalid(
                "1 validation error detected: Value null at 'stackName' failed to satisfy "
                "constraint: Member must not be null"
            )
        stack = self._need(caller, params["StackName"])
        before = None
        if params.get("NextToken"):
            try:
                before = int(base64.urlsafe_b64decode(params["NextToken"].encode()).decode())
            except (ValueError, binascii.Error):
                raise invalid("Invalid NextToken") from None
        found = rows.events(self._db, stack.id, before=before, limit=EVENTS_A_PAGE + 1)
        following = None
        if len(found) > EVENTS_A_PAGE:
            found = found[:EVENTS_A_PAGE]
            following = base64.urlsafe_b64encode(str(found[-1][0]).encode()).decode()
        return {"StackEvents": [describe.event(each) for _, each in found], "NextToken": following}

    def _resource(self, caller: Caller, params: Params) -> tuple[Stack, Resource]:
        stack = self._resources_of(caller, params["StackName"])
        found = rows.resources(self._db, stack.id).get(params["LogicalResourceId"])
        if found is None:
            raise invalid(f"Resource {params['LogicalResourceId']} does not exist for stack {stack.name}")
        return stack, found

    def _resources_of(self, caller: Caller, name: str) -> Stack:
        found = self._any(caller, name)
        if found is None:
            raise invalid(f"Stack '{name}' does not exist")
        return found

    @operation("DescribeStackResource")
    def describe_stack_resource(self, caller: Caller, params: Params) -> Params:
        stack, found = self._resource(caller, params)
        metadata = json.dumps(found.applied.metadata) if found.applied.metadata else "{}"
        return {
            "StackResourceDetail": describe.resource_detail(
                found, stack, metadata, drift_rows.of_resources(self._db, stack).get(found.logical_id)
            )
        }

    @operation("DescribeStackResources")
    def describe_stack_resources(self, caller: Caller, params: Params) -> Params:
        name, physical = params.get("StackName"), params.get("PhysicalResourceId")
        if not name and not physical:
            raise invalid("At least one of StackName or PhysicalResourceId must be specified")
        if name and physical:
            raise invalid("StackName and PhysicalResourceId must not both be specified")
        if physical and not name:
            name = rows.stack_of_physical(self._db, physical)
            if name is None:
                raise invalid(f"Stack for {physical} does not exist")
        stack = self._need_with_id(caller, str(name))
        found = list(rows.resources(self._db, stack.id).values())
        logical = params.get("LogicalResourceId")
        if logical:
            found = [each for each in found if each.logical_id == logical]
            if not found:
                raise invalid(f"Resource {logical} does not exist for stack {stack.name}")
        drifts = drift_rows.of_resources(self._db, stack)
        return {
            "StackResources": [
                describe.resource(each, stack, drifts.get(each.logical_id)) for each in found[:RESOURCES_SHOWN]
            ]
        }

    @operation("ListStackResources")
    def list_stack_resources(self, caller: Caller, params: Params) -> Params:
        stack = self._need_with_id(caller, params["StackName"])
        found, following = page(list(rows.resources(self._db, stack.id).values()), params, EVENTS_A_PAGE)
        drifts = drift_rows.of_resources(self._db, stack)
        return {
            "StackResourceSummaries": [
                describe.resource_summary(each, stack, drifts.get(each.logical_id)) for each in found
            ],
            "NextToken": following,
        }

    @operation("ListExports")
    def list_exports(self, caller: Caller, params: Params) -> Params:
        found, following = page(rows.exports(self._db, caller.region), params, EVENTS_A_PAGE)
        return {
            "Exports": [{"ExportingStackId": owner, "Name": name, "Value": value} for name, value, owner in found],
            "NextToken": following,
        }

    @operation("ListImports")
    def list_imports(self, caller: Caller, params: Params) -> Params:
        name = params["ExportName"]
        importing = [user for _, user in rows.importers(self._db, caller.region, name)]
        if not importing:
            raise invalid(f"Export '{name}' is not imported by any stack.")
        found, following = page(importing, params, EVENTS_A_PAGE)
        return {"Imports": found, "NextToken": following}

    # Templates

    @operation("GetTemplate")
    def get_template(self, caller: Caller, params: Params) -> Params:
        if params.get("ChangeSetName"):
            spec = self._change_set_spec(caller, params)
        elif params.get("StackName"):
            spec = self._need_with_id(caller, params["StackName"]).spec
        else:
            raise invalid("StackName is required if ChangeSetName is not specified.")
        # A transform that failed has made nothing that could be shown.
        processed = bool(spec.body) or not spec.original
        if params.get("TemplateStage") == "Processed" and not processed:
            raise invalid("Template is not available in stage Processed.")
        body = spec.body if params.get("TemplateStage") == "Processed" else spec.sent
        return {"TemplateBody": body, "StagesAvailable": ["Original", *(["Processed"] if processed else [])]}

    def _change_set_spec(self, caller: Caller, params: Params) -> Spec:
        name: str = params["ChangeSetName"]
        if name.startswith("arn:"):
            found = rows.change_set_by_id(self._db, name)
        else:
            if not params.get("StackName"):
                raise invalid("StackName is a required parameter.")
            stack = self._need(caller, params["StackName"])
            found = next((each for each in rows.change_sets(self._db, stack.id) if each.name == name), None)
        if found is None:
            raise documents.missing_change_set(name)
        return found.spec

    @operation("ValidateTemplate")
    async def validate_template(self, caller: Caller, params: Params) -> Params:
        if params.get("TemplateBody"):
            params = params | {"TemplateURL": None}
        parsed, declared = _read(await read_body(params, self._calls, caller, None))
        return {
            "Parameters": [
                {
                    "ParameterKey": name,
                    "DefaultValue": parameters.default_of(each),
                    "NoEcho": parameters.no_echo(each),
                    "Description": each.get("Description"),
                }
                for name, each in parsed.parameters.items()
            ],
            "Description": parsed.description or None,
        } | _capabilities(parsed, declared)

    @operation("GetTemplateSummary")
    async def get_template_summary(self, caller: Caller, params: Params) -> Params:
        if params.get("StackSetName"):
            raise no_sets("GetTemplateSummary")
        name = params.get("StackName")
        if name and (params.get("TemplateBody") or params.get("TemplateURL")):
            raise invalid("Only one of Stack Name, Template URL or Template Body may be specified.")
        if name:
            stack = self._need_with_id(caller, name)
            if stack.status is StackStatus.REVIEW_IN_PROGRESS:
                raise invalid("GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
            body = stack.spec.sent
        else:
            body = await read_body(params, self._calls, caller, None)
        parsed, declared = _read(body)
        strange = [] if declared else _unrecognized(parsed)
        config = params.get("TemplateSummaryConfig") or {}
        if strange and not config.get("TreatUnrecognizedResourceTypesAsWarnings"):
            raise invalid(f"Template format error: Unrecognized resource types: [{', '.join(strange)}]")
        return {
            "Parameters": [_summary_of(key, each) for key, each in parsed.parameters.items()],
            "Description": parsed.description or None,
            "ResourceTypes": sorted({each.type for each in parsed.resources.values()}),
            "ResourceIdentifierSummaries": _identifiers(parsed),
            "Version": parsed.version or None,
            "Metadata": json.dumps(parsed.metadata) if parsed.metadata else None,
            "Warnings": {"UnrecognizedResourceTypes": strange} if strange else None,
        } | _capabilities(parsed, declared)


def _read(body: str) -> tuple[Template, list[str]]:
    """A template as far as can be told without running its transforms, and the names of those."""
    document = documents.read(body)
    declared = transforms.names(document)
    parsed = template.outline(document) if declared else template.parse(body)
    transforms.check_original(document)
    parameters.check_declarations(parsed)
    return parsed, declared


def _unrecognized(parsed: Template) -> list[str]:
    """Types of AWS's that AWS itself would not know."""
    found = {each.type for each in parsed.resources.values() if each.type.startswith("AWS::")}
    return sorted(found - set(schema.known_types()) - set(registry.HANDLERS))


def _identifiers(parsed: Template) -> list[Params]:
    """By which properties resources of each type are identified, for imports."""
    found: dict[str, list[str]] = {}
    for name, declared in parsed.resources.items():
        found.setdefault(declared.type, []).append(name)
    summaries = []
    for kind in sorted(found):
        known = schema.load(kind)
        summary: Params = {"ResourceType": kind, "LogicalResourceIds": found[kind]}
        if known is not None:
            summary["ResourceIdentifiers"] = list(known.identifier)
        summaries.append(summary)
    return summaries


def _capabilities(parsed: Template, declared: list[str]) -> Params:
    needed, types = template.required_capabilities(parsed)
    capabilities = [needed] if needed else []
    found: Params = {"DeclaredTransforms": declared} if declared else {}
    if declared:
        capabilities.append(transforms.AUTO_EXPAND)
    if capabilities:
        shown = ", ".join([*types, *declared])
        found |= {
            "Capabilities": capabilities,
            "CapabilitiesReason": f"The following resource(s) require capabilities: [{shown}]",
        }
    return found


def _summary_of(name: str, declared: dict[str, Any]) -> Params:
    allowed = declared.get("AllowedValues")
    return {
        "ParameterKey": name,
        "DefaultValue": parameters.default_of(declared),
        "ParameterType": declared["Type"],
        "NoEcho": parameters.no_echo(declared),
        "Description": declared.get("Description"),
        "ParameterConstraints": {"AllowedValues": [parameters.as_text(each) for each in allowed]}
        if allowed
        else {},
    }
