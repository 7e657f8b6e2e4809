"""How change sets of hierarchies come out, and what is said of what is not known yet."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from portside.cloud.services.cloudformation import causes, drafts, nested_calls, parameters, template
from portside.cloud.services.cloudformation.drafts import Draft
from portside.cloud.services.cloudformation.intrinsics import UNKNOWN
from portside.cloud.services.cloudformation.plan import Decision, Plan, Planned, Verdict
from portside.cloud.services.cloudformation.proposal import Proposal
from portside.cloud.services.cloudformation.records import (
    ChangeSet,
    ChangeSetStatus,
    ExecutionStatus,
    Spec,
    Stack,
    StackStatus,
    Value,
)

SPEC = Spec(body=json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}))
PARSED = template.parse(SPEC.body)


def stack(status: StackStatus = StackStatus.CREATE_COMPLETE) -> Stack:
    return Stack("arn:stack", "us-east-1", "000000000000", "web", status, SPEC, 0.0)


def made(name: str = "c", **more: Any) -> ChangeSet:
    return ChangeSet(
        f"arn:{name}", name, "arn:stack", "web", "UPDATE", ChangeSetStatus.CREATE_COMPLETE,
        ExecutionStatus.AVAILABLE, 0.0, SPEC, **more,
    )  # fmt: skip


def draft(reason: str = "") -> Draft:
    found = made("inner")
    return Draft(drafts.failed(found, reason) if reason else found, stack(), {}, {})


def proposal(verdict: Verdict, trouble: str = "") -> Proposal:
    planned = Planned("T", "AWS::SNS::Topic", Decision(verdict), {})
    return Proposal(SPEC, PARSED, Plan({"T": planned}), (), trouble)


BROKEN = drafts.NESTED_FAILED.format("arn:inner")


@pytest.mark.parametrize(
    ("verdict", "trouble", "inside", "reason"),
    [
        (Verdict.KEEP, "", "", drafts.NO_CHANGES),
        (Verdict.UPDATE, "", "", ""),
        (Verdict.UPDATE, "", drafts.NO_CHANGES, ""),
        (Verdict.KEEP, "", drafts.NO_CHANGES, drafts.NO_CHANGES),
        (Verdict.UPDATE, "", "S3 error", BROKEN),
        (Verdict.KEEP, "", "S3 error", BROKEN),
        (Verdict.UPDATE, "No export", "S3 error", "No export"),
    ],
)
def test_why_a_change_set_fails(verdict: Verdict, trouble: str, inside: str, reason: str) -> None:
    found = drafts.verdict(stack(), proposal(verdict, trouble), new=False, inside={"I": draft(inside)})
    assert found == (reason, "")


def test_a_change_set_that_failed_shows_the_way_to_the_one_that_failed_it() -> None:
    shown = {"Type": "Resource", "ResourceChange": {"LogicalResourceId": "I"}}
    whole = made(changes=(shown,), inner={"I": "arn:inner"})
    assert drafts.failed(whole, "No export").changes == ()
    assert drafts.failed(whole, BROKEN).changes == (shown,)
    assert drafts.failed(whole, BROKEN).execution is ExecutionStatus.UNAVAILABLE


def test_all_of_a_hierarchy_parents_first() -> None:
    one, two = draft(), draft()
    above = replace(draft(), inside={"One": replace(one, inside={"Two": two})})
    assert [len(each.inside) for each in above.all()] == [1, 1, 0]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ({"Fn::GetAtt": ["A", "Outputs.B"]}, "{{IntrinsicFunction:web/A.Outputs.B/Fn::GetAtt}}"),
        ({"Fn::GetAtt": "A.Outputs.B"}, "{{IntrinsicFunction:web/A.Outputs.B/Fn::GetAtt}}"),
        ({"Ref": "A"}, "{{IntrinsicFunction:web/A/Ref}}"),
        ({"Fn::Sub": "${A}"}, "{{IntrinsicFunction:web//Fn::Sub}}"),
        ([{"Ref": "A"}], "{{IntrinsicFunction:web//Fn::Join}}"),
    ],
)
def test_what_stands_in_for_a_value(raw: Any, shown: str) -> None:
    assert nested_calls.stands_in("web", raw) == shown


def test_parameters_that_are_not_known_yet() -> None:
    declared = {"P": {"Type": "Number"}, "L": {"Type": "List<Number>"}, "K": {"Type": "String"}}
    parsed = template.parse(json.dumps({"Parameters": declared, "Resources": PARSED_RESOURCES}))
    given = [
        {"ParameterKey": "P", "ParameterValue": "{{x}}", parameters.PENDING: True},
        {"ParameterKey": "L", "ParameterValue": "{{y}}", parameters.PENDING: True},
        {"ParameterKey": "K", "ParameterValue": "k"},
    ]
    assert parameters.pending(given) == {"P", "L"}
    assert parameters.choose(parsed, given, None) == {"P": "{{x}}", "L": "{{y}}", "K": "k"}
    values = (Value("P", "{{x}}", unknown=True), Value("L", "{{y}}", unknown=True), Value("K", "k"))
    assert parameters.values(parsed, values) == {"P": UNKNOWN, "L": UNKNOWN, "K": "k"}
    assert parameters.values(parsed, values, literal=True) == {"P": "{{x}}", "L": ["{{y}}"], "K": "k"}
    before = (Value("P", "1"), Value("K", "other"))
    assert parameters.assumed(parsed, values, before) == {"P": "1", "L": ["{{y}}"], "K": "k"}


PARSED_RESOURCES = {"T": {"Type": "AWS::SNS::Topic"}}


def test_a_parameter_that_is_not_known_yet_is_no_certain_cause() -> None:
    raw = {"Ref": "P"}
    certain = causes.Causes(Plan(), frozenset({"P"})).of(raw, raw)
    perhaps = causes.Causes(Plan(), frozenset({"P"}), frozenset({"P"})).of(raw, raw, unknown=True)
    assert [each["Evaluation"] for each in certain] == ["Static", "Dynamic"]
    assert [each["Evaluation"] for each in perhaps] == ["Dynamic", "Dynamic"]
    assert {each["ChangeSource"] for each in perhaps} == {"ParameterReference", "DirectModification"}
