"""Unmodified boto3 clients against CloudWatch Logs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.logs.api import LogsApi
from portside.testing.server import quiet_log, serve

NOW = int(SystemClock().now() * 1000)


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Any]:
    database = Database(tmp_path / "state.db")
    api = LogsApi(database=database, ids=Ids(), clock=SystemClock(), log=quiet_log())
    async with serve([api.service()]) as url:
        client = boto3.client(
            "logs",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        yield client
        client.close()
    database.close()


def ask(call: Callable[..., Any], **params: Any) -> Awaitable[Any]:
    return asyncio.to_thread(call, **params)


async def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        await ask(call, **params)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


async def fill(logs: Any, stream: str = "s", *texts: str, start: int = NOW - 60_000) -> None:
    await ask(logs.create_log_stream, logGroupName="g", logStreamName=stream)
    events = [{"timestamp": start + index, "message": text} for index, text in enumerate(texts)]
    await ask(logs.put_log_events, logGroupName="g", logStreamName=stream, logEvents=events)


async def test_groups_and_streams(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="/ecs/web", tags={"a": "b"})
    assert await refused(logs.create_log_group, logGroupName="/ecs/web") == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    await ask(logs.put_retention_policy, logGroupName="/ecs/web", retentionInDays=7)
    assert (await refused(logs.put_retention_policy, logGroupName="/ecs/web", retentionInDays=8))[
        0
    ] == "InvalidParameterException"
    group = (await ask(logs.describe_log_groups, logGroupNamePrefix="/ecs"))["logGroups"][0]
    assert group["arn"] == "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/web:*"
    assert group["retentionInDays"] == 7
    assert (await ask(logs.list_tags_for_resource, resourceArn=group["logGroupArn"]))["tags"] == {"a": "b"}
    await ask(logs.create_log_stream, logGroupName="/ecs/web", logStreamName="one")
    assert (await refused(logs.create_log_stream, logGroupName="/ecs/web", logStreamName="one"))[
        0
    ] == "ResourceAlreadyExistsException"
    assert await refused(logs.create_log_stream, logGroupName="none", logStreamName="one") == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    await ask(logs.delete_log_stream, logGroupName="/ecs/web", logStreamName="one")
    assert await refused(logs.get_log_events, logGroupName="/ecs/web", logStreamName="one") == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )
    await ask(logs.delete_log_group, logGroupName="/ecs/web")
    assert (await ask(logs.describe_log_groups))["logGroups"] == []


async def test_reading_forward_and_backward_by_tokens(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    await fill(logs, "s", *(f"line {number}" for number in range(10)))
    where = {"logGroupName": "g", "logStreamName": "s"}
    last = await ask(logs.get_log_events, **where, limit=3)
    assert [event["message"] for event in last["events"]] == ["line 7", "line 8", "line 9"]
    earlier = await ask(logs.get_log_events, **where, limit=3, nextToken=last["nextBackwardToken"])
    assert [event["message"] for event in earlier["events"]] == ["line 4", "line 5", "line 6"]
    end = await ask(logs.get_log_events, **where, nextToken=last["nextForwardToken"])
    assert end["events"] == []
    assert end["nextForwardToken"] == last["nextForwardToken"], "the same token says that this is the end"
    event = [{"timestamp": NOW, "message": "line 10"}]
    await ask(logs.put_log_events, **where, logEvents=event)
    more = await ask(logs.get_log_events, **where, nextToken=end["nextForwardToken"])
    assert [event["message"] for event in more["events"]] == ["line 10"]
    seen, token = [], None
    while True:
        page = await ask(
            logs.get_log_events, **where, startFromHead=True, limit=4, **({"nextToken": token} if token else {})
        )
        seen += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    assert seen == [f"line {number}" for number in range(11)]


async def test_an_empty_stream_can_be_followed(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    await ask(logs.create_log_stream, logGroupName="g", logStreamName="s")
    where = {"logGroupName": "g", "logStreamName": "s"}
    empty = await ask(logs.get_log_events, **where)
    assert empty["events"] == []
    await ask(logs.put_log_events, **where, logEvents=[{"timestamp": NOW, "message": "first"}])
    found = await ask(logs.get_log_events, **where, nextToken=empty["nextForwardToken"])
    assert [event["message"] for event in found["events"]] == ["first"]


async def test_filtering_over_all_streams_in_order_of_time(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    await fill(logs, "a", "ERROR one", "fine", "ERROR two timeout", start=NOW - 9000)
    await fill(logs, "b", "ERROR three", "all is fine", start=NOW - 8999)

    async def texts(pattern: str, **more: Any) -> list[str]:
        found = await ask(logs.filter_log_events, logGroupName="g", filterPattern=pattern, **more)
        return [event["message"] for event in found["events"]]

    assert await texts("") == ["ERROR one", "fine", "ERROR three", "ERROR two timeout", "all is fine"]
    assert await texts("ERROR") == ["ERROR one", "ERROR three", "ERROR two timeout"]
    assert await texts("ERROR -timeout") == ["ERROR one", "ERROR three"]
    assert await texts("?one ?three") == ["ERROR one", "ERROR three"]
    assert await texts('"is fine"') == ["all is fine"]
    assert await texts("ERROR", logStreamNames=["b"]) == ["ERROR three"]
    assert await texts("", startTime=NOW - 8999, endTime=NOW - 8998) == [
        "fine",
        "ERROR three",
        "ERROR two timeout",
        "all is fine",
    ]
    assert (await refused(logs.filter_log_events, logGroupName="g", filterPattern='{ $.a = "b" }'))[
        0
    ] == "InvalidParameterException"

    def paged() -> list[str]:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName="g", PaginationConfig={"PageSize": 2}
        )
        return [event["message"] for page in pages for event in page["events"]]

    assert await asyncio.to_thread(paged) == await texts("")


async def test_what_cannot_be_stored_is_told(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    await ask(logs.create_log_stream, logGroupName="g", logStreamName="s")
    day = 86_400_000
    events = [
        {"timestamp": NOW - 20 * day, "message": "old"},
        {"timestamp": NOW, "message": "now"},
        {"timestamp": NOW + day, "message": "new"},
    ]
    answer = await ask(logs.put_log_events, logGroupName="g", logStreamName="s", logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    backward = list(reversed(events[:2]))
    assert (await refused(logs.put_log_events, logGroupName="g", logStreamName="s", logEvents=backward))[
        0
    ] == "InvalidParameterException"


async def test_streams_by_time_and_in_pages(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    for number, name in enumerate(("a", "b", "c")):
        await fill(logs, name, "x", start=NOW - number * 1000)
    found = await ask(logs.describe_log_streams, logGroupName="g", orderBy="LastEventTime", descending=True)
    assert [each["logStreamName"] for each in found["logStreams"]] == ["a", "b", "c"]
    assert found["logStreams"][0]["lastEventTimestamp"] == NOW

    def paged() -> list[str]:
        pages = logs.get_paginator("describe_log_streams").paginate(
            logGroupName="g", PaginationConfig={"PageSize": 1}
        )
        return [each["logStreamName"] for page in pages for each in page["logStreams"]]

    assert await asyncio.to_thread(paged) == ["a", "b", "c"]


async def test_a_protected_group_stays(logs: Any) -> None:
    await ask(
        logs.create_log_group, logGroupName="g", deletionProtectionEnabled=True, logGroupClass="INFREQUENT_ACCESS"
    )
    (group,) = (await ask(logs.describe_log_groups))["logGroups"]
    assert group["deletionProtectionEnabled"] is True and group["logGroupClass"] == "INFREQUENT_ACCESS"
    code, message = await refused(logs.delete_log_group, logGroupName="g")
    assert code == "ValidationException" and "deletion protection is enabled" in message
    arn = group["logGroupArn"]
    await ask(logs.put_log_group_deletion_protection, logGroupIdentifier=arn, deletionProtectionEnabled=False)
    assert (await ask(logs.describe_log_groups))["logGroups"][0]["deletionProtectionEnabled"] is False
    await ask(logs.delete_log_group, logGroupName="g")
    assert (
        await refused(
            logs.put_log_group_deletion_protection, logGroupIdentifier=arn, deletionProtectionEnabled=True
        )
    )[0] == "ResourceNotFoundException"


async def test_a_group_has_a_key(logs: Any) -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/k"
    await ask(logs.create_log_group, logGroupName="g", kmsKeyId=key)
    (group,) = (await ask(logs.describe_log_groups, logGroupIdentifiers=["g"]))["logGroups"]
    assert group["kmsKeyId"] == key
    await ask(logs.disassociate_kms_key, resourceIdentifier=group["logGroupArn"])
    assert "kmsKeyId" not in (await ask(logs.describe_log_groups))["logGroups"][0]
    await ask(logs.associate_kms_key, logGroupName="g", kmsKeyId=key)
    assert (await ask(logs.describe_log_groups))["logGroups"][0]["kmsKeyId"] == key
    assert (await refused(logs.associate_kms_key, kmsKeyId=key))[0] == "InvalidParameterException"


async def test_nobody_sends_events_with_bearer_tokens(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    switch = logs.put_bearer_token_authentication
    await ask(switch, logGroupIdentifier="g", bearerTokenAuthenticationEnabled=False)
    code, message = await refused(switch, logGroupIdentifier="g", bearerTokenAuthenticationEnabled=True)
    assert code == "InvalidOperationException" and "bearer tokens" in message


async def test_the_policy_of_a_group_has_revisions(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    arn = "arn:aws:logs:us-east-1:000000000000:log-group:g"
    said = '{"Statement": [{"Effect": "Allow", "Principal": {"Service": "x"}, "Action": "logs:PutLogEvents"}]}'
    put = logs.put_resource_policy
    made = await ask(put, resourceArn=arn, policyDocument=said, policyName="own")
    shown = made["resourcePolicy"]
    assert (shown["policyScope"], shown["resourceArn"], shown["policyName"]) == ("RESOURCE", arn, "own")
    assert shown["revisionId"] == made["revisionId"]
    assert (await refused(put, resourceArn=arn, policyDocument=said))[0] == "InvalidParameterException"
    assert (await refused(put, resourceArn=arn, policyDocument=said, expectedRevisionId="old"))[
        0
    ] == "OperationAbortedException"
    again = await ask(put, resourceArn=f"{arn}:*", policyDocument=said, expectedRevisionId=made["revisionId"])
    assert again["revisionId"] != made["revisionId"] and again["resourcePolicy"]["policyName"] == "own"
    describe, delete = logs.describe_resource_policies, logs.delete_resource_policy
    assert (await ask(describe))["resourcePolicies"] == []
    (found,) = (await ask(describe, policyScope="RESOURCE"))["resourcePolicies"]
    assert found == again["resourcePolicy"]
    assert (await ask(describe, resourceArn=arn))["resourcePolicies"] == [found]
    assert (await refused(delete, resourceArn=arn))[0] == "InvalidParameterException"
    await ask(delete, resourceArn=arn, expectedRevisionId=again["revisionId"])
    assert (await refused(delete, resourceArn=arn, expectedRevisionId="x"))[0] == "ResourceNotFoundException"
    # It goes with its group.
    await ask(put, resourceArn=arn, policyDocument=said)
    await ask(logs.delete_log_group, logGroupName="g")
    await ask(logs.create_log_group, logGroupName="g")
    assert (await ask(describe, resourceArn=arn))["resourcePolicies"] == []


async def test_fields_of_a_group_are_indexed_by_name(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    document = '{"Fields": ["requestId"], "FieldsV2": {"status": {"type": "FACET"}}}'
    made = (await ask(logs.put_index_policy, logGroupIdentifier="g", policyDocument=document))["indexPolicy"]
    assert made["source"] == "LOG_GROUP" and made["logGroupIdentifier"].endswith(":log-group:g")
    listed = await ask(logs.describe_index_policies, logGroupIdentifiers=[made["logGroupIdentifier"]])
    assert listed["indexPolicies"] == [made]
    await ask(logs.delete_index_policy, logGroupIdentifier="g")
    assert (await ask(logs.describe_index_policies, logGroupIdentifiers=["g"]))["indexPolicies"] == []
    assert (await refused(logs.delete_index_policy, logGroupIdentifier="g"))[0] == "ResourceNotFoundException"
    await ask(logs.create_log_group, logGroupName="rare", logGroupClass="INFREQUENT_ACCESS")
    code, message = await refused(logs.put_index_policy, logGroupIdentifier="rare", policyDocument=document)
    assert code == "InvalidParameterException" and "INFREQUENT_ACCESS" in message


def protecting(*names: str) -> str:
    identifiers = [f"arn:aws:dataprotection::aws:data-identifier/{name}" for name in names]
    operations = ({"Audit": {"FindingsDestination": {}}}, {"Deidentify": {"MaskConfig": {}}})
    statements = [{"DataIdentifier": identifiers, "Operation": each} for each in operations]
    return json.dumps({"Name": "p", "Version": "2021-06-01", "Statement": statements})


async def test_sensitive_data_is_masked_from_then_on(logs: Any) -> None:
    await ask(logs.create_log_group, logGroupName="g")
    group = {"logGroupIdentifier": "g"}

    async def put(text: str) -> None:
        event = {"timestamp": int(SystemClock().now() * 1000), "message": text}
        await ask(logs.put_log_events, logGroupName="g", logStreamName="s", logEvents=[event])

    async def texts(**more: Any) -> list[str]:
        found = await ask(logs.get_log_events, logGroupName="g", logStreamName="s", startFromHead=True, **more)
        return [each["message"] for each in found["events"]]

    await ask(logs.create_log_stream, logGroupName="g", logStreamName="s")
    await put("a@example.com before")
    await ask(logs.put_data_protection_policy, **group, policyDocument=protecting("EmailAddress"))
    shown = await ask(logs.get_data_protection_policy, **group)
    assert shown["policyDocument"] == protecting("EmailAddress") and shown["lastUpdatedTime"] > 0
    assert (await ask(logs.describe_log_groups))["logGroups"][0]["dataProtectionStatus"] == "ACTIVATED"
    await put("b@example.com during, from 10.0.0.1")
    await ask(logs.delete_data_protection_policy, **group)
    await put("c@example.com after")
    # What came in under a policy stays masked by it, and what came in without one is shown.
    masked = ["a@example.com before", "************* during, from 10.0.0.1", "c@example.com after"]
    assert await texts() == masked
    assert (await texts(unmask=True))[1] == "b@example.com during, from 10.0.0.1"
    found = await ask(logs.filter_log_events, logGroupName="g", filterPattern="example")
    assert [each["message"] for each in found["events"]] == [masked[0], masked[2]]
    found = await ask(logs.filter_log_events, logGroupName="g", filterPattern="b@example", unmask=True)
    assert len(found["events"]) == 1
    assert (await ask(logs.describe_log_groups))["logGroups"][0]["dataProtectionStatus"] == "DELETED"
    assert "policyDocument" not in await ask(logs.get_data_protection_policy, **group)
    assert (await refused(logs.delete_data_protection_policy, **group))[0] == "ResourceNotFoundException"
    await ask(logs.put_data_protection_policy, **group, policyDocument=protecting("IpAddress"))
    assert (await ask(logs.get_data_protection_policy, **group))["policyDocument"] == protecting("IpAddress")
    code, message = await refused(logs.put_data_protection_policy, **group, policyDocument=protecting("Name"))
    assert code == "InvalidParameterException" and "does not offer the data identifier Name" in message
    # A group of the same name knows nothing of the policies of the one before.
    await ask(logs.delete_log_group, logGroupName="g")
    await ask(logs.create_log_group, logGroupName="g")
    assert "dataProtectionStatus" not in (await ask(logs.describe_log_groups))["logGroups"][0]
