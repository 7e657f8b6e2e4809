"""Service deployments and revisions: the newer view of what `deployments` of a service shows.

A service deployment here is a deployment that somebody asked for; the one that the circuit breaker
makes to undo it is part of it, as its rollback. A service revision is what a deployment runs, images by digest
included.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecs import errors, names, rollout, shift_records, shifts, store, views
from portside.cloud.services.ecs.clusters import active_cluster
from portside.cloud.services.ecs.pages import page
from portside.cloud.services.ecs.records import Deployment, DeploymentStatus, Rollout, Service
from portside.cloud.services.ecs.rollout import breaker_of
from portside.cloud.services.ecs.shift_records import LifecycleStage, Shift
from portside.cloud.services.ecs.wakes import Wakes

MOST = 20
_ROLLBACK = {
    Rollout.IN_PROGRESS: "ROLLBACK_IN_PROGRESS",
    Rollout.COMPLETED: "ROLLBACK_SUCCESSFUL",
    Rollout.FAILED: "ROLLBACK_FAILED",
}


class DeploymentApi:
    def __init__(self, database: Database, clock: Clock, wakes: Wakes) -> None:
        self._database = database
        self._clock = clock
        self._wakes = wakes

    @operation("ListServiceDeployments")
    def list_service_deployments(self, caller: Caller, params: Params) -> Params:
        reference = params["service"]
        cluster = params.get("cluster")
        if reference.startswith("arn:") and reference.count("/") == 2:
            cluster = reference.split("/")[1]
        arn = names.service_arn(caller, active_cluster(self._database, caller, cluster).name, reference)
        service = store.services.get(self._database, arn)
        if service is None:
            raise errors.service_not_found()
        made = params.get("createdAt") or {}
        after, before = made.get("after"), made.get("before")
        wanted = params.get("status") or ()
        found = {}
        for each in self._asked_for(service):
            shown = self._brief(service, each)
            if wanted and shown["status"] not in wanted:
                continue
            if (after is None or each.created_at > after) and (before is None or each.created_at < before):
                found[shown["serviceDeploymentArn"]] = shown
        arns, token = page(list(found), params)
        return {"serviceDeployments": [found[each] for each in arns], "nextToken": token}

    @operation("DescribeServiceDeployments")
    def describe_service_deployments(self, caller: Caller, params: Params) -> Params:
        found, failures = [], []
        for arn in _limited(params["serviceDeploymentArns"]):
            pair = self._find(arn, "service-deployment")
            if pair is None or pair[1].rollback_of:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(self._full(*pair))
        return {"serviceDeployments": found, "failures": failures}

    @operation("DescribeServiceRevisions")
    def describe_service_revisions(self, caller: Caller, params: Params) -> Params:
        found, failures = [], []
        for arn in _limited(params["serviceRevisionArns"]):
            pair = self._find(arn, "service-revision")
            if pair is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(self._revision(*pair))
        return {"serviceRevisions": found, "failures": failures}

    # Stopping and going on

    @operation("StopServiceDeployment")
    def stop_service_deployment(self, caller: Caller, params: Params) -> Params:
        arn = params["serviceDeploymentArn"]
        with self._database.write() as tx:
            service, each, shift = self._in_progress(arn)
            stop = params.get("stopType") or "ROLLBACK"
            if stop == "ROLLBACK" and not each.previous:
                raise errors.invalid("The deployment cannot be rolled back: there is none to go back to.")
            if shift.stop and shift.stop != stop:
                raise AwsError("ConflictException", "Another stop of this deployment has been requested already.")
            shift_records.table.save(tx, replace(shift, stop=stop, stop_at=self._clock.now()))
            tx.after_commit(lambda: self._wakes.service(service.arn))
        return {"serviceDeploymentArn": arn}

    @operation("ContinueServiceDeployment")
    def continue_service_deployment(self, caller: Caller, params: Params) -> Params:
        arn = params["serviceDeploymentArn"]
        with self._database.write() as tx:
            service, _, shift = self._in_progress(arn)
            hook = next((e for e in shift.hooks if e["hookId"] == params["hookId"]), None)
            if hook is None:
                raise errors.invalid(f"The deployment has no lifecycle hook {params['hookId']}.")
            if hook["status"] != "AWAITING_ACTION":
                raise errors.invalid(
                    f"The lifecycle hook {params['hookId']} does not wait for an action any more."
                )
            status = "FAILED" if params.get("action") == "ROLLBACK" else "SUCCEEDED"
            hooks = [e | {"status": status} if e is hook else e for e in shift.hooks]
            shift_records.table.save(tx, replace(shift, hooks=hooks))
            tx.after_commit(lambda: self._wakes.service(service.arn))
        return {"serviceDeploymentArn": arn}

    def _in_progress(self, arn: str) -> tuple[Service, Deployment, Shift]:
        pair = self._find(arn, "service-deployment")
        shift = shift_records.of(self._database, pair[1].id) if pair is not None else None
        if pair is None or shift is None or pair[1].rollback_of:
            raise AwsError("ServiceDeploymentNotFoundException", "The service deployment was not found.")
        if pair[1].status is not DeploymentStatus.PRIMARY or pair[1].rollout is not Rollout.IN_PROGRESS:
            raise errors.invalid("The service deployment is not in progress.")
        return *pair, shift

    # Looking things up

    def _asked_for(self, service: Service) -> list[Deployment]:
        """Newest first."""
        return store.deployments.where(
            self._database,
            "service = ? AND rollback_of = '' ORDER BY created_at DESC, rowid DESC",
            service.arn,
        )

    def _find(self, arn: str, kind: str) -> tuple[Service, Deployment] | None:
        parts = arn.split("/")
        if names.kind_of(arn) != kind or len(parts) != 4:
            return None
        service = store.services.get(self._database, names.sibling(arn, "service", f"{parts[1]}/{parts[2]}"))
        found = store.deployments.where(self._database, "public_id = ?", parts[3])
        if service is None or not found or found[0].service != service.arn:
            return None
        return service, found[0]

    def _rollback(self, each: Deployment) -> Deployment | None:
        found = store.deployments.where(self._database, "rollback_of = ?", each.id)
        return found[0] if found else None

    # How it is shown

    def _brief(self, service: Service, each: Deployment) -> Params:
        rollback = self._rollback(each)
        last = rollback or each
        shift = shift_records.of(self._database, each.id)
        if rollback is not None:
            status = _ROLLBACK[rollback.rollout]
        elif each.rollout is Rollout.COMPLETED:
            status = "SUCCESSFUL"
        elif each.rollout is Rollout.FAILED or each.status is not DeploymentStatus.PRIMARY:
            status = "STOPPED"  # given up, or overtaken by the next one
        elif shift is not None and shift.stop:
            status = "ROLLBACK_REQUESTED" if shift.stop == "ROLLBACK" else "STOP_REQUESTED"
        elif shift is not None and shift.stage is LifecycleStage.PENDING:
            status = "PENDING"
        else:
            status = "IN_PROGRESS"
        return {
            "serviceDeploymentArn": _arn(service, "service-deployment", each),
            "serviceArn": service.arn,
            "clusterArn": names.sibling(service.arn, "cluster", service.cluster),
            "createdAt": each.created_at,
            "startedAt": each.created_at if shift is None else shift.started_at,
            "finishedAt": last.finished_at,
            "targetServiceRevisionArn": _arn(service, "service-revision", each),
            "status": status,
            "statusReason": each.reason if each.rollout is Rollout.FAILED else None,
        }

    def _configuration(self, service: Service, each: Deployment) -> Params | None:
        """What held when the deployment began."""
        shift = shift_records.of(self._database, each.id)
        found: Params | None = service.spec.get("deploymentConfiguration")
        return shift.configuration if shift is not None else found

    def _shift(self, shift: Shift, each: Deployment, shown: Params) -> Params:
        """Stage, hooks, alarms and shares of the traffic."""
        ended = each.rollout is not Rollout.IN_PROGRESS
        alarms = shift.configuration.get("alarms") or {}
        watching = "MONITORING_COMPLETE" if ended else "MONITORING"
        found: Params = {
            "alarms": {
                "status": ("TRIGGERED" if shift.triggered else watching) if alarms.get("enable") else "DISABLED",
                "alarmNames": alarms.get("alarmNames") or [],
                "triggeredAlarmNames": shift.triggered,
            }
        }
        if not shift.in_steps:
            return found
        if shift.stage is not LifecycleStage.PENDING:
            found["lifecycleStage"] = shifts.SHOWN.get(shift.stage, shift.stage)
        found["lifecycleHookDetails"] = [
            {key: hook[key] for key in ("hookId", "targetType", "status", "expiresAt", "timeoutAction")}
            for hook in shift.hooks
        ]
        share = max(0.0, shift.weight)
        target, sources = shown["targetServiceRevision"], shown["sourceServiceRevisions"]
        found["targetServiceRevision"] = target | {
            "requestedProductionTrafficWeight": share,
            "requestedTestTrafficWeight": 100.0 if shift.test else 0.0,
        }
        found["sourceServiceRevisions"] = [
            source
            | {
                "requestedProductionTrafficWeight": 100.0 - share,
                "requestedTestTrafficWeight": 0.0 if shift.test else 100.0,
            }
            for source in sources
        ]
        return found

    def _full(self, service: Service, each: Deployment) -> Params:
        rollback = self._rollback(each)
        shown = self._brief(service, each)
        previous = store.deployments.get(self._database, each.previous) if each.previous else None
        breaker = breaker_of(service)
        watching = "MONITORING" if shown["status"] == "IN_PROGRESS" else "MONITORING_COMPLETE"
        if each.rollout is Rollout.FAILED and each.reason == rollout.TASKS_FAILED:
            watching = "TRIGGERED"
        shown |= {
            "updatedAt": each.updated_at,
            "sourceServiceRevisions": [] if previous is None else [self._summary(service, previous)],
            "targetServiceRevision": self._summary(service, each),
            "deploymentConfiguration": self._configuration(service, each),
            "deploymentCircuitBreaker": {
                "status": watching if breaker.enabled else "DISABLED",
                "failureCount": each.failed,
                "threshold": rollout.threshold(service.desired, breaker),
            },
        }
        shift = shift_records.of(self._database, each.id)
        if shift is not None:
            shown |= self._shift(shift, each, shown)
        if rollback is not None:
            shown["rollback"] = {
                "reason": rollback.reason if rollback.rollout is Rollout.IN_PROGRESS else each.reason,
                "startedAt": rollback.created_at,
                "serviceRevisionArn": _arn(service, "service-revision", rollback),
            }
        return shown

    def _summary(self, service: Service, each: Deployment) -> Params:
        tasks = [
            task for task in store.live_tasks_of_service(self._database, service.arn) if task.deployment == each.id
        ]
        return {
            "arn": _arn(service, "service-revision", each),
            "requestedTaskCount": each.desired if each.status is not DeploymentStatus.INACTIVE else 0,
            "runningTaskCount": views.running(tasks),
            "pendingTaskCount": views.pending(tasks),
        }

    def _revision(self, service: Service, each: Deployment) -> Params:
        definition = store.definitions.get(self._database, each.definition)
        containers = definition.spec["containerDefinitions"] if definition is not None else []
        images = []
        for container in containers:
            pin = each.images.get(container["name"], "")
            digest = pin.rpartition("@")[2] if "@" in pin else None
            images.append({"containerName": container["name"], "image": container["image"], "imageDigest": digest})
        return {
            "serviceRevisionArn": _arn(service, "service-revision", each),
            "serviceArn": service.arn,
            "clusterArn": names.sibling(service.arn, "cluster", service.cluster),
            "taskDefinition": each.definition,
            **views.launch(service.spec | each.spec, resolved=True),
            "loadBalancers": each.spec.get("loadBalancers") or [],
            "containerImages": images,
            "createdAt": each.created_at,
        }


def _limited(arns: list[str]) -> list[str]:
    if not 1 <= len(arns) <= MOST:
        raise errors.invalid(f"1 to {MOST} ARNs can be described at once.")
    return arns


def _arn(service: Service, kind: str, each: Deployment) -> str:
    return names.sibling(service.arn, kind, f"{service.cluster}/{service.name}/{each.public_id}")
