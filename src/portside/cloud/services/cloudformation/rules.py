"""The Rules section: assertions about parameters, decided before anything of a stack is begun.

Owns the functions that only rules may use and what is fetched for them: the virtual private clouds, subnets and
security groups of the account, with the attributes that a rule may ask for. The form of the section is checked
in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Evaluator
from portside.cloud.services.cloudformation.references import function_of

# Parameter type: the call, where its answer has the members, their identifier, and the attributes by their names
# in the answer.
_KINDS = {
    "AWS::EC2::VPC::Id": ("DescribeVpcs", "Vpcs", "VpcId", {}),
    "AWS::EC2::Subnet::Id": (
        "DescribeSubnets", "Subnets", "SubnetId", {"AvailabilityZone": "AvailabilityZone", "VpcId": "VpcId"}
    ),
    "AWS::EC2::SecurityGroup::Id": ("DescribeSecurityGroups", "SecurityGroups", "GroupId", {"VpcId": "VpcId"}),
}  # fmt: skip
_WITH_FACTS = ("Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll")


@dataclass(slots=True)
class RuleEvaluator(Evaluator):
    """Evaluates rules. `facts` holds, by parameter type and identifier, the attributes of what exists."""

    facts: dict[str, dict[str, Params]] = field(default_factory=dict)

    def evaluate(self, value: Any) -> Any:
        called = function_of(value)
        if called is None or called[0] not in _WITH_FACTS:
            # Not `super()`, which loses its way in classes that are built anew for their slots.
            return Evaluator.evaluate(self, value)
        name, argument = called
        match name:
            case "Fn::RefAll":
                return list(self._of_type(argument))
            case "Fn::ValueOfAll":
                found = self._of_type(argument[0])
                return [_attribute(each, argument[1]) for each in found.values()]
        parameter = argument[0]
        declared = self.template.parameters.get(parameter)
        if declared is None:
            raise EvaluationError(f"Template error: Fn::ValueOf names the undefined parameter {parameter}")
        kind = str(declared.get("Type", "")).removeprefix("List<").removesuffix(">")
        known = self._of_type(kind)
        given: Any = self.parameters.get(parameter)
        values = [
            _attribute(known.get(str(each), {}), argument[1])
            for each in (given if isinstance(given, list) else [given])
        ]
        return values if isinstance(given, list) else values[0]

    def _of_type(self, kind: str) -> dict[str, Params]:
        if kind not in _KINDS:
            raise EvaluationError(
                f"Template error: the parameter type {kind} has no values that a rule may ask for"
            )
        return self.facts.get(kind, {})

    def truth(self, expression: Any) -> bool:
        called = function_of(expression)
        if called is None or called[0] not in ("Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn"):
            return Evaluator.truth(self, expression)
        name, argument = called
        members, other = (self.evaluate(each) for each in argument)
        members = _texts(members)
        match name:
            case "Fn::Contains":
                return bool(_texts(other)) and all(each in members for each in _texts(other))
            case "Fn::EachMemberEquals":
                return all(each == _text(other) for each in members)
        return all(each in _texts(other) for each in members)


def _texts(value: Any) -> list[str]:
    return [_text(each) for each in (value if isinstance(value, list) else [value])]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _attribute(facts: Params, name: str) -> str:
    return str(facts.get(name, ""))


def _asked(value: Any) -> Iterator[str]:
    """The parameter types whose facts a rule needs; for Fn::ValueOf, the names of parameters."""
    if isinstance(value, dict):
        for key, member in value.items():
            if key == "Fn::RefAll":
                yield str(member)
            elif key in ("Fn::ValueOf", "Fn::ValueOfAll") and isinstance(member, list) and member:
                yield str(member[0])
            yield from _asked(member)
    elif isinstance(value, list):
        for member in value:
            yield from _asked(member)


async def broken(look: RuleEvaluator, calls: Calls, caller: Caller) -> str:
    """The first rule that one of its assertions contradicts, in words; empty if all hold."""
    declared = look.template.parameters
    kinds = {
        str(declared[each].get("Type", "")) if each in declared else each for each in _asked(look.template.rules)
    }
    for kind in sorted({each.removeprefix("List<").removesuffix(">") for each in kinds} & set(_KINDS)):
        look.facts[kind] = await _fetch(kind, calls, caller)
    for name, rule in look.template.rules.items():
        if "RuleCondition" in rule and not look.truth(rule["RuleCondition"]):
            continue
        for each in rule["Assertions"]:
            if not look.truth(each["Assert"]):
                why = each.get("AssertDescription") or "an assertion is false"
                return f"Template constraint error: Rule {name} failed: {why}"
    return ""


async def _fetch(kind: str, calls: Calls, caller: Caller) -> dict[str, Params]:
    operation, place, identifier, attributes = _KINDS[kind]
    found: dict[str, Params] = {}
    for each in (await calls("ec2", operation, {}, caller)).get(place) or []:
        facts = {shown: each.get(own, "") for shown, own in attributes.items()}
        facts |= {f"Tags.{tag['Key']}": tag["Value"] for tag in each.get("Tags") or []}
        found[each[identifier]] = facts
    if kind == "AWS::EC2::VPC::Id":
        await _add_defaults(found, calls, caller)
    return found


async def _add_defaults(found: dict[str, Params], calls: Calls, caller: Caller) -> None:
    """The network ACL and the security group that each virtual private cloud has from the start."""
    acls = await calls(
        "ec2", "DescribeNetworkAcls", {"Filters": [{"Name": "default", "Values": ["true"]}]}, caller
    )
    for each in acls.get("NetworkAcls") or []:
        found.get(each["VpcId"], {})["DefaultNetworkAcl"] = each["NetworkAclId"]
    groups = await calls(
        "ec2", "DescribeSecurityGroups", {"Filters": [{"Name": "group-name", "Values": ["default"]}]}, caller
    )
    for each in groups.get("SecurityGroups") or []:
        found.get(each.get("VpcId", ""), {})["DefaultSecurityGroup"] = each["GroupId"]
