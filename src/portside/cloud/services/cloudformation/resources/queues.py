"""AWS::SQS::Queue and QueuePolicy, AWS::SNS::Subscription and TopicPolicy."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import text

FIFO = ".fifo"
# What attributes go back to when a template no longer has them.
_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "262144",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}


class Queue(Handler):
    type = "AWS::SQS::Queue"
    name_property = "QueueName"
    tagged = True

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        if properties.get("QueueName"):
            return str(properties["QueueName"])
        ending = FIFO if properties.get("FifoQueue") else ""
        return NameStyle(limit=80 - len(ending)).make(ids, stack_name, logical_id) + ending

    async def find(self, work: Work) -> str | None:
        try:
            return str((await work.call("sqs", "GetQueueUrl", {"QueueName": work.name}))["QueueUrl"])
        except AwsError as error:
            if self.missing(error):
                return None
            raise

    def _attributes(self, properties: Params) -> dict[str, str]:
        found = {name: text(value) for name, value in properties.items() if name not in ("QueueName", "Tags")}
        # A standard queue says so by not saying it.
        return {name: value for name, value in found.items() if (name, value) != ("FifoQueue", "false")}

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"QueueName": work.name, "Attributes": self._attributes(work.properties)}
        tags = work.all_tags(system=False)
        if tags:
            params["tags"] = tags
        made = await work.call("sqs", "CreateQueue", params)
        return str(made["QueueUrl"]), {}

    async def update(self, work: Work) -> Params:
        url, given, before = {"QueueUrl": work.physical_id}, self._attributes(work.properties), work.old
        changed = {name: value for name, value in given.items() if work.properties[name] != before.get(name)}
        removed = [name for name in self._attributes(before) if name not in given]
        changed |= {name: _DEFAULTS.get(name, "") for name in removed}
        if changed:
            await work.call("sqs", "SetQueueAttributes", url | {"Attributes": changed})
        tags = work.all_tags(system=False)
        if tags:
            await work.call("sqs", "TagQueue", url | {"Tags": tags})
        stale = [each["Key"] for each in before.get("Tags") or [] if each["Key"] not in tags]
        if stale:
            await work.call("sqs", "UntagQueue", url | {"TagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        asked = {"QueueUrl": work.physical_id, "AttributeNames": ["QueueArn"]}
        arn = (await work.call("sqs", "GetQueueAttributes", asked))["Attributes"]["QueueArn"]
        return {"Arn": arn, "QueueUrl": work.physical_id, "QueueName": str(arn).rpartition(":")[2]}

    async def delete(self, work: Work) -> None:
        await work.call("sqs", "DeleteQueue", {"QueueUrl": work.physical_id})

    def missing(self, error: AwsError) -> bool:
        return "NonExistentQueue" in error.code or "QueueDoesNotExist" in error.code or super().missing(error)


class _Policy(Handler):
    """One policy document laid on several things. It has no being of its own, and a name that tells nothing."""

    name_style: ClassVar[NameStyle | None] = PLAIN
    holders: ClassVar[str]

    async def _lay(self, work: Work, holder: str, policy: str) -> None:
        raise NotImplementedError

    async def create(self, work: Work) -> tuple[str, Params]:
        return work.name, {}

    async def configure(self, work: Work) -> None:
        for each in work.properties[self.holders]:
            await self._lay(work, str(each), text(work.properties["PolicyDocument"]))

    async def update(self, work: Work) -> Params:
        await self.configure(work)
        for each in work.old.get(self.holders) or []:
            if each not in work.properties[self.holders]:
                await self._lift(work, str(each))
        return {}

    async def _lift(self, work: Work, holder: str) -> None:
        try:
            await self._lay(work, holder, "")
        except AwsError as error:
            if not self.missing(error):
                raise

    async def read(self, work: Work) -> Params:
        return {"Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        for each in work.properties[self.holders]:
            await self._lift(work, str(each))

    def missing(self, error: AwsError) -> bool:
        return "NonExistentQueue" in error.code or "QueueDoesNotExist" in error.code or super().missing(error)


class QueuePolicy(_Policy):
    type = "AWS::SQS::QueuePolicy"
    holders = "Queues"

    async def _lay(self, work: Work, holder: str, policy: str) -> None:
        await work.call("sqs", "SetQueueAttributes", {"QueueUrl": holder, "Attributes": {"Policy": policy}})


class TopicPolicy(_Policy):
    type = "AWS::SNS::TopicPolicy"
    holders = "Topics"

    async def _lay(self, work: Work, holder: str, policy: str) -> None:
        params = {"TopicArn": holder, "AttributeName": "Policy", "AttributeValue": policy or _owners(work, holder)}
        await work.call("sns", "SetTopicAttributes", params)


def _owners(work: Work, topic: str) -> str:
    """The policy that SNS gives a topic that has none of its own: its owner may do everything with it."""
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [
            f"SNS:{each}"
            for each in (
                "GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic",
                "Subscribe", "ListSubscriptionsByTopic", "Publish",
            )
        ],
        "Resource": topic,
        "Condition": {"StringEquals": {"AWS:SourceOwner": work.caller.account}},
    }  # fmt: skip
    return text({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})


class Subscription(Handler):
    type = "AWS::SNS::Subscription"
    _ATTRIBUTES: ClassVar = (
        "DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy",
        "ReplayPolicy", "SubscriptionRoleArn",
    )  # fmt: skip

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        region = properties.get("Region")
        if region and region != str(properties["TopicArn"]).split(":")[3]:
            raise self.not_offered(["Region"], "the topic is in another region.")

    async def find(self, work: Work) -> str | None:
        given = work.properties
        try:
            found = await work.call("sns", "ListSubscriptionsByTopic", {"TopicArn": given["TopicArn"]})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        for each in found.get("Subscriptions", []):
            if (each["Protocol"], each.get("Endpoint")) == (given["Protocol"], given.get("Endpoint")):
                return str(each["SubscriptionArn"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        given = work.properties
        params: Params = {"TopicArn": given["TopicArn"], "Protocol": given["Protocol"]}
        if given.get("Endpoint"):
            params["Endpoint"] = given["Endpoint"]
        attributes = {name: text(given[name]) for name in self._ATTRIBUTES if name in given}
        made = await work.call(
            "sns", "Subscribe", params | {"Attributes": attributes, "ReturnSubscriptionArn": True}
        )
        return str(made["SubscriptionArn"]), {}

    async def update(self, work: Work) -> Params:
        for name in self._ATTRIBUTES:
            if work.properties.get(name) != work.old.get(name):
                value = text(work.properties[name]) if name in work.properties else "{}"
                if name in ("RawMessageDelivery", "FilterPolicyScope") and name not in work.properties:
                    value = "false" if name == "RawMessageDelivery" else "MessageAttributes"
                params = {"SubscriptionArn": work.physical_id, "AttributeName": name, "AttributeValue": value}
                await work.call("sns", "SetSubscriptionAttributes", params)
        return {}

    async def read(self, work: Work) -> Params:
        return {"Arn": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("sns", "Unsubscribe", {"SubscriptionArn": work.physical_id})
