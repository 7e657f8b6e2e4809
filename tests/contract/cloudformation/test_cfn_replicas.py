"""Secrets with replicas in other regions, over the ancillary services."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cfn_ancillary import Cloud, of, showing
from cfn_world import CALLER
from portside.cloud.protocol.errors import AwsError


async def value(cloud: Cloud, region: str) -> str:
    there = replace(CALLER, region=region)
    found = await cloud.calls("secretsmanager", "GetSecretValue", {"SecretId": "pin"}, there)
    return str(found["SecretString"])


async def test_a_secret_in_several_regions(cloud: Cloud) -> None:
    properties: dict[str, Any] = {
        "Name": "pin",
        "SecretString": "1234",
        "ReplicaRegions": [
            {"Region": "eu-west-1"},
            {"Region": "us-west-2", "KmsKeyId": "alias/aws/secretsmanager"},
        ],
    }
    secret = of("SecretsManager::Secret", **properties)
    out = await cloud.create(showing({"Secret": secret}))
    assert [await value(cloud, each) for each in ("us-east-1", "eu-west-1", "us-west-2")] == ["1234"] * 3
    assert await cloud.drifted() == []
    await cloud.ask(
        "secretsmanager",
        "RemoveRegionsFromReplication",
        SecretId=out["Secret"],
        RemoveReplicaRegions=["us-west-2"],
    )
    assert await cloud.drifted() == ["/ReplicaRegions/1"]

    secret["Properties"] = properties | {"ReplicaRegions": [{"Region": "eu-north-1"}], "SecretString": "5678"}
    await cloud.update(showing({"Secret": secret}))
    assert await value(cloud, "eu-north-1") == "5678"
    with pytest.raises(AwsError):
        await value(cloud, "eu-west-1")
    await cloud.delete()
    with pytest.raises(AwsError):
        await value(cloud, "eu-north-1")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"ReplicaRegions": [{"Region": "eu-west-1", "KmsKeyId": "alias/mine"}]}, "ReplicaRegions/KmsKeyId"),
        ({"ReplicaRegions": [{"Region": "us-east-1"}]}, "Invalid replica region"),
        ({"ReplicaRegions": [{"Region": "eu-west-1"}]}, "already exists in region"),
        ({"Type": "partner"}, "does not offer Type"),
    ],
)
async def test_replicas_that_cannot_be(cloud: Cloud, more: Any, reason: str) -> None:
    there = replace(CALLER, region="eu-west-1")
    await cloud.calls("secretsmanager", "CreateSecret", {"Name": "pin", "SecretString": "x"}, there)
    secret = of("SecretsManager::Secret", Name="pin", SecretString="1", **more)
    template = json.dumps({"Resources": {"Secret": secret}})
    cloud.id = (await cloud.do("CreateStack", StackName="web", TemplateBody=template))["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any(reason in each for each in await cloud.reasons()), await cloud.reasons()
