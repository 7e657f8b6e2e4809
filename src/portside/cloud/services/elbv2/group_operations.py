"""The part of the ELBv2 API that is about target groups and targets.

Validates, writes and answers. A registered target is checked, and a deregistered one drained, by `target_loop.py`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.elbv2 import attributes, records
from portside.cloud.services.elbv2.answers import (
    described_group,
    described_target,
    given_tags,
    group_of,
    load_balancer_of,
    not_registered,
    page,
    quoted,
)
from portside.cloud.services.elbv2.health import TRAFFIC_PORT, Health, HealthSettings, State, parse_matcher
from portside.cloud.services.elbv2.proxy_loop import ProxyLoop
from portside.cloud.services.elbv2.records import Target, TargetGroup
from portside.cloud.services.elbv2.routing import Resolve
from portside.cloud.services.elbv2.rules import PROTOCOLS, invalid
from portside.cloud.services.elbv2.target_loop import TargetLoop

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?")
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")
)


class GroupOperations:
    """A part of `ElbApi`."""

    _database: Database
    _ids: Ids
    _clock: Clock
    _calls: Calls
    _resolve: Resolve
    _target_loop: TargetLoop
    _proxy_loop: ProxyLoop

    @operation("CreateTargetGroup")
    async def create_target_group(self, caller: Caller, params: Params) -> Params:
        name = str(params["Name"])
        if not NAME.fullmatch(name):
            raise AwsError(
                "ValidationError",
                f"Target group name '{name}' must have 1 to 32 letters, digits and hyphens, and must not begin or"
                " end with a hyphen",
            )
        kind = params.get("TargetType") or "instance"
        if kind not in ("instance", "ip"):
            raise invalid(f"portside's load balancers send requests to instances and addresses, not to '{kind}'")
        protocol = params.get("Protocol")
        if protocol is None or params.get("Port") is None or params.get("VpcId") is None:
            raise AwsError("ValidationError", "A protocol, a port and a VPC must be specified")
        if protocol not in PROTOCOLS:
            raise AwsError(
                "UnsupportedProtocol",
                f"portside's load balancers speak HTTP and HTTPS to targets, not '{protocol}'",
            )
        await self._check_vpc(caller, str(params["VpcId"]))
        version = str(params.get("ProtocolVersion") or "HTTP1")
        record = TargetGroup(
            arn=f"arn:aws:elasticloadbalancing:{caller.region}:{caller.account}:targetgroup/{name}/{self._ids.hex(16)}",
            region=caller.region,
            name=name,
            created_at=self._clock.now(),
            protocol=protocol,
            protocol_version=version,
            port=int(params["Port"]),
            vpc=params["VpcId"],
            target_type=kind,
            health=_health(params, HealthSettings()),
        )
        tags = given_tags(params)
        with self._database.write() as tx:
            for present in records.groups(tx, caller.region):
                if present.name == name:
                    if replace(record, arn=present.arn, created_at=present.created_at) == replace(
                        present, attributes=()
                    ):
                        return {"TargetGroups": [described_group(tx, present)]}
                    raise AwsError(
                        "DuplicateTargetGroupName",
                        f"A target group with the same name '{name}' exists, but with different settings",
                    )
            records.store_group(tx, record)
            records.store_tags(tx, record.arn, tags)
        return {"TargetGroups": [described_group(self._database, record)]}

    @operation("DescribeTargetGroups")
    def describe_target_groups(self, caller: Caller, params: Params) -> Params:
        database = self._database
        if params.get("LoadBalancerArn"):
            balancer = load_balancer_of(database, caller, params["LoadBalancerArn"])
            arns = records.groups_of_load_balancer(database, balancer.arn)
            found = [group_of(database, caller, arn) for arn in arns]
        elif params.get("TargetGroupArns"):
            found = [group_of(database, caller, arn) for arn in params["TargetGroupArns"]]
        else:
            found = records.groups(database, caller.region)
            if params.get("Names"):
                missing = [name for name in params["Names"] if name not in {g.name for g in found}]
                if missing:
                    raise AwsError("TargetGroupNotFound", "One or more target groups not found")
                found = [group for group in found if group.name in params["Names"]]
        shown, marker = page([described_group(database, group) for group in found], params)
        return {"TargetGroups": shown, "NextMarker": marker}

    @operation("ModifyTargetGroup")
    def modify_target_group(self, caller: Caller, params: Params) -> Params:
        present = group_of(self._database, caller, params["TargetGroupArn"])
        record = replace(present, health=_health(params, present.health))
        with self._database.write() as tx:
            records.store_group(tx, record)
            tx.after_commit(lambda: self._target_loop.wake_group(record.arn))
        return {"TargetGroups": [described_group(self._database, record)]}

    @operation("DeleteTargetGroup")
    def delete_target_group(self, caller: Caller, params: Params) -> Params:
        arn = str(params["TargetGroupArn"])
        if records.load_balancers_of(self._database, arn):
            raise AwsError("ResourceInUse", f"Target group '{arn}' is currently in use by a listener or a rule")
        with self._database.write() as tx:
            records.delete(tx, arn)
        return {}

    @operation("DescribeTargetGroupAttributes")
    def describe_target_group_attributes(self, caller: Caller, params: Params) -> Params:
        record = group_of(self._database, caller, params["TargetGroupArn"])
        return {"Attributes": attributes.listed(attributes.TARGET_GROUP, record.attributes)}

    @operation("ModifyTargetGroupAttributes")
    async def modify_target_group_attributes(self, caller: Caller, params: Params) -> Params:
        present = group_of(self._database, caller, params["TargetGroupArn"])
        wanted = attributes.changed(
            attributes.TARGET_GROUP, present.attributes, params["Attributes"], "Target group"
        )
        with self._database.write() as tx:
            records.store_group(tx, replace(present, attributes=wanted))
            tx.after_commit(self._proxy_loop.wake)
            tx.after_commit(lambda: self._target_loop.wake_group(present.arn))
        await self._proxy_loop.taken_up()
        return {"Attributes": attributes.listed(attributes.TARGET_GROUP, wanted)}

    # Targets

    @operation("RegisterTargets")
    def register_targets(self, caller: Caller, params: Params) -> Params:
        group = group_of(self._database, caller, params["TargetGroupArn"])
        wanted = [_target(group, each) for each in params["Targets"]]
        for target in wanted:
            self._check_target(group, target)
        with self._database.write() as tx:
            for target in wanted:
                present = records.target(tx, target.key)
                if present is None or present.health.state is State.DRAINING:
                    records.store_target(tx, target)
            tx.after_commit(self._proxy_loop.wake)
            for target in wanted:
                tx.after_commit(lambda key=target.key: self._target_loop.wake(key))  # type: ignore[misc]
        return {}

    @operation("DeregisterTargets")
    def deregister_targets(self, caller: Caller, params: Params) -> Params:
        group = group_of(self._database, caller, params["TargetGroupArn"])
        in_use = bool(records.load_balancers_of(self._database, group.arn))
        now = self._clock.now()
        with self._database.write() as tx:
            for each in params["Targets"]:
                present = records.target(tx, _target(group, each).key)
                if present is None or present.health.state is State.DRAINING:
                    continue
                if not in_use:
                    records.delete_target(tx, present)
                    continue
                draining = replace(present.health, state=State.DRAINING, reason=None, description=None)
                records.store_target(tx, replace(present, health=draining, drained_from=now))
                tx.after_commit(lambda key=present.key: self._target_loop.wake(key))  # type: ignore[misc]
            tx.after_commit(self._proxy_loop.wake)
        return {}

    @operation("DescribeTargetHealth")
    def describe_target_health(self, caller: Caller, params: Params) -> Params:
        group = group_of(self._database, caller, params["TargetGroupArn"])
        in_use = bool(records.load_balancers_of(self._database, group.arn))
        present = records.targets(self._database, group.arn)
        shown: list[Params] = []
        chosen = present
        if params.get("Targets"):
            chosen = []
            for each in params["Targets"]:
                key = _target(group, each).key
                found = [t for t in present if t.key == key]
                chosen += found
                if not found:
                    shown.append(not_registered(str(each["Id"]), each.get("Port") or group.port))
        for target in chosen:
            endpoint = self._resolve(target.id, target.port)
            served = endpoint is not None and self._proxy_loop.is_served(group.arn, endpoint)
            shown.append(
                described_target(group, target, in_use=in_use, reachable=endpoint is not None, served=served)
            )
        return {"TargetHealthDescriptions": shown}

    def _check_target(self, group: TargetGroup, target: Target) -> None:
        if group.target_type == "instance":
            if not re.fullmatch(r"i-[0-9a-f]{8,17}", target.id):
                raise AwsError("ValidationError", f"Instance ID '{target.id}' is not valid")
            if self._resolve(target.id, target.port) is None:
                raise AwsError(
                    "InvalidTarget",
                    "The following targets are not in a running state and cannot be registered:"
                    f" {quoted([target.id])}",
                )
            return
        try:
            address = ipaddress.ip_address(target.id)
        except ValueError:
            raise AwsError(
                "ValidationError", f"The IP address '{target.id}' is not a valid IPv4 address"
            ) from None
        if not any(address in network for network in _PRIVATE):
            raise AwsError(
                "ValidationError",
                f"The IP address '{target.id}' is not within a private range of addresses",
            )

    async def _check_vpc(self, caller: Caller, vpc: str) -> None:
        try:
            await self._calls("ec2", "DescribeVpcs", {"VpcIds": [vpc]}, caller)
        except AwsError as error:
            if error.code != "InvalidVpcID.NotFound":
                raise
            raise AwsError("ValidationError", f"The VPC ID '{vpc}' is not found") from None


def _target(group: TargetGroup, given: Params) -> Target:
    port = given.get("Port")
    zone = given.get("AvailabilityZone")
    return Target(group.arn, str(given["Id"]), group.port if port is None else int(port), zone, Health())


def _health(params: Params, base: HealthSettings) -> HealthSettings:
    """The settings of health checks after a create or modify call."""

    def given(key: str, present: object) -> object:
        value = params.get(key)
        return present if value is None else value

    matcher = params.get("Matcher") or {}
    settings = HealthSettings(
        protocol=str(given("HealthCheckProtocol", base.protocol)),
        port=str(given("HealthCheckPort", base.port)),
        path=str(given("HealthCheckPath", base.path)),
        interval=int(str(given("HealthCheckIntervalSeconds", base.interval))),
        timeout=int(str(given("HealthCheckTimeoutSeconds", base.timeout))),
        healthy=int(str(given("HealthyThresholdCount", base.healthy))),
        unhealthy=int(str(given("UnhealthyThresholdCount", base.unhealthy))),
        matcher=str(matcher.get("HttpCode") or base.matcher),
        enabled=bool(given("HealthCheckEnabled", base.enabled)),
    )
    if settings.protocol not in PROTOCOLS:
        raise AwsError(
            "UnsupportedProtocol",
            f"portside's load balancers check health by HTTP and HTTPS, not '{settings.protocol}'",
        )
    if matcher.get("GrpcCode"):
        raise invalid("portside's load balancers check health by HTTP status codes, not by gRPC codes")
    if not settings.enabled:
        raise AwsError("ValidationError", "Health checks can be disabled only for target groups of type lambda")
    if settings.port != TRAFFIC_PORT and not (settings.port.isdigit() and 1 <= int(settings.port) <= 65535):
        raise AwsError("ValidationError", f"Health check port '{settings.port}' must be 'traffic-port' or 1-65535")
    if not settings.path.startswith("/") or len(settings.path) > 1024:
        raise AwsError("ValidationError", f"Health check path '{settings.path}' must begin with a '/'")
    for name, number, low, high in (
        ("interval", settings.interval, 5, 300),
        ("timeout", settings.timeout, 2, 120),
        ("healthy threshold", settings.healthy, 2, 10),
        ("unhealthy threshold", settings.unhealthy, 2, 10),
    ):
        if not low <= number <= high:
            raise AwsError("ValidationError", f"Health check {name} must be between {low} and {high}")
    if settings.timeout >= settings.interval:
        raise AwsError("ValidationError", "Health check interval must be greater than the timeout.")
    try:
        parse_matcher(settings.matcher)
    except ValueError:
        raise AwsError(
            "ValidationError", f"Health check matcher HTTP code '{settings.matcher}' must be within '200-499'"
        ) from None
    return settings
