"""The operations on projects. A part of `CodeBuildApi`.

Validates, writes and answers. The rules are in `validate.py` and `specs.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.codebuild import answers, pages, records
from portside.cloud.services.codebuild.records import Project
from portside.cloud.services.codebuild.specs import project_spec, with_whole_role
from portside.cloud.services.codebuild.validate import NAME, invalid, not_offered

CURATED = (
    (
        "UBUNTU",
        "STANDARD",
        ("aws/codebuild/standard:5.0", "aws/codebuild/standard:6.0", "aws/codebuild/standard:7.0"),
    ),
    (
        "AMAZON_LINUX_2",
        "STANDARD",
        (
            "aws/codebuild/amazonlinux2-x86_64-standard:4.0",
            "aws/codebuild/amazonlinux2-x86_64-standard:5.0",
            "aws/codebuild/amazonlinux2-aarch64-standard:3.0",
            "aws/codebuild/amazonlinux-x86_64-standard:5.0",
        ),
    ),
)


def project_arn(caller: Caller, name: str) -> str:
    return f"arn:aws:codebuild:{caller.region}:{caller.account}:project/{name}"


def project_name(caller: Caller, given: str) -> str:
    """Operations take the name of a project or its ARN."""
    return given.removeprefix(project_arn(caller, ""))


class ProjectOperations:
    _database: Database
    _clock: Clock
    _ids: Ids
    _wake: Callable[[str], None]

    @operation("CreateProject")
    def create_project(self, caller: Caller, params: Params) -> Params:
        name = str(params["name"])
        if not NAME.fullmatch(name):
            raise invalid(
                f"Invalid project name: {name}. It must have 2 to 255 letters, digits, hyphens and underscores, "
                "and begin with a letter or digit"
            )
        now = self._clock.now()
        key = f"arn:aws:kms:{caller.region}:{caller.account}:alias/aws/s3"
        spec = project_spec(name, with_whole_role(params, "serviceRole", caller.account), {}, key)
        arn = project_arn(caller, name)
        record = Project(caller.region, name, arn, spec, now, now)
        with self._database.write() as tx:
            if records.project(tx, caller.region, name) is not None:
                raise AwsError("ResourceAlreadyExistsException", f"Project already exists: {arn}")
            records.save_project(tx, record)
        return {"project": answers.project(record)}

    @operation("UpdateProject")
    def update_project(self, caller: Caller, params: Params) -> Params:
        with self._database.write() as tx:
            present = self._project(caller, str(params["name"]))
            given = with_whole_role(params, "serviceRole", caller.account)
            spec = project_spec(present.name, given, present.spec, present.spec["encryptionKey"])
            record = replace(present, spec=spec, modified=self._clock.now())
            records.save_project(tx, record)
        return {"project": answers.project(record)}

    @operation("DeleteProject")
    def delete_project(self, caller: Caller, params: Params) -> Params:
        """Builds stay, and one that does not exist is no error, as on AWS."""
        name = project_name(caller, str(params["name"]))
        with self._database.write() as tx:
            records.delete_project(tx, caller.region, name)
            tx.after_commit(lambda: self._wake(f"project/{name}"))
        return {}

    @operation("ListProjects")
    def list_projects(self, caller: Caller, params: Params) -> Params:
        found = records.projects(self._database, caller.region)
        match params.get("sortBy") or "NAME":
            case "CREATED_TIME":
                found.sort(key=lambda each: each.created)
            case "LAST_MODIFIED_TIME":
                found.sort(key=lambda each: each.modified)
        names = [each.name for each in reversed(found)]
        shown, token = pages.page(pages.ordered(names, params, descending=False), params)
        return {"projects": shown, "nextToken": token}

    @operation("BatchGetProjects")
    def batch_get_projects(self, caller: Caller, params: Params) -> Params:
        found, missing = [], []
        for given in dict.fromkeys(params["names"]):
            record = records.project(self._database, caller.region, project_name(caller, given))
            if record is None:
                missing.append(given)
            else:
                found.append(answers.project(record))
        return {"projects": found, "projectsNotFound": missing}

    @operation("InvalidateProjectCache")
    def invalidate_project_cache(self, caller: Caller, params: Params) -> Params:
        with self._database.write() as tx:
            project = self._project(caller, str(params["projectName"]))
            records.save_project(tx, replace(project, cache=self._ids.hex(8)))
        return {}

    @operation("ListCuratedEnvironmentImages")
    def list_curated_environment_images(self, caller: Caller, params: Params) -> Params:
        return {
            "platforms": [
                {
                    "platform": platform,
                    "languages": [
                        {
                            "language": language,
                            "images": [
                                {"name": name, "description": "A stand-in made by portside"} for name in images
                            ],
                        }
                    ],
                }
                for platform, language, images in CURATED
            ]
        }

    @operation("CreateWebhook")
    def create_webhook(self, caller: Caller, params: Params) -> Params:
        raise not_offered("webhooks, for nothing outside of this machine can reach it; use a pipeline")

    @operation("StartBuildBatch")
    def start_build_batch(self, caller: Caller, params: Params) -> Params:
        raise not_offered("batch builds")

    def _project(self, caller: Caller, given: str) -> Project:
        name = project_name(caller, given)
        found = records.project(self._database, caller.region, name)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Project cannot be found: {project_arn(caller, name)}")
        return found
