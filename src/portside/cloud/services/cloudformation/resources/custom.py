"""Custom resources: whoever listens to an SNS topic makes them, changes them and takes them away.

The request is published to the topic, with the address that the answer is to be put to; the answer names the
physical resource and may hold data for GetAtt. Requests are published again after a crash, with the same id. A
function of Lambda in the place of the topic is refused by name, for no function runs here.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation import answers
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, PlainFailure, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle

TIMEOUT = 3600.0


class CustomResource(Handler):
    type = "AWS::CloudFormation::CustomResource"
    name_style: ClassVar[NameStyle | None] = PLAIN
    answers_late = True

    def refuse(self, properties: Params) -> None:
        token = str(properties.get("ServiceToken") or "")
        if token.startswith("arn:") and token.split(":")[2] == "lambda":
            raise Failure(
                "portside's local cloud does not offer custom resources that a Lambda function makes, for no "
                "function runs here; those behind an SNS topic it does.",
                "InvalidRequest",
            )
        if not token.startswith("arn:") or token.split(":")[2] != "sns":
            raise PlainFailure("Invalid service token.")

    def limit(self, work: Work) -> float:
        return float(work.properties.get("ServiceTimeout") or TIMEOUT)

    def leaves_within(self, work: Work) -> float:
        return self.limit(work)

    def out_of_time(self, work: Work) -> Failure:
        return PlainFailure(
            "CloudFormation did not receive a response from your Custom Resource. Please check your logs for "
            f"requestId [{work.token}]. If you are using the Python cfn-response module, you may need to update "
            "your Lambda function code so that CloudFormation can attach the updated version."
        )

    async def _ask(self, work: Work, kind: str, **more: object) -> None:
        message = answers.request(
            kind,
            resource={
                "StackId": work.stack_id,
                "RequestId": work.token,
                "LogicalResourceId": work.logical_id,
                "ResourceType": work.type or self.type,
            },
            properties=work.properties,
            address=answers.url(work.caller.endpoint, work.stack_id, work.token),
            more=more,
        )
        topic = work.properties["ServiceToken"]
        await work.call("sns", "Publish", {"TopicArn": topic, "Subject": answers.SUBJECT, "Message": message})

    def _answer(self, work: Work, *, deletes: bool = False) -> Params | None:
        body = work.answer(work.token)
        if body is None:
            return None
        try:
            return answers.read(body, deletes=deletes)
        except answers.BadAnswer as error:
            raise PlainFailure(str(error)) from None

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._ask(work, "Create")
        # Until the answer says otherwise; a creation that fails is asked to be deleted under this name.
        return work.name, {}

    async def update(self, work: Work) -> Params:
        await self._ask(work, "Update", PhysicalResourceId=work.physical_id, OldResourceProperties=work.old)
        return {}

    async def settled(self, work: Work) -> bool:
        return self._answer(work) is not None

    def identified(self, work: Work) -> str:
        found = self._answer(work)
        assert found is not None
        return str(found["PhysicalResourceId"])

    async def read(self, work: Work) -> Params:
        found = self._answer(work) or {}
        data: Params = found.get("Data") or {}
        return data

    def hides(self, work: Work) -> bool:
        return (self._answer(work) or {}).get("NoEcho") in (True, "true")

    async def delete(self, work: Work) -> None:
        await self._ask(work, "Delete", PhysicalResourceId=work.physical_id)

    async def gone(self, work: Work) -> bool:
        return self._answer(work, deletes=True) is not None
