"""Outputs and exports: evaluated at the end of an operation, and guarded while others import them.

Owns the rules for exports (unique per Region, neither changed nor withdrawn while imported) and their texts.
"""

from __future__ import annotations

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.cloudformation import checks, rows
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN, EvaluationError, Evaluator
from portside.cloud.services.cloudformation.plan import Dangling
from portside.cloud.services.cloudformation.records import Output, Stack, StackStatus
from portside.cloud.services.cloudformation.rows import Reader


def evaluate(look: Evaluator) -> tuple[Output, ...]:
    """The outputs whose conditions hold."""
    found = []
    for name, declared in look.template.outputs.items():
        condition = declared.get("Condition")
        if condition and not look.condition(condition):
            continue
        export = declared.get("Export")
        try:
            value = look.text(declared["Value"])
        except Dangling as error:
            raise Dangling(error.logical_id, "Outputs") from None
        exported = look.evaluate(export["Name"]) if export else ""
        if export and exported is not UNKNOWN and not checks.exportable(exported):
            raise EvaluationError(checks.bad_export(name))
        found.append(
            Output(
                key=name,
                value=value,
                description=str(declared.get("Description", "")),
                export=str(exported) if export else "",
            )
        )
    return tuple(found)


def refuse_exports(db: Reader, stack: Stack, made: tuple[Output, ...]) -> str:
    """Why these outputs cannot be published; empty if they can."""
    wanted: dict[str, str] = {}
    for each in made:
        if not each.export:
            continue
        if each.export in wanted:
            return f"Export with name {each.export} is already exported by stack {stack.name}."
        wanted[each.export] = each.value
    if not wanted and _never_exported(stack):
        return ""
    for name, value, owner_id in rows.exports(db, stack.region):
        if owner_id != stack.id:
            if name in wanted:
                owner = rows.stack_by_id(db, owner_id)
                shown = owner.name if owner is not None else owner_id
                return f"Export with name {name} is already exported by stack {shown}."
            continue
        users = [user for _, user in rows.importers(db, stack.region, name)]
        if not users or wanted.get(name) == value:
            continue
        verb = "updated" if name in wanted else "deleted"
        return f"Export {name} cannot be {verb} as it is in use by {', '.join(users)}"
    return ""


def _never_exported(stack: Stack) -> bool:
    """A stack is created once, and exports only when that is complete."""
    return stack.status is StackStatus.CREATE_IN_PROGRESS


def refuse_deletion(db: Reader, stack: Stack) -> str:
    """Why a stack's exports keep it from being deleted; empty if they do not."""
    for name, _, owner_id in rows.exports(db, stack.region):
        if owner_id != stack.id:
            continue
        users = [user for user_id, user in rows.importers(db, stack.region, name) if user_id != stack.id]
        if users:
            return f"Delete canceled. Cannot delete export {name} as it is in use by {', '.join(users)}."
    return ""


def publish(tx: Transaction, stack: Stack, made: tuple[Output, ...], imported: set[str]) -> None:
    exported = {each.export: each.value for each in made if each.export}
    if exported or not _never_exported(stack):
        rows.set_exports(tx, stack.region, stack.id, exported)
    rows.set_imports(tx, stack.region, stack.id, imported)
