"""AWS::CodePipeline::Pipeline and Webhook, connections under both of their names, and
AWS::CodeCommit::Repository."""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

HUNDRED = NameStyle(limit=100)


class Pipeline(Handler):
    type = "AWS::CodePipeline::Pipeline"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = HUNDRED
    tagged = True
    volatile = frozenset({"Version"})

    async def find(self, work: Work) -> str | None:
        try:
            await work.call("codepipeline", "GetPipeline", {"name": work.name})
        except AwsError as error:
            if error.code == "PipelineNotFoundException":
                return None
            raise
        return work.name

    def _declaration(self, work: Work, name: str, operation: str) -> Params:
        given: Params = {key: value for key, value in work.properties.items() if key not in ("Tags", "Name")}
        stores = given.pop("ArtifactStores", None)
        declared: Params = request("codepipeline", operation, {"Pipeline": given | {"Name": name}})["pipeline"]
        if stores:
            declared["artifactStores"] = {
                each["Region"]: request(
                    "codepipeline", operation, {"Pipeline": {"ArtifactStore": each["ArtifactStore"]}}
                )["pipeline"]["artifactStore"]
                for each in stores
            }
        return declared

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"pipeline": self._declaration(work, work.name, "CreatePipeline")}
        tags = work.tag_list(system=False, key="key", value="value")
        if tags:
            params["tags"] = tags
        await work.call("codepipeline", "CreatePipeline", params)
        return work.name, {}

    async def configure(self, work: Work) -> None:
        await self._transitions(work)

    async def _transitions(self, work: Work) -> None:
        closed = {each["StageName"]: each for each in work.properties.get("DisableInboundStageTransitions") or []}
        for name, each in closed.items():
            await work.call(
                "codepipeline",
                "DisableStageTransition",
                {
                    "pipelineName": work.physical_id,
                    "stageName": name,
                    "transitionType": "Inbound",
                    "reason": each["Reason"],
                },
            )
        stages = {each["Name"] for each in work.properties["Stages"]}
        for each in work.old.get("DisableInboundStageTransitions") or []:
            if each["StageName"] not in closed and each["StageName"] in stages:
                params = {
                    "pipelineName": work.physical_id,
                    "stageName": each["StageName"],
                    "transitionType": "Inbound",
                }
                await work.call("codepipeline", "EnableStageTransition", params)

    async def update(self, work: Work) -> Params:
        declared = self._declaration(work, work.physical_id, "UpdatePipeline")
        if not work.old or declared != self._declaration_of(work):
            await work.call("codepipeline", "UpdatePipeline", {"pipeline": declared})
        await self._transitions(work)
        await self._tags(work)
        if work.properties.get("RestartExecutionOnUpdate"):
            token = work.token.replace("_", "-")[:128]
            params: Params = {"name": work.physical_id} | ({"clientRequestToken": token} if token else {})
            await work.call("codepipeline", "StartPipelineExecution", params)
        return {}

    def _declaration_of(self, work: Work) -> Params:
        """As it was before the update."""
        return self._declaration(replace(work, properties=work.old), work.physical_id, "UpdatePipeline")

    async def _tags(self, work: Work) -> None:
        arn = (await self.read(work))["Arn"]
        wanted = work.all_tags(system=False)
        present = (await work.call("codepipeline", "ListTagsForResource", {"resourceArn": arn})).get("tags") or []
        if wanted:
            tags = work.tag_list(system=False, key="key", value="value")
            await work.call("codepipeline", "TagResource", {"resourceArn": arn, "tags": tags})
        stale = [each["key"] for each in present if each["key"] not in wanted]
        if stale:
            await work.call("codepipeline", "UntagResource", {"resourceArn": arn, "tagKeys": stale})

    async def read(self, work: Work) -> Params:
        found = await work.call("codepipeline", "GetPipeline", {"name": work.physical_id})
        return {"Arn": found["metadata"]["pipelineArn"], "Version": str(found["pipeline"]["version"])}

    async def delete(self, work: Work) -> None:
        await work.call("codepipeline", "DeletePipeline", {"name": work.physical_id})


class Webhook(Handler):
    """With RegisterWithThirdParty AWS also tells GitHub. Here nobody has to be told: commits are seen in the
    checkout that is bound to the repository, and the webhook's filters apply to them."""

    type = "AWS::CodePipeline::Webhook"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = HUNDRED

    async def find(self, work: Work) -> str | None:
        return work.name if await self._describe(work, work.name) is not None else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        params: Params = {}
        while True:
            found = await work.call("codepipeline", "ListWebhooks", params)
            for each in found.get("webhooks") or []:
                if each["definition"]["name"] == name:
                    webhook: Params = each
                    return webhook
            if not found.get("NextToken"):
                return None
            params["NextToken"] = found["NextToken"]

    async def _put(self, work: Work, name: str) -> None:
        given = {key: value for key, value in work.properties.items() if key not in ("Name", "Tags")}
        params = request("codepipeline", "PutWebhook", {"Webhook": given | {"Name": name}})
        tags = work.tag_list(system=False, key="key", value="value")
        await work.call("codepipeline", "PutWebhook", params | ({"tags": tags} if tags else {}))

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._put(work, work.name)
        return work.name, {}

    async def update(self, work: Work) -> Params:
        await self._put(work, work.physical_id)
        return {}

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        if found is None:
            raise Failure(f"Webhook {work.physical_id} does not exist.", "NotFound")
        return {"Url": found["url"], "Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("codepipeline", "DeleteWebhook", {"name": work.physical_id})


class _Connection(Handler):
    """Names of connections need not be unique, so one is found again by what the list held before."""

    service: ClassVar[str]
    name_property = "ConnectionName"
    name_is_unique = False
    volatile = frozenset({"ConnectionStatus"})
    tagged = True

    async def baseline(self, work: Work) -> Params:
        return {"before": await self._arns(work)}

    async def _arns(self, work: Work) -> list[str]:
        arns: list[str] = []
        params: Params = {}
        while True:
            found = await work.call(self.service, "ListConnections", params)
            arns += [
                str(each["ConnectionArn"])
                for each in found.get("Connections") or []
                if each["ConnectionName"] == work.properties["ConnectionName"]
            ]
            if not found.get("NextToken"):
                return arns
            params["NextToken"] = found["NextToken"]

    async def find(self, work: Work) -> str | None:
        if "before" not in work.state:
            return None
        made = [arn for arn in await self._arns(work) if arn not in work.state["before"]]
        return made[0] if made else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request(self.service, "CreateConnection", work.properties) | {"Tags": work.tag_list(system=False)}
        made = await work.call(self.service, "CreateConnection", params)
        return str(made["ConnectionArn"]), {}

    async def update(self, work: Work) -> Params:
        target = {"ResourceArn": work.physical_id}
        wanted = work.all_tags(system=False)
        present = (await work.call(self.service, "ListTagsForResource", target)).get("Tags") or []
        await work.call(self.service, "TagResource", target | {"Tags": work.tag_list(system=False)})
        stale = [each["Key"] for each in present if each["Key"] not in wanted]
        if stale:
            await work.call(self.service, "UntagResource", target | {"TagKeys": stale})
        return {}

    async def read(self, work: Work) -> Params:
        found = await work.call(self.service, "GetConnection", {"ConnectionArn": work.physical_id})
        connection: Params = found["Connection"]
        names = ("ConnectionArn", "ConnectionStatus", "OwnerAccountId")
        return {name: connection[name] for name in names}

    async def delete(self, work: Work) -> None:
        await work.call(self.service, "DeleteConnection", {"ConnectionArn": work.physical_id})


class CodeConnection(_Connection):
    type = "AWS::CodeConnections::Connection"
    service = "codeconnections"


class CodeStarConnection(_Connection):
    type = "AWS::CodeStarConnections::Connection"
    service = "codestar-connections"


class Repository(Handler):
    """A name that pipelines can read from: the commits are those of the checkout that is bound to it."""

    type = "AWS::CodeCommit::Repository"
    name_property = "RepositoryName"
    name_style: ClassVar[NameStyle | None] = HUNDRED
    tagged = True

    unoffered: ClassVar = dict.fromkeys(
        ("Code", "Triggers"), "the repository's commits are those of the checkout that is bound to it."
    )

    async def _describe(self, work: Work, name: str) -> Params:
        found: Params = (await work.call("codecommit", "GetRepository", {"repositoryName": name}))[
            "repositoryMetadata"
        ]
        return found

    async def find(self, work: Work) -> str | None:
        try:
            return str((await self._describe(work, work.name))["repositoryId"])
        except AwsError as error:
            if error.code == "RepositoryDoesNotExistException":
                return None
            raise

    async def create(self, work: Work) -> tuple[str, Params]:
        params: Params = {"repositoryName": work.name}
        if work.properties.get("RepositoryDescription"):
            params["repositoryDescription"] = work.properties["RepositoryDescription"]
        if work.properties.get("KmsKeyId"):
            params["kmsKeyId"] = work.properties["KmsKeyId"]
        if work.all_tags(system=False):
            params["tags"] = work.all_tags(system=False)
        made = await work.call("codecommit", "CreateRepository", params)
        return str(made["repositoryMetadata"]["repositoryId"]), {}

    async def update(self, work: Work) -> Params:
        if work.properties["RepositoryName"] != work.old.get("RepositoryName"):
            raise Failure("portside's local cloud does not rename CodeCommit repositories.", "NotUpdatable")
        return {}

    async def read(self, work: Work) -> Params:
        found: dict[str, Any] = await self._describe(work, work.properties["RepositoryName"])
        return {
            "Arn": found["Arn"],
            "CloneUrlHttp": found["cloneUrlHttp"],
            "CloneUrlSsh": found["cloneUrlSsh"],
            "Name": found["repositoryName"],
            "RepositoryId": found["repositoryId"],
        }

    async def delete(self, work: Work) -> None:
        await work.call("codecommit", "DeleteRepository", {"repositoryName": work.properties["RepositoryName"]})

    def missing(self, error: AwsError) -> bool:
        return error.code == "RepositoryDoesNotExistException" or super().missing(error)
