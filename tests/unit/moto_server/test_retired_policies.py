"""Managed policies of former years can be attached, and allow what their successors do."""

import json

import pytest

from portside.cloud.moto_server import retired_policies


@pytest.mark.parametrize(("old", "new"), retired_policies.SUCCESSORS.items())
def test_a_retired_policy_is_known_with_the_document_of_its_successor(old, new):
    retired_policies.install()
    from moto.iam import models

    known = json.loads(models.aws_managed_policies_data)
    path, _, name = old.rpartition("/")
    assert known[name]["Document"] == known[new]["Document"]
    assert known[name]["Path"] == (f"/{path}/" if path else "/")


@pytest.mark.parametrize("old", retired_policies.SUCCESSORS)
def test_a_role_can_have_a_retired_policy_attached(old, monkeypatch):
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    retired_policies.install()
    from moto.iam.models import IAMBackend

    backend = IAMBackend("aws", "000000000000")
    assert f"arn:aws:iam::aws:policy/{old}" in backend.managed_policies
