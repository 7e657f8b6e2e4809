"""Whether what parameters of AWS's own types name exists in the account.

Owns the call that tells for each type. AWS finds this out after it has answered, so the outcome is a text for the
operation that begins and not a refusal. Machine images are taken as they are: which public images there are, this
cloud does not know.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls
from portside.cloud.services.cloudformation import parameters
from portside.cloud.services.cloudformation.records import Value
from portside.cloud.services.cloudformation.template import Template

# Parameter type: service, operation, the member that takes the value, whether as a list, and where the answer
# has what was found.
_ASKED = {
    "AWS::EC2::AvailabilityZone::Name": (
        "ec2", "DescribeAvailabilityZones", "ZoneNames", True, "AvailabilityZones"
    ),
    "AWS::EC2::Instance::Id": ("ec2", "DescribeInstances", "InstanceIds", True, "Reservations"),
    "AWS::EC2::KeyPair::KeyName": ("ec2", "DescribeKeyPairs", "KeyNames", True, "KeyPairs"),
    "AWS::EC2::SecurityGroup::GroupName": ("ec2", "DescribeSecurityGroups", "GroupNames", True, "SecurityGroups"),
    "AWS::EC2::SecurityGroup::Id": ("ec2", "DescribeSecurityGroups", "GroupIds", True, "SecurityGroups"),
    "AWS::EC2::Subnet::Id": ("ec2", "DescribeSubnets", "SubnetIds", True, "Subnets"),
    "AWS::EC2::VPC::Id": ("ec2", "DescribeVpcs", "VpcIds", True, "Vpcs"),
    "AWS::EC2::Volume::Id": ("ec2", "DescribeVolumes", "VolumeIds", True, "Volumes"),
    "AWS::SSM::Parameter::Name": ("ssm", "GetParameter", "Name", False, "Parameter"),
    "AWS::Route53::HostedZone::Id": ("route53", "GetHostedZone", "Id", False, "HostedZone"),
}  # fmt: skip


async def missing(template: Template, values: tuple[Value, ...], calls: Calls, caller: Caller) -> str:
    """The parameters that name nothing, in AWS's words; empty if there are none."""
    absent = []
    for each in values:
        kind = template.parameters[each.key]["Type"]
        asked = _ASKED.get(parameters.member_type(kind))
        if each.unknown:
            continue
        members = parameters.split_list(each.effective) if parameters.is_list(kind) else [each.effective]
        for member in members:
            # What cannot be an identifier is nobody's.
            found = parameters.well_formed(kind, member)
            if found and asked is not None:
                found = await _exists(asked, member, calls, caller)
            if not found:
                absent.append(f"parameter value {member} for parameter name {each.key} does not exist")
    return f"Parameter validation failed: {', '.join(absent)}" if absent else ""


async def _exists(asked: tuple[str, str, str, bool, str], value: str, calls: Calls, caller: Caller) -> bool:
    service, operation, member, listed, place = asked
    try:
        answer = await calls(service, operation, {member: [value] if listed else value}, caller)
    except AwsError as error:
        if error.code.startswith(("Invalid", "NoSuch")) or error.code.endswith(("NotFound", "Malformed")):
            return False
        raise
    return bool(answer.get(place))
