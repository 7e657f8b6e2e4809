"""How a change set comes out: what it shows of a proposal, and whether it can be executed.

Pure. Used by `change_set_calls.py` and, for the stacks inside, `nested_calls.py`; what a single change looks like
is `changes.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import changes, secrecy, template
from portside.cloud.services.cloudformation.imports import Wanted
from portside.cloud.services.cloudformation.proposal import Proposal, nothing_changes
from portside.cloud.services.cloudformation.records import (
    UPDATABLE,
    ChangeSet,
    ChangeSetStatus,
    ExecutionStatus,
    Spec,
    Stack,
)
from portside.cloud.services.cloudformation.resources import registry

NO_CHANGES = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
NESTED_FAILED = "Nested change set {} was not successfully created: Currently in FAILED."
# The reason of a nested change set in CREATE_COMPLETE, which for itself is UNAVAILABLE.
ONLY_ROOT = "Only executable from the root change set."
_IMPORT = "Fn::ImportValue"


@dataclass(frozen=True, slots=True)
class Draft:
    """A change set that is not stored yet: of `stack`, with those of the stacks inside it, by logical id.

    `lasting` are the outputs that the stack has now and will have.
    """

    made: ChangeSet
    stack: Stack
    inside: dict[str, Draft]
    lasting: Params

    @property
    def changes(self) -> bool:
        return self.made.status is ChangeSetStatus.CREATE_COMPLETE

    @property
    def broken(self) -> bool:
        """Failed, and not because there is nothing to do."""
        return not self.changes and self.made.reason != NO_CHANGES

    def all(self) -> Iterator[Draft]:
        """This one and all inside, parents first."""
        yield self
        for each in self.inside.values():
            yield from each.all()


def verdict(
    stack: Stack, proposal: Proposal, *, new: bool, inside: Mapping[str, Draft] = MappingProxyType({})
) -> tuple[str, str]:
    """Why a change set fails, and what it warns of; both empty if there is nothing."""
    idle = stack.status in UPDATABLE and nothing_changes(stack, proposal)
    # Somebody may yet make the export before the change set is executed.
    passing = new and proposal.trouble and not proposal.spec.trouble and proposal.plan.changed
    broken = next((each.made.id for each in inside.values() if each.broken), None)
    if broken is not None and (passing or not proposal.trouble):
        return NESTED_FAILED.format(broken), ""
    if passing:
        return "", _incomplete(proposal)
    return proposal.trouble or (NO_CHANGES if idle else ""), ""


def completed(
    made: ChangeSet,
    before: Spec | None,
    proposal: Proposal,
    inside: Mapping[str, Draft],
    wanted: Sequence[Wanted] = (),
) -> ChangeSet:
    """A change set with what it shows of a proposal; `wanted` are the resources to be imported."""
    return replace(
        made,
        spec=proposal.spec,
        imports=tuple((each.logical_id, each.type, each.physical_id, each.name) for each in wanted),
        changes=_leading(shown(before, proposal, [each.logical_id for each in wanted]), inside),
        followers=_leading(changes.may_follow(proposal.plan, proposal.template), inside),
        inner={name: each.made.id for name, each in inside.items()},
    )


def failed(made: ChangeSet, reason: str) -> ChangeSet:
    """Shows no changes then, except to lead to the nested change set that is the reason."""
    lost = replace(
        made, status=ChangeSetStatus.FAILED, execution=ExecutionStatus.UNAVAILABLE, reason=reason, warning=""
    )
    if reason in {NESTED_FAILED.format(each) for each in made.inner.values()}:
        return lost
    return replace(lost, changes=(), followers=())


def _leading(shown: Iterable[Params], inside: Mapping[str, Draft]) -> tuple[Params, ...]:
    """The changes, those of nested stacks with the ids of their change sets."""
    found = []
    for each in shown:
        change = each["ResourceChange"]
        draft = inside.get(change["LogicalResourceId"])
        if draft is not None:
            each = each | {"ResourceChange": change | {"ChangeSetId": draft.made.id}}
        found.append(each)
    return tuple(found)


def _incomplete(proposal: Proposal) -> str:
    names = [
        each.logical_id
        for each in proposal.plan.planned.values()
        if _IMPORT in json.dumps(proposal.template.resources[each.logical_id].properties)
    ]
    return (
        "[WARN] --include-property-values option can return incomplete ChangeSet data because: ChangeSet creation "
        f"failed for resource [{', '.join(names[:1])}] because: {proposal.trouble}"
    )


def shown(before: Spec | None, proposal: Proposal, imported: list[str]) -> tuple[Params, ...]:
    """The changes from `before` (None for a new stack), without what is not to be shown."""
    old = template.parse(before.body) if before is not None else None
    known = {each.key: each.effective for each in before.parameters} if before is not None else {}
    pending = frozenset(each.key for each in proposal.spec.parameters if each.unknown)
    changed = pending | {each.key for each in proposal.spec.parameters if known.get(each.key) != each.effective}
    found = changes.describe(proposal.plan, old, proposal.template, changed, registry.facts, imported, pending)
    secrets = [secret for each in (before, proposal.spec) if each is not None for secret in secrecy.of_spec(each)]
    return tuple(changes.masked(each, [*secrets, *proposal.hidden]) for each in found)
