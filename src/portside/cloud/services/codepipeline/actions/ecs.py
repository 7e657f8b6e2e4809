"""Deploy to ECS: other images in the service's task definition, and a deployment of it.

Three steps, each written down before the next: register the revision, update the service, wait for the
deployment that this update made. A deployment of somebody else's neither helps nor harms.
"""

from __future__ import annotations

import json
from typing import Any

from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline.actions.job import ActionFailure, Job, Outcome, Running, Succeeded

EVERY = 0.25
LARGEST_DEFINITIONS = 100 * 1024
MINUTE = 60.0
# What DescribeTaskDefinition adds to what was registered.
_ADDED = frozenset(
    {
        "taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt",
        "registeredBy", "deregisteredAt", "deleteRequestedAt",
    }
)  # fmt: skip


class Ecs:
    async def advance(self, job: Job) -> Outcome:
        note = job.run.note
        if "definition" not in note:
            return await self._register(job)
        if "deployment" not in note:
            return await self._update(job, str(note["definition"]))
        return await self._watch(job, str(note["deployment"]))

    async def _register(self, job: Job) -> Outcome:
        name = job.action.inputs[0]
        file = job.configuration.get("FileName") or "imagedefinitions.json"
        images = definitions(await job.file(name, file, LARGEST_DEFINITIONS), file, name)
        service = await self._service(job)
        answer = await job.call(
            "ecs", "DescribeTaskDefinition", {"taskDefinition": service["taskDefinition"], "include": ["TAGS"]}
        )
        definition = {
            key: value
            for key, value in answer["taskDefinition"].items()
            if key not in _ADDED and value is not None
        }
        if answer.get("tags"):
            definition["tags"] = answer["tags"]
        definition["containerDefinitions"] = swapped(definition["containerDefinitions"], images, job)
        made = await job.call("ecs", "RegisterTaskDefinition", definition)
        return Running(0.0, note={"definition": made["taskDefinition"]["taskDefinitionArn"], "since": job.now})

    async def _update(self, job: Job, definition: str) -> Outcome:
        service = await self._service(job)
        if service["taskDefinition"] != definition:
            params = {"cluster": self._cluster(job), "service": self._name(job), "taskDefinition": definition}
            service = (await job.call("ecs", "UpdateService", params))["service"]
        made = [each for each in service.get("deployments") or () if each.get("taskDefinition") == definition]
        if not made:
            raise ActionFailure(f"The update of service {self._name(job)} by {job.where} made no deployment.")
        deployment = str(made[0]["id"])
        return Running(EVERY, external_id=deployment, note=job.run.note | {"deployment": deployment})

    async def _watch(self, job: Job, deployment: str) -> Outcome:
        service = await self._service(job)
        found = next((each for each in service.get("deployments") or () if each.get("id") == deployment), None)
        if found is None:
            raise ActionFailure(
                f"Deployment {deployment} of service {self._name(job)} was replaced by another one before it was "
                "complete."
            )
        state = str(found.get("rolloutState") or "")
        if state == "COMPLETED":
            return Succeeded(summary=f"Deployment {deployment} is complete")
        if state == "FAILED":
            reason = found.get("rolloutStateReason") or "the deployment failed"
            raise ActionFailure(f"Deployment {deployment} of service {self._name(job)} failed: {reason}")
        minutes = int(job.configuration.get("DeploymentTimeout") or 60)
        if job.now >= float(job.run.note.get("since") or job.run.started) + minutes * MINUTE:
            events = service.get("events") or ()
            latest = f" {events[0]['message']}" if events else ""
            raise ActionFailure(
                f"The deployment of service {self._name(job)} timed out after {minutes} minutes.{latest}"
            )
        return Running(EVERY)

    async def _service(self, job: Job) -> Params:
        answer = await job.call(
            "ecs", "DescribeServices", {"cluster": self._cluster(job), "services": [self._name(job)]}
        )
        found = [each for each in answer.get("services") or () if each.get("status") == "ACTIVE"]
        if not found:
            raise ActionFailure(
                f"The Amazon ECS service {self._name(job)} of {job.where} does not exist in cluster "
                f"{self._cluster(job)}.",
                "ConfigurationError",
            )
        service: Params = found[0]
        return service

    def _cluster(self, job: Job) -> str:
        return job.configuration["ClusterName"]

    def _name(self, job: Job) -> str:
        return job.configuration["ServiceName"]

    async def stop(self, job: Job) -> None:
        return None


def definitions(data: bytes, file: str, artifact: str) -> dict[str, str]:
    """Images by container, from the file of image definitions."""
    try:
        given: Any = json.loads(data)
        found = {str(each["name"]): str(each["imageUri"]) for each in given}
    except (ValueError, TypeError, KeyError):
        found = {}
    if not found:
        raise ActionFailure(
            f"The image definition file {file} in artifact {artifact} is not a JSON array of objects with name "
            "and "
            "imageUri.",
            "ConfigurationError",
        )
    return found


def swapped(containers: list[Params], images: dict[str, str], job: Job) -> list[Params]:
    """The containers with their new images; the others stay as they are."""
    names = {str(each["name"]) for each in containers}
    unknown = sorted(images.keys() - names)
    if unknown:
        raise ActionFailure(
            f"The image definitions of {job.where} name {', '.join(unknown)}, which is no container of the task "
            f"definition; it has {', '.join(sorted(names))}.",
            "ConfigurationError",
        )
    return [each | {"image": images[each["name"]]} if each["name"] in images else each for each in containers]
