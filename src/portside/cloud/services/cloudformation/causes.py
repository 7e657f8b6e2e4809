"""Why a property changes: directly, through a parameter, or through another resource.

Pure. Owns ChangeSource, Evaluation and CausingEntity of a change set's details.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from portside.cloud.services.cloudformation.plan import Plan, Verdict
from portside.cloud.services.cloudformation.records import Params
from portside.cloud.services.cloudformation.references import Reference, references

_CHANGED = (Verdict.CREATE, Verdict.REPLACE, Verdict.UPDATE)


class Causes:
    """`pending` are the changed parameters whose new values are not known yet."""

    def __init__(
        self, plan: Plan, changed_parameters: frozenset[str], pending: frozenset[str] = frozenset()
    ) -> None:
        self._planned = plan.planned
        self._parameters = changed_parameters
        self._pending = pending

    @staticmethod
    def attributes(raw: Any) -> Iterator[Reference]:
        """The attributes of other resources that a piece of a template reads."""
        for each in dict.fromkeys(references(raw)):
            if each.attribute:
                yield each

    def of(self, raw: Any, raw_before: Any, *, unknown: bool = False) -> list[Params]:
        """One entry for each reason; `unknown` says that the new value depends on what does not exist yet."""
        causes: list[tuple[str, str, str]] = []
        certain = False
        for reference in references(raw):
            if reference.name in self._parameters:
                certain = True
                evaluation = "Dynamic" if reference.name in self._pending else "Static"
                causes.append((evaluation, "ParameterReference", reference.name))
                continue
            other = self._planned.get(reference.name)
            if other is None or other.decision.verdict not in _CHANGED:
                continue
            replaced = other.decision.verdict is not Verdict.UPDATE
            evaluation = "Static" if replaced else "Dynamic"
            if reference.attribute:
                causes.append((evaluation, "ResourceAttribute", str(reference)))
            elif replaced:
                causes.append((evaluation, "ResourceReference", reference.name))
        if certain or (causes and unknown and raw == raw_before):
            causes.append(("Dynamic", "DirectModification", ""))
        elif raw != raw_before or not causes:
            causes.append(("Static", "DirectModification", ""))
        shown = []
        for evaluation, source, entity in dict.fromkeys(causes):
            detail: Params = {"Evaluation": evaluation, "ChangeSource": source}
            if entity:
                detail["CausingEntity"] = entity
            shown.append(detail)
        return shown
