"""Actions and conditions of listeners and rules: whether they are allowed, and the form in which AWS shows them.

Pure. What they mean for a request is in `routing.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params

# What load balancers speak, to clients and to targets.
PROTOCOLS = ("HTTPS", "HTTP")
MOST_VALUES = 5
MOST_WILDCARDS = 5
LONGEST = 128
LONGEST_STICKINESS = 604_800
CONTENT_TYPES = ("text/plain", "text/css", "text/html", "application/javascript", "application/json")
_PLACEHOLDERS = ("#{protocol}", "#{host}", "#{port}", "#{path}", "#{query}")

# Field -> the member that holds its configuration.
FIELDS = {
    "host-header": "HostHeaderConfig",
    "path-pattern": "PathPatternConfig",
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
_ONCE = ("host-header", "path-pattern", "http-request-method", "source-ip")


def invalid(message: str) -> AwsError:
    return AwsError("InvalidConfigurationRequest", message)


def groups_of(actions: Iterable[Params]) -> list[str]:
    """The target groups that actions forward to, each once."""
    found: dict[str, None] = {}
    for action in actions:
        for entry in (action.get("ForwardConfig") or {}).get("TargetGroups") or []:
            found[str(entry["TargetGroupArn"])] = None
    return list(found)


# Actions


def actions(given: Sequence[Params]) -> tuple[Params, ...]:
    """Check the actions of a rule and bring them into AWS's form."""
    if not given:
        raise AwsError("ValidationError", "A listener or rule needs an action")
    ordered = sorted(given, key=lambda action: int(action.get("Order") or 0))
    for action in ordered:
        kind = action["Type"]
        if kind in ("authenticate-oidc", "authenticate-cognito", "jwt-validation"):
            raise invalid(
                f"portside's load balancers authenticate nobody: actions of type '{kind}' are not offered"
            )
    if len(ordered) != 1:
        raise AwsError(
            "TooManyActions", "A rule must have exactly one action of type forward, redirect or fixed-response"
        )
    return (_action(ordered[0], given),)


def check_redirects(wanted: Iterable[Params], protocol: str, port: int) -> None:
    """Whether redirects may stand on a listener of that protocol and port."""
    for action in wanted:
        config = action.get("RedirectConfig")
        if not config:
            continue
        to = str(config["Protocol"]).replace("#{protocol}", protocol)
        if (protocol, to) == ("HTTPS", "HTTP"):
            raise AwsError("InvalidLoadBalancerAction", "You cannot redirect requests from HTTPS to HTTP")
        same = to == protocol and str(config["Port"]) in ("#{port}", str(port))
        if same and (config["Host"], config["Path"], config["Query"]) == ("#{host}", "/#{path}", "#{query}"):
            raise AwsError(
                "InvalidLoadBalancerAction", "The redirect configuration is not valid because it creates a loop."
            )


def _action(action: Params, given: Sequence[Params]) -> Params:
    kind = action["Type"]
    order = {"Order": int(action["Order"])} if action.get("Order") else {}
    match kind:
        case "forward":
            return {"Type": kind, **order, **_forward(action)}
        case "redirect":
            return {"Type": kind, **order, "RedirectConfig": _redirect(action.get("RedirectConfig") or {})}
        case "fixed-response":
            return {
                "Type": kind,
                **order,
                "FixedResponseConfig": _fixed_response(action.get("FixedResponseConfig") or {}),
            }
    raise AwsError("InvalidLoadBalancerAction", f"'{kind}' is not an action of a load balancer")


def _forward(action: Params) -> Params:
    config: Params = action.get("ForwardConfig") or {}
    listed = config.get("TargetGroups") or []
    single = action.get("TargetGroupArn")
    if not listed and not single:
        raise AwsError("ValidationError", "A forward action needs a target group")
    entries: list[Params] = [
        {"TargetGroupArn": str(each["TargetGroupArn"]), "Weight": int(each.get("Weight", 1))} for each in listed
    ] or [{"TargetGroupArn": str(single), "Weight": 1}]
    if single and single not in [entry["TargetGroupArn"] for entry in entries]:
        raise invalid("TargetGroupArn and ForwardConfig name different target groups")
    if len(entries) > 5:
        raise AwsError("TooManyTargetGroups", "A forward action may have 5 target groups at most")
    if any(not 0 <= entry["Weight"] <= 999 for entry in entries):
        raise AwsError("ValidationError", "The weight of a target group must be between 0 and 999")
    sticky = config.get("TargetGroupStickinessConfig") or {"Enabled": False}
    if sticky.get("Enabled") and not 1 <= int(sticky.get("DurationSeconds") or 0) <= LONGEST_STICKINESS:
        raise AwsError(
            "ValidationError",
            f"Target group stickiness needs DurationSeconds between 1 and {LONGEST_STICKINESS} when it is enabled",
        )
    forward: Params = {"ForwardConfig": {"TargetGroups": entries, "TargetGroupStickinessConfig": sticky}}
    if len(entries) == 1:
        forward["TargetGroupArn"] = entries[0]["TargetGroupArn"]
    return forward


def _redirect(config: Params) -> Params:
    shown: Params = {
        "Protocol": config.get("Protocol") or "#{protocol}",
        "Host": config.get("Host") or "#{host}",
        "Port": config.get("Port") or "#{port}",
        "Path": config.get("Path") or "/#{path}",
        "Query": config["Query"] if config.get("Query") is not None else "#{query}",
        "StatusCode": config.get("StatusCode"),
    }
    if shown["StatusCode"] not in ("HTTP_301", "HTTP_302"):
        raise AwsError("ValidationError", "The status code of a redirect must be HTTP_301 or HTTP_302")
    unchanged = (shown["Protocol"], shown["Host"], shown["Port"], shown["Path"])
    if unchanged == ("#{protocol}", "#{host}", "#{port}", "/#{path}"):
        raise invalid("A redirect must change at least one of protocol, host, port and path")
    if not str(shown["Path"]).startswith("/"):
        raise invalid("The path of a redirect must start with '/'")
    port = str(shown["Port"])
    if port != "#{port}" and not (port.isdigit() and 1 <= int(port) <= 65535):
        raise AwsError("ValidationError", "The port of a redirect must be between 1 and 65535")
    for key, alone in (("Host", "#{host}"), ("Query", "#{query}")):
        text = str(shown[key])
        if text != alone and any(word in text for word in _PLACEHOLDERS):
            raise invalid(f"portside's load balancers take {alone} in a redirect's {key} only by itself")
    rest = str(shown["Path"]).replace("/#{path}", "", 1)
    if any(word in rest for word in _PLACEHOLDERS):
        raise invalid("portside's load balancers take only /#{path} in a redirect's Path, and once")
    return shown


def _fixed_response(config: Params) -> Params:
    code = str(config.get("StatusCode") or "")
    if not re.fullmatch(r"[245]\d\d", code):
        raise AwsError("ValidationError", "The status code of a fixed response must be 2XX, 4XX or 5XX")
    kind = config.get("ContentType") or "text/plain"
    if kind not in CONTENT_TYPES:
        raise AwsError("ValidationError", f"The content type of a fixed response must be one of {CONTENT_TYPES}")
    body = str(config.get("MessageBody") or "")
    if len(body) > 1024:
        raise AwsError("ValidationError", "The body of a fixed response may have 1024 characters at most")
    shown: Params = {"StatusCode": code, "ContentType": kind}
    if body:
        shown["MessageBody"] = body
    return shown


# Conditions


def conditions(given: Sequence[Params]) -> tuple[Params, ...]:
    """Check the conditions of a rule and bring them into AWS's form."""
    if not given:
        raise AwsError("ValidationError", "A rule needs a condition")
    shown = tuple(_condition(each) for each in given)
    fields = [each["Field"] for each in shown]
    for field in _ONCE:
        if fields.count(field) > 1:
            raise invalid(f"A rule can have only one '{field}' condition")
    values = [value for each in shown for value in _all_values(each)]
    if len(values) > MOST_VALUES:
        raise invalid(f"A rule can have {MOST_VALUES} condition values at most")
    if sum(text.count("*") + text.count("?") for text in values) > MOST_WILDCARDS:
        raise invalid(f"A rule can have {MOST_WILDCARDS} wildcards at most")
    return shown


def _all_values(condition: Params) -> list[str]:
    found: list[str] = []
    for value in values_of(condition):
        found.append(value if isinstance(value, str) else str(value.get("Value") or ""))
    return found


def values_of(condition: Params) -> list[Any]:
    """The values of a checked condition: texts, or key and value for query strings."""
    return list(condition[FIELDS[condition["Field"]]]["Values"])


def _condition(given: Params) -> Params:
    field = given.get("Field") or next((f for f, member in FIELDS.items() if given.get(member)), None)
    if field not in FIELDS:
        raise AwsError("ValidationError", f"Condition field '{field}' must be one of '[{', '.join(FIELDS)}]'")
    member = FIELDS[field]
    config = dict(given.get(member) or {})
    if config.get("RegexValues") or given.get("RegexValues"):
        raise invalid("portside's load balancers do not match by regular expressions")
    values = list(config.get("Values") or given.get("Values") or [])
    if not values:
        raise AwsError("ValidationError", f"A condition value must be specified for '{field}'")
    for value in values:
        _check_value(str(field), value)
    config["Values"] = values
    shown: Params = {"Field": field, member: config}
    if field in ("host-header", "path-pattern"):
        shown["Values"] = values
    if field == "http-header" and not config.get("HttpHeaderName"):
        raise AwsError("ValidationError", "An http-header condition needs HttpHeaderName")
    return shown


def _check_value(field: str, value: Any) -> None:
    text = str(value.get("Value") or "") if isinstance(value, dict) else str(value)
    if not text or len(text) > LONGEST:
        raise AwsError("ValidationError", f"A value of '{field}' must have 1 to {LONGEST} characters")
    match field:
        case "host-header" if "." not in text:
            raise AwsError("ValidationError", f"The host name '{text}' must have a dot")
        case "path-pattern" if not text.startswith(("/", "*")):
            raise AwsError("ValidationError", f"The path pattern '{text}' must start with '/' or '*'")
        case "http-request-method" if not re.fullmatch(r"[A-Z_-]{1,40}", text):
            raise AwsError("ValidationError", f"The method '{text}' must be made of A-Z, - and _")
        case "source-ip":
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise AwsError("ValidationError", f"'{text}' is not an address range in CIDR notation") from None
