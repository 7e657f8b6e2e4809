"""The log of one build: its lines to CloudWatch Logs as they come, and to S3 at the end.

Written as the build's service role. How much of the container's output is in the stream, the Logs service keeps
with the events, as the stream's sequence token: so a cloud that was killed goes on with the next line.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from pathlib import Path

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.codebuild import answers
from portside.cloud.services.codebuild.failures import ACCESS_DENIED, PhaseFailed
from portside.cloud.services.codebuild.records import Build
from portside.cloud.services.codebuild.transcript import Said

BATCH_EVENTS = 5000
BATCH_BYTES = 900_000
EVENT_BYTES = 256 * 1024 - 64
EVENT_OVERHEAD = 26
_TOKEN = "build:"  # noqa: S105 - a position


class BuildLog:
    """`directory` is the build's own; the copy for S3 grows there."""

    def __init__(self, build: Build, calls: Calls, caller: Caller, directory: Path) -> None:
        self._build = build
        self._calls = calls
        self._caller = caller
        self._place = answers.log_place(build)
        self._s3_key = answers.s3_log_key(build)
        self._copy = directory / "log"

    async def open(self) -> None:
        """Make group and stream. Raises PhaseFailed where the role may not."""
        if self._place is None:
            return
        group, stream = self._place
        try:
            await self._unless_there("CreateLogStream", {"logGroupName": group, "logStreamName": stream})
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise self._refused(error) from None
            try:
                await self._unless_there("CreateLogGroup", {"logGroupName": group})
                await self._unless_there("CreateLogStream", {"logGroupName": group, "logStreamName": stream})
            except AwsError as error:
                raise self._refused(error) from None

    def _refused(self, error: AwsError) -> PhaseFailed:
        return PhaseFailed(
            ACCESS_DENIED,
            f"Service role {self._build.spec['serviceRole']} does not allow AWS CodeBuild to create Amazon "
            f"CloudWatch Logs log streams for build {self._build.arn}. Error message: {error.message}",
        )

    async def _unless_there(self, operation: str, params: Params) -> None:
        try:
            await self._calls("logs", operation, params, self._caller)
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise

    async def delivered(self) -> int:
        """How many lines of the container's output are in the stream."""
        if self._place is None:
            return 0
        group, stream = self._place
        # The role need not be able to look; this is the build service's own question.
        account = self._caller.account
        own = Caller.root(account, self._caller.region, endpoint=self._caller.endpoint)
        params = {"logGroupName": group, "logStreamNamePrefix": stream}
        try:
            found = await self._calls("logs", "DescribeLogStreams", params, own)
        except AwsError:
            return 0
        for each in found.get("logStreams") or []:
            token = str(each.get("uploadSequenceToken") or "")
            if each["logStreamName"] == stream and token.startswith(_TOKEN):
                return int(token.removeprefix(_TOKEN))
        return 0

    async def write(self, lines: Sequence[Said], position: int | None = None) -> None:
        """`position` is the number of lines of the container's output that are there after these."""
        if not lines:
            return
        if self._s3_key is not None:
            await asyncio.to_thread(self._append, lines)
        if self._place is None:
            return
        group, stream = self._place
        for start, batch in _batches(lines):
            params: Params = {
                "logGroupName": group,
                "logStreamName": stream,
                "logEvents": [
                    {"timestamp": int(line.at * 1000), "message": line.text[:EVENT_BYTES] + "\n"}
                    for line in sorted(batch, key=lambda line: int(line.at * 1000))
                ],
            }
            if position is not None:
                params["sequenceToken"] = f"{_TOKEN}{position - len(lines) + start + len(batch)}"
            await self._calls("logs", "PutLogEvents", params, self._caller)

    def _append(self, lines: Sequence[Said]) -> None:
        with self._copy.open("a", encoding="utf-8") as file:
            file.writelines(f"{line.text}\n" for line in lines)

    async def upload(self) -> None:
        """The whole log to S3, if it is wanted there. Raises PhaseFailed."""
        if self._s3_key is None or not self._copy.exists():
            return
        bucket, _, key = self._s3_key.partition("/")
        body = await asyncio.to_thread(lambda: gzip.compress(self._copy.read_bytes()))
        try:
            await self._calls("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": body}, self._caller)
        except AwsError as error:
            raise PhaseFailed(
                ACCESS_DENIED if error.status == 403 else "CLIENT_ERROR",
                f"The log cannot be written to s3://{self._s3_key}: {error.code}: {error.message}",
            ) from None


def _batches(lines: Sequence[Said]) -> list[tuple[int, Sequence[Said]]]:
    """Cut to what one PutLogEvents takes; with the index of the first line of each."""
    found: list[tuple[int, Sequence[Said]]] = []
    start, size = 0, 0
    for index, line in enumerate(lines):
        cost = min(len(line.text.encode()), EVENT_BYTES) + 1 + EVENT_OVERHEAD
        if index > start and (size + cost > BATCH_BYTES or index - start >= BATCH_EVENTS):
            found.append((start, lines[start:index]))
            start, size = index, 0
        size += cost
    found.append((start, lines[start:]))
    return found
