"""Attributes of topics that moto keeps and does not show, and the one of them that limits messages.

Owns the correction: GetTopicAttributes tells whatever was set, and a message that is larger than its topic allows
is refused. Messages above 256 KiB, which moto takes from nobody, cannot be allowed. What a delivery came to is
logged nowhere, and nothing is traced or signed otherwise; these attributes are shown alone.
Source: the Amazon SNS API Reference, SetTopicAttributes.
"""

from __future__ import annotations

import functools
from typing import Any

SHOWN = (
    "FifoThroughputScope",
    "MaximumMessageSize",
    "SignatureVersion",
    "TracingConfig",
    *(
        f"{protocol}{name}"
        for protocol in ("Application", "Firehose", "HTTP", "Lambda", "SQS")
        for name in ("FailureFeedbackRoleArn", "SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate")
    ),
)
SMALLEST = 1024
LARGEST = 262_144


@functools.cache
def install() -> None:
    """Before the first request for SNS."""
    from moto.core.utils import camelcase_to_underscores
    from moto.sns.exceptions import InvalidParameterValue
    from moto.sns.models import SNSBackend, Topic
    from moto.sns.responses import SNSResponse

    names = {each: camelcase_to_underscores(each) for each in SHOWN}
    get, create, change, publish = (
        SNSResponse.get_topic_attributes,
        SNSBackend.create_topic,
        SNSBackend.set_topic_attribute,
        Topic.publish,
    )

    def get_topic_attributes(self: Any) -> Any:
        answer = get(self)
        topic = self.backend.get_topic(self._get_param("TopicArn"))
        found = {name: getattr(topic, kept, "") for name, kept in names.items()}
        answer.result["Attributes"] |= {name: str(value) for name, value in found.items() if value != ""}
        return answer

    def check(name: str, value: Any) -> None:
        if value == "" or name not in ("MaximumMessageSize", names["MaximumMessageSize"]):
            return
        if not str(value).isdigit() or not SMALLEST <= int(value) <= LARGEST:
            raise InvalidParameterValue(
                f"Invalid parameter: MaximumMessageSize: it is {SMALLEST} to {LARGEST} bytes here, not {value}"
            )

    def create_topic(self: Any, name: str, attributes: Any = None, tags: Any = None) -> Any:
        for each, value in (attributes or {}).items():
            check(each, value)
        return create(self, name, attributes, tags)

    def set_topic_attribute(self: Any, topic_arn: str, attribute_name: str, attribute_value: Any) -> None:
        check(attribute_name, attribute_value)
        change(self, topic_arn, attribute_name, attribute_value)

    def published(self: Any, message: str, *args: Any, **more: Any) -> str:
        most = getattr(self, names["MaximumMessageSize"], "")
        if most != "" and len(message.encode()) > int(most):
            raise InvalidParameterValue("Invalid parameter: Message too long")
        return str(publish(self, message, *args, **more))

    SNSResponse.get_topic_attributes = get_topic_attributes
    SNSBackend.create_topic = create_topic
    SNSBackend.set_topic_attribute = set_topic_attribute
    Topic.publish = published
