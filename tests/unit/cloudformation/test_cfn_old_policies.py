"""Policies of old templates on their way to IAM."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.services.cloudformation.resources.iam import document_of

STATEMENT = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
SECOND: dict[str, Any] = {"Version": "2012-10-17", "Statement": STATEMENT}
FIRST: dict[str, Any] = {"Version": "2008-10-17", "Statement": STATEMENT}


@pytest.mark.parametrize("policy", [SECOND, FIRST, {"Statement": STATEMENT}])
def test_every_version_is_taken_as_an_object_and_as_text(policy: dict[str, Any]) -> None:
    assert json.loads(document_of(policy)) == SECOND
    assert json.loads(document_of(json.dumps(policy, indent=1))) == SECOND


def test_the_first_version_of_a_managed_policy_is_left_for_iam_to_refuse() -> None:
    assert json.loads(document_of(FIRST, managed=True)) == FIRST
    assert json.loads(document_of({"Statement": STATEMENT}, managed=True)) == SECOND


@pytest.mark.parametrize("broken", ["{", "no policy", "[]"])
def test_what_is_no_policy_is_left_for_iam_to_refuse(broken: str) -> None:
    assert document_of(broken) == broken
