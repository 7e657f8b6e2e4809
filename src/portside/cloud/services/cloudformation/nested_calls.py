"""The part of change sets that is about nested stacks: each stack inside gets one of its own, to any depth.

Owns what is known of a nested stack beforehand: its template, its parameters as far as the plan of its parent has
them, and which of its outputs will last. Nothing is stored here; what becomes of the change sets later is
`hierarchy.py`, and how their stacks are made from them `resources/nested.py`.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import PARENT_KEY, Caller, Params
from portside.cloud.services.cloudformation import drafts, dynamic, parameters, rows, secrecy
from portside.cloud.services.cloudformation.begin import NESTED
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.drafts import Draft
from portside.cloud.services.cloudformation.import_calls import ImportCalls
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN, EvaluationError, unknown_inside
from portside.cloud.services.cloudformation.plan import Planned, Verdict
from portside.cloud.services.cloudformation.proposal import (
    Proposal,
    make_spec,
    propose,
    read_body,
    require_capabilities,
)
from portside.cloud.services.cloudformation.records import (
    ChangeSet,
    ChangeSetStatus,
    ExecutionStatus,
    Spec,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.references import function_of, split_attribute
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.resources.naming import NameStyle, Suffix
from portside.cloud.services.cloudformation.resources.nested import hiding, stack_request
from portside.cloud.services.cloudformation.stack_calls import DEEPEST, handed_down, refuse_update
from portside.cloud.services.cloudformation.template import Template

# Named after the change set above, as nested stacks are after theirs.
_NAMES = NameStyle(suffix=Suffix.UPPER, limit=128)


class TooDeep(AwsError):
    """Not only a nested change set fails: a template that contains itself would go on in every branch."""

    def __init__(self) -> None:
        super().__init__("ValidationError", f"Stacks cannot be nested more than {DEEPEST} deep here.")


class NestedCalls(ImportCalls):
    async def foresee(
        self, made: ChangeSet, stack: Stack, spec: Spec, caller: Caller, *, new: bool, depth: int = 0
    ) -> tuple[Proposal, dict[str, Draft]]:
        """The plan for `stack`, with the change sets of the stacks inside it, by logical id, under the change set
        `made`. Of each stack inside the outputs are foreseen before what comes after it is planned."""
        if depth > DEEPEST:
            raise TooDeep
        inside: dict[str, Draft] = {}
        while True:
            foreseen = {name: each.lasting for name, each in inside.items()}
            proposal = await propose(
                self._db, self._zones, stack, spec, self._calls, caller, new=new, foreseen=foreseen
            )
            planned = proposal.plan.planned
            nested = [each for each in planned.values() if each.type == NESTED and each.logical_id not in inside]
            if not nested:
                break
            above = replace(stack, spec=proposal.spec)
            inside[nested[0].logical_id] = await self._inside(
                made, above, nested[0], proposal.template, caller, depth
            )
        for name, draft in inside.items():
            if draft.changes and planned[name].decision.verdict in (Verdict.KEEP, Verdict.METADATA):
                # Its template has changed behind the same address, or something deeper down.
                planned[name].decision = replace(planned[name].decision, verdict=Verdict.UPDATE)
        return proposal, inside

    def depth_of(self, stack: Stack) -> int:
        """How many stacks a stack is nested in."""
        depth, above = 0, stack
        while above.parent:
            found = rows.stack_by_id(self._db, above.parent)
            if found is None:
                break
            depth, above = depth + 1, found
        return depth

    async def _inside(
        self, above: ChangeSet, outer: Stack, each: Planned, parsed: Template, caller: Caller, depth: int
    ) -> Draft:
        """The change set of one nested stack. What is known to fail in there fails it, and not the call."""
        stack = self._present(each)
        new = stack is None
        if stack is None:
            name = registry.handler(NESTED).choose_name(self._ids, outer.name, each.logical_id, each.properties)
            stack = replace(self.blank_stack(caller, name), parent=outer.id, root=outer.root or outer.id)
        name = _NAMES.make(self._ids, above.name, each.logical_id)
        blank = ChangeSet(
            id=f"arn:aws:cloudformation:{caller.region}:{caller.account}:changeSet/{name}/{self._ids.uuid()}",
            name=name,
            stack_id=stack.id,
            stack_name=stack.name,
            kind="CREATE" if new else "UPDATE",
            status=ChangeSetStatus.CREATE_COMPLETE,
            execution=ExecutionStatus.UNAVAILABLE,
            created=self._clock.now(),
            spec=Spec(body=""),
            reason=drafts.ONLY_ROOT,
            nested=True,
            parent=above.id,
            root=above.root or above.id,
        )
        try:
            if not new:
                refuse_update(stack)
            return await self._drafted(blank, stack, outer, each, parsed, caller, new=new, depth=depth)
        except (AwsError, EvaluationError) as error:
            if isinstance(error, TooDeep) or (isinstance(error, AwsError) and error.status >= 500):
                raise
            reason = error.message if isinstance(error, AwsError) else str(error)
            return Draft(drafts.failed(blank, reason), stack, {}, {})

    def _present(self, each: Planned) -> Stack | None:
        """The nested stack as it is; None if there will be a new one."""
        if each.applied is None or each.decision.verdict is Verdict.REPLACE:
            return None
        found = rows.stack_by_id(self._db, each.applied.physical_id)
        return None if found is None or found.status is StackStatus.DELETE_COMPLETE else found

    async def _drafted(
        self,
        blank: ChangeSet,
        stack: Stack,
        outer: Stack,
        each: Planned,
        parsed: Template,
        caller: Caller,
        *,
        new: bool,
        depth: int,
    ) -> Draft:
        before = None if new else stack.spec
        params = await self._request(outer, each, parsed, caller)
        body = await read_body(params, self._calls, caller, None)
        spec, inner = await make_spec(params, body, before, self._calls, caller, direct=False)
        blank = replace(blank, spec=spec, settled=not unknown_inside(each.properties))
        require_capabilities(inner, list(spec.capabilities))
        proposal, inside = await self.foresee(blank, stack, spec, caller, new=new, depth=depth + 1)
        made = drafts.completed(blank, before, proposal, inside)
        refused, warning = drafts.verdict(stack, proposal, new=new, inside=inside)
        made = drafts.failed(made, refused) if refused else replace(made, warning=warning)
        return Draft(made, stack, inside, proposal.lasting)

    async def _request(self, outer: Stack, each: Planned, parsed: Template, caller: Caller) -> Params:
        """What UpdateStack or CreateStack will be asked, with a mark on the parameters not known yet."""
        properties = await dynamic.resolve(each.properties, self._calls, caller)
        if not isinstance(properties.get("TemplateURL"), str):
            raise invalid("TemplateURL must be a supported URL.")
        values = properties.get("Parameters") or {}
        if not isinstance(values, dict):
            raise invalid(f"Parameters of {each.logical_id} must be an object.")
        own = [tag for tag in _known(properties.get("Tags")) if isinstance(tag, dict)]
        tags = dict(outer.spec.tags) | {str(tag["Key"]): str(tag.get("Value", "")) for tag in own}
        params = stack_request(properties, [{"Key": key, "Value": value} for key, value in tags.items()])
        raw = parsed.resources[each.logical_id].properties.get("Parameters")
        for entry in params["Parameters"]:
            key = entry["ParameterKey"]
            if unknown_inside(values[key]):
                shown = stands_in(outer.name, raw.get(key) if isinstance(raw, dict) else None)
                entry |= {"ParameterValue": shown, parameters.PENDING: True}
        params["NotificationARNs"] = [str(arn) for arn in _known(params["NotificationARNs"])]
        secrets = [*secrecy.of_spec(outer.spec), *secrecy.of_stack(self._db, outer.id)]
        params[PARENT_KEY] = {"stack": outer.id, "hidden": hiding(params, secrets)}
        return params | handed_down(outer)

    def save_inside(self, tx: Transaction, inside: dict[str, Draft]) -> None:
        """Store nested change sets, and the stacks that they announce."""
        for draft in [inner for each in inside.values() for inner in each.all()]:
            if draft.made.kind == "CREATE":
                rows.save_stack(tx, draft.stack)
                self._journal.told(tx, draft.stack)
            rows.save_change_set(tx, draft.made)


def _known(value: Any) -> list[Any]:
    return [] if value is None or value is UNKNOWN else list(value)


def stands_in(stack_name: str, raw: Any) -> str:
    """What AWS shows in place of a parameter that comes from something not made yet."""
    called = function_of(raw)
    place, function = "", "Fn::Join"
    if called is not None:
        function = called[0]
        if function == "Fn::GetAtt":
            found = split_attribute(called[1])
            place = ".".join(map(str, found)) if found is not None else ""
        elif function == "Ref":
            place = str(called[1])
    return f"{{{{IntrinsicFunction:{stack_name}/{place}/{function}}}}}"
