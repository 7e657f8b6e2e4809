"""The deployment configuration of a service: its defaults, what is wrong with one, and the shift that it means.

Pure. Sources: the ECS API reference, DeploymentConfiguration and the types below it.
"""

from __future__ import annotations

from collections.abc import Sequence

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs.errors import client, invalid
from portside.cloud.services.ecs.records import Deployment
from portside.cloud.services.ecs.shift_records import ALONE, LifecycleStage, Shift, Strategy
from portside.cloud.services.ecs.shifts import PAUSES

LONGEST_BAKE = 1440


def completed(given: Params | None, before: Params, daemon: bool) -> Params:
    """The configuration with its defaults. Raises InvalidParameterException."""
    wanted = {key: value for key, value in (given or {}).items() if value is not None}
    defaults: Params = {
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "maximumPercent": 100 if daemon else 200,
        "minimumHealthyPercent": 0 if daemon else 100,
        "strategy": "ROLLING",
        "bakeTimeInMinutes": 0,
    }
    made = defaults | before | wanted
    low, high = made["minimumHealthyPercent"], made["maximumPercent"]
    if low < 0 or high < 0:
        raise invalid("minimumHealthyPercent and maximumPercent must not be negative.")
    if low > 100:
        raise invalid("minimumHealthyPercent must be 100 or less.")
    if not daemon and high < 100:
        raise invalid("maximumPercent must be 100 or more.")
    if daemon and high != 100:
        raise invalid("The daemon scheduling strategy supports a maximumPercent of 100 only.")
    _breaker(made["deploymentCircuitBreaker"])
    _strategy(made, daemon)
    alarms = made.get("alarms") or {}
    if alarms.get("enable") and not alarms.get("alarmNames"):
        raise invalid("At least one alarm name must be given when deployment alarms are enabled.")
    return made


def _breaker(given: Params) -> None:
    threshold = given.get("thresholdConfiguration")
    if not threshold:
        return
    value = threshold["value"]
    if value < 1:
        raise invalid("The value of a circuit breaker's threshold must be 1 or more.")
    if threshold["type"] != "COUNT" and value > 100:
        raise invalid("The value of a circuit breaker's threshold in percent must be 100 or less.")


def _strategy(made: Params, daemon: bool) -> None:
    strategy = made["strategy"]
    if daemon and strategy != "ROLLING":
        raise invalid(f"The daemon scheduling strategy does not support the deployment strategy {strategy}.")
    if not 0 <= made["bakeTimeInMinutes"] <= LONGEST_BAKE:
        raise invalid(f"bakeTimeInMinutes must be between 0 and {LONGEST_BAKE}.")
    for key, belongs, part, least, most, pause in (
        ("linearConfiguration", "LINEAR", "stepPercent", 3.0, 100.0, "stepBakeTimeInMinutes"),
        ("canaryConfiguration", "CANARY", "canaryPercent", 0.1, 100.0, "canaryBakeTimeInMinutes"),
    ):
        given = made.get(key)
        if not given:
            continue
        if strategy != belongs:
            raise invalid(f"{key} can only be specified with the deployment strategy {belongs}.")
        if given.get(part) is not None and not least <= given[part] <= most:
            raise invalid(f"{part} must be between {least} and {most}.")
        if given.get(pause) is not None and not 0 <= given[pause] <= LONGEST_BAKE:
            raise invalid(f"{pause} must be between 0 and {LONGEST_BAKE}.")
    if made.get("earlySuccessCriteria", {}).get("enable"):
        raise client("The local cloud does not offer 'deploymentConfiguration.earlySuccessCriteria'.")
    for hook in made.get("lifecycleHooks") or []:
        _hook(hook, strategy)


def _hook(hook: Params, strategy: str) -> None:
    if strategy == "ROLLING":
        raise invalid("Lifecycle hooks are not supported with the deployment strategy ROLLING.")
    if hook.get("targetType") != "PAUSE":
        raise client(
            "The local cloud does not offer lifecycle hooks that call Lambda functions, only PAUSE hooks."
        )
    for stage in hook.get("lifecycleStages") or []:
        if stage not in PAUSES:
            raise invalid(f"A PAUSE hook is not supported at the lifecycle stage {stage}.")


def check_balancers(strategy: str, balancers: Sequence[Params]) -> None:
    """A service with a load balancer that shifts traffic must say between what."""
    for each in balancers:
        further = each.get("advancedConfiguration") or {}
        if strategy == "ROLLING":
            continue
        for key in ("alternateTargetGroupArn", "productionListenerRule", "roleArn"):
            if not further.get(key):
                raise invalid(
                    f"advancedConfiguration.{key} is required for the deployment strategy {strategy} when the "
                    "service has a load balancer."
                )
        if further["alternateTargetGroupArn"] == each["targetGroupArn"]:
            raise invalid("The alternate target group must be another one than the service's target group.")


def first_shift(
    made: Deployment, configuration: Params, balancers: Sequence[Params], previous: Shift | None, source: str
) -> Shift:
    """How a new deployment is to go about it. `previous` is the shift of the deployment before it."""
    strategy = Strategy(configuration.get("strategy") or "ROLLING")
    routes: list[Params] = []
    if strategy is not Strategy.ROLLING:
        taken = {} if previous is None else _carrying(previous, source)
        for each in balancers:
            further = each.get("advancedConfiguration") or {}
            pair = (each["targetGroupArn"], further.get("alternateTargetGroupArn", ""))
            before = taken.get(pair, pair[0]) if source else pair[1]
            own = pair[1] if before == pair[0] else pair[0]
            routes.append(
                {key: each[key] for key in ("targetGroupArn", "containerName", "containerPort")}
                | {
                    "own": own,
                    "other": pair[0] if own == pair[1] else pair[1],
                    "production": further.get("productionListenerRule") or "",
                    "test": further.get("testListenerRule") or "",
                }
            )
    return Shift(
        deployment=made.id,
        service=made.service,
        strategy=strategy,
        stage=LifecycleStage.PENDING,
        since=made.created_at,
        source=source if strategy is not Strategy.ROLLING else "",
        weight=0.0 if source and strategy is not Strategy.ROLLING else ALONE,
        routes=routes,
        configuration=dict(configuration),
    )


def _carrying(shift: Shift, source: str) -> dict[tuple[str, str], str]:
    """Which target group of each pair has the tasks of `source`."""
    found = {}
    for each in shift.routes:
        alternate = each["other"] if each["own"] == each["targetGroupArn"] else each["own"]
        found[each["targetGroupArn"], alternate] = each["own"] if source == shift.deployment else each["other"]
    return found
