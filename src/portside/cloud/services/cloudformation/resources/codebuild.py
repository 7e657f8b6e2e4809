"""AWS::CodeBuild::Project and AWS::CodeBuild::ReportGroup."""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

# What a property that a template no longer has goes back to: UpdateProject leaves alone what it is not given.
_ABSENT: dict[str, Any] = {
    "description": "",
    "secondarySources": [],
    "secondarySourceVersions": [],
    "secondaryArtifacts": [],
    "sourceVersion": "",
    "cache": {"type": "NO_CACHE"},
    "timeoutInMinutes": 60,
    "queuedTimeoutInMinutes": 480,
    "vpcConfig": {},
    "logsConfig": {},
    "badgeEnabled": False,
    "concurrentBuildLimit": -1,
    "autoRetryLimit": 0,
}
_PROJECT = "AWS::CodeBuild::Project"


class Project(Handler):
    type = _PROJECT
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    attributes = frozenset({"Arn"})

    unoffered: ClassVar = {"ResourceAccessRole": "it is for public builds, which are not offered."}

    def refuse(self, properties: Params) -> None:
        super().refuse(properties)
        _refuse(properties)

    async def find(self, work: Work) -> str | None:
        found = await work.call("codebuild", "BatchGetProjects", {"names": [work.name]})
        return work.name if found["projects"] else None

    async def create(self, work: Work) -> tuple[str, Params]:
        await work.call("codebuild", "CreateProject", self._params(work, "CreateProject", work.name))
        return work.name, {}

    async def update(self, work: Work) -> Params:
        params = self._params(work, "UpdateProject", work.physical_id)
        default = {"encryptionKey": f"arn:aws:kms:{work.caller.region}:{work.caller.account}:alias/aws/s3"}
        await work.call("codebuild", "UpdateProject", _ABSENT | default | params)
        return {}

    def _params(self, work: Work, operation: str, name: str) -> Params:
        params = request("codebuild", operation, work.properties)
        return params | {"name": name, "tags": work.tag_list(system=False, key="key", value="value")}

    async def read(self, work: Work) -> Params:
        found = await work.call("codebuild", "BatchGetProjects", {"names": [work.physical_id]})
        if not found["projects"]:
            raise Failure(f"Project cannot be found: {work.physical_id}", "NotFound")
        return {"Arn": found["projects"][0]["arn"], "Id": work.physical_id}

    async def delete(self, work: Work) -> None:
        await work.call("codebuild", "DeleteProject", {"name": work.physical_id})


def _refuse(properties: Params) -> None:
    """Properties that are operations of their own on AWS, and not offered here."""
    triggers = properties.get("Triggers") or {}
    if str(triggers.get("Webhook", "false")).lower() == "true" or triggers.get("FilterGroups"):
        raise Failure(
            f"{_PROJECT}: Triggers: portside's local cloud does not offer webhooks, for nothing outside of this "
            "machine can reach it; use a pipeline",
            "InvalidRequest",
        )
    if properties.get("Visibility") == "PUBLIC_READ":
        raise Failure(
            f"{_PROJECT}: Visibility: portside's local cloud does not offer public builds", "InvalidRequest"
        )


class ReportGroup(Handler):
    type = "AWS::CodeBuild::ReportGroup"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    attributes = frozenset({"Arn"})

    def _arn(self, work: Work) -> str:
        return f"arn:aws:codebuild:{work.caller.region}:{work.caller.account}:report-group/{work.name}"

    async def find(self, work: Work) -> str | None:
        arn = self._arn(work)
        found = await work.call("codebuild", "BatchGetReportGroups", {"reportGroupArns": [arn]})
        return arn if found["reportGroups"] else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("codebuild", "CreateReportGroup", work.properties)
        params |= {"name": work.name, "tags": work.tag_list(system=False, key="key", value="value")}
        answer = await work.call("codebuild", "CreateReportGroup", params)
        return str(answer["reportGroup"]["arn"]), {}

    async def update(self, work: Work) -> Params:
        params = request("codebuild", "UpdateReportGroup", work.properties)
        tags = work.tag_list(system=False, key="key", value="value")
        await work.call("codebuild", "UpdateReportGroup", params | {"arn": work.physical_id, "tags": tags})
        return {}

    async def read(self, work: Work) -> Params:
        return {"Arn": work.physical_id}

    async def delete(self, work: Work) -> None:
        reports = str(work.properties.get("DeleteReports", "false")).lower() == "true"
        params = {"arn": work.physical_id, "deleteReports": reports}
        await work.call("codebuild", "DeleteReportGroup", params)
