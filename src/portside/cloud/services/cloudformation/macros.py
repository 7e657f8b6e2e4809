"""Macros: which are declared, and by whom. None is carried out, for no function runs here.

A macro has no service of its own: it is the resource of a stack, and its name is its physical id.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params

TYPE = "AWS::CloudFormation::Macro"
NOT_OFFERED = "portside's local cloud does not carry out macros, for no function runs here."


async def declaration(name: str, calls: Calls, caller: Caller) -> Params | None:
    """The resource that declares a macro, as DescribeStackResources shows it."""
    try:
        found = await calls("cloudformation", "DescribeStackResources", {"PhysicalResourceId": name}, caller)
    except AwsError as error:
        if error.code != "ValidationError":
            raise
        return None
    resources: list[Params] = found["StackResources"]
    for each in resources:
        gone = each["ResourceStatus"] in ("DELETE_COMPLETE", "DELETE_SKIPPED")
        if each["ResourceType"] == TYPE and each.get("PhysicalResourceId") == name and not gone:
            return each
    return None
