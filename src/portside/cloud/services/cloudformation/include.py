"""AWS::Include: pieces of templates that are kept in the object store, fetched and put in their places.

Owns the transform's one parameter, Location, and its complaints. Where includes stand in a template and in which
order they are carried out is `transforms.py`.
"""

from __future__ import annotations

from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.cloudformation import documents, limits
from portside.cloud.services.cloudformation.stored import bucket_and_key

NAME = "AWS::Include"
NOT_A_DOCUMENT = "The specified S3 object's content should be valid Yaml/JSON"


class IncludeError(Exception):
    """The include fails; the text is what follows `Transform AWS::Include failed with: `."""


async def fetch(location: Any, calls: Calls, caller: Caller) -> Any:
    """What is stored there, as JSON would hold it."""
    if not isinstance(location, str) or not location:
        raise IncludeError("Location is a required parameter")
    place = bucket_and_key(location, caller.endpoint, schemes=("s3", "http", "https"))
    if place is None or not all(place):
        raise IncludeError("The location parameter is not a valid S3 uri.")
    bucket, key = place
    try:
        answer = await calls("s3", "GetObject", {"Bucket": bucket, "Key": key}, caller)
    except AwsError as error:
        if error.code == "NoSuchBucket":
            raise IncludeError(f"S3 bucket [{bucket}] does not exist.") from None
        if error.code == "NoSuchKey":
            raise IncludeError("The specified key does not exist.") from None
        raise IncludeError(error.message) from None
    data: Any = answer["Body"]
    data = data.read() if hasattr(data, "read") else data
    if len(data) > limits.STORED_BYTES:
        raise IncludeError(f"Template may not exceed {limits.STORED_BYTES} bytes in size.")
    try:
        return documents.fragment(data.decode() if isinstance(data, bytes) else str(data))
    except ValueError:
        raise IncludeError(NOT_A_DOCUMENT) from None


def merge(siblings: dict[str, Any], found: Any) -> Any:
    """What takes the place of an object with a transform: the piece and, beside it, the object's other members."""
    if not siblings:
        return found
    if not isinstance(found, dict):
        raise IncludeError(NOT_A_DOCUMENT)
    merged = dict(siblings)
    for key, member in found.items():
        own = merged.get(key)
        if isinstance(own, dict) and isinstance(member, dict):
            merged[key] = merge(own, member)
        elif key not in merged:
            merged[key] = member
    return merged
