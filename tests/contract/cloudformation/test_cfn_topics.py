"""Topics of stacks: attributes that are shown, and the one that limits messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_ancillary import Cloud, of, showing
from portside.cloud.protocol.errors import AwsError

ROLE = "arn:aws:iam::000000000000:role/delivery"


async def test_attributes_of_a_topic(cloud: Cloud) -> None:
    async def shown() -> Any:
        return (await cloud.ask("sns", "GetTopicAttributes", TopicArn=out["Topic"]))["Attributes"]

    logging = [
        {"Protocol": "sqs", "SuccessFeedbackRoleArn": ROLE, "SuccessFeedbackSampleRate": "50"},
        {"Protocol": "http/s", "FailureFeedbackRoleArn": ROLE},
    ]
    properties: dict[str, Any] = {
        "TopicName": "news",
        "MaximumMessageSize": 2048,
        "SignatureVersion": "2",
        "TracingConfig": "Active",
        "DeliveryStatusLogging": logging,
    }
    out = await cloud.create(showing({"Topic": of("SNS::Topic", **properties)}))
    found = await shown()
    assert (found["MaximumMessageSize"], found["SignatureVersion"], found["TracingConfig"]) == (
        "2048",
        "2",
        "Active",
    )
    assert (found["SQSSuccessFeedbackSampleRate"], found["HTTPFailureFeedbackRoleArn"]) == ("50", ROLE)
    assert await cloud.drifted() == []
    await cloud.ask("sns", "Publish", TopicArn=out["Topic"], Message="x" * 2048)
    with pytest.raises(AwsError, match="Message too long"):
        await cloud.ask("sns", "Publish", TopicArn=out["Topic"], Message="x" * 2047 + "é")
    set_size = {"TopicArn": out["Topic"], "AttributeName": "MaximumMessageSize"}
    for size in ("1023", "262145", "many"):
        with pytest.raises(AwsError, match="1024 to 262144 bytes"):
            await cloud.ask("sns", "SetTopicAttributes", **set_size, AttributeValue=size)
    await cloud.ask("sns", "SetTopicAttributes", **set_size, AttributeValue="4096")
    assert await cloud.drifted() == ["/MaximumMessageSize"]

    properties["DeliveryStatusLogging"] = logging[1:]
    del properties["MaximumMessageSize"]
    await cloud.update(showing({"Topic": of("SNS::Topic", **properties)}))
    found = await shown()
    assert "MaximumMessageSize" not in found and "SQSSuccessFeedbackRoleArn" not in found
    assert found["HTTPFailureFeedbackRoleArn"] == ROLE
    await cloud.ask("sns", "Publish", TopicArn=out["Topic"], Message="x" * 5000)
    await cloud.delete()


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"MaximumMessageSize": 1_048_576}, "1024 to 262144 bytes"),
        ({"DataProtectionPolicy": {"Name": "p"}}, "messages are not looked into"),
    ],
)
async def test_what_a_topic_cannot_have(cloud: Cloud, properties: Any, reason: str) -> None:
    template = json.dumps({"Resources": {"Topic": of("SNS::Topic", **properties)}})
    cloud.id = (await cloud.do("CreateStack", StackName="web", TemplateBody=template))["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any(reason in each for each in await cloud.reasons()), await cloud.reasons()
