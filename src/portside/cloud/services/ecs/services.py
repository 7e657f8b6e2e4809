"""Services: the operations on them.

Each writes what is wanted and answers; `service_loop.py` brings it about.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.ecs import (
    configuration,
    definitions,
    deployment_alarms,
    errors,
    fargate,
    launching,
    names,
    networks,
    offered,
    placement,
    rebalancing,
    shift_records,
    store,
    views,
)
from portside.cloud.services.ecs.clusters import active_cluster
from portside.cloud.services.ecs.outside import Outside
from portside.cloud.services.ecs.pages import page
from portside.cloud.services.ecs.records import (
    Cluster,
    Definition,
    Deployment,
    DeploymentStatus,
    Rollout,
    Service,
    ServiceStatus,
)
from portside.cloud.services.ecs.wakes import Wakes

DESCRIBE_LIMIT = 10
LIST_PAGE = 10
# What is kept of a call as the user's own wish.
_WISHES = (
    "loadBalancers",
    "placementConstraints",
    "placementStrategy",
    "healthCheckGracePeriodSeconds",
    "schedulingStrategy",
    "enableECSManagedTags",
    "propagateTags",
    "enableExecuteCommand",
    "networkConfiguration",
    "serviceRegistries",
    "availabilityZoneRebalancing",
    "role",
)
# A change in one of these starts a new deployment; changes of the others take effect in place.
_DEPLOYED = (
    "loadBalancers",
    "propagateTags",
    "enableECSManagedTags",
    "networkConfiguration",
    "serviceRegistries",
    "enableExecuteCommand",
)


# How its tasks are launched: one value, in full, after every call.
_LAUNCH = ("launchType", "capacityProviderStrategy", "platformVersion", "networkConfiguration")


class ServiceApi:
    def __init__(
        self, database: Database, ids: Ids, clock: Clock, calls: Calls, wakes: Wakes, outside: Outside
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._wakes = wakes
        self._outside = outside

    @operation("CreateService")
    async def create_service(self, caller: Caller, params: Params) -> Params:
        name = params["serviceName"]
        if not names.NAME.fullmatch(name):
            raise errors.invalid(
                "Service name was of invalid length or contains unsupported characters. Up to 255 letters "
                "(uppercase and lowercase), numbers, hyphens, and underscores are allowed."
            )
        offered.check_call(params)
        if not params.get("taskDefinition"):
            raise errors.invalid("TaskDefinition cannot be blank.")
        daemon = params.get("schedulingStrategy") == "DAEMON"
        if daemon and params.get("desiredCount") is not None:
            raise errors.invalid("The daemon scheduling strategy does not support a desired count for services.")
        if daemon and params.get("placementStrategy"):
            raise errors.invalid("Placement strategies are not supported by the daemon scheduling strategy.")
        desired = 0 if daemon else params.get("desiredCount", 1)
        if desired < 0:
            raise errors.invalid("The desired count must not be negative.")
        _check_placement(params)
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        definition = definitions.usable(self._database, caller, params["taskDefinition"])
        offered.check_definition(definition.spec)
        networks.check(params, definition.spec)
        launch = launching.resolve(cluster, params, definition.spec)
        await launching.know_subnets(self._database, self._calls, caller, params)
        self._check_names(params)
        await self._check_balancers(caller, params.get("loadBalancers") or [], definition)
        configured = configuration.completed(params.get("deploymentConfiguration"), {}, daemon)
        configuration.check_balancers(configured["strategy"], params.get("loadBalancers") or [])
        await self._check_alarms(caller, configured)
        spec = {key: params[key] for key in _WISHES if params.get(key) is not None} | launch
        spec["deploymentConfiguration"] = configured
        _rebalanced(spec, params)
        arn = names.service_arn(caller, cluster.name, name)
        with self._database.write() as tx:
            active_cluster(tx, caller, cluster.name)
            present = store.services.get(tx, arn)
            if present is not None and present.status is ServiceStatus.ACTIVE:
                raise errors.invalid("Creation of service was not idempotent.")
            if present is not None and present.status is ServiceStatus.DRAINING:
                raise errors.invalid("Unable to Start a service that is still Draining.")
            store.forget_service(tx, arn)
            service = Service(
                arn=arn,
                region=caller.region,
                cluster=cluster.name,
                name=name,
                status=ServiceStatus.ACTIVE,
                desired=desired,
                definition=definition.arn,
                created_at=self._clock.now(),
                created_by=caller.arn,
                spec=spec,
            )
            store.services.save(tx, service)
            store.set_tags(tx, arn, params.get("tags") or [])
            self._deploy(tx, service)
        return {"service": views.service(self._database, service, ("TAGS",))}

    @operation("UpdateService")
    async def update_service(self, caller: Caller, params: Params) -> Params:
        offered.check_call(params)
        _check_placement(params)
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        arn = names.service_arn(caller, cluster.name, params["service"])
        service = self._updatable(store.services.get(self._database, arn))
        reference = params.get("taskDefinition")
        if reference:
            definition = definitions.usable(self._database, caller, reference)
        else:
            found = store.definitions.get(self._database, service.definition)
            assert found is not None
            definition = found
        await launching.know_subnets(self._database, self._calls, caller, params)
        if reference or params.get("forceNewDeployment"):
            offered.check_definition(definition.spec)
        launch = _relaunched(cluster, service, params, definition)
        networks.check(service.spec | {k: v for k, v in params.items() if v is not None}, definition.spec)
        self._check_names(params)
        balancers = params.get("loadBalancers")
        if balancers is None:
            balancers = service.spec.get("loadBalancers") or []
        # The target groups are looked at only when they are new; containers and ports whenever they may differ.
        known = [] if params.get("loadBalancers") is not None else balancers
        await self._check_balancers(caller, balancers, definition, known)
        if params.get("deploymentConfiguration") is not None or params.get("loadBalancers") is not None:
            configured = configuration.completed(
                params.get("deploymentConfiguration"),
                service.spec["deploymentConfiguration"],
                service.spec.get("schedulingStrategy") == "DAEMON",
            )
            configuration.check_balancers(configured["strategy"], balancers)
            await self._check_alarms(caller, configured)
        if params.get("desiredCount") is not None and params["desiredCount"] < 0:
            raise errors.invalid("The desired count must not be negative.")
        with self._database.write() as tx:
            service = self._updatable(store.services.get(tx, arn))
            before = service
            changed = {key: params[key] for key in _WISHES if params.get(key) is not None}
            kept = {key: value for key, value in service.spec.items() if key not in _LAUNCH}
            spec = kept | changed | launch
            daemon = spec.get("schedulingStrategy") == "DAEMON"
            if params.get("deploymentConfiguration") is not None:
                spec["deploymentConfiguration"] = configuration.completed(
                    params["deploymentConfiguration"], service.spec["deploymentConfiguration"], daemon
                )
            if params.get("availabilityZoneRebalancing") == "ENABLED" and rebalancing.possible(spec):
                raise errors.invalid(rebalancing.possible(spec))
            desired = service.desired
            if params.get("desiredCount") is not None and not daemon:
                desired = params["desiredCount"]
            service = replace(service, definition=definition.arn, desired=desired, spec=spec)
            redeploy = (
                bool(params.get("forceNewDeployment"))
                or service.definition != before.definition
                or any(spec.get(key) != before.spec.get(key) for key in (*_DEPLOYED, *_LAUNCH))
            )
            store.services.save(tx, service)
            if redeploy:
                self._deploy(tx, service)
            else:
                self._rescale(tx, service)
        return {"service": views.service(self._database, service, ("TAGS",))}

    @operation("DeleteService")
    def delete_service(self, caller: Caller, params: Params) -> Params:
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        arn = names.service_arn(caller, cluster.name, params["service"])
        with self._database.write() as tx:
            service = store.services.get(tx, arn)
            if service is None:
                raise errors.service_not_found()
            if service.status is ServiceStatus.INACTIVE:
                raise errors.service_not_active()
            daemon = service.spec.get("schedulingStrategy") == "DAEMON"
            if service.desired > 0 and not daemon and not params.get("force"):
                raise errors.invalid("The service cannot be stopped while it is scaled above 0.")
            service = replace(service, status=ServiceStatus.DRAINING, desired=0)
            store.services.save(tx, service)
            tx.after_commit(lambda: self._wakes.service(arn))
        return {"service": views.service(self._database, service)}

    @operation("DescribeServices")
    def describe_services(self, caller: Caller, params: Params) -> Params:
        asked = params["services"]
        if not asked:
            raise errors.invalid("Services cannot be empty.")
        if len(asked) > DESCRIBE_LIMIT:
            raise errors.invalid(f"Services cannot have more than {DESCRIBE_LIMIT} items.")
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        found, failures = [], []
        for reference in asked:
            arn = names.service_arn(caller, cluster.name, reference)
            service = store.services.get(self._database, arn)
            if service is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(views.service(self._database, service, params.get("include") or ()))
        return {"services": found, "failures": failures}

    @operation("ListServices")
    def list_services(self, caller: Caller, params: Params) -> Params:
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        found = store.services_of(self._database, caller.region, cluster.name)
        strategy = params.get("schedulingStrategy")
        if strategy:
            found = [each for each in found if (each.spec.get("schedulingStrategy") or "REPLICA") == strategy]
        kind = params.get("launchType")
        if kind:
            found = [each for each in found if _launch_type(each) == kind]
        arns, token = page([each.arn for each in found], params, LIST_PAGE)
        return {"serviceArns": arns, "nextToken": token}

    # Rules

    def _updatable(self, service: Service | None) -> Service:
        if service is None:
            raise errors.service_not_found()
        if service.status is not ServiceStatus.ACTIVE:
            raise errors.service_not_active()
        return service

    async def _check_balancers(
        self, caller: Caller, balancers: list[Params], definition: Definition, known: list[Params] | None = None
    ) -> None:
        if len(balancers) > 5:
            raise errors.invalid("load balancers can have at most 5 items.")
        containers = {each["name"]: each for each in definition.spec["containerDefinitions"]}
        for balancer in balancers:
            group = balancer.get("targetGroupArn")
            if not group:
                raise errors.invalid("A load balancer of a service needs a targetGroupArn.")
            container = containers.get(balancer.get("containerName") or "")
            if container is None:
                raise errors.invalid(
                    f"The container {balancer.get('containerName')} does not exist in the task definition."
                )
            ports = [mapping["containerPort"] for mapping in container["portMappings"]]
            if balancer.get("containerPort") not in ports:
                raise errors.invalid(
                    f"The container {balancer['containerName']} did not have a container port "
                    f"{balancer.get('containerPort')} defined."
                )
            if balancer not in (known or []):
                await self._check_group(caller, group, definition)
                alternate = (balancer.get("advancedConfiguration") or {}).get("alternateTargetGroupArn")
                if alternate:
                    await self._check_group(caller, alternate, definition, attached=False)

    def _check_names(self, params: Params) -> None:
        why = self._outside.why_no_names() if params.get("serviceRegistries") else ""
        if why:
            raise errors.client(f"The local cloud does not offer 'serviceRegistries' here: {why}.")

    async def _check_alarms(self, caller: Caller, configured: Params) -> None:
        names_ = deployment_alarms.watched(configured)
        if not names_:
            return
        found = await deployment_alarms.look(self._calls, caller, names_)
        missing = [each for each in names_ if each not in found]
        if missing:
            raise errors.invalid(f"The following alarms were not found: {', '.join(missing)}.")

    async def _check_group(
        self, caller: Caller, group: str, definition: Definition, *, attached: bool = True
    ) -> None:
        try:
            answer = await self._calls("elbv2", "DescribeTargetGroups", {"TargetGroupArns": [group]}, caller)
        except AwsError as error:
            if error.status >= 500:
                raise
            raise errors.invalid("The specified target group does not exist.") from None
        found = (answer.get("TargetGroups") or [{}])[0]
        if attached and not found.get("LoadBalancerArns"):
            raise errors.invalid(
                f"The target group with targetGroupArn {group} does not have an associated load balancer."
            )
        kind = found.get("TargetType", "instance")
        if kind != networks.target_type(definition.spec):
            mode = definition.spec.get("networkMode") or "bridge"
            raise errors.invalid(
                f"The provided target group {group} has target type {kind}, which is incompatible "
                f"with the {mode} network mode specified in the task definition."
            )

    # Deployments

    def _deploy(self, tx: Transaction, service: Service) -> None:
        """A new PRIMARY deployment; the former one becomes ACTIVE."""
        now = self._clock.now()
        previous = ""
        for each in store.current_deployments(tx, service.arn):
            if each.status is DeploymentStatus.PRIMARY:
                previous = each.id
                store.deployments.save(tx, replace(each, status=DeploymentStatus.ACTIVE, updated_at=now))
        number = f"ecs-svc/{self._ids.digits(19)}"
        made = Deployment(
            id=number,
            service=service.arn,
            status=DeploymentStatus.PRIMARY,
            definition=service.definition,
            desired=service.desired,
            rollout=Rollout.IN_PROGRESS,
            reason=f"ECS deployment {number} in progress.",
            created_at=now,
            updated_at=now,
            public_id=self._ids.alnum(21),
            previous=previous,
            spec={key: service.spec[key] for key in _DEPLOYED if key in service.spec},
        )
        store.deployments.save(tx, made)
        before = shift_records.of(tx, previous) if previous else None
        # One that is overtaken while the traffic is still where it was leaves it there.
        source = before.source if before is not None and before.under_way and before.weight < 100 else previous
        balancers = service.spec.get("loadBalancers") or []
        shift = configuration.first_shift(
            made, service.spec["deploymentConfiguration"], balancers, before, source or previous
        )
        shift_records.table.save(tx, shift)
        store.services.save(tx, replace(service, steady_at=None))
        tx.after_commit(lambda: self._wakes.service(service.arn))

    def _rescale(self, tx: Transaction, service: Service) -> None:
        for each in store.current_deployments(tx, service.arn):
            if each.status is DeploymentStatus.PRIMARY and each.desired != service.desired:
                after = replace(each, desired=service.desired, updated_at=self._clock.now())
                store.deployments.save(tx, after)
        tx.after_commit(lambda: self._wakes.service(service.arn))


def _launch_type(service: Service) -> str:
    if service.spec.get("capacityProviderStrategy"):
        return "FARGATE" if fargate.uses_fargate(service.spec) else "EC2"
    return str(service.spec.get("launchType") or "EC2")


def _relaunched(cluster: Cluster, service: Service, params: Params, definition: Definition) -> Params:
    """How the tasks are launched after an update: as before where the call says nothing."""
    asked = {key: service.spec[key] for key in _LAUNCH if key in service.spec}
    asked |= {key: params[key] for key in _LAUNCH if params.get(key) is not None}
    if params.get("capacityProviderStrategy"):
        asked.pop("launchType", None)
    elif params.get("capacityProviderStrategy") == []:
        # Back to a launch type, which for this service cannot have been another one than its providers'.
        asked["launchType"] = _launch_type(service)
    if not params.get("platformVersion") and not fargate.uses_fargate(asked):
        asked.pop("platformVersion", None)
    kept = {
        key: service.spec[key]
        for key in ("placementConstraints", "placementStrategy", "schedulingStrategy")
        if key in service.spec
    }
    return launching.resolve(cluster, kept | params | asked, definition.spec)


def _rebalanced(spec: Params, params: Params) -> None:
    """Rebalancing is on for new services that it is possible for, if they do not say otherwise."""
    why = rebalancing.possible(spec)
    wanted = params.get("availabilityZoneRebalancing")
    if wanted == "ENABLED" and why:
        raise errors.invalid(why)
    spec["availabilityZoneRebalancing"] = wanted or ("DISABLED" if why else "ENABLED")


def _check_placement(params: Params) -> None:
    wrong = placement.check_constraints(
        params.get("placementConstraints") or [], params.get("placementStrategy") or []
    )
    if wrong:
        raise errors.invalid(wrong)
