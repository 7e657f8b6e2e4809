"""Emptying a bucket: CloudFormation deletes none that holds anything."""

from __future__ import annotations

from portside.deploy.api import Aws, error_code


def empty(aws: Aws, bucket: str) -> int:
    """Delete every version of every object; how many. None if there is no such bucket."""
    s3 = aws.client("s3")
    count = 0
    with aws.errors(f"the bucket {bucket} cannot be emptied"):
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                rows = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                if rows:
                    objects = [{"Key": row["Key"], "VersionId": row["VersionId"]} for row in rows]
                    s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
                    count += len(rows)
        except Exception as error:
            if error_code(error) != "NoSuchBucket":
                raise
    return count
