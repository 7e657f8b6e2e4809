"""How the tasks of a call are to be launched: by launch type, by a strategy, or by the cluster's default strategy.

Reads records; asks EC2 for the zones of subnets before a transaction begins. Used by RunTask, CreateService and
UpdateService.
"""

from __future__ import annotations

from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs import errors, fargate, provider_records, store, strategies
from portside.cloud.services.ecs.records import Cluster

BOTH = "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."


def on_fargate(cluster: Cluster, params: Params) -> bool:
    """Does a call mean Fargate?"""
    return fargate.uses_fargate(_asked(cluster, params))


def _asked(cluster: Cluster, params: Params) -> Params:
    given, kind = params.get("capacityProviderStrategy"), params.get("launchType")
    strategy = strategies.normalised(given or [])
    if not given and not kind:
        strategy = list(cluster.spec.get("defaultCapacityProviderStrategy") or [])
    return {"capacityProviderStrategy": strategy} if strategy else {"launchType": kind or "EC2"}


def resolve(cluster: Cluster, params: Params, definition: Params) -> Params:
    """The part of a service's wish that says how its tasks are launched; InvalidParameterException if it cannot be
    done. `definition` is the spec of the task definition."""
    if params.get("capacityProviderStrategy") and params.get("launchType"):
        raise errors.invalid(BOTH)
    found = _asked(cluster, params)
    strategy = found.get("capacityProviderStrategy") or []
    problem = strategies.wrong(strategy, cluster.spec.get("capacityProviders") or ())
    if problem:
        raise errors.invalid(problem)
    if fargate.uses_fargate(found):
        fargate.check_call(params, definition)
        found["platformVersion"] = params.get("platformVersion") or "LATEST"
    else:
        if params.get("platformVersion"):
            raise errors.invalid("The platform version must be null when specifying an EC2 launch type.")
        if strategy and params.get("schedulingStrategy") == "DAEMON":
            raise errors.invalid("The daemon scheduling strategy does not support capacity provider strategies.")
    if params.get("networkConfiguration"):
        found["networkConfiguration"] = params["networkConfiguration"]
    return found


async def know_subnets(database: Database, calls: Calls, caller: Caller, params: Params) -> None:
    """Remember the zones of the subnets that a call names; InvalidParameterException if one does not exist."""
    awsvpc = (params.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    unknown = [each for each in awsvpc.get("subnets") or [] if not provider_records.zone_of_subnet(database, each)]
    if not unknown:
        return
    try:
        answer = await calls("ec2", "DescribeSubnets", {"SubnetIds": unknown}, caller)
    except AwsError as error:
        if error.status >= 500:
            raise
        raise errors.invalid(
            f"Error retrieving subnet information for [{', '.join(unknown)}]: {error.message} "
            f"(ErrorCode: {error.code})"
        ) from None
    with database.write() as tx:
        provider_records.save_zones(
            tx, [(each["SubnetId"], each["AvailabilityZone"]) for each in answer.get("Subnets") or []]
        )


def association(reader: store.Reader, caller: Caller, wanted: list[str], strategy: list[Params]) -> list[Params]:
    """The normalised default strategy of a cluster with these providers; refused if either cannot be."""
    for each in wanted:
        if each not in strategies.BUILT_IN and provider_records.named(reader, caller.region, each) is None:
            raise errors.invalid(
                f"The specified capacity provider '{each}' was not found. Specify a valid name or ARN and try "
                "again."
            )
    normal = strategies.normalised(strategy)
    problem = strategies.wrong(normal, wanted)
    if problem:
        raise errors.invalid(problem)
    return normal
