"""Change sets: made from the same proposal as an update, executed as one.

The plan is computed in CreateChangeSet and stored; ExecuteChangeSet hands the frozen specification to the same
intent that UpdateStack and CreateStack write.
"""

from __future__ import annotations

from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.cloudformation import changes, describe, drafts, hierarchy, rows, template
from portside.cloud.services.cloudformation.base import NAME_OR_ID, page, refuse_name
from portside.cloud.services.cloudformation.documents import invalid, missing_change_set
from portside.cloud.services.cloudformation.drafts import Draft
from portside.cloud.services.cloudformation.import_calls import exposed
from portside.cloud.services.cloudformation.imports import Wanted
from portside.cloud.services.cloudformation.nested_calls import NestedCalls
from portside.cloud.services.cloudformation.plan import Plan
from portside.cloud.services.cloudformation.proposal import (
    Proposal,
    make_spec,
    propose,
    read_body,
    require_capabilities,
    require_types,
)
from portside.cloud.services.cloudformation.records import (
    ChangeSet,
    ChangeSetStatus,
    ExecutionStatus,
    Stack,
    StackStatus,
)
from portside.cloud.services.cloudformation.stack_calls import (
    keeps_failures,
    modes,
    refuse_update,
    shown_by,
)

PAGE = 100


class ChangeSetCalls(NestedCalls):
    @operation("CreateChangeSet")
    async def create_change_set(self, caller: Caller, params: Params) -> Params:
        name: str = params["ChangeSetName"]
        kind = params.get("ChangeSetType") or "UPDATE"
        importing = kind == "IMPORT"
        if params.get("ResourcesToImport") and not importing:
            raise invalid("ResourcesToImport can only be specified for a change set of type IMPORT.")
        if params.get("DeploymentMode"):
            raise invalid("portside's local cloud does not offer DeploymentMode.")
        if params.get("OnStackFailure") == "DELETE" and kind != "CREATE":
            raise invalid("OnStackFailure DELETE is only valid for a change set of type CREATE.")
        nested = bool(params.get("IncludeNestedStacks"))
        if nested and importing:
            raise invalid("IncludeNestedStacks is not supported for changeSet type: IMPORT.")
        refuse_name(params["StackName"], NAME_OR_ID)
        stack = self._stack_for(caller, params["StackName"], name, kind)
        new = stack.status is StackStatus.REVIEW_IN_PROGRESS
        token: str = params.get("ClientToken") or ""
        twin = _named(self._db, stack, name)
        if twin is not None and token and twin.client_token == token:
            return {"Id": twin.id, "StackId": stack.id}
        if twin is not None:
            raise AwsError("AlreadyExistsException", f"ChangeSet {name} already exists")
        if not new:
            refuse_update(stack, without_rollback=not importing)
        before = None if new else stack.spec
        body = await read_body(params, self._calls, caller, None if before is None else before.sent)
        spec, parsed = await make_spec(params, body, before, self._calls, caller, direct=False)
        await self._callers.verify(spec.role, stack.id, caller)
        require_capabilities(parsed, list(spec.capabilities))
        require_types(parsed, params.get("ResourceTypes"))
        made = ChangeSet(
            id=f"arn:aws:cloudformation:{caller.region}:{caller.account}:changeSet/{name}/{self._ids.uuid()}",
            name=name,
            stack_id=stack.id,
            stack_name=stack.name,
            kind="IMPORT" if importing else "CREATE" if new else "UPDATE",
            status=ChangeSetStatus.CREATE_COMPLETE,
            execution=ExecutionStatus.AVAILABLE,
            created=self._clock.now(),
            spec=spec,
            description=params.get("Description", ""),
            on_stack_failure=params.get("OnStackFailure", ""),
            deployment=params.get("DeploymentConfig") or {},
            imports_existing=bool(params.get("ImportExistingResources")),
            client_token=token,
            nested=nested,
        )
        inside: dict[str, Draft] = {}
        if nested:
            depth = self.depth_of(stack)
            proposal, inside = await self.foresee(made, stack, spec, caller, new=new, depth=depth)
            if inside and params.get("ImportExistingResources"):
                raise invalid(
                    "portside's local cloud does not offer ImportExistingResources together with "
                    f"IncludeNestedStacks where there are nested stacks, like {', '.join(inside)}; import them "
                    "with a change set of the stack that they are to belong to."
                )
        else:
            proposal = await propose(self._db, self._zones, stack, spec, self._calls, caller, new=new)
        wanted: list[Wanted] = []
        if importing:
            wanted = self._imports(params, before, proposal)
        elif params.get("ImportExistingResources"):
            wanted = await self._existing(stack, proposal)
        made = drafts.completed(made, before, proposal, inside, wanted)
        refused, warning = drafts.verdict(stack, proposal, new=new, inside=inside)
        made = replace(made, warning=warning)
        if wanted and not refused:
            refused = await self._unimportable(stack, wanted, proposal) if importing else exposed(wanted, proposal)
        if refused:
            made = drafts.failed(made, refused)
        with self._db.write() as tx:
            present = rows.stack_by_id(tx, stack.id)
            if present is None:
                if rows.live_stack(tx, caller.region, stack.name) is not None:
                    raise AwsError("AlreadyExistsException", f"Stack [{stack.name}] already exists")
                rows.save_stack(tx, stack)
                self._journal.told(tx, stack)
            if _named(tx, stack, name) is not None:
                raise AwsError("AlreadyExistsException", f"ChangeSet {name} already exists")
            rows.save_change_set(tx, made)
            self.save_inside(tx, inside)
        return {"Id": made.id, "StackId": stack.id}

    def _stack_for(self, caller: Caller, name: str, change_set: str, kind: str) -> Stack:
        found = self._any(caller, name)
        if kind == "IMPORT":
            if found is None and not name.startswith("arn:"):
                return self.blank_stack(caller, name)
            if found is not None and found.status is StackStatus.REVIEW_IN_PROGRESS:
                return found
        if kind == "CREATE":
            if found is None:
                if name.startswith("arn:"):
                    raise invalid(f"Stack [{name}] does not exist")
                return self.blank_stack(caller, name)
            if found.status is StackStatus.DELETE_COMPLETE:
                raise invalid(
                    f"Stack [{name}] already exists and cannot be created again with the changeSet [{change_set}]."
                )
            if found.status is not StackStatus.REVIEW_IN_PROGRESS:
                raise invalid(
                    f"Stack [{name}] already exists and cannot be created again with the changeSet [{change_set}]."
                )
            return found
        if found is None:
            raise invalid(f"Stack [{name}] does not exist")
        if found.status is StackStatus.REVIEW_IN_PROGRESS:
            refuse_update(found)
        return found

    def _find(self, caller: Caller, params: Params) -> ChangeSet:
        name: str = params["ChangeSetName"]
        if name.startswith("arn:"):
            found = rows.change_set_by_id(self._db, name)
            if found is None:
                raise missing_change_set(name)
            return found
        if not params.get("StackName"):
            raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
        stack = self._need(caller, params["StackName"])
        for each in rows.change_sets(self._db, stack.id):
            if each.name == name:
                return each
        raise missing_change_set(name)

    @operation("DescribeChangeSet")
    def describe_change_set(self, caller: Caller, params: Params) -> Params:
        found = self._find(caller, params)
        shown = list(found.changes)
        if not params.get("IncludePropertyValues"):
            shown = [changes.without_values(each) for each in [*shown, *found.followers]]
            shown.sort(key=lambda each: str(each["ResourceChange"]["LogicalResourceId"]))
        shown, following = page(shown, params, PAGE)
        answer = describe.change_set(found, shown) | {"NextToken": following}
        if found.warning and params.get("IncludePropertyValues"):
            answer["StatusReason"] = found.warning
        return answer

    @operation("ListChangeSets")
    def list_change_sets(self, caller: Caller, params: Params) -> Params:
        stack = self._need(caller, params["StackName"])
        found, following = page(rows.change_sets(self._db, stack.id), params, PAGE)
        return {"Summaries": [describe.change_set_summary(each) for each in found], "NextToken": following}

    @operation("DeleteChangeSet")
    def delete_change_set(self, caller: Caller, params: Params) -> Params:
        try:
            found = self._find(caller, params)
        except AwsError as error:
            if error.code == "ChangeSetNotFound":
                return {}
            raise
        with self._db.write() as tx:
            present = rows.change_set_by_id(tx, found.id)
            if present is not None:
                refuse_deletion(present)
                hierarchy.forget(tx, self._journal, present)
        return {}

    @operation("ExecuteChangeSet")
    async def execute_change_set(self, caller: Caller, params: Params) -> Params:
        found = self._find(caller, params)
        before = rows.stack_by_id(self._db, found.stack_id)
        if before is not None and self._repeated(
            before, caller, params.get("ClientRequestToken", ""), "ExecuteChangeSet"
        ):
            return {}
        refuse_execution(found)
        stack = rows.stack_by_id(self._db, found.stack_id)
        if stack is None:
            raise invalid(f"Stack [{found.stack_name}] does not exist")
        if found.on_stack_failure and params.get("DisableRollback"):
            raise invalid("DisableRollback cannot be set when OnStackFailure of the change set is.")
        proposal = Proposal(found.spec, template.parse(found.spec.body), Plan(), None)
        token = params.get("ClientRequestToken", "")
        no_rollback = (
            keeps_failures(params)
            or found.on_stack_failure == "DO_NOTHING"
            or keeps_failures({"DeploymentConfig": found.deployment})
        )
        chosen = modes(params | {"DeploymentConfig": found.deployment})
        adopted = await self._adopted(stack, found, caller) if found.kind != "IMPORT" else []
        with self._db.write() as tx:
            now = rows.stack_by_id(tx, stack.id)
            again = rows.change_set_by_id(tx, found.id)
            if now is None or again is None:
                raise missing_change_set(found.name)
            refuse_execution(again)
            if found.kind == "IMPORT":
                if now.status is not StackStatus.REVIEW_IN_PROGRESS:
                    refuse_update(now)
                self._refuse_owned(tx, now, found)
                self._begin_import(tx, now, found, caller, token)
            elif found.kind == "CREATE":
                if now.status is not StackStatus.REVIEW_IN_PROGRESS:
                    refuse_update(now)
                on_failure = found.on_stack_failure or ("DO_NOTHING" if no_rollback else "ROLLBACK")
                self.begin_create(
                    tx,
                    now,
                    proposal,
                    caller,
                    on_failure=on_failure,
                    timeout_minutes=None,
                    token=token,
                    termination_protection=False,
                    updated=self._clock.now(),
                    **shown_by(again),
                    **chosen,
                )
            else:
                refuse_update(now, without_rollback=no_rollback)
                self.begin_update(
                    tx,
                    now,
                    proposal,
                    caller,
                    token=token,
                    disable_rollback=no_rollback,
                    **shown_by(again),
                    **chosen,
                )
            self._adopt(tx, now, adopted)
            rows.add_token(tx, caller.region, now.id, token, "ExecuteChangeSet")
            hierarchy.execute(tx, again)
        return {}


def _named(db: rows.Reader, stack: Stack, name: str) -> ChangeSet | None:
    return next((each for each in rows.change_sets(db, stack.id) if each.name == name), None)


def refuse_deletion(found: ChangeSet) -> None:
    """Of a hierarchy only the root is deleted, and not while its operation may still need it."""
    if found.parent:
        raise AwsError(
            "InvalidChangeSetStatus",
            f"ChangeSet [{found.id}] is nested and can only be deleted with its root change set [{found.root}]",
        )
    if found.nested and found.execution is ExecutionStatus.EXECUTE_COMPLETE:
        raise AwsError(
            "InvalidChangeSetStatus",
            f"ChangeSet [{found.id}] cannot be deleted in its current status of [{found.execution}]",
        )


def refuse_execution(found: ChangeSet) -> None:
    if found.execution is not ExecutionStatus.AVAILABLE:
        raise AwsError(
            "InvalidChangeSetStatus",
            f"ChangeSet [{found.id}] cannot be executed in its current status of [{found.status}]",
        )
