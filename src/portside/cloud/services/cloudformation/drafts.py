"""How a change set comes out: what it shows of a proposal, and whether it can be executed.

Pure. Used by `change_set_calls.py`; what a single change looks like is `changes.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import changes, parameters, template
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
_IMPORT = "Fn::ImportValue"


def verdict(stack: Stack, proposal: Proposal, *, new: bool) -> tuple[str, str]:
    """Why a change set fails, and what it warns of; both empty if there is nothing."""
    idle = stack.status in UPDATABLE and nothing_changes(stack, proposal)
    refused = proposal.trouble or (NO_CHANGES if idle else "")
    if new and refused and not proposal.spec.trouble and proposal.plan.changed:
        # Somebody may yet make the export before the change set is executed.
        return "", _incomplete(proposal)
    return refused, ""


def failed(made: ChangeSet, reason: str) -> ChangeSet:
    return replace(
        made,
        status=ChangeSetStatus.FAILED,
        execution=ExecutionStatus.UNAVAILABLE,
        reason=reason,
        changes=(),
        followers=(),
    )


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
    """The changes from `before` (None for a new stack), without the values of NoEcho parameters."""
    old = template.parse(before.body) if before is not None else None
    known = {each.key: each.effective for each in before.parameters} if before is not None else {}
    changed = frozenset(each.key for each in proposal.spec.parameters if known.get(each.key) != each.effective)
    found = changes.describe(proposal.plan, old, proposal.template, changed, registry.facts, imported)
    secrets = [secret for each in (before, proposal.spec) if each is not None for secret in _secrets(each)]
    return tuple(changes.masked(each, secrets, parameters.MASK) for each in found)


def _secrets(spec: Spec) -> list[str]:
    declared = template.declared_parameters(spec.sent)
    return [each.effective for each in spec.parameters if parameters.no_echo(declared.get(each.key, {}))]
