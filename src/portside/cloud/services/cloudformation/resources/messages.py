"""Small types: AWS::SSM::Parameter, AWS::SNS::Topic, and two that stand for nothing real."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request, text


class Parameter(Handler):
    type = "AWS::SSM::Parameter"
    name_property = "Name"
    attributes = frozenset({"Type", "Value"})

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        # AWS names parameters without the stack.
        return str(properties.get("Name") or PLAIN.make(ids, "CFN", logical_id))

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("ssm", "GetParameter", {"Name": work.name})
        except AwsError as error:
            if error.code == "ParameterNotFound":
                return None
            raise
        return work.name

    def _params(self, work: Work, name: str, overwrite: bool) -> Params:
        params = request("ssm", "PutParameter", {k: v for k, v in work.properties.items() if k != "Tags"})
        return params | {"Name": name, "Overwrite": overwrite}

    async def create(self, work: Work) -> tuple[str, Params]:
        params = self._params(work, work.name, False)
        tags = work.properties.get("Tags") or {}
        if tags:
            params["Tags"] = [{"Key": key, "Value": text(value)} for key, value in tags.items()]
        await work.call("ssm", "PutParameter", params)
        return work.name, {}

    async def update(self, work: Work) -> Params:
        await work.call("ssm", "PutParameter", self._params(work, work.physical_id, True))
        target = {"ResourceType": "Parameter", "ResourceId": work.physical_id}
        wanted, before = work.properties.get("Tags") or {}, work.old.get("Tags") or {}
        if wanted and wanted != before:
            tags = [{"Key": key, "Value": text(value)} for key, value in wanted.items()]
            await work.call("ssm", "AddTagsToResource", target | {"Tags": tags})
        stale = [key for key in before if key not in wanted]
        if stale:
            await work.call("ssm", "RemoveTagsFromResource", target | {"TagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        return {"Type": work.properties.get("Type"), "Value": work.properties.get("Value")}

    async def delete(self, work: Work) -> None:
        await work.call("ssm", "DeleteParameter", {"Name": work.physical_id})


class Topic(Handler):
    type = "AWS::SNS::Topic"
    name_property = "TopicName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    attributes = frozenset({"TopicArn", "TopicName"})
    _ATTRIBUTES: ClassVar = {
        "DisplayName": "DisplayName",
        "KmsMasterKeyId": "KmsMasterKeyId",
        "FifoTopic": "FifoTopic",
        "ContentBasedDeduplication": "ContentBasedDeduplication",
        "SignatureVersion": "SignatureVersion",
        "TracingConfig": "TracingConfig",
        "FifoThroughputScope": "FifoThroughputScope",
        "MaximumMessageSize": "MaximumMessageSize",
    }
    unoffered: ClassVar = {
        "ArchivePolicy": "messages are not archived.",
        "DataProtectionPolicy": "messages are not looked into.",
    }

    def choose_name(self, ids: Ids, stack_name: str, logical_id: str, properties: Params) -> str:
        chosen = super().choose_name(ids, stack_name, logical_id, properties)
        fifo = properties.get("FifoTopic") and not properties.get("TopicName")
        return f"{chosen}.fifo" if fifo else chosen

    def _arn(self, work: Work, name: str) -> str:
        return f"arn:aws:sns:{work.caller.region}:{work.caller.account}:{name}"

    async def find(self, work: Work) -> str | None:
        arn = self._arn(work, work.name)
        try:
            await work.call("sns", "GetTopicAttributes", {"TopicArn": arn})
        except AwsError as error:
            if self.missing(error):
                return None
            raise
        return arn

    async def create(self, work: Work) -> tuple[str, Params]:
        attributes = self._wanted(work.properties)
        params: Params = {"Name": work.name, "Attributes": attributes}
        if work.all_tags(system=False):
            params["Tags"] = work.tag_list(system=False)
        made = await work.call("sns", "CreateTopic", params)
        return str(made["TopicArn"]), {}

    def _wanted(self, properties: Params) -> dict[str, str]:
        """The topic's attributes, as the API takes them."""
        found = {m: text(properties[name]) for name, m in self._ATTRIBUTES.items() if name in properties}
        for each in properties.get("DeliveryStatusLogging") or []:
            found |= delivery_attributes(each)
        return found

    async def configure(self, work: Work) -> None:
        for each in work.properties.get("Subscription") or []:
            params = {"TopicArn": work.physical_id, "Protocol": each["Protocol"], "Endpoint": each["Endpoint"]}
            await work.call("sns", "Subscribe", params)

    async def update(self, work: Work) -> Params:
        wanted, before = self._wanted(work.properties), self._wanted(work.old)
        for name in (*wanted, *(each for each in before if each not in wanted)):
            value = wanted.get(name, "")
            if value != before.get(name):
                topic = {"TopicArn": work.physical_id}
                params = topic | {"AttributeName": name, "AttributeValue": value}
                await work.call("sns", "SetTopicAttributes", params)
        if work.properties.get("Subscription") != work.old.get("Subscription"):
            await self.configure(work)
        tags = work.all_tags(system=False)
        if tags:
            await work.call(
                "sns", "TagResource", {"ResourceArn": work.physical_id, "Tags": work.tag_list(system=False)}
            )
        stale = [each["Key"] for each in work.old.get("Tags") or [] if each["Key"] not in tags]
        if stale:
            await work.call("sns", "UntagResource", {"ResourceArn": work.physical_id, "TagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        return {"TopicArn": work.physical_id, "TopicName": work.physical_id.rpartition(":")[2]}

    async def delete(self, work: Work) -> None:
        await work.call("sns", "DeleteTopic", {"TopicArn": work.physical_id})


# How the attributes for a protocol begin.
_LOGGED = {
    "application": "Application", "firehose": "Firehose", "http/s": "HTTP", "lambda": "Lambda", "sqs": "SQS"
}  # fmt: skip
_FEEDBACK = ("FailureFeedbackRoleArn", "SuccessFeedbackRoleArn", "SuccessFeedbackSampleRate")


def delivery_attributes(logging: Params) -> dict[str, str]:
    """What logs the deliveries by one protocol, as attributes of the topic."""
    start = _LOGGED[str(logging["Protocol"])]
    return {f"{start}{name}": text(logging[name]) for name in _FEEDBACK if name in logging}


def delivery_logging(attributes: Params) -> list[Params]:
    """The reverse: a list of what is logged, by protocol."""
    found = []
    for protocol, start in _LOGGED.items():
        said = {name: attributes[f"{start}{name}"] for name in _FEEDBACK if attributes.get(f"{start}{name}")}
        if said:
            found.append({"Protocol": protocol} | said)
    return found


class CdkMetadata(Handler):
    """What the CDK puts into its templates to be counted by AWS. Nothing is counted here."""

    type = "AWS::CDK::Metadata"
    name_style: ClassVar[NameStyle | None] = PLAIN

    async def create(self, work: Work) -> tuple[str, Params]:
        return work.name, {}

    async def update(self, work: Work) -> Params:
        return {}

    async def delete(self, work: Work) -> None:
        return None
