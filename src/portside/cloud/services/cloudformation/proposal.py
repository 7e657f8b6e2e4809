"""From what a caller sends to a specification and its plan: everything an operation checks before it starts.

Owns reading the template (body, URL, previous), parameters, capabilities and the plan against what exists. Used
alike by CreateStack, UpdateStack and CreateChangeSet, which is why a change set shows what an update does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import PARENT_KEY, Caller, Calls, Params
from portside.cloud.services.cloudformation import (
    attributes,
    documents,
    dynamic,
    existence,
    limits,
    outputs,
    parameters,
    policies,
    rows,
    rules,
    secrecy,
    template,
    transforms,
    triggers,
)
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.intrinsics import (
    UNKNOWN,
    EvaluationError,
    LateError,
    MissingExport,
    NoResources,
    Surroundings,
)
from portside.cloud.services.cloudformation.plan import Plan, PlannedView, active, plan
from portside.cloud.services.cloudformation.records import Output, ResourceStatus, Spec, Stack, Value
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.session import Zones, evaluator
from portside.cloud.services.cloudformation.stored import bucket_and_key
from portside.cloud.services.cloudformation.template import Template


@dataclass(frozen=True, slots=True)
class Proposal:
    """A checked request: the specification, its template and what it would do. `outputs` is None where their
    values depend on what does not exist yet; `lasting` are those that will be what the stack has now. `hidden` are
    the secrets of the resources that there are."""

    spec: Spec
    template: Template
    plan: Plan
    outputs: tuple[Output, ...] | None
    trouble: str = ""
    hidden: tuple[str, ...] = ()
    lasting: Params = field(default_factory=dict)


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
        if len(body.encode()) > limits.BODY_BYTES:
            raise invalid(
                f"1 validation error detected: Value '{body}' at 'templateBody' failed to satisfy constraint: "
                f"Member must have length less than or equal to {limits.BODY_BYTES}"
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
    if len(data) > limits.STORED_BYTES:
        raise invalid(f"Template may not exceed {limits.STORED_BYTES} bytes in size.")
    try:
        return data.decode() if isinstance(data, bytes) else str(data)
    except UnicodeDecodeError:
        raise invalid(documents.UNSUPPORTED) from None


def _s3_place(url: str, endpoint: str) -> tuple[str, str]:
    """Bucket and key of a template's URL, on AWS's host names or on the cloud's own endpoint."""
    if url.startswith("s3://"):
        host = url.removeprefix("s3://").partition("/")[0]
        raise invalid(f"S3 error: Domain name specified in {host} is not a valid S3 domain")
    place = bucket_and_key(url, endpoint)
    if place is None:
        raise invalid("TemplateURL must be a supported URL.")
    if not all(place):
        raise invalid("S3 error: Domain name specified in TemplateURL is not a valid S3 domain")
    return place


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
    params: Params, body: str, previous: Spec | None, calls: Calls, caller: Caller, *, direct: bool
) -> tuple[Spec, Template]:
    """What the request asks for, with its processed template; what it leaves out on an update is taken from
    `previous`. `direct` says that no change set will show what transforms make of the template."""
    document = {} if transforms.plain(body) else documents.read(body)
    transformed = bool(transforms.names(document))
    if direct:
        transforms.require_acknowledged(document, list(params.get("Capabilities") or ()))
    transforms.refuse_unoffered(document)
    parsed = template.outline(document) if transformed else template.parse(body)
    transforms.check_original(document)
    chosen = parameters.choose(
        parsed, params.get("Parameters") or [], None if previous is None else previous.parameters
    )
    later = parameters.pending(params.get("Parameters") or [])
    values = await parameters.resolve(parsed, chosen, calls, caller, later)
    values = _hiding(values, (params.get(PARENT_KEY) or {}).get("hidden") or [], previous)
    trouble = await existence.missing(parsed, values, calls, caller)
    seen = parameters.values(parsed, values, literal=True)
    processed = body
    if not transformed:
        processed = transforms.settle(document, parsed, seen, calls, caller) or body
        parsed = template.parse(processed)
    elif not trouble:
        try:
            processed = await transforms.process(document, parsed, seen, calls, caller)
            parsed = template.parse(processed)
        except transforms.TransformFailed as error:
            trouble = str(error)
        except AwsError as error:
            if error.code != "ValidationError":
                raise
            trouble = error.message
    if not trouble and not later:
        await _refuse_broken_rules(parsed, values, calls, caller)
    tags = params.get("Tags")
    kept = previous.tags if previous is not None else ()
    pairs = kept if tags is None else _tags(tags)
    notifications = params.get("NotificationARNs")
    if notifications is None:
        notifications = previous.notifications if previous is not None else ()
    rollback = triggers.check(params.get("RollbackConfiguration") or {})
    if "RollbackConfiguration" not in params and previous is not None:
        rollback = previous.rollback
    spec = Spec(
        body="" if trouble and transformed else processed,
        parameters=values,
        tags=pairs,
        capabilities=tuple(params.get("Capabilities") or ()),
        notifications=tuple(notifications),
        role=params.get("RoleARN") or (previous.role if previous is not None else ""),
        rollback=rollback,
        original="" if processed is body and not transformed else body,
        trouble=trouble,
    )
    return spec, parsed


def _hiding(values: tuple[Value, ...], named: list[str], previous: Spec | None) -> tuple[Value, ...]:
    """With those marked that the parent stack does not show, now or before."""
    before = {each.key: each.effective for each in previous.parameters if each.hidden} if previous else {}
    return tuple(
        replace(each, hidden=True) if each.key in named or before.get(each.key) == each.effective else each
        for each in values
    )


def _tags(given: list[Params]) -> tuple[tuple[str, str], ...]:
    if len(given) > limits.STACK_TAGS:
        raise invalid(
            f"1 validation error detected: Value '[{', '.join(each['Key'] for each in given)}]' at "
            "'tags' failed to "
            f"satisfy constraint: Member must have length less than or equal to {limits.STACK_TAGS}"
        )
    for each in given:
        if each["Key"].startswith("aws:"):
            raise invalid("aws: prefixed tag key names are not allowed for external use.")
    return tuple((each["Key"], each["Value"]) for each in given)


async def _refuse_broken_rules(parsed: Template, values: tuple[Value, ...], calls: Calls, caller: Caller) -> None:
    if not parsed.rules:
        return
    surroundings = Surroundings(caller.account, caller.region, "", "")
    look = rules.RuleEvaluator(parsed, parameters.values(parsed, values), surroundings)
    try:
        broken = await rules.broken(look, calls, caller)
    except EvaluationError as error:
        raise invalid(str(error)) from None
    if broken:
        raise invalid(broken)


def _perhaps(exported: Callable[[str], Any], name: str) -> Any:
    """An export that is missing may yet be made."""
    found = exported(name)
    return UNKNOWN if found is None else found


async def propose(
    db: Database,
    zones: Zones,
    stack: Stack,
    spec: Spec,
    calls: Calls,
    caller: Caller,
    *,
    new: bool,
    lenient: bool = False,
    foreseen: Mapping[str, Params] = MappingProxyType({}),
) -> Proposal:
    """The plan that turns what `stack` has into `spec`; ValidationError for what can be known to fail.

    `trouble` holds what a new stack only finds when it begins: a missing export, or `spec.trouble`. With `lenient`
    there is a plan all the same, in which what a missing export holds is not known. `foreseen`: the outputs of
    nested stacks that will be what they are.
    """
    if spec.trouble:
        return Proposal(spec, template.outline(documents.read(spec.sent)), Plan(), None, spec.trouble)
    parsed = template.parse(spec.body)
    policies.refuse_impossible(parsed)
    before = {} if new else {
        name: each for name, each in rows.resources(db, stack.id).items() if not each.status.gone
        and each.status is not ResourceStatus.CREATE_FAILED
    }  # fmt: skip
    hidden = tuple(secrecy.of_resources(before.values()))
    try:
        look = evaluator(db, stack, spec, parsed, NoResources(), zones.known)
        alive = await zones.with_zones(caller, lambda: active(look))
        registry.refuse_unknown(parsed, alive)
        trouble = dynamic.insecure([parsed.resources[name] for name in alive], versioned=False)
        spec = replace(spec, trouble=trouble or attributes.unsupported(parsed, alive, registry.facts))
        _refuse_retyped(parsed, alive, before)
        view = PlannedView(parsed, {}, registry.facts, foreseen)
        look = evaluator(db, stack, spec, parsed, view, zones.known)
        if lenient:
            look.exported = partial(_perhaps, look.exported)

        def planned() -> Plan:
            view.planned = {}
            return plan(look, before, registry.facts, spec.tags, spec.stored)

        found = await zones.with_zones(caller, planned)
        asked = [name for each in found.planned.values() for name in dynamic.named(each.properties)]
        spec = replace(spec, stored=await dynamic.look_up(asked, calls, caller))
        if any(each.applied is not None and each.applied.stored for each in found.planned.values()):
            found = await zones.with_zones(caller, planned)
        if not new and not found.planned:
            raise invalid("Template format error: At least one Resources member must be defined.")
        made: tuple[Output, ...] | None = None
        with suppress(LateError):
            made = await zones.with_zones(caller, lambda: outputs.evaluate(look))
    except MissingExport as error:
        found = Plan()
        if not lenient:
            with suppress(AwsError):
                again = await propose(
                    db, zones, stack, spec, calls, caller, new=new, lenient=True, foreseen=foreseen
                )
                found = again.plan
        return Proposal(spec, parsed, found, None, str(error), hidden)
    except EvaluationError as error:
        raise invalid(str(error)) from None
    now = {each.key: each.value for each in stack.outputs}
    lasting = {each.key: each.value for each in made or () if now.get(each.key) == each.value}
    if made is not None and any("KNOWN_AFTER_APPLY" in each.value for each in made):
        made = None
    return Proposal(spec, parsed, found, made, hidden=hidden, lasting=lasting)


def _refuse_retyped(parsed: Template, alive: Mapping[str, tuple[str, ...]], before: dict[str, Any]) -> None:
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
