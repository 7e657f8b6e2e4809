"""The attributes of load balancers, target groups and listeners: known keys, defaults, and what a value may be.

Pure. A key that AWS does not know is refused by its name, and so is a value that would have no effect here.
Source: the API reference, "LoadBalancerAttribute", "TargetGroupAttribute", "ListenerAttribute".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params

Attributes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Number:
    default: str
    low: int
    high: int

    def fault(self, value: str) -> str | None:
        if value.isdigit() and (self.low <= int(value) <= self.high or value == self.default):
            return None
        return f"must be a number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class _OneOf:
    default: str
    choices: tuple[str, ...]

    def fault(self, value: str) -> str | None:
        return None if value in self.choices else f"must be one of {', '.join(self.choices)}"


@dataclass(frozen=True, slots=True)
class _Text:
    default: str = ""

    def fault(self, value: str) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class _NumberOrOff:
    low: int
    high: int
    default: str = "off"

    def fault(self, value: str) -> str | None:
        if value == "off" or (value.isdigit() and self.low <= int(value) <= self.high):
            return None
        return f"must be 'off' or a number from {self.low} to {self.high}"


_Kind = _Number | _OneOf | _Text | _NumberOrOff


def _flag(default: str) -> _OneOf:
    return _OneOf(default, ("true", "false"))


LOAD_BALANCER: Mapping[str, _Kind] = {
    "access_logs.s3.enabled": _flag("false"),
    "access_logs.s3.bucket": _Text(),
    "access_logs.s3.prefix": _Text(),
    "client_keep_alive.seconds": _Number("3600", 60, 604800),
    "connection_logs.s3.enabled": _flag("false"),
    "connection_logs.s3.bucket": _Text(),
    "connection_logs.s3.prefix": _Text(),
    "deletion_protection.enabled": _flag("false"),
    "health_check_logs.s3.enabled": _flag("false"),
    "health_check_logs.s3.bucket": _Text(),
    "health_check_logs.s3.prefix": _Text(),
    "idle_timeout.timeout_seconds": _Number("60", 1, 4000),
    "ipv6.deny_all_igw_traffic": _flag("false"),
    "load_balancing.cross_zone.enabled": _OneOf("true", ("true",)),
    "routing.http.desync_mitigation_mode": _OneOf("defensive", ("monitor", "defensive", "strictest")),
    "routing.http.drop_invalid_header_fields.enabled": _flag("false"),
    "routing.http.preserve_host_header.enabled": _flag("false"),
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": _flag("false"),
    "routing.http.xff_client_port.enabled": _flag("false"),
    "routing.http.xff_header_processing.mode": _OneOf("append", ("append", "preserve", "remove")),
    "routing.http2.enabled": _flag("true"),
    "waf.fail_open.enabled": _flag("false"),
    "zonal_shift.config.enabled": _flag("false"),
}

TARGET_GROUP: Mapping[str, _Kind] = {
    "deregistration_delay.timeout_seconds": _Number("300", 0, 3600),
    "load_balancing.algorithm.anomaly_mitigation": _OneOf("off", ("on", "off")),
    "load_balancing.algorithm.type": _OneOf(
        "round_robin", ("round_robin", "least_outstanding_requests", "weighted_random")
    ),
    "load_balancing.cross_zone.enabled": _OneOf(
        "use_load_balancer_configuration", ("true", "false", "use_load_balancer_configuration")
    ),
    "slow_start.duration_seconds": _Number("0", 30, 900),
    "stickiness.app_cookie.cookie_name": _Text(),
    "stickiness.app_cookie.duration_seconds": _Number("86400", 1, 604800),
    "stickiness.enabled": _flag("false"),
    "stickiness.lb_cookie.duration_seconds": _Number("86400", 1, 604800),
    "stickiness.type": _OneOf("lb_cookie", ("lb_cookie", "app_cookie")),
    "target_group_health.dns_failover.minimum_healthy_targets.count": _NumberOrOff(1, 1000, "1"),
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": _NumberOrOff(1, 100),
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": _Number("1", 1, 1000),
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": _NumberOrOff(1, 100),
}

# The headers that a listener can put into every answer.
RESPONSE_HEADERS = (
    "strict-transport-security",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-max-age",
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
)

LISTENER: Mapping[str, _Kind] = {
    "routing.http.request.x_amzn_tls_version.header_name": _Text("X-Amzn-Tls-Version"),
    "routing.http.request.x_amzn_tls_cipher_suite.header_name": _Text("X-Amzn-Tls-Cipher-Suite"),
    "routing.http.response.server.enabled": _flag("true"),
    **{f"routing.http.response.{header.replace('-', '_')}.header_value": _Text() for header in RESPONSE_HEADERS},
}


# Key and value: why it would have no effect here.
NOT_OFFERED: Mapping[tuple[str, str], str] = {
    ("connection_logs.s3.enabled", "true"): "no logs of connections are written",
    ("health_check_logs.s3.enabled", "true"): "no logs of health checks are written",
    ("load_balancing.algorithm.anomaly_mitigation", "on"): "anomalies of targets are not looked for",
    ("load_balancing.cross_zone.enabled", "false"): "one proxy stands for the load balancer in all its zones",
    ("stickiness.type", "app_cookie"): "cookies of the application are not followed, only the load balancer's own",
}


def changed(known: Mapping[str, _Kind], present: Attributes, wanted: Iterable[Params], noun: str) -> Attributes:
    """What is set after `wanted` was set too. Raises for unknown keys and impossible values."""
    result = dict(present)
    for pair in wanted:
        key, value = str(pair["Key"]), str(pair.get("Value") or "")
        if key not in known:
            raise AwsError("ValidationError", f"{noun} attribute key '{key}' is not recognized")
        fault = known[key].fault(value)
        if fault is not None:
            raise AwsError("ValidationError", f"{noun} attribute value '{value}' of '{key}' {fault}")
        if (key, value) in NOT_OFFERED:
            raise AwsError(
                "InvalidConfigurationRequest",
                f"portside's load balancers do not offer '{key}' as '{value}': {NOT_OFFERED[key, value]}",
            )
        result[key] = value
    return tuple(sorted(result.items()))


def value(known: Mapping[str, _Kind], present: Attributes, key: str) -> str:
    return dict(present).get(key, known[key].default)


def listed(known: Mapping[str, _Kind], present: Attributes) -> list[Params]:
    """All attributes with their values, as the describe calls show them."""
    found = {key: kind.default for key, kind in known.items()} | dict(present)
    return [{"Key": key, "Value": text} for key, text in sorted(found.items())]
