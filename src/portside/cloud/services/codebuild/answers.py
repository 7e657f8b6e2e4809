"""Projects, builds and reports in the words of the API.

Pure: records in, documents out.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from portside.cloud.services.calls import Params
from portside.cloud.services.codebuild.records import Build, PhaseRecord, Project, Report, ReportGroup

_HIDDEN = ("badgeEnabled",)


def project(record: Project) -> Params:
    return {
        "name": record.name,
        "arn": record.arn,
        **{key: value for key, value in record.spec.items() if key not in _HIDDEN},
        "created": record.created,
        "lastModified": record.modified,
        "badge": {"badgeEnabled": False},
        "projectVisibility": "PRIVATE",
    }


def build(record: Build) -> Params:
    spec = record.spec
    shown: Params = {
        "id": record.id,
        "arn": record.arn,
        "buildNumber": record.number,
        "startTime": record.started_at,
        "currentPhase": record.phases[-1].type if record.phases else "SUBMITTED",
        "buildStatus": record.status.value,
        "projectName": record.project,
        "phases": [phase(each) for each in record.phases],
        "source": spec["source"],
        "secondarySources": spec.get("secondarySources") or [],
        "secondarySourceVersions": spec.get("secondarySourceVersions") or [],
        "artifacts": _artifacts(record),
        "secondaryArtifacts": [output for output in record.outputs if output.get("artifactIdentifier")],
        "cache": spec["cache"],
        "environment": spec["environment"],
        "serviceRole": spec["serviceRole"],
        "logs": logs(record),
        "timeoutInMinutes": spec["timeoutInMinutes"],
        "queuedTimeoutInMinutes": spec["queuedTimeoutInMinutes"],
        "buildComplete": record.complete,
        "initiator": record.initiator,
        "encryptionKey": spec["encryptionKey"],
        "exportedEnvironmentVariables": [{"name": k, "value": v} for k, v in record.exported.items()],
        "reportArns": list(record.reports),
    }
    limit = int(spec.get("autoRetryLimit") or 0)
    if limit:
        retries = {"autoRetryLimit": limit, "autoRetryNumber": record.retries}
        neighbours = {"nextAutoRetry": record.retried_by, "previousAutoRetry": record.retry_of}
        shown["autoRetryConfig"] = retries | {name: arn for name, arn in neighbours.items() if arn}
    optional: dict[str, Any] = {
        "endTime": record.ended_at,
        "sourceVersion": record.source_version or None,
        "resolvedSourceVersion": record.resolved_version or None,
        "vpcConfig": spec.get("vpcConfig"),
    }
    return shown | {key: value for key, value in optional.items() if value is not None}


def _artifacts(record: Build) -> Params:
    for output in record.outputs:
        if not output.get("artifactIdentifier"):
            return output
    artifacts = record.spec["artifacts"]
    if artifacts["type"] == "S3" and not record.complete:
        return {"location": f"arn:aws:s3:::{artifacts['location'].removeprefix('arn:aws:s3:::')}"}
    return {"location": ""}


def phase(record: PhaseRecord) -> Params:
    shown: Params = {"phaseType": record.type, "startTime": record.started_at}
    if record.status is not None:
        shown["phaseStatus"] = record.status.value
    if record.ended_at is not None:
        shown["endTime"] = record.ended_at
        shown["durationInSeconds"] = max(0, round(record.ended_at - record.started_at))
    if record.contexts:
        shown["contexts"] = [{"statusCode": each.code, "message": each.message} for each in record.contexts]
    return shown


def log_place(record: Build) -> tuple[str, str] | None:
    """Group and stream of the build's log; None if it is not to be kept there."""
    config = (record.spec.get("logsConfig") or {}).get("cloudWatchLogs") or {}
    if config.get("status") == "DISABLED":
        return None
    group = config.get("groupName") or f"/aws/codebuild/{record.project}"
    prefix = config.get("streamName")
    return group, f"{prefix}/{record.uuid}" if prefix else record.uuid


def s3_log_key(record: Build) -> str | None:
    """BUCKET/KEY of the log's copy in S3."""
    config = (record.spec.get("logsConfig") or {}).get("s3Logs") or {}
    if config.get("status") != "ENABLED":
        return None
    return f"{config['location'].removeprefix('arn:aws:s3:::').rstrip('/')}/{record.uuid}.gz"


def logs(record: Build) -> Params:
    shown: Params = {}
    place = log_place(record)
    config = record.spec.get("logsConfig") or {}
    if place is not None:
        group, stream = place
        region, account = record.region, record.account
        shown |= {
            "groupName": group,
            "streamName": stream,
            "deepLink": f"https://console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
            f"{quote(group, safe='')}/log-events/{quote(stream, safe='')}",
            "cloudWatchLogsArn": f"arn:aws:logs:{region}:{account}:log-group:{group}:log-stream:{stream}",
        }
    shown["cloudWatchLogs"] = config.get("cloudWatchLogs") or {"status": "ENABLED"}
    shown["s3Logs"] = config.get("s3Logs") or {"status": "DISABLED", "encryptionDisabled": False}
    key = s3_log_key(record)
    if key is not None:
        shown["s3LogsArn"] = f"arn:aws:s3:::{key}"
        shown["s3DeepLink"] = f"https://s3.console.aws.amazon.com/s3/object/{key}?region={record.region}"
    return shown


def report_group(record: ReportGroup) -> Params:
    return {
        "arn": record.arn,
        "name": record.name,
        "type": record.spec["type"],
        "exportConfig": record.spec.get("exportConfig") or {"exportConfigType": "NO_EXPORT"},
        "created": record.created,
        "lastModified": record.modified,
        "tags": record.spec.get("tags") or [],
        "status": "ACTIVE",
    }


def report(record: Report) -> Params:
    return {
        "arn": record.arn,
        "type": "TEST",
        "name": record.name,
        "reportGroupArn": record.group,
        "executionId": record.build,
        "status": record.status,
        "created": record.created,
        "expired": record.expires,
        "exportConfig": {"exportConfigType": "NO_EXPORT"},
        "truncated": record.truncated,
        "testSummary": record.summary,
    }
