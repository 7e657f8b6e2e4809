"""Lifecycle and repository policies: whether a text is one.

Pure. Lifecycle rules are checked in full, so that a policy which AWS would refuse is refused here too; images are
not expired by them.
"""

from __future__ import annotations

import json
from typing import Any

_COUNT_TYPES = ("imageCountMoreThan", "sinceImagePushed", "sinceImagePulled", "sinceImageTransitioned")


def lifecycle_fault(text: str) -> str | None:
    """What is wrong with a lifecycle policy; None when nothing is."""
    try:
        document = json.loads(text)
    except ValueError:
        return "string is not valid JSON"
    rules = document.get("rules") if isinstance(document, dict) else None
    if not isinstance(rules, list) or not rules:
        return "object has missing required properties (['rules'])"
    priorities: list[int] = []
    for rule in rules:
        fault = _rule_fault(rule)
        if fault is not None:
            return fault
        priorities.append(rule["rulePriority"])
    if len(set(priorities)) != len(priorities):
        return "rule priorities must be unique"
    return _selection_fault(rules)


def _rule_fault(rule: Any) -> str | None:
    if not isinstance(rule, dict):
        return "a rule must be an object"
    missing = [key for key in ("action", "rulePriority", "selection") if key not in rule]
    if missing:
        return f"object has missing required properties ({missing})"
    priority, selection, action = rule["rulePriority"], rule["selection"], rule["action"]
    if not isinstance(priority, int) or isinstance(priority, bool) or priority < 1:
        return "rulePriority must be an integer of at least 1"
    if not isinstance(action, dict) or action.get("type") not in ("expire", "transition"):
        return "action type must be one of ['expire', 'transition']"
    if not isinstance(selection, dict):
        return "selection must be an object"
    status, kind = selection.get("tagStatus"), selection.get("countType")
    if status not in ("tagged", "untagged", "any"):
        return "tagStatus must be one of ['any', 'tagged', 'untagged']"
    if kind not in _COUNT_TYPES:
        return f"countType must be one of {list(_COUNT_TYPES)}"
    number = selection.get("countNumber")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        return "countNumber must be an integer of at least 1"
    if kind == "imageCountMoreThan" and "countUnit" in selection:
        return "countUnit is not allowed with imageCountMoreThan"
    if kind != "imageCountMoreThan" and selection.get("countUnit") != "days":
        return f"countUnit must be 'days' with {kind}"
    lists = [key for key in ("tagPrefixList", "tagPatternList") if selection.get(key)]
    if status == "tagged" and len(lists) != 1:
        return "tagged rules need either a tagPrefixList or a tagPatternList"
    if status != "tagged" and lists:
        return f"{lists[0]} is only allowed with tagStatus 'tagged'"
    return None


def _selection_fault(rules: list[Any]) -> str | None:
    ordered = sorted(rules, key=lambda rule: int(rule["rulePriority"]))
    statuses = [rule["selection"]["tagStatus"] for rule in ordered]
    if statuses.count("untagged") > 1 or statuses.count("any") > 1:
        return "only one rule may select 'untagged' and only one 'any'"
    if "any" in statuses[:-1]:
        return "the rule with tagStatus 'any' must have the highest rulePriority number"
    seen: set[tuple[str, ...]] = set()
    for rule in ordered:
        tags = tuple(sorted(rule["selection"].get("tagPrefixList") or ()))
        if tags and tags in seen:
            return f"tagPrefixList {list(tags)} is used by more than one rule"
        seen.add(tags)
    return None


def policy_fault(text: str) -> str | None:
    """What is wrong with a repository policy; None when nothing is."""
    try:
        document = json.loads(text)
    except ValueError:
        return "the policy is not valid JSON"
    statements = document.get("Statement") if isinstance(document, dict) else None
    if not isinstance(statements, (list, dict)):
        return "the policy has no Statement"
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            return "each statement needs an Effect, Allow or Deny"
        if not ("Principal" in statement or "NotPrincipal" in statement):
            return "each statement needs a Principal"
    return None
