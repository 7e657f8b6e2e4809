import json
from typing import Any

import pytest

from portside.cloud.services.ecr.manifests import ManifestInvalid, choose, parse
from portside.cloud.services.ecr.names import Reference, is_immutable, is_repository, parse_reference
from portside.cloud.services.ecr.policies import lifecycle_fault, policy_fault
from portside.cloud.services.ecr.tokens import Tokens, Verdict

ACCOUNT = "123456789012"
DIGEST = "sha256:" + "a" * 64
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1", Reference("team/app", "eu-west-1", "v1")),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/app", Reference("app", "eu-west-1", "latest")),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/app@{DIGEST}", Reference("app", "eu-west-1", None, DIGEST)),
        (f"localhost:4566/app:v1@{DIGEST}", Reference("app", None, None, DIGEST)),
        ("127.0.0.1:4566/app:v1", Reference("app", None, "v1")),
        ("999999999999.dkr.ecr.eu-west-1.amazonaws.com/app", None),
        ("nginx:latest", None),
        ("library/nginx", None),
        ("ghcr.io/org/app:v1", None),
    ],
)
def test_references(text: str, expected: Reference | None) -> None:
    assert parse_reference(text, ACCOUNT) == expected


def test_names() -> None:
    assert all(map(is_repository, ("ab", "team/app", "a.b_c__d---e/f1")))
    assert not any(map(is_repository, ("a", "A/b", "-a", "a-", "a//b", "a..b", "a/", "x" * 257)))


@pytest.mark.parametrize(
    ("mutability", "tag", "fixed"),
    [
        ("MUTABLE", "latest", False),
        ("IMMUTABLE", "latest", True),
        ("IMMUTABLE_WITH_EXCLUSION", "latest", False),
        ("IMMUTABLE_WITH_EXCLUSION", "v1", True),
        ("MUTABLE_WITH_EXCLUSION", "latest", True),
        ("MUTABLE_WITH_EXCLUSION", "v1", False),
    ],
)
def test_immutability(mutability: str, tag: str, fixed: bool) -> None:
    assert is_immutable(mutability, ("lat*t", "dev.*"), tag) is fixed


def test_a_platform_is_chosen_from_an_index() -> None:
    def child(number: int, **platform: str) -> dict[str, Any]:
        return {"digest": f"sha256:{number:064x}", "size": 1, "mediaType": "m", "platform": platform}

    index = parse(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [
                    child(1, os="unknown", architecture="unknown"),
                    child(2, os="linux", architecture="arm64", variant="v8"),
                    child(3, os="windows", architecture="amd64"),
                    child(4, os="linux", architecture="amd64"),
                ],
            }
        ).encode()
    )
    assert [c.digest[-1] for c in (choose(index, "amd64"), choose(index, "arm64")) if c] == ["4", "2"]
    assert choose(index, "s390x") is None


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"schemaVersion": 1},
        {"schemaVersion": 2},
        {"schemaVersion": 2, "config": {"digest": DIGEST, "size": 1}},
        {"schemaVersion": 2, "config": {"digest": "md5:1", "size": 1}, "layers": []},
        {"schemaVersion": 2, "config": {"digest": DIGEST, "size": -1}, "layers": []},
        {"schemaVersion": 2, "mediaType": "text/plain"},
        {"schemaVersion": 2, "mediaType": INDEX},
    ],
)
def test_manifests_that_are_none(document: Any) -> None:
    with pytest.raises(ManifestInvalid):
        parse(json.dumps(document).encode())


def rule(priority: int = 1, **selection: Any) -> dict[str, Any]:
    chosen = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5} | selection
    return {"rulePriority": priority, "selection": chosen, "action": {"type": "expire"}}


TAGGED = {"tagStatus": "tagged", "tagPrefixList": ["v"]}


@pytest.mark.parametrize(
    ("rules", "fine"),
    [
        ([rule()], True),
        ([rule(1, **TAGGED), rule(2, tagStatus="untagged"), rule(3)], True),
        ([rule(1, countType="sinceImagePushed", countUnit="days")], True),
        ([], False),
        ([rule(1), rule(2, tagStatus="untagged")], False),
        ([rule(1, **TAGGED), rule(1)], False),
        ([rule(1, **TAGGED), rule(2, **TAGGED)], False),
        ([rule(1, tagStatus="tagged")], False),
        ([rule(1, tagStatus="untagged", tagPrefixList=["v"])], False),
        ([rule(1, countType="sinceImagePushed")], False),
        ([rule(1, countNumber=0)], False),
        ([{"rulePriority": 1}], False),
    ],
)
def test_lifecycle_policies(rules: list[Any], fine: bool) -> None:
    assert (lifecycle_fault(json.dumps({"rules": rules})) is None) is fine


def test_repository_policies() -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}
    assert policy_fault(json.dumps({"Statement": [statement]})) is None
    for wrong in ("x", "{}", json.dumps({"Statement": [{"Effect": "Maybe", "Principal": "*"}]})):
        assert policy_fault(wrong) is not None


def test_tokens() -> None:
    tokens = Tokens(b"key")
    password = tokens.password(100.0, "n")
    assert tokens.check(password, 99.0) is Verdict.GOOD
    assert tokens.check(password, 100.0) is Verdict.EXPIRED
    assert Tokens(b"other").check(password, 99.0) is Verdict.WRONG
    for wrong in ("", ".", password + "0", "x" + password):
        assert tokens.check(wrong, 99.0) is Verdict.WRONG
    assert tokens.check_header("Basic !!!", 0.0) is Verdict.WRONG
    assert tokens.check_header("Bearer x", 0.0) is Verdict.WRONG
