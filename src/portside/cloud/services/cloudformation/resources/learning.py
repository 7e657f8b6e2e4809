"""AWS::SageMaker: models, endpoints and what belongs to notebooks. Kept and shown only: nothing is learned."""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Tagging
from portside.cloud.services.cloudformation.resources.handler import Failure, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle

_NAME = NameStyle(limit=63)


class Learning(Declared):
    """SageMaker's things are read, told and deleted by name; their Ref is the ARN."""

    service = "sagemaker"
    tagged = True
    tagging = Tagging("AddTags", "DeleteTags", "ResourceArn")
    name_style: ClassVar[NameStyle | None] = _NAME

    def _name(self, work: Work) -> str:
        return work.physical_id.rpartition("/")[2] or work.name

    async def find(self, work: Work) -> str | None:
        try:
            found = await work.call("sagemaker", self._describes, {self.name_property: work.name})
        except AwsError as error:
            if self.missing(error) or "Could not find" in error.message or "not found" in error.message.lower():
                return None
            raise
        return str(found[self._arn])

    @property
    def _noun(self) -> str:
        return self.name_property.removesuffix("Name")

    @property
    def _describes(self) -> str:
        return f"Describe{self._noun}"

    @property
    def _arn(self) -> str:
        return f"{self._noun}Arn"

    async def _retag(self, work: Work) -> None:
        # Not every endpoint puts a new value in the place of the old one.
        asked = {"ResourceArn": work.physical_id}
        present = (await work.call("sagemaker", "ListTags", asked)).get("Tags", [])
        wanted = self.own_tags(work)
        stale = [each["Key"] for each in present if wanted.get(each["Key"]) != each["Value"]]
        if stale:
            await work.call("sagemaker", "DeleteTags", asked | {"TagKeys": stale})
        await super()._retag(work)

    async def read(self, work: Work) -> Params:
        return {self._arn: work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("sagemaker", f"Delete{self._noun}", {self.name_property: self._name(work)})


class Model(Learning):
    type = "AWS::SageMaker::Model"
    name_property = "ModelName"
    creates = Call("CreateModel", {"ModelName": "$name"}, "ModelArn")


class EndpointConfig(Learning):
    type = "AWS::SageMaker::EndpointConfig"
    name_property = "EndpointConfigName"
    creates = Call("CreateEndpointConfig", {"EndpointConfigName": "$name"}, "EndpointConfigArn")


class ModelEndpoint(Learning):
    type = "AWS::SageMaker::Endpoint"
    name_property = "EndpointName"
    creates = Call("CreateEndpoint", {"EndpointName": "$name"}, "EndpointArn")
    unoffered: ClassVar = dict.fromkeys(
        ("ExcludeRetainedVariantProperties", "RetainAllVariantProperties", "RetainDeploymentConfig"), ""
    )


class NotebookConfig(Learning):
    type = "AWS::SageMaker::NotebookInstanceLifecycleConfig"
    name_property = "NotebookInstanceLifecycleConfigName"
    creates = Call(
        "CreateNotebookInstanceLifecycleConfig",
        {"NotebookInstanceLifecycleConfigName": "$name"},
        "NotebookInstanceLifecycleConfigArn",
    )


class Notebook(Learning):
    type = "AWS::SageMaker::NotebookInstance"
    name_property = "NotebookInstanceName"
    creates = Call("CreateNotebookInstance", {"NotebookInstanceName": "$name"}, "NotebookInstanceArn")
    unoffered: ClassVar = dict.fromkeys(("InstanceMetadataServiceConfiguration", "PlatformIdentifier"), "")

    async def settled(self, work: Work) -> bool:
        state = await self._state(work)
        if state == "Failed":
            raise Failure(f"{work.physical_id} is in state {state}.", "NotStabilized")
        return state == "InService"

    async def _state(self, work: Work) -> str:
        found = await work.call("sagemaker", self._describes, {self.name_property: self._name(work)})
        return str(found["NotebookInstanceStatus"])

    async def delete(self, work: Work) -> None:
        # Only one that is stopped can be deleted.
        if await self._state(work) == "InService":
            await work.call("sagemaker", "StopNotebookInstance", {self.name_property: self._name(work)})
        await super().delete(work)

    def missing(self, error: AwsError) -> bool:
        return super().missing(error) or "RecordNotFound" in error.message or "not found" in error.message.lower()
