"""The records of the ELBv2 API in AWS's form, and the errors that several operations share.

Pure but for reading. The operations are in `api.py`, `group_operations.py` and `listener_operations.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.elbv2 import records
from portside.cloud.services.elbv2.health import State
from portside.cloud.services.elbv2.records import Listener, LoadBalancer, Reader, Rule, Target, TargetGroup

# Hosted zones of load balancers differ by region; Route 53 is not part of the local cloud, so one serves.
HOSTED_ZONE = "Z35SXDOTRQ7X7K"
PAGE = 400


def page(found: list[Params], params: Params) -> tuple[list[Params], str | None]:
    """A page of results and the marker of the next one."""
    marker = str(params.get("Marker") or "0")
    if not marker.isdigit():
        raise AwsError("ValidationError", f"'{marker}' is not a marker that an earlier call returned")
    end = int(marker) + int(params.get("PageSize") or PAGE)
    return found[int(marker) : end], str(end) if end < len(found) else None


def load_balancer_of(reader: Reader, caller: Caller, arn: str) -> LoadBalancer:
    found = records.load_balancer(reader, arn)
    if found is None or found.region != caller.region:
        raise AwsError("LoadBalancerNotFound", f"Load balancers '[{arn}]' not found")
    return found


def group_of(reader: Reader, caller: Caller, arn: str) -> TargetGroup:
    found = records.group(reader, arn)
    if found is None or found.region != caller.region:
        raise AwsError("TargetGroupNotFound", f"Target groups '[{arn}]' not found")
    return found


def listener_of(reader: Reader, arn: str) -> Listener:
    found = records.listener(reader, arn)
    if found is None:
        raise AwsError("ListenerNotFound", "One or more listeners not found")
    return found


def rule_of(reader: Reader, arn: str) -> Rule:
    found = records.rule(reader, arn)
    if found is None:
        raise AwsError("RuleNotFound", "One or more rules not found")
    return found


def given_tags(params: Params) -> dict[str, str]:
    tags = params.get("Tags") or []
    keys = [str(tag["Key"]) for tag in tags]
    if len(set(keys)) != len(keys):
        raise AwsError("DuplicateTagKeys", "Tag keys must be unique")
    return {str(tag["Key"]): str(tag.get("Value") or "") for tag in tags}


def described_load_balancer(record: LoadBalancer, state: str = "active", address: str = "") -> Params:
    """`address` is the one that only this load balancer listens on, if it has one; AWS shows static addresses
    in the same place."""
    return {
        "LoadBalancerArn": record.arn,
        "DNSName": record.dns_name,
        "CanonicalHostedZoneId": HOSTED_ZONE,
        "CreatedTime": record.created_at,
        "LoadBalancerName": record.name,
        "Scheme": record.scheme,
        "VpcId": record.vpc,
        "State": {"Code": state},
        "Type": "application",
        "AvailabilityZones": [
            {
                "ZoneName": zone,
                "SubnetId": subnet,
                "LoadBalancerAddresses": [{"IpAddress": address}] if address else [],
            }
            for zone, subnet in record.zones
        ],
        "SecurityGroups": list(record.security_groups),
        "IpAddressType": record.ip_address_type,
    }


def described_group(reader: Reader, record: TargetGroup) -> Params:
    health = record.health
    return {
        "TargetGroupArn": record.arn,
        "TargetGroupName": record.name,
        "Protocol": record.protocol,
        "Port": record.port,
        "VpcId": record.vpc,
        "HealthCheckProtocol": health.protocol,
        "HealthCheckPort": health.port,
        "HealthCheckEnabled": health.enabled,
        "HealthCheckIntervalSeconds": health.interval,
        "HealthCheckTimeoutSeconds": health.timeout,
        "HealthyThresholdCount": health.healthy,
        "UnhealthyThresholdCount": health.unhealthy,
        "HealthCheckPath": health.path,
        "Matcher": {"GrpcCode" if record.protocol_version == "GRPC" else "HttpCode": health.matcher},
        "LoadBalancerArns": records.load_balancers_of(reader, record.arn),
        "TargetType": record.target_type,
        "ProtocolVersion": record.protocol_version,
        "IpAddressType": "ipv4",
    }


def described_listener(reader: Reader, record: Listener) -> Params:
    default = next(rule for rule in records.rules(reader, record.arn) if rule.priority is None)
    shown: Params = {
        "ListenerArn": record.arn,
        "LoadBalancerArn": record.load_balancer,
        "Port": record.port,
        "Protocol": record.protocol,
        "DefaultActions": list(default.actions),
    }
    if record.protocol == "HTTPS":
        shown |= {
            "Certificates": [{"CertificateArn": record.certificate}],
            "SslPolicy": record.ssl_policy,
            "MutualAuthentication": {"Mode": "off"},
        }
    return shown


def described_rule(record: Rule) -> Params:
    return {
        "RuleArn": record.arn,
        "Priority": "default" if record.priority is None else str(record.priority),
        "Conditions": list(record.conditions),
        "Actions": list(record.actions),
        "IsDefault": record.priority is None,
    }


def described_target(group: TargetGroup, target: Target, *, in_use: bool, reachable: bool, served: bool) -> Params:
    """A healthy target shows as such once requests reach it, not a moment earlier."""
    health = target.health
    port = str(target.port) if health_port(group) is None else health_port(group)
    if health.state is State.DRAINING:
        state = _state("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
    elif not in_use:
        state = _state(
            "unused",
            "Target.NotInUse",
            "Target group is not configured to receive traffic from the load balancer",
        )
    elif not reachable:
        state = _state("unused", "Target.InvalidState", "Target is in the terminated state")
    elif health.state is State.HEALTHY and not served:
        state = _state("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
    else:
        state = _state(health.state.value, health.reason, health.description)
    shown: Params = {"Id": target.id, "Port": target.port}
    if target.zone is not None:
        shown["AvailabilityZone"] = target.zone
    return {"Target": shown, "HealthCheckPort": port, "TargetHealth": state}


def not_registered(identifier: str, port: int | None) -> Params:
    return {
        "Target": {"Id": identifier, "Port": port},
        "TargetHealth": _state("unused", "Target.NotRegistered", "Target is not registered to the target group"),
    }


def health_port(group: TargetGroup) -> str | None:
    return None if group.health.port == "traffic-port" else group.health.port


def _state(state: str, reason: str | None, description: str | None) -> Params:
    return {"State": state, "Reason": reason, "Description": description}


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
