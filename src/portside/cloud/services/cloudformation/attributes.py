"""Attributes that a resource type does not have, found before any resource is made.

Pure. AWS takes such a template, and gives the operation up as soon as it has begun; so the outcome is the reason
of that and not a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from portside.cloud.services.cloudformation.plan import Facts
from portside.cloud.services.cloudformation.references import PLACEHOLDER, function_of, split_attribute
from portside.cloud.services.cloudformation.template import Template


def unsupported(template: Template, alive: Iterable[str], facts: Callable[[str], Facts]) -> str:
    """Where the first such attribute is asked for, in AWS's words; empty if there is none."""
    present = set(alive)
    places: list[tuple[str, Any]] = [
        (f"/Resources/{name}/Properties", template.resources[name].properties) for name in present
    ]
    places.sort(key=lambda each: each[0])
    places += [(f"/Outputs/{name}/Value", output.get("Value")) for name, output in template.outputs.items()]
    for path, value in places:
        for where, name, attribute in _asked(value, path):
            kind = template.resources[name].type if name in present else ""
            if kind and not facts(kind).has_attribute(attribute):
                return f"[Error] {where}: Resource type {kind} does not support attribute {{{attribute}}}."
    return ""


def _asked(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """The place, resource and attribute of every GetAtt, also of those inside Sub."""
    called = function_of(value)
    if called is not None and called[0] == "Fn::GetAtt":
        found = split_attribute(called[1])
        if found is not None and isinstance(found[1], str):
            yield f"{path}/Fn::GetAtt", found[0], found[1]
        return
    if called is not None and called[0] == "Fn::Sub":
        text, names = called[1], ()
        if isinstance(text, list) and text:
            names = tuple(text[1]) if len(text) == 2 and isinstance(text[1], dict) else ()
            text = text[0]
        for each in PLACEHOLDER.finditer(text) if isinstance(text, str) else ():
            name, _, attribute = each[1].strip().partition(".")
            if attribute and not name.startswith("!") and each[1].strip() not in names:
                yield f"{path}/Fn::Sub", name, attribute
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _asked(member, f"{path}/{key}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _asked(member, f"{path}/{index}")
