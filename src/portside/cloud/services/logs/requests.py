"""How requests name what they are about, in pages or not, and the errors that all of the service's parts share.

Pure.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.logs import records
from portside.cloud.services.logs.records import Group, Reader

PAGE = 50


def bad(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def name_in(reference: str) -> str:
    """A log group's name by its name, or by its ARN with or without the `:*` at the end; empty for another ARN."""
    if not reference.startswith("arn:"):
        return reference
    return reference.split(":", 6)[6].removesuffix(":*") if reference.count(":") >= 6 else ""


def group_name(params: Params) -> str:
    """By name, or by identifier, which may be an ARN."""
    name = params.get("logGroupName") or params.get("logGroupIdentifier")
    if not name:
        raise bad("A logGroupName or a logGroupIdentifier is needed.")
    return name_in(name)


def group(reader: Reader, caller: Caller, name: str) -> Group:
    """The caller's group of that name; AwsError if there is none."""
    found = records.group(reader, caller.region, name)
    if found is None:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    return found


def page(names: list[str], params: Params) -> tuple[list[str], str | None]:
    """One page of names in the order given, and the token of the next: the last name shown."""
    given = params.get("nextToken")
    start = 0
    if given:
        if given not in names:
            raise bad("The specified nextToken is invalid.")
        start = names.index(given) + 1
    shown = names[start : start + (params.get("limit") or PAGE)]
    more = start + len(shown) < len(names)
    return shown, shown[-1] if more and shown else None
