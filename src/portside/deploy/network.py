"""The VPC and the public subnets that an environment is put into: the region's default VPC."""

from __future__ import annotations

from dataclasses import dataclass

from portside.deploy.api import Aws
from portside.deploy.errors import DeployError


@dataclass(frozen=True, slots=True)
class Network:
    """`subnets` are public, one per availability zone, in the zones' order."""

    vpc: str
    subnets: tuple[str, ...]


# A load balancer needs two; more zones only spread the same few instances further.
MOST_SUBNETS = 3


def find(aws: Aws) -> Network:
    """Raises DeployError if there is no default VPC with public subnets in two zones."""
    ec2 = aws.client("ec2")
    with aws.errors("the network cannot be looked up"):
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            raise DeployError(
                f"there is no default VPC in {aws.region}",
                "",
                "Create one with `aws ec2 create-default-vpc`.",
            )
        vpc = vpcs[0]["VpcId"]
        rows = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    by_zone: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: (row["AvailabilityZone"], row["SubnetId"])):
        if row.get("MapPublicIpOnLaunch"):
            by_zone.setdefault(row["AvailabilityZone"], row["SubnetId"])
    if len(by_zone) < 2:
        raise DeployError(
            f"{vpc} has public subnets in fewer than two availability zones",
            "a load balancer needs two",
            "Create default subnets with `aws ec2 create-default-subnet`.",
        )
    return Network(vpc, tuple(by_zone.values())[:MOST_SUBNETS])
