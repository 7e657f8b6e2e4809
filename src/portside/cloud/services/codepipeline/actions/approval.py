"""Manual approval: tells a topic, then waits. The answer comes by PutApprovalResult, which ends the action."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from portside.cloud.services.codepipeline import offered
from portside.cloud.services.codepipeline.actions.job import Job, Outcome, Running

MINUTE = 60.0
LONG = 24 * 3600.0


class Manual:
    async def advance(self, job: Job) -> Outcome:
        topic = job.configuration.get("NotificationArn")
        if topic and not job.run.note.get("told"):
            subject = f"APPROVAL NEEDED: AWS CodePipeline {job.pipeline.name} for action {job.action.name}"
            await job.call(
                "sns",
                "Publish",
                {"TopicArn": topic, "Subject": subject[:100], "Message": json.dumps(message(job))},
            )
            return Running(LONG, note={"told": True})
        return Running(LONG)

    async def stop(self, job: Job) -> None:
        return None


def message(job: Job) -> dict[str, object]:
    """What subscribers get, in AWS's form."""
    minutes = job.action.timeout or offered.ACTIONS["Approval", "AWS", "Manual"].timeout
    expires = datetime.fromtimestamp(job.run.started + minutes * MINUTE, UTC).strftime("%Y-%m-%dT%H:%MZ")
    region, name = job.pipeline.region, job.pipeline.name
    console = f"https://console.aws.amazon.com/codepipeline/home?region={region}#/view/{name}"
    approval = {
        "pipelineName": name,
        "stageName": job.run.stage,
        "actionName": job.action.name,
        "token": job.run.token,
        "expires": expires,
        "externalEntityLink": job.configuration.get("ExternalEntityLink"),
        "approvalReviewLink": f"{console}/{job.run.stage}/{job.action.name}/approve/{job.run.token}",
        "customData": job.configuration.get("CustomData"),
    }
    return {
        "region": region,
        "consoleLink": console,
        "approval": {key: value for key, value in approval.items() if value is not None},
    }
