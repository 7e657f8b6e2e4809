"""From what a caller sends to a specification and its plan: everything an operation checks before it starts.

Owns reading the template (body, URL, previous), parameters, capabilities and the plan against what exists. Used
alike by CreateStack, UpdateStack and CreateChangeSet, which is why a change set shows what an update does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import outputs, parameters, policies, rows, template, triggers
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, MissingExport, NoResources
from portside.cloud.services.cloudformation.plan import Plan, PlannedView, active, plan
from portside.cloud.services.cloudformation.records import Output, ResourceStatus, Spec, Stack
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.session import Zones, evaluator
from portside.cloud.services.cloudformation.template import Template

LONGEST_BODY = 51_200
LONGEST_STORED = 1_048_576
_S3_HOST = re.compile(
    r"^(?:(?P<bucket>[a-z0-9.\-]+)\.)?s3[.-](?:[a-z0-9\-]+\.)*(?:amazonaws\.com(?:\.cn)?|localhost)$"
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A checked request: the specification, its template and what it would do. `outputs` is None where their
    values depend on what does not exist yet."""

    spec: Spec
    template: Template
    plan: Plan
    outputs: tuple[Output, ...] | None
    trouble: str = ""


async def read_body(params: Params, calls: Calls, caller: Caller, previous: str | None) -> str:
    """The template's text from exactly one of TemplateBody, TemplateURL and UsePreviousTemplate."""
    body, url = params.get("TemplateBody"), params.get("TemplateURL")
    if params.get("UsePreviousTemplate"):
        if body or url:
            raise invalid("Template body or URL must not be specified when UsePreviousTemplate is set.")
        if previous is None:
            raise invalid("Either Template URL or Template Body must be specified.")
        return previous
    if body and url:
        raise invalid("Only one of Template URL or Template Body may be specified.")
    if body:
        if len(body.encode()) > LONGEST_BODY:
            raise invalid(
                f"1 validation error detected: Value '{body}' at 'templateBody' failed to satisfy constraint: "
                f"Member must have length less than or equal to {LONGEST_BODY}"
            )
        return str(body)
    if url:
        return await fetch(url, calls, caller)
    raise invalid("Either Template URL or Template Body must be specified.")


async def fetch(url: str, calls: Calls, caller: Caller) -> str:
    bucket, key = _s3_place(url, caller.endpoint)
    try:
        answer = await calls("s3", "GetObject", {"Bucket": bucket, "Key": key}, caller)
    except AwsError as error:
        raise invalid(f"S3 error: {error.message}") from None
    data: Any = answer["Body"]
    if hasattr(data, "read"):
        data = data.read()
    if len(data) > LONGEST_STORED:
        raise invalid(f"Template may not exceed {LONGEST_STORED} bytes in size.")
    return data.decode() if isinstance(data, bytes) else str(data)


def _s3_place(url: str, endpoint: str) -> tuple[str, str]:
    """Bucket and key of a template's URL, on AWS's host names or on the cloud's own endpoint."""
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    host = parts.hostname or ""
    found = _S3_HOST.match(host)
    local = bool(endpoint) and parts.netloc == urlsplit(endpoint).netloc
    if parts.scheme == "s3":
        raise invalid(f"S3 error: Domain name specified in {host} is not a valid S3 domain")
    if parts.scheme not in ("http", "https") or not (found or local):
        raise invalid("TemplateURL must be a supported URL.")
    bucket = found["bucket"] if found else None
    if bucket:
        return bucket, path
    bucket, _, key = path.partition("/")
    if not key:
        raise invalid("S3 error: Domain name specified in TemplateURL is not a valid S3 domain")
    return bucket, key


def require_capabilities(parsed: Template, given: list[str]) -> None:
    needed, _ = template.required_capabilities(parsed)
    if not needed:
        return
    enough = {"CAPABILITY_NAMED_IAM"} | ({"CAPABILITY_IAM"} if needed == "CAPABILITY_IAM" else set())
    if not enough & set(given):
        raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")


def require_types(parsed: Template, allowed: list[str] | None) -> None:
    for each in parsed.resources.values():
        if allowed and not any(_type_matches(each.type, pattern) for pattern in allowed):
            raise invalid(
                f"Resource type {each.type} is not allowed by parameter ResourceTypes [{', '.join(allowed)}]"
            )


def _type_matches(kind: str, pattern: str) -> bool:
    return kind == pattern or (pattern.endswith("::*") and kind.startswith(pattern[:-1])) or pattern == "*"


async def make_spec(
    params: Params, body: str, parsed: Template, previous: Spec | None, calls: Calls, caller: Caller
) -> Spec:
    """What the request asks for; what it leaves out on an update is taken from `previous`."""
    chosen = parameters.choose(
        parsed, params.get("Parameters") or [], None if previous is None else previous.parameters
    )
    values = await parameters.resolve(parsed, chosen, calls, caller)
    tags = params.get("Tags")
    if tags is None:
        pairs = previous.tags if previous is not None else ()
    else:
        for each in tags:
            if each["Key"].startswith("aws:"):
                raise invalid("aws: prefixed tag key names are not allowed for external use.")
        pairs = tuple((each["Key"], each["Value"]) for each in tags)
    notifications = params.get("NotificationARNs")
    if notifications is None:
        notifications = previous.notifications if previous is not None else ()
    rollback = triggers.check(params.get("RollbackConfiguration") or {})
    if "RollbackConfiguration" not in params and previous is not None:
        rollback = previous.rollback
    return Spec(
        body=body,
        parameters=values,
        tags=pairs,
        capabilities=tuple(params.get("Capabilities") or ()),
        notifications=tuple(notifications),
        role=params.get("RoleARN") or (previous.role if previous is not None else ""),
        rollback=rollback,
    )


async def propose(db: Database, zones: Zones, stack: Stack, spec: Spec, caller: Caller, *, new: bool) -> Proposal:
    """The plan that turns what `stack` has into `spec`; ValidationError for what can be known to fail.

    `trouble` holds a missing export, which a new stack only finds when it begins.
    """
    parsed = template.parse(spec.body)
    policies.refuse_impossible(parsed)
    before = {} if new else {
        name: each for name, each in rows.resources(db, stack.id).items() if not each.status.gone
        and each.status is not ResourceStatus.CREATE_FAILED
    }  # fmt: skip
    try:
        look = evaluator(db, stack, spec, parsed, NoResources(), zones.known)
        broken = look.broken_rule()
        if broken:
            raise invalid(broken)
        alive = await zones.with_zones(caller, lambda: active(look))
        registry.refuse_unknown(parsed, alive)
        _refuse_retyped(parsed, alive, before)
        view = PlannedView(parsed, {}, registry.facts)
        look = evaluator(db, stack, spec, parsed, view, zones.known)

        def planned() -> Plan:
            view.planned = {}
            return plan(look, before, registry.facts, spec.tags)

        found = await zones.with_zones(caller, planned)
        if not new and not found.planned:
            raise invalid("Template format error: At least one Resources member must be defined.")
        made = await zones.with_zones(caller, lambda: outputs.evaluate(look))
    except MissingExport as error:
        return Proposal(spec, parsed, Plan(), None, str(error))
    except EvaluationError as error:
        raise invalid(str(error)) from None
    unknown = any("KNOWN_AFTER_APPLY" in each.value for each in made)
    return Proposal(spec, parsed, found, None if unknown else made)


def _refuse_retyped(parsed: Template, alive: dict[str, tuple[str, ...]], before: dict[str, Any]) -> None:
    retyped = [name for name in alive if name in before and before[name].type != parsed.resources[name].type]
    if retyped:
        raise invalid(
            "Update of resource type is not permitted. The new template modifies resource type of the following "
            f"resources: [{', '.join(retyped)}]"
        )


def nothing_changes(stack: Stack, proposal: Proposal) -> bool:
    """Neither resources nor outputs nor stack tags differ."""
    if proposal.plan.changed or stack.spec.tags != proposal.spec.tags:
        return False
    return proposal.outputs is not None and proposal.outputs == stack.outputs
