"""AWS::LanguageExtensions: loops, lengths, JSON texts, and functions where only names may stand otherwise.

Pure. Takes the document of a template with the values of its parameters and gives the document that the engine
works with. What a function yields before any resource exists is evaluated here; what needs one stays as it is.
Loops themselves are unrolled in `for_each.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from portside.cloud.kernel.record import replace
from portside.cloud.services.cloudformation import for_each, functions
from portside.cloud.services.cloudformation.documents import invalid
from portside.cloud.services.cloudformation.for_each import ExtensionError
from portside.cloud.services.cloudformation.intrinsics import (
    NO_VALUE,
    EvaluationError,
    Evaluator,
    NeedsZones,
    Surroundings,
)
from portside.cloud.services.cloudformation.references import PLACEHOLDER, function_of, split_attribute
from portside.cloud.services.cloudformation.template import Template, open_policy

NAME = "AWS::LanguageExtensions"
SECTIONS = ("Conditions", "Resources", "Outputs")
# The transform runs before the stack is known by these.
_LATER = frozenset({"AWS::StackId", "AWS::StackName", "AWS::NotificationARNs", "AWS::URLSuffix"})
_POLICIES = ("DeletionPolicy", "UpdateReplacePolicy")
_NO_VALUE = {"Ref": "AWS::NoValue"}


class NotYet(EvaluationError):
    """The value depends on something that is only known when the stack is made."""


class NothingYet:
    """Other resources, before there are any."""

    def ref(self, logical_id: str) -> Any:
        raise NotYet(logical_id)

    def attribute(self, logical_id: str, name: str) -> Any:
        raise NotYet(f"{logical_id}.{name}")


@dataclass(frozen=True, slots=True)
class EarlySurroundings(Surroundings):
    """What is known of where a stack will be."""

    def pseudo(self, name: str) -> Any:
        if name in _LATER:
            raise NotYet(name)
        return Surroundings.pseudo(self, name)


def early(surroundings: Surroundings) -> EarlySurroundings:
    return EarlySurroundings(surroundings.account, surroundings.region, "", "")


def apply(
    document: dict[str, Any],
    outline: Template,
    parameters: Mapping[str, Any],
    surroundings: Surroundings,
    secret: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The document with the extensions worked out. `secret` are the parameters with NoEcho."""
    for_each.check_names(document, set(outline.parameters))
    expanded = dict(document)
    look = Evaluator(replace(outline, conditions={}), parameters, early(surroundings), NothingYet())
    for section in SECTIONS:
        if section not in document:
            continue
        found = _Expansion(look, section, secret).members(document[section], ids=True)
        expanded[section] = found
        if section == "Conditions" and isinstance(found, dict):
            look = replace(look, template=replace(outline, conditions=found))
    _settle_names(expanded, look)
    return expanded


def undeclared(document: dict[str, Any]) -> None:
    """Refuses what only this transform offers, in a template that does not declare it."""
    for section in SECTIONS:
        for name, argument in _calls(document.get(section)):
            if name in functions.EXTENSIONS:
                raise invalid(functions.unsupported(name))
            if name == "Fn::FindInMap" and isinstance(argument, list):
                inner = [function_of(each) for each in argument]
                if len(argument) == 4 or any(each and each[0] not in ("Ref", "Fn::FindInMap") for each in inner):
                    raise invalid(functions.FIND_IN_MAP)


def _calls(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        called = function_of(value)
        if called is not None:
            yield called
        for member in value.values():
            yield from _calls(member)
    elif isinstance(value, list):
        for member in value:
            yield from _calls(member)


@dataclass(frozen=True, slots=True)
class _Expansion:
    """One section, inside the loops whose identifiers are bound among the evaluator's parameters."""

    look: Evaluator
    section: str
    secret: frozenset[str]
    bound: Mapping[str, str] = field(default_factory=dict)

    def within(self, identifier: str, item: str) -> _Expansion:
        look = replace(self.look, parameters={**self.look.parameters, identifier: item})
        return replace(self, look=look, bound={**self.bound, identifier: item})

    def members(self, value: Any, *, ids: bool = False) -> Any:
        """`value` worked out. `ids` says that its keys are names of resources, conditions or outputs."""
        if isinstance(value, list):
            return [self.members(each) for each in value]
        if not isinstance(value, dict):
            return value
        called = function_of(value)
        if called is not None and not called[0].startswith(for_each.PREFIX):
            return self._function(*called)
        found: dict[str, Any] = {}
        for key, member in value.items():
            if key.startswith(for_each.PREFIX):
                for made, inner, scope in self._loop(key, member, ids):
                    for_each.merge(found, value, made, scope.members(inner))
            else:
                found[key] = self.members(member)
        return found

    def _loop(self, key: str, argument: Any, ids: bool) -> Iterator[tuple[str, Any, _Expansion]]:
        """The keys and members that a loop makes, with the scope in which each member is to be worked out."""
        identifier, collection, fragment = for_each.parts(argument, self.bound)
        for item in self._items(collection):
            scope = self.within(identifier, item)
            for name, member in fragment.items():
                if name.startswith(for_each.PREFIX):
                    yield from scope._loop(name, member, ids)
                else:
                    made = for_each.named(name, scope.bound)
                    if ids:
                        for_each.check_id(made, self.section)
                    yield made, member, scope

    def _items(self, collection: Any) -> list[str]:
        if isinstance(collection, str):
            raise ExtensionError(for_each.LAYOUT)
        called = function_of(collection)
        if called is not None and called[0] == "Ref" and str(called[1]) in self.secret:
            raise ExtensionError(f"The NoEcho parameter {called[1]} cannot be the collection of a Fn::ForEach")
        try:
            found = self._value(collection)
        except NotYet:
            raise ExtensionError(for_each.NO_COLLECTION) from None
        return for_each.texts(found)

    def _value(self, value: Any) -> Any:
        """What `value` comes to before there is a stack; NotYet if that cannot be told."""
        try:
            return self.look.evaluate(value)
        except NeedsZones as error:
            raise NotYet(str(error)) from None

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Fn::Length":
                return self._length(argument)
            case "Fn::ToJsonString":
                if not isinstance(argument, (dict, list)):
                    raise ExtensionError("Fn::ToJsonString layout is incorrect")
                try:
                    return self._value({name: argument})
                except EvaluationError:
                    return {name: self.members(argument)}
            case "Fn::FindInMap":
                return self._find_in_map(argument)
            case "Fn::Sub":
                return self._sub(argument)
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return {name: self._get_att(argument)}
        return {name: self.members(argument)}

    def _length(self, argument: Any) -> Any:
        try:
            return self._value({"Fn::Length": argument})
        except EvaluationError:
            raise ExtensionError("The Fn::Length value could not be resolved for properties") from None

    def _find_in_map(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) not in (3, 4):
            raise ExtensionError("Fn::FindInMap layout is incorrect")
        try:
            found = self._value({"Fn::FindInMap": argument})
        except NotYet:
            raise ExtensionError("Fn::FindInMap layout is incorrect") from None
        except EvaluationError:
            # Whoever needs it will say that it is missing; a resource whose condition is false does not.
            return {"Fn::FindInMap": self.members(argument)}
        return _NO_VALUE if found is NO_VALUE else found

    def _sub(self, argument: Any) -> Any:
        if isinstance(argument, str):
            text = self._bind(argument, ())
            return {"Fn::Sub": text} if "${" in text else text
        if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[0], str):
            names = argument[1] if isinstance(argument[1], dict) else {}
            return {"Fn::Sub": [self._bind(argument[0], tuple(names)), self.members(argument[1])]}
        return {"Fn::Sub": self.members(argument)}

    def _bind(self, text: str, variables: tuple[str, ...]) -> str:
        """Only `${Name}` counts here, and only for names of loops: the rest is for the engine."""

        def value(found: Any) -> str:
            name = found[1].strip()
            return self.bound[name] if name in self.bound and name not in variables else str(found[0])

        bound = PLACEHOLDER.sub(value, text)
        if any("${" in found[1] for found in PLACEHOLDER.finditer(bound)):
            raise EvaluationError(functions.SUB_NAMES)
        return bound

    def _ref(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return self.bound.get(argument, {"Ref": argument})
        return {"Ref": self._name(argument, "Ref")}

    def _get_att(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return argument
        if function_of(argument) is not None:
            return self._name(argument, "Fn::GetAtt")
        if not isinstance(argument, list):
            raise ExtensionError("Fn::GetAtt layout is incorrect")
        found = [each if isinstance(each, str) else self._name(each, "Fn::GetAtt") for each in argument]
        return found if split_attribute(found) is not None else argument

    def _name(self, value: Any, name: str) -> str:
        try:
            found = self._value(value)
        except EvaluationError:
            raise ExtensionError(f"{name} layout is incorrect") from None
        if not isinstance(found, str):
            raise ExtensionError(f"{name} layout is incorrect")
        return found


def _settle_names(document: dict[str, Any], look: Evaluator) -> None:
    """The attributes that hold a name or a word once the transform has run: conditions and policies."""
    conditions = document.get("Conditions") or {}
    for section in ("Resources", "Outputs"):
        found = document.get(section)
        for member in found.values() if isinstance(found, dict) else ():
            if not isinstance(member, dict):
                continue
            for key in ("Condition", *(_POLICIES if section == "Resources" else ())):
                if isinstance(member.get(key), dict):
                    _settle(member, key, look)
            name = member.get("Condition")
            if isinstance(name, str) and name not in conditions:
                raise ExtensionError(f"Key {name} is missing in the map.")


def settle_policies(document: dict[str, Any], look: Evaluator) -> bool:
    """Writes out the policies that are chosen by functions, which AWS takes without a transform as well. Whether
    there were any."""
    found = document.get("Resources")
    chosen = [
        (member, key)
        for member in (found.values() if isinstance(found, dict) else ())
        if isinstance(member, dict)
        for key in _POLICIES
        if open_policy(member.get(key))
    ]
    for member, key in chosen:
        _settle(member, key, look)
    return bool(chosen)


def _settle(member: dict[str, Any], key: str, look: Evaluator) -> None:
    try:
        value = look.evaluate(member[key])
    except (EvaluationError, NeedsZones):
        raise ExtensionError(f"Template format error: The {key} value could not be resolved.") from None
    if value is NO_VALUE:
        del member[key]
    elif isinstance(value, str):
        member[key] = value
    else:
        raise ExtensionError(f"Template format error: Every {key} member must be a string.")
