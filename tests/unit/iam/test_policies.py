"""What a policy document allows, one rule a row. Source: the IAM User Guide."""

import json

import pytest

from portside.cloud.services.iam.evaluate import Policies, denial, trusts, trusts_principal
from portside.cloud.services.iam.policy import Request, covers, like

OBJECT = "arn:aws:s3:::bucket/a/b.zip"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action="*", resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action="*", resource="*", **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def allowed(statement, action="s3:GetObject", resource=OBJECT, **context):
    found = {key.replace("__", ":").lower(): values for key, values in context.items()}
    return denial(Policies((document(statement),)), Request(action, resource, found)) is None


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("s3:GetObject", True),
        ("S3:getobject", True),
        ("s3:Get*", True),
        ("s3:*", True),
        ("*", True),
        ("s3:GetObjec?", True),
        ("s3:GetObjectVersion", False),
        ("s3:Put*", False),
        ("ecr:*", False),
        (["ecr:*", "s3:GetObject"], True),
    ],
)
def test_actions(pattern, wanted):
    assert allowed(allow(pattern)) is wanted


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*", True),
        ("arn:aws:s3:::bucket/*", True),
        ("arn:aws:s3:::bucket/a/*", True),
        ("arn:aws:s3:::bucket/a/?.zip", True),
        ("arn:*:s3:::bucket/*", True),
        ("arn:aws:s3:::bucket", False),
        ("arn:aws:s3:::Bucket/*", False),
        ("arn:aws:s3:::other/*", False),
        ("arn:aws:s3:::bucket/b/*", False),
    ],
)
def test_resources(pattern, wanted):
    assert allowed(allow(resource=pattern)) is wanted


def test_a_wildcard_stays_within_its_field_of_an_arn():
    arn = "arn:aws:ecs:eu-west-1:123456789012:service/one/two"
    assert covers("arn:aws:ecs:*:123456789012:service/*", arn)
    assert not covers("arn:aws:*:service/*", arn)
    assert not covers("arn:aws:ecs:us-*:*:service/*", arn)
    assert covers("arn:aws:ecs", arn)


def test_not_action_and_not_resource():
    assert not allowed({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"})
    assert allowed({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})
    assert not allowed({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::bucket/*"})
    assert allowed({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::other/*"})


@pytest.mark.parametrize(
    ("condition", "context", "wanted"),
    [
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, ("eu-west-1",), True),
        ({"StringEquals": {"AWS:requestedregion": ["a", "eu-west-1"]}}, ("eu-west-1",), True),
        ({"StringEquals": {"aws:RequestedRegion": "EU-west-1"}}, ("eu-west-1",), False),
        ({"StringEqualsIgnoreCase": {"aws:RequestedRegion": "EU-west-1"}}, ("eu-west-1",), True),
        ({"StringNotEquals": {"aws:RequestedRegion": ["a", "b"]}}, ("eu-west-1",), True),
        ({"StringNotEquals": {"aws:RequestedRegion": ["a", "eu-west-1"]}}, ("eu-west-1",), False),
        ({"StringNotEquals": {"aws:RequestedRegion": "a"}}, None, True),
        ({"StringEquals": {"aws:RequestedRegion": "a"}}, None, False),
        ({"StringEqualsIfExists": {"aws:RequestedRegion": "a"}}, None, True),
        ({"StringEqualsIfExists": {"aws:RequestedRegion": "a"}}, ("b",), False),
        ({"StringLike": {"aws:RequestedRegion": "eu-*"}}, ("eu-west-1",), True),
        ({"StringNotLike": {"aws:RequestedRegion": "eu-*"}}, ("eu-west-1",), False),
        ({"Null": {"aws:RequestedRegion": "true"}}, None, True),
        ({"Null": {"aws:RequestedRegion": False}}, ("x",), True),
        ({"Null": {"aws:RequestedRegion": "true"}}, ("x",), False),
        ({"NumericLessThan": {"aws:RequestedRegion": "10"}}, ("9",), True),
        ({"NumericLessThan": {"aws:RequestedRegion": "10"}}, ("10",), False),
        ({"NumericGreaterThanEquals": {"aws:RequestedRegion": 10}}, ("10",), True),
        ({"DateLessThan": {"aws:RequestedRegion": "2026-01-02T00:00:00Z"}}, ("2026-01-01T00:00:00Z",), True),
        ({"DateGreaterThan": {"aws:RequestedRegion": "2026-01-02"}}, ("2026-01-01T00:00:00Z",), False),
        ({"Bool": {"aws:RequestedRegion": True}}, ("true",), True),
        ({"Bool": {"aws:RequestedRegion": "false"}}, ("true",), False),
        ({"IpAddress": {"aws:RequestedRegion": "10.0.0.0/8"}}, ("10.2.3.4",), True),
        ({"NotIpAddress": {"aws:RequestedRegion": "10.0.0.0/8"}}, ("10.2.3.4",), False),
        ({"ArnLike": {"aws:RequestedRegion": "arn:aws:sns:*:1:t*"}}, ("arn:aws:sns:eu-west-1:1:topic",), True),
        ({"ArnNotLike": {"aws:RequestedRegion": "arn:aws:sns:*:1:t*"}}, ("arn:aws:sns:x:1:topic",), False),
        ({"ForAnyValue:StringEquals": {"aws:RequestedRegion": ["a", "b"]}}, ("b", "c"), True),
        ({"ForAnyValue:StringEquals": {"aws:RequestedRegion": ["a"]}}, None, False),
        ({"ForAllValues:StringEquals": {"aws:RequestedRegion": ["a", "b"]}}, ("b", "c"), False),
        ({"ForAllValues:StringEquals": {"aws:RequestedRegion": ["a", "b"]}}, None, True),
        ({"NoSuchOperator": {"aws:RequestedRegion": "a"}}, ("a",), False),
        ({"StringEquals": {"aws:RequestedRegion": "${aws:PrincipalAccount}"}}, ("1",), True),
        ({"StringEquals": {"aws:RequestedRegion": "${aws:nothing, 'fallback'}"}}, ("fallback",), True),
    ],
)
def test_conditions(condition, context, wanted):
    given = {"aws:principalaccount": ("1",)}
    if context is not None:
        given["aws:requestedregion"] = context
    policies = Policies((document(allow(Condition=condition)),))
    assert (denial(policies, Request("s3:GetObject", OBJECT, given)) is None) is wanted


def test_all_conditions_must_hold():
    condition = {"StringEquals": {"a:b": "1", "a:c": "2"}}
    assert allowed(allow(Condition=condition), a__b=("1",), a__c=("2",))
    assert not allowed(allow(Condition=condition), a__b=("1",), a__c=("3",))


def test_variables_in_resources_and_their_literal_forms():
    assert allowed(allow(resource="arn:aws:s3:::bucket/${aws:username}/*"), aws__username=("a",))
    assert not allowed(allow(resource="arn:aws:s3:::bucket/${aws:username}/*"))
    assert like("a[*]b", "a*b")
    assert not like("a[*]b", "axb")


def test_an_explicit_deny_wins_wherever_it_stands():
    request = Request("s3:GetObject", OBJECT)
    everything = document(allow())
    refusal = document(deny("s3:*"))
    assert denial(Policies((everything, refusal)), request) == "with an explicit deny in an identity-based policy"
    assert (
        denial(Policies((everything,), boundary=document(allow(), deny("s3:*"))), request)
        == "with an explicit deny in a permissions boundary"
    )
    assert (
        denial(Policies((everything,), session=document(allow(), deny("s3:*"))), request)
        == "with an explicit deny in a session policy"
    )


def test_each_kind_of_policy_must_allow():
    request = Request("s3:GetObject", OBJECT)
    everything, nothing = document(allow()), document(allow("ecr:*"))
    assert (
        denial(Policies((nothing,)), request) == "because no identity-based policy allows the s3:GetObject action"
    )
    assert (
        denial(Policies((everything,), boundary=nothing), request)
        == "because no permissions boundary allows the s3:GetObject action"
    )
    assert (
        denial(Policies((everything,), session=nothing), request)
        == "because no session policy allows the s3:GetObject action"
    )
    assert denial(Policies((everything,), everything, everything), request) is None
    assert denial(Policies(()), request) is not None


def test_url_encoded_and_broken_documents():
    encoded = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%7D"
    assert denial(Policies((encoded,)), Request("s3:GetObject", OBJECT)) is None
    assert denial(Policies(("{",)), Request("s3:GetObject", OBJECT)) is not None


TRUST = {"Effect": "Allow", "Principal": {"Service": ["codebuild.amazonaws.com"]}, "Action": "sts:AssumeRole"}


def test_trust_in_a_service():
    assert trusts(document(TRUST), "codebuild.amazonaws.com", "sts:AssumeRole", {})
    assert not trusts(document(TRUST), "codepipeline.amazonaws.com", "sts:AssumeRole", {})
    for_account = TRUST | {"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}}
    assert trusts(
        document(for_account), "codebuild.amazonaws.com", "sts:AssumeRole", {"aws:sourceaccount": ("1",)}
    )
    assert not trusts(
        document(for_account), "codebuild.amazonaws.com", "sts:AssumeRole", {"aws:sourceaccount": ("2",)}
    )


def test_trust_in_a_caller():
    arn = "arn:aws:iam::1:role/one"
    account = TRUST | {"Principal": {"AWS": "arn:aws:iam::1:root"}}
    assert trusts_principal(document(account), (arn, "arn:aws:iam::1:root"), {})
    assert not trusts_principal(document(TRUST | {"Principal": {"AWS": "arn:aws:iam::2:root"}}), (arn,), {})
    assert trusts_principal(document(TRUST | {"Principal": "*"}), (arn,), {})
    refused = TRUST | {"Principal": {"AWS": arn}, "Effect": "Deny"}
    assert not trusts_principal(document(TRUST | {"Principal": "*"}, refused), (arn,), {})
