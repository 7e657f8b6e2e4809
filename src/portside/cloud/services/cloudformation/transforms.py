"""Transforms: what turns the template that was sent into the one that the engine works with.

Owns which transforms there are, in what order they run (the most deeply nested Fn::Transform first, then the
Transform section from first to last) and how they fail. A stack keeps both: the original as its user sent it, and
the processed template, which alone is planned and compared. The transforms themselves are `include.py`,
`language_extensions.py` and `serverless.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.cloudformation import (
    include,
    language_extensions,
    limits,
    macros,
    parameters,
    serverless,
    template,
)
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.for_each import ExtensionError
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator, NeedsZones, Surroundings

EMBEDDED = "Fn::Transform"
AUTO_EXPAND = "CAPABILITY_AUTO_EXPAND"
# AWS hosts these as well; they make resources of types that this cloud does not have.
NOT_OFFERED = frozenset(
    {
        "AWS::CodeDeployBlueGreen", "AWS::CodeStar", "AWS::SecretsManager-2020-07-23",
        "AWS::SecretsManager-2024-09-16", "AWS::ServiceCatalog",
    }
)  # fmt: skip


class TransformFailed(Exception):
    """AWS finds this out after it has answered: a stack rolls back with this reason, a change set fails."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One use of a transform."""

    name: str
    parameters: Mapping[str, Any]


def declared(document: dict[str, Any]) -> list[Declared]:
    """The Transform section, in its order; ValidationError if it is not one."""
    section = document.get("Transform", [])
    return _listed(section)


def _listed(value: Any) -> list[Declared]:
    found = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str):
            found.append(Declared(each, {}))
        elif isinstance(each, list):
            found += _listed(each)
        elif isinstance(each, dict):
            if not isinstance(each.get("Name"), str):
                raise invalid("Key Name of transform definition must be a string.")
            given = each.get("Parameters", {})
            if not isinstance(given, dict) or set(each) - {"Name", "Parameters"}:
                raise invalid("Template format error: the Parameters of a transform must be an object.")
            found.append(Declared(each["Name"], given))
        else:
            raise invalid("Template format error: Every Transform member must be a string or an object.")
    return found


def names(document: dict[str, Any]) -> list[str]:
    """Every transform that the template uses, each once."""
    found = [each.name for each in declared(document)]
    for value in _embedded(document):
        found += [each.name for each in _listed(value)]
    return list(dict.fromkeys(found))


def _embedded(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key == EMBEDDED:
                yield member
            yield from _embedded(member)
    elif isinstance(value, list):
        for member in value:
            yield from _embedded(member)


# Without any of these words in its text, a template is what the engine works with.
_WORDS = ("Transform", "Length", "ToJsonString", "FindInMap", "DeletionPolicy", "UpdateReplacePolicy")


def plain(text: str) -> bool:
    """Whether there is nothing in a template that this module would look for: most have nothing."""
    return not any(word in text for word in _WORDS)


def require_acknowledged(document: dict[str, Any], capabilities: list[str]) -> None:
    """For stacks made directly from a template; a change set shows what the transforms made of it."""
    if names(document) and AUTO_EXPAND not in capabilities:
        raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{AUTO_EXPAND}]")


def refuse_unoffered(document: dict[str, Any]) -> None:
    """Refuses by name what AWS would carry out and this cloud does not."""
    unoffered = [each for each in names(document) if each in NOT_OFFERED]
    if unoffered:
        raise invalid(
            f"Template error: portside's local cloud does not offer the transform [{', '.join(unoffered)}]."
        )


def check_original(document: dict[str, Any]) -> None:
    """What can be told of a template before its transforms run."""
    if language_extensions.NAME not in names(document):
        language_extensions.undeclared(document)


async def process(
    document: dict[str, Any],
    outline: template.Template,
    values: Mapping[str, Any],
    calls: Calls,
    caller: Caller,
) -> str:
    """The processed template's text; TransformFailed in AWS's words."""
    run = _Run(outline, values, calls, caller)
    steps = declared(document)
    found = {key: member for key, member in document.items() if key != "Transform"}
    found = await run.embedded(found)
    if not isinstance(found, dict):
        raise TransformFailed("Template format error: unsupported structure.")
    for each in steps:
        found = await run.step(each, found)
    return run.text(found)


def settle(
    document: dict[str, Any], outline: template.Template, values: Mapping[str, Any], calls: Calls, caller: Caller
) -> str:
    """The text that the engine works with for a template without transforms; empty if it is the original."""
    run = _Run(outline, values, calls, caller)
    try:
        return json.dumps(document) if language_extensions.settle_policies(document, run.look()) else ""
    except ExtensionError as error:
        raise invalid(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Run:
    """One pass over a template, with what its transforms may look at."""

    outline: template.Template
    values: Mapping[str, Any]
    calls: Calls
    caller: Caller

    def look(self) -> Evaluator:
        here = Surroundings(self.caller.account, self.caller.region, "", "")
        return Evaluator(
            self.outline, self.values, language_extensions.early(here), language_extensions.NothingYet()
        )

    def text(self, document: dict[str, Any]) -> str:
        """The processed template, its policies written out."""
        try:
            look = replace(self, outline=template.outline(document)).look()
            language_extensions.settle_policies(document, look)
        except ExtensionError as error:
            raise TransformFailed(str(error)) from None
        text = json.dumps(document, ensure_ascii=False)
        if len(text.encode()) > limits.STORED_BYTES:
            raise TransformFailed(f"Template may not exceed {limits.STORED_BYTES} bytes in size.")
        return text

    async def embedded(self, value: Any) -> Any:
        """`value` with every Fn::Transform carried out, the innermost first."""
        if isinstance(value, list):
            return [await self.embedded(member) for member in value]
        if not isinstance(value, dict):
            return value
        found: Any = {key: await self.embedded(member) for key, member in value.items() if key != EMBEDDED}
        if EMBEDDED in value:
            for each in _listed(value[EMBEDDED]):
                if each.name in (language_extensions.NAME, serverless.NAME):
                    raise TransformFailed(
                        f"Transform {each.name} failed with: it can only be used in the Transform section"
                    )
                found = await self.step(each, found)
        return found

    async def step(self, each: Declared, value: Any) -> Any:
        """What one transform makes of the object that it stands in."""
        if each.name == include.NAME:
            try:
                return include.merge(value, await include.fetch(self._location(each), self.calls, self.caller))
            except include.IncludeError as error:
                raise TransformFailed(f"Transform {each.name} failed with: {error}") from None
        if each.name == language_extensions.NAME:
            return self._extend(value)
        if each.name == serverless.NAME:
            try:
                return await serverless.apply(value, self.values, self.calls, self.caller)
            except serverless.ServerlessError as error:
                raise TransformFailed(f"Transform {each.name} failed with: {error}") from None
        shown = each.name if each.name.startswith("AWS::") else f"{self.caller.account}::{each.name}"
        if shown != each.name and await macros.declaration(each.name, self.calls, self.caller) is not None:
            raise TransformFailed(f"Transform {shown} failed with: {macros.NOT_OFFERED}")
        raise TransformFailed(f"No transform named {shown} found.")

    def _location(self, each: Declared) -> Any:
        look = self.look()
        try:
            found = look.evaluate(each.parameters.get("Location", ""))
        except (EvaluationError, NeedsZones):
            found = None
        if not isinstance(found, str):
            raise TransformFailed(
                f"The value of parameter Location under transform {each.name.removeprefix('AWS::')} "
                "must resolve to a string, number, boolean or a list of any of these."
            )
        return found

    def _extend(self, document: dict[str, Any]) -> dict[str, Any]:
        secret = {name for name, each in self.outline.parameters.items() if parameters.no_echo(each)}
        surroundings = Surroundings(self.caller.account, self.caller.region, "", "")
        try:
            outline = template.outline(document)
            return language_extensions.apply(document, outline, self.values, surroundings, frozenset(secret))
        except ExtensionError as error:
            raise TransformFailed(f"Transform {language_extensions.NAME} failed with: {error}") from None
        except EvaluationError as error:
            raise TransformFailed(str(error)) from None
        except AwsError as error:
            raise TransformFailed(error.message) from None
