"""What of a stack is not shown: values of NoEcho parameters, and what custom resources answered with NoEcho.

Pure but for reading rows. Events are evaluated once more with masks in their places (`session.py`); where only
texts are left, in change sets, drift and what a nested stack is given, the values are looked for in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from portside.cloud.services.cloudformation import parameters, rows, template
from portside.cloud.services.cloudformation.parameters import MASK
from portside.cloud.services.cloudformation.records import Resource, Spec, Value

# Shorter values count only where they stand alone.
SHORTEST_PART = 3


def hides(declared: Mapping[str, Any], value: Value) -> bool:
    """Whether a parameter's value is not shown. `declared` are the template's parameters."""
    return value.hidden or parameters.no_echo(declared.get(value.key, {}))


def of_spec(spec: Spec) -> list[str]:
    declared = template.declared_parameters(spec.sent)
    known = [each for each in spec.parameters if each.effective and not each.unknown]
    return [each.effective for each in known if hides(declared, each)]


def of_resources(resources: Iterable[Resource]) -> list[str]:
    """What the attributes of resources that hide them hold."""
    found = (text for each in resources if each.applied.hidden for text in _texts(each.applied.attributes))
    return [each for each in dict.fromkeys(found) if each]


def of_stack(reader: rows.Reader, stack_id: str) -> list[str]:
    """Those of the resources as their rows tell. Only custom ones have any."""
    return of_resources(rows.custom_resources(reader, stack_id))


def covered(text: str, secrets: Iterable[str]) -> str:
    """The text, which may be JSON and stays so, without the secrets."""
    known = sorted({each for each in secrets if each}, key=len, reverse=True)
    if not known:
        return text
    if text[:1] in ("{", "["):
        try:
            found = json.loads(text)
        except ValueError:
            return _in_words(text, known)
        shown = _without(found, known)
        return text if shown == found else json.dumps(shown, separators=(",", ":"))
    return _in_words(text, known)


def told(text: str, secrets: Iterable[str]) -> bool:
    """Whether the text holds one of the secrets."""
    return covered(text, secrets) != text


def _without(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(each, secrets) for name, each in value.items()}
    if isinstance(value, list):
        return [_without(each, secrets) for each in value]
    if isinstance(value, str):
        return _in_words(value, secrets)
    return MASK if value is not None and json.dumps(value) in secrets else value


def _in_words(text: str, secrets: list[str]) -> str:
    if text in secrets:
        return MASK
    for secret in secrets:
        # What is as short or as common as these is in other words as well.
        if len(secret) >= SHORTEST_PART and secret not in ("true", "false"):
            text = text.replace(json.dumps(secret)[1:-1], MASK).replace(secret, MASK)
    return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield str(value)
