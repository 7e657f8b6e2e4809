"""Deploy by CodeDeploy: refused by name when its turn comes, for nothing would be deployed.

A pipeline that has such an action is made all the same, so that its other stages can be tried. What the action
names has to exist, as on AWS.
"""

from __future__ import annotations

from portside.cloud.services.codepipeline.actions.job import ActionFailure, Job, Outcome


class CodeDeploy:
    async def advance(self, job: Job) -> Outcome:
        application, group = job.configuration["ApplicationName"], job.configuration["DeploymentGroupName"]
        names = {"applicationName": application, "deploymentGroupName": group}
        await job.call("codedeploy", "GetDeploymentGroup", names)
        raise ActionFailure(
            "portside's local cloud does not carry out CodeDeploy's deployments, here of "
            f"{application} to {group}: use actions of provider ECS or CloudFormation, and the deployment "
            "strategies of ECS.",
            "ConfigurationError",
        )

    async def stop(self, job: Job) -> None:
        return None
