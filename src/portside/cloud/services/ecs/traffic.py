"""The listener rules of a service that shifts traffic: read, and brought to the wanted weights.

The calls only, on behalf of `service_loop.py`: DescribeRules, and ModifyRule or, for a listener's default rule,
ModifyListener. What a rule does besides (stickiness, conditions) stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs.names import service_role_caller
from portside.cloud.services.ecs.shift_records import ALONE, Shift
from portside.cloud.services.ecs.shifts import share, shown_as, weights


@dataclass(frozen=True, slots=True)
class Observed:
    """The deployment's share of production traffic and whether it has the test traffic; None where rules
    disagree or could not be read. `problem`: why they could not."""

    production: float | None = None
    test: bool | None = None
    problem: str = ""


class Traffic:
    def __init__(self, calls: Calls, log: Log) -> None:
        self._calls = calls
        self._log = log

    async def bring(self, shift: Shift) -> Observed:
        """Set what is wanted where it is not so, and tell what the rules show afterwards."""
        caller = service_role_caller(shift.service)
        shares: set[float | None] = set()
        tests: set[bool | None] = set()
        try:
            for route in shift.routes:
                if route.get("production"):
                    wanted = None if shift.weight == ALONE else shift.weight
                    shares.add(await self._rule(caller, route["production"], route, wanted))
                if route.get("test"):
                    seen = await self._rule(caller, route["test"], route, 100.0 if shift.test else None)
                    tests.add(None if seen is None else seen == 100)
        except AwsError as error:
            if error.status >= 500:
                raise
            self._log.warning("listener rule cannot be used", service=shift.service, reason=error.message)
            return Observed(problem=f"{error.code}: {error.message}")
        if not any(each.get("production") for each in shift.routes):
            # No load balancer, no traffic to shift: it is where it is wanted.
            shares = {share(*weights(max(0.0, shift.weight)))}
        production = shares.pop() if len(shares) == 1 else None
        return Observed(production, tests.pop() if len(tests) == 1 else None)

    async def _rule(self, caller: Caller, arn: str, route: Params, wanted: float | None) -> float | None:
        seen, rule = await self._read(caller, arn)
        if wanted is None:
            return share(seen.get(route["own"], 0), seen.get(route["other"], 0))
        own, other = weights(wanted)
        strangers = {group for group, weight in seen.items() if weight} - {route["own"], route["other"]}
        if strangers or share(seen.get(route["own"], 0), seen.get(route["other"], 0)) != shown_as(wanted):
            await self._write(caller, rule, [(route["own"], own), (route["other"], other)])
            seen, _ = await self._read(caller, arn)
        return share(seen.get(route["own"], 0), seen.get(route["other"], 0))

    async def _read(self, caller: Caller, arn: str) -> tuple[dict[str, int], Params]:
        answer = await self._calls("elbv2", "DescribeRules", {"RuleArns": [arn]}, caller)
        rule: Params = (answer.get("Rules") or [{}])[0]
        return forwarded(rule), rule

    async def _write(self, caller: Caller, rule: Params, groups: list[tuple[str, int]]) -> None:
        before = forward_of(rule)
        config: Params = {"TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in groups]}
        sticky = (before.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig")
        if sticky:
            config["TargetGroupStickinessConfig"] = sticky
        actions = [{"Type": "forward", "ForwardConfig": config}]
        if rule.get("IsDefault"):
            listener = rule["RuleArn"].replace(":listener-rule/", ":listener/", 1).rpartition("/")[0]
            params: Params = {"ListenerArn": listener, "DefaultActions": actions}
            await self._calls("elbv2", "ModifyListener", params, caller)
        else:
            await self._calls("elbv2", "ModifyRule", {"RuleArn": rule["RuleArn"], "Actions": actions}, caller)


def forward_of(rule: Params) -> Params:
    """The forward action of a rule, empty if it has none."""
    found: Params = next((each for each in rule.get("Actions") or [] if each.get("Type") == "forward"), {})
    return found


def forwarded(rule: Params) -> dict[str, int]:
    """Target group -> weight."""
    action = forward_of(rule)
    listed = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    if not listed and action.get("TargetGroupArn"):
        listed = [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]
    return {each["TargetGroupArn"]: int(each.get("Weight", 1)) for each in listed}
