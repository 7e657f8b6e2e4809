"""Log groups of stacks, with the real service of Logs: protection, policies, indexes and keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cfn_ancillary import Cloud, of, showing
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.cloud.services.logs.api import LogsApi
from portside.testing.server import ACCOUNT, quiet_log


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    monkeypatch.chdir(tmp_path)
    database, clock, log, ids = Database(tmp_path / "state.db"), SystemClock(), quiet_log(), Ids()
    shared: Any = {"database": database, "clock": clock, "log": log, "ids": ids}
    try:
        async with Ancillary(directory=tmp_path, account=ACCOUNT, endpoint="", log=log) as ancillary:
            calls = Dispatcher(ancillary, [LogsApi(**shared).service()])
            api = CloudFormationApi(calls=calls, **shared)
            async with api:
                yield Cloud(api, calls)
    finally:
        database.close()


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "es.amazonaws.com"}, "Action": ["logs:PutLogEvents"]}
    ],
}
_NAMED = {"DataIdentifier": ["arn:aws:dataprotection::aws:data-identifier/EmailAddress"]}
PROTECTION = {
    "Name": "p",
    "Version": "2021-06-01",
    "Statement": [
        _NAMED | {"Operation": {"Audit": {"FindingsDestination": {}}}},
        _NAMED | {"Operation": {"Deidentify": {"MaskConfig": {}}}},
    ],
}
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"


async def shown(cloud: Cloud) -> Any:
    return (await cloud.ask("logs", "DescribeLogGroups"))["logGroups"][0]


async def test_a_group_with_all_that_it_can_have(cloud: Cloud) -> None:
    properties: dict[str, Any] = {
        "LogGroupName": "/web",
        "DeletionProtectionEnabled": True,
        "BearerTokenAuthenticationEnabled": False,
        "KmsKeyId": KEY,
        "ResourcePolicyDocument": POLICY,
        "FieldIndexPolicies": [{"Fields": ["requestId"]}],
        "DataProtectionPolicy": PROTECTION,
    }
    group = of("Logs::LogGroup", **properties)
    out = await cloud.create(showing({"Group": group}, "Group.Arn"))
    assert out == {"Group": "/web", "GroupArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/web:*"}
    found = await shown(cloud)
    assert (found["deletionProtectionEnabled"], found["kmsKeyId"]) == (True, KEY)
    arn = {"resourceArn": found["logGroupArn"]}
    (policy,) = (await cloud.ask("logs", "DescribeResourcePolicies", **arn))["resourcePolicies"]
    assert json.loads(policy["policyDocument"]) == POLICY
    indexes = await cloud.ask("logs", "DescribeIndexPolicies", logGroupIdentifiers=["/web"])
    assert json.loads(indexes["indexPolicies"][0]["policyDocument"]) == {"Fields": ["requestId"]}
    assert await cloud.drifted() == []

    await cloud.ask("logs", "PutIndexPolicy", logGroupIdentifier="/web", policyDocument='{"Fields": ["other"]}')
    await cloud.ask(
        "logs", "PutLogGroupDeletionProtection", logGroupIdentifier="/web", deletionProtectionEnabled=False
    )
    await cloud.ask("logs", "DeleteResourcePolicy", **arn, expectedRevisionId=policy["revisionId"])
    protected = await cloud.ask("logs", "GetDataProtectionPolicy", logGroupIdentifier="/web")
    assert json.loads(protected["policyDocument"]) == PROTECTION
    await cloud.ask("logs", "DeleteDataProtectionPolicy", logGroupIdentifier="/web")
    paths = {each.split("/")[1] for each in await cloud.drifted()}
    assert paths == {
        "DataProtectionPolicy",
        "DeletionProtectionEnabled",
        "FieldIndexPolicies",
        "ResourcePolicyDocument",
    }

    group["Properties"] = {"LogGroupName": "/web", "Tags": [{"Key": "a", "Value": "b"}]}
    await cloud.update(showing({"Group": group}, "Group.Arn"))
    found = await shown(cloud)
    assert found["deletionProtectionEnabled"] is False and "kmsKeyId" not in {
        name for name, value in found.items() if value
    }
    assert (await cloud.ask("logs", "DescribeResourcePolicies", **arn))["resourcePolicies"] == []
    indexes = await cloud.ask("logs", "DescribeIndexPolicies", logGroupIdentifiers=["/web"])
    assert indexes["indexPolicies"] == []

    group["Properties"] |= {
        "ResourcePolicyDocument": POLICY,
        "FieldIndexPolicies": [{"Fields": ["a"]}],
        "DataProtectionPolicy": PROTECTION,
    }
    await cloud.update(showing({"Group": group}, "Group.Arn"))
    assert (await shown(cloud))["dataProtectionStatus"] == "ACTIVATED"
    del group["Properties"]["DataProtectionPolicy"]
    await cloud.update(showing({"Group": group}, "Group.Arn"))
    assert (await shown(cloud))["dataProtectionStatus"] == "DELETED"
    group["Properties"]["ResourcePolicyDocument"] = {**POLICY, "Id": "second"}
    await cloud.update(showing({"Group": group}, "Group.Arn"))
    (policy,) = (await cloud.ask("logs", "DescribeResourcePolicies", **arn))["resourcePolicies"]
    assert json.loads(policy["policyDocument"])["Id"] == "second"
    await cloud.delete()
    assert (await cloud.ask("logs", "DescribeLogGroups"))["logGroups"] == []


async def test_a_protected_group_keeps_its_stack_from_being_deleted(cloud: Cloud) -> None:
    group = of("Logs::LogGroup", LogGroupName="/web", DeletionProtectionEnabled=True)
    await cloud.create(showing({"Group": group}))
    await cloud.do("DeleteStack", StackName="web")
    assert await cloud.settle(cloud.id) == "DELETE_FAILED"
    assert any("deletion protection is enabled" in each for each in await cloud.reasons())
    await cloud.ask(
        "logs", "PutLogGroupDeletionProtection", logGroupIdentifier="/web", deletionProtectionEnabled=False
    )
    await cloud.delete()


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"BearerTokenAuthenticationEnabled": True}, "does not offer BearerTokenAuthenticationEnabled"),
        ({"FieldIndexPolicies": [{"Fields": ["a"]}, {"Fields": ["b"]}]}, "one field index policy at most"),
        ({"FieldIndexPolicies": [{"Fields": []}]}, "at least one field"),
        ({"DataProtectionPolicy": {"Name": "p"}}, "two statements"),
    ],
)
async def test_what_a_group_cannot_have(cloud: Cloud, properties: Any, reason: str) -> None:
    template = json.dumps({"Resources": {"Group": of("Logs::LogGroup", LogGroupName="/web", **properties)}})
    made = await cloud.do("CreateStack", StackName="web", TemplateBody=template)
    cloud.id = made["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any(reason in each for each in await cloud.reasons())
    assert (await cloud.ask("logs", "DescribeLogGroups"))["logGroups"] == []
