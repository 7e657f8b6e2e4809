"""Source actions that read what is stored already: an object in a versioned bucket, an image in a registry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline import archives
from portside.cloud.services.codepipeline.actions.job import (
    LARGEST_INPUT,
    ActionFailure,
    Job,
    Outcome,
    Succeeded,
    bucket_failure,
    passing,
    permitted,
)
from portside.cloud.services.codepipeline.records import Revision


class S3Source:
    """The object, a zip archive, is copied as it is."""

    async def advance(self, job: Job) -> Outcome:
        bucket, key = job.configuration["S3Bucket"], job.configuration["S3ObjectKey"]
        override = job.execution.overrides.get(job.action.name)
        place: Params = {"Bucket": bucket, "Key": key}
        if override is not None and override.kind == "S3_OBJECT_VERSION_ID":
            place["VersionId"] = override.value
        elif override is not None and override.kind == "S3_OBJECT_KEY":
            if not job.flag("AllowOverrideForS3ObjectKey", False):
                raise ActionFailure(
                    f"AllowOverrideForS3ObjectKey of {job.where} does not allow another object key.",
                    "ConfigurationError",
                )
            place["Key"] = key = override.value
        try:
            versioning = await job.call("s3", "GetBucketVersioning", {"Bucket": bucket})
            if versioning.get("Status") != "Enabled":
                raise ActionFailure(
                    f"Versioning of the Amazon S3 bucket named {bucket} is not enabled; {job.where} needs it.",
                    "ConfigurationError",
                )
            found = await job.call("s3", "HeadObject", place)
            if int(found.get("ContentLength") or 0) > LARGEST_INPUT:
                raise ActionFailure(f"Object {key} of {job.where} has more than {LARGEST_INPUT} bytes.")
            version = str(found.get("VersionId") or "")
            data = bytes((await job.call("s3", "GetObject", place | {"VersionId": version}))["Body"])
        except AwsError as error:
            raise bucket_failure(error, bucket, f"object {key}") from error
        artifact = await job.store(job.action.outputs[0], data, version)
        etag = str(found.get("ETag") or "").strip('"')
        summary = (found.get("Metadata") or {}).get("codepipeline-artifact-revision-summary")
        return Succeeded(
            summary=str(summary or f"Amazon S3 version id: {version}"),
            variables={"ETag": etag, "VersionId": version, "BucketName": bucket, "ObjectKey": key},
            artifacts=(artifact,),
            revision=Revision(
                version, version, str(summary or f"Amazon S3 version id: {version}"), _seconds(found, job)
            ),
        )

    async def stop(self, job: Job) -> None:
        return None


def _seconds(found: Params, job: Job) -> float:
    when: Any = found.get("LastModified")
    return when.timestamp() if isinstance(when, datetime) else job.now


class EcrSource:
    """Writes imageDetail.json for the image that a tag stands for."""

    async def advance(self, job: Job) -> Outcome:
        repository = job.configuration["RepositoryName"]
        tag = job.configuration.get("ImageTag") or "latest"
        override = job.execution.overrides.get(job.action.name)
        pinned = override is not None and override.kind == "IMAGE_DIGEST"
        wanted = {"imageDigest": override.value} if override is not None and pinned else {"imageTag": tag}
        try:
            answer = await job.call("ecr", "DescribeImages", {"repositoryName": repository, "imageIds": [wanted]})
        except AwsError as error:
            if passing(error) or not permitted(error):
                raise
            raise ActionFailure(
                f"The image of {job.where} is not there: {error.message}", "RevisionUnavailable"
            ) from error
        image = answer["imageDetails"][0]
        digest, registry = str(image["imageDigest"]), str(image["registryId"])
        host = f"{registry}.dkr.ecr.{job.caller.region}.amazonaws.com"
        uri = f"{host}/{repository}@{digest}"
        pushed: Any = image.get("imagePushedAt") or job.now
        moment = pushed if isinstance(pushed, datetime) else datetime.fromtimestamp(float(pushed), UTC)
        detail = {
            "ImageSizeInBytes": str(image.get("imageSizeInBytes") or 0),
            "ImageDigest": digest,
            "Version": "1.0",
            "ImagePushedAt": moment.strftime("%a %b %d %H:%M:%S UTC %Y"),
            "RegistryId": registry,
            "RepositoryName": repository,
            "ImageURI": uri,
            "ImageTags": list(image.get("imageTags") or ()),
        }
        data = archives.pack({"imageDetail.json": json.dumps(detail).encode()})
        artifact = await job.store(job.action.outputs[0], data, digest)
        return Succeeded(
            variables={
                "ImageDigest": digest,
                "ImageTag": tag,
                "ImageURI": uri,
                "RegistryId": registry,
                "RepositoryName": repository,
            },
            artifacts=(artifact,),
            revision=Revision(digest, digest, "", moment.timestamp()),
        )

    async def stop(self, job: Job) -> None:
        return None
