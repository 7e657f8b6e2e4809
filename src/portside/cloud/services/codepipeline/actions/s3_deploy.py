"""Deploy to S3: the artifact as it is, or its files."""

from __future__ import annotations

import mimetypes

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline import archives
from portside.cloud.services.codepipeline.actions.job import ActionFailure, Job, Outcome, Succeeded, bucket_failure


class S3Deploy:
    async def advance(self, job: Job) -> Outcome:
        name = job.action.inputs[0]
        data = await job.fetch(job.input(name))
        key = job.configuration.get("ObjectKey", "")
        if not job.flag("Extract", False):
            await self._put(job, key, data, "application/zip")
            return Succeeded()
        prefix = f"{key.rstrip('/')}/" if key else ""
        try:
            for path, content in archives.files(data):
                kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
                await self._put(job, prefix + path, content, kind)
        except archives.BadArchive as error:
            raise ActionFailure(f"Artifact {name} of {job.where} {error}.") from None
        return Succeeded()

    async def _put(self, job: Job, key: str, data: bytes, kind: str) -> None:
        bucket = job.configuration["BucketName"]
        params: Params = {"Bucket": bucket, "Key": key, "Body": data, "ContentType": kind}
        for given, member in (("CannedACL", "ACL"), ("CacheControl", "CacheControl")):
            if job.configuration.get(given):
                params[member] = job.configuration[given]
        if job.configuration.get("KMSEncryptionKeyARN"):
            params["ServerSideEncryption"] = "aws:kms"
            params["SSEKMSKeyId"] = job.configuration["KMSEncryptionKeyARN"]
        try:
            await job.call("s3", "PutObject", params)
        except AwsError as error:
            raise bucket_failure(error, bucket, f"object {key}") from error

    async def stop(self, job: Job) -> None:
        return None
