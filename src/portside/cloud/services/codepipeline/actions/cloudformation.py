"""Deploy actions with CloudFormation, in every action mode.

Which call is made is decided and written down first; then it is made with a token that follows from the action's
id, so that after a crash the same call is not taken for another one; then the stack is waited for.
"""

from __future__ import annotations

import json

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline import archives
from portside.cloud.services.codepipeline.actions.job import ActionFailure, Job, Outcome, Running, Succeeded
from portside.cloud.services.codepipeline.actions.overrides import settings, split
from portside.cloud.services.codepipeline.records import Artifact

EVERY = 0.15
LONGEST_BODY = 51_200
LARGEST_TEMPLATE = 1024 * 1024
REPLACEABLE = frozenset(
    {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"}
)
SUCCEEDED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
NO_UPDATES = "No updates are to be performed"
NO_CHANGES = ("didn't contain changes", NO_UPDATES)


class CloudFormation:
    async def advance(self, job: Job) -> Outcome:
        step = str(job.run.note.get("step") or "")
        match step:
            case "":
                return await self._choose(job)
            case "delete":
                return await self._delete(job)
            case "deleting":
                return await self._deleting(job)
            case "drop":
                return await self._drop(job)
            case "propose":
                return await self._propose(job)
            case "proposing":
                return await self._proposing(job)
            case "CreateStack" | "UpdateStack":
                return await self._deploy(job, step)
            case "execute":
                return await self._execute(job)
            case _:
                return await self._wait(job)

    async def _choose(self, job: Job) -> Outcome:
        mode = job.configuration["ActionMode"]
        stack = await self._stack(job, job.configuration["StackName"])
        status = "" if stack is None else str(stack["StackStatus"])
        match mode:
            case "DELETE_ONLY":
                if stack is None:
                    return Succeeded(summary="The stack does not exist: nothing to delete")
                return _step("delete", job, id=stack["StackId"], then="")
            case "REPLACE_ON_FAILURE" if stack is not None and status in REPLACEABLE:
                return _step("delete", job, id=stack["StackId"], then="CreateStack")
            case "CREATE_UPDATE" | "REPLACE_ON_FAILURE":
                return _step("CreateStack" if status in ("", "REVIEW_IN_PROGRESS") else "UpdateStack", job)
            case "CHANGE_SET_REPLACE":
                kind = "CREATE" if status in ("", "REVIEW_IN_PROGRESS") else "UPDATE"
                return _step("propose" if stack is None else "drop", job, kind=kind)
            case "CHANGE_SET_EXECUTE":
                return _step("execute", job)
            case _:
                raise ActionFailure(f"ActionMode {mode} of {job.where} is not known.", "ConfigurationError")

    # Creating and updating

    async def _deploy(self, job: Job, operation: str) -> Outcome:
        params = await self._template(job)
        try:
            answer = await job.call(
                "cloudformation", operation, params | {"ClientRequestToken": _token(job, operation)}
            )
        except AwsError as error:
            if error.code == "ValidationError" and NO_UPDATES in error.message:
                return await self._done(job, job.configuration["StackName"], error.message)
            raise
        return _step(
            "wait", job, external=str(answer["StackId"]), id=answer["StackId"], token=_token(job, operation)
        )

    async def _template(self, job: Job) -> Params:
        artifact, path = split(job, "TemplatePath", job.configuration["TemplatePath"])
        data = await job.file(artifact, path, LARGEST_TEMPLATE)
        chosen = await settings(job)
        params: Params = {"StackName": job.configuration["StackName"]} | chosen.params()
        if len(data) <= LONGEST_BODY:
            params["TemplateBody"] = data.decode("utf-8", "replace")
        else:
            bucket, key = job.place("template", ".template")
            await job.call("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": data})
            params["TemplateURL"] = f"https://{bucket}.s3.amazonaws.com/{key}"
        if job.configuration.get("RoleArn"):
            params["RoleARN"] = job.configuration["RoleArn"]
        capabilities = job.configuration.get("Capabilities", "")
        if capabilities:
            params["Capabilities"] = [each.strip() for each in capabilities.split(",")]
        return params

    async def _wait(self, job: Job) -> Outcome:
        stack = await self._stack(job, str(job.run.note["id"]))
        if stack is None:
            raise ActionFailure(f"Stack {job.configuration['StackName']} of {job.where} does not exist any more.")
        status = str(stack["StackStatus"])
        if status.endswith("_IN_PROGRESS"):
            return Running(EVERY)
        if status in SUCCEEDED:
            return await self._done(job, str(stack["StackId"]), f"Stack {stack['StackName']}: {status}")
        raise ActionFailure(await self._blame(job, stack, status))

    async def _blame(self, job: Job, stack: Params, status: str) -> str:
        """The reason of the first resource that failed in our operation."""
        token = str(job.run.note.get("token") or "")
        begun = f"Stack {stack['StackName']} is in {status} state"
        params: Params = {"StackName": stack["StackId"]}
        reason = ""
        while True:
            # On AWS no permission is needed for this.
            answer = await job.calls("cloudformation", "DescribeStackEvents", params, job.account)
            for event in answer.get("StackEvents") or ():
                if token and event.get("ClientRequestToken") != token:
                    continue
                text = str(event.get("ResourceStatusReason") or "")
                failed = str(event["ResourceStatus"]).endswith("_FAILED")
                if failed and text and "cancelled" not in text and event["PhysicalResourceId"] != stack["StackId"]:
                    reason = f"{event['LogicalResourceId']} ({event['ResourceType']}): {text}"
            if not answer.get("NextToken"):
                break
            params["NextToken"] = answer["NextToken"]
        reason = reason or str(stack.get("StackStatusReason") or "")
        return f"{begun}. {reason}" if reason else begun

    async def _done(self, job: Job, name: str, summary: str) -> Outcome:
        stack = await self._stack(job, name)
        found = [] if stack is None else stack.get("Outputs") or []
        outputs = {str(each["OutputKey"]): str(each.get("OutputValue") or "") for each in found}
        artifacts: tuple[Artifact, ...] = ()
        if job.action.outputs:
            file = job.configuration.get("OutputFileName")
            content = {file: json.dumps(outputs, indent=2).encode()} if file else {}
            artifacts = (await job.store(job.action.outputs[0], archives.pack(content), suffix=""),)
        external = None if stack is None else str(stack["StackId"])
        return Succeeded(summary=summary, variables=outputs, artifacts=artifacts, external_id=external)

    # Deleting

    async def _delete(self, job: Job) -> Outcome:
        params: Params = {"StackName": job.run.note["id"], "ClientRequestToken": _token(job, "DeleteStack")}
        if job.configuration.get("RoleArn"):
            params["RoleARN"] = job.configuration["RoleArn"]
        await job.call("cloudformation", "DeleteStack", params)
        return _step("deleting", job, external=str(job.run.note["id"]))

    async def _deleting(self, job: Job) -> Outcome:
        stack = await self._stack(job, str(job.run.note["id"]))
        status = "DELETE_COMPLETE" if stack is None else str(stack["StackStatus"])
        if status == "DELETE_IN_PROGRESS":
            return Running(EVERY)
        if status == "DELETE_COMPLETE":
            following = str(job.run.note["then"])
            return _step(following, job) if following else Succeeded(summary="The stack is deleted")
        assert stack is not None
        raise ActionFailure(await self._blame(job, stack, status))

    # Change sets

    async def _drop(self, job: Job) -> Outcome:
        try:
            await job.call("cloudformation", "DeleteChangeSet", self._set(job))
        except AwsError as error:
            if error.code not in ("ChangeSetNotFound", "ChangeSetNotFoundException"):
                raise
        return _step("propose", job)

    def _set(self, job: Job) -> Params:
        return {
            "StackName": job.configuration["StackName"],
            "ChangeSetName": job.configuration["ChangeSetName"],
        }

    async def _propose(self, job: Job) -> Outcome:
        params = await self._template(job)
        # A change set has no policy of its own; CloudFormation refuses it by name.
        params |= self._set(job) | {"ChangeSetType": job.run.note["kind"], "ClientToken": _token(job, "ChangeSet")}
        try:
            answer = await job.call("cloudformation", "CreateChangeSet", params)
        except AwsError as error:
            # Ours, from before a crash: whatever had this name was dropped a step ago.
            if error.code != "AlreadyExistsException" or "ChangeSet" not in error.message:
                raise
            answer = await job.call("cloudformation", "DescribeChangeSet", self._set(job))
        return _step("proposing", job, external=str(answer.get("StackId") or ""))

    async def _proposing(self, job: Job) -> Outcome:
        found = await job.call("cloudformation", "DescribeChangeSet", self._set(job))
        status, reason = str(found["Status"]), str(found.get("StatusReason") or "")
        if status in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            return Running(EVERY)
        name = job.configuration["ChangeSetName"]
        if status == "FAILED" and not any(text in reason for text in NO_CHANGES):
            raise ActionFailure(f"Change set {name} of stack {job.configuration['StackName']} failed: {reason}")
        summary = f"Change set {name} was created." if status != "FAILED" else f"Change set {name}: {reason}"
        return await self._done(job, job.configuration["StackName"], summary)

    async def _execute(self, job: Job) -> Outcome:
        stack = await self._stack(job, job.configuration["StackName"])
        token = _token(job, "Execute")
        if stack is not None and await self._executed(job, stack, token):
            return _step("wait", job, external=str(stack["StackId"]), id=stack["StackId"], token=token)
        found = await job.call("cloudformation", "DescribeChangeSet", self._set(job))
        reason = str(found.get("StatusReason") or "")
        if found["Status"] == "FAILED" and any(text in reason for text in NO_CHANGES):
            return await self._done(job, job.configuration["StackName"], reason)
        await job.call("cloudformation", "ExecuteChangeSet", self._set(job) | {"ClientRequestToken": token})
        stack_id = str(found["StackId"])
        return _step("wait", job, external=stack_id, id=stack_id, token=token)

    async def _executed(self, job: Job, stack: Params, token: str) -> bool:
        """Whether the change set was executed by us, before a crash."""
        if stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            return False
        params: Params = {"StackName": stack["StackId"]}
        answer = await job.calls("cloudformation", "DescribeStackEvents", params, job.account)
        return any(each.get("ClientRequestToken") == token for each in answer.get("StackEvents") or ())

    async def _stack(self, job: Job, name: str) -> Params | None:
        try:
            answer = await job.call("cloudformation", "DescribeStacks", {"StackName": name})
        except AwsError as error:
            if error.code == "ValidationError" and "does not exist" in error.message:
                return None
            raise
        found: Params = answer["Stacks"][0]
        return found

    async def stop(self, job: Job) -> None:
        return None


def _step(name: str, job: Job, external: str | None = None, **more: object) -> Running:
    """Write down what comes next; it is done at once, except for waiting."""
    seconds = EVERY if name in ("wait", "deleting", "proposing") else 0.0
    return Running(seconds, external_id=external, note=job.run.note | more | {"step": name})


def _token(job: Job, operation: str) -> str:
    return f"{operation}-{job.run.id}"
