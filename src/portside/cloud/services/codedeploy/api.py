"""CodeDeploy: applications, deployment groups and deployment configurations, which templates make.

They are kept and shown. Nothing is deployed by them: deployments are refused by name, as are all operations that
are not here. What ECS deploys with blue and green, it does by the deployment strategies of its services.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.calls import Caller, Params, Service, operation, operations_of
from portside.cloud.services.codedeploy import records
from portside.cloud.services.codedeploy.records import DEFAULTS, PREDEFINED, Item, Kind

_NOUNS = {
    Kind.APPLICATION: ("Application", "application"),
    Kind.GROUP: ("DeploymentGroup", "Deployment Group"),
    Kind.CONFIG: ("DeploymentConfig", "deployment configuration"),
}
_NOT_SPEC = ("tags", "applicationName", "currentDeploymentGroupName", "newDeploymentGroupName")


class CodeDeployApi:
    def __init__(self, *, database: Database, ids: Ids, clock: Clock, log: Log) -> None:
        database.migrate("codedeploy", records.MIGRATIONS)
        self._db = database
        self._ids = ids
        self._clock = clock

    def service(self) -> Service:
        return Service("codedeploy", operations_of(self), _invalid)

    # Applications

    @operation("CreateApplication")
    def create_application(self, caller: Caller, params: Params) -> Params:
        platform = params.get("computePlatform") or "Server"
        made = self._ids.uuid()
        spec = {
            "applicationId": made,
            "applicationName": params["applicationName"],
            "computePlatform": platform,
            "createTime": self._clock.now(),
            "linkedToGitHub": False,
        }
        self._make(Item(caller.region, Kind.APPLICATION, "", params["applicationName"], spec, _tags(params)))
        return {"applicationId": made}

    @operation("GetApplication")
    def get_application(self, caller: Caller, params: Params) -> Params:
        return {"application": self._found(caller, Kind.APPLICATION, params["applicationName"]).spec}

    @operation("BatchGetApplications")
    def batch_get_applications(self, caller: Caller, params: Params) -> Params:
        found = [self._found(caller, Kind.APPLICATION, each).spec for each in params["applicationNames"]]
        return {"applicationsInfo": found}

    @operation("ListApplications")
    def list_applications(self, caller: Caller, params: Params) -> Params:
        return {"applications": [each.name for each in records.items(self._db, caller.region, Kind.APPLICATION)]}

    @operation("UpdateApplication")
    def update_application(self, caller: Caller, params: Params) -> Params:
        name, new = params.get("applicationName", ""), params.get("newApplicationName")
        before = self._found(caller, Kind.APPLICATION, name)
        if not new or new == name:
            return {}
        groups = records.items(self._db, caller.region, Kind.GROUP, name)
        spec = before.spec | {"applicationName": new}

        def renamed(tx: Any) -> None:
            records.forget(tx, before)
            for each in groups:
                records.forget(tx, each)
                records.save(tx, replace(each, application=new, spec=each.spec | {"applicationName": new}))

        self._make(replace(before, name=new, spec=spec), renamed)
        return {}

    @operation("DeleteApplication")
    def delete_application(self, caller: Caller, params: Params) -> Params:
        # One that is not there is no error on AWS either.
        found = records.one(self._db, caller.region, Kind.APPLICATION, params["applicationName"])
        with self._db.write() as tx:
            for each in records.items(tx, caller.region, Kind.GROUP, params["applicationName"]):
                records.forget(tx, each)
            if found is not None:
                records.forget(tx, found)
        return {}

    # Deployment groups

    @operation("CreateDeploymentGroup")
    def create_deployment_group(self, caller: Caller, params: Params) -> Params:
        application = self._found(caller, Kind.APPLICATION, params["applicationName"])
        platform = application.spec["computePlatform"]
        made = self._ids.uuid()
        shown = {
            "applicationName": application.name,
            "computePlatform": platform,
            "deploymentGroupId": made,
            "deploymentConfigName": DEFAULTS[platform],
            "deploymentStyle": {"deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL"},
            "outdatedInstancesStrategy": "UPDATE",
            "terminationHookEnabled": False,
        }
        item = Item(
            caller.region,
            Kind.GROUP,
            application.name,
            params["deploymentGroupName"],
            shown | _given(params),
            _tags(params),
        )
        self._check_group(caller, item)
        self._make(item)
        return {"deploymentGroupId": made}

    @operation("UpdateDeploymentGroup")
    def update_deployment_group(self, caller: Caller, params: Params) -> Params:
        application = params["applicationName"]
        self._found(caller, Kind.APPLICATION, application)
        before = self._found(caller, Kind.GROUP, params["currentDeploymentGroupName"], application)
        name = params.get("newDeploymentGroupName") or before.name
        after = replace(before, name=name, spec=before.spec | _given(params) | {"deploymentGroupName": name})
        self._check_group(caller, after)
        if name == before.name:
            with self._db.write() as tx:
                records.save(tx, after)
        else:
            self._make(after, lambda tx: records.forget(tx, before))
        return {"hooksNotCleanedUp": []}

    def _check_group(self, caller: Caller, item: Item) -> None:
        config = item.spec["deploymentConfigName"]
        platform = item.spec["computePlatform"]
        found = PREDEFINED.get(config) or self._found(caller, Kind.CONFIG, config).spec
        if found.get("computePlatform", "Server") != platform:
            raise AwsError(
                "InvalidDeploymentConfigNameException",
                f"The deployment configuration {config} is not for the compute platform {platform}.",
            )
        style = item.spec["deploymentStyle"]
        ready = ("BLUE_GREEN", "WITH_TRAFFIC_CONTROL")
        if platform == "ECS" and (style.get("deploymentType"), style.get("deploymentOption")) != ready:
            raise AwsError(
                "InvalidDeploymentStyleException",
                "Invalid deployment style: For ECS deployment group, the deployment type must be BLUE_GREEN and "
                "the deployment option WITH_TRAFFIC_CONTROL",
            )
        if platform != "ECS" and item.spec.get("ecsServices"):
            raise AwsError(
                "InvalidECSServiceException", "ECS services are for applications of the compute platform ECS."
            )

    @operation("GetDeploymentGroup")
    def get_deployment_group(self, caller: Caller, params: Params) -> Params:
        application = self._found(caller, Kind.APPLICATION, params["applicationName"])
        found = self._found(caller, Kind.GROUP, params["deploymentGroupName"], application.name)
        return {"deploymentGroupInfo": found.spec}

    @operation("BatchGetDeploymentGroups")
    def batch_get_deployment_groups(self, caller: Caller, params: Params) -> Params:
        application = self._found(caller, Kind.APPLICATION, params["applicationName"]).name
        names = params["deploymentGroupNames"]
        return {
            "deploymentGroupsInfo": [self._found(caller, Kind.GROUP, each, application).spec for each in names],
            "errorMessage": "",
        }

    @operation("ListDeploymentGroups")
    def list_deployment_groups(self, caller: Caller, params: Params) -> Params:
        application = self._found(caller, Kind.APPLICATION, params["applicationName"]).name
        found = records.items(self._db, caller.region, Kind.GROUP, application)
        return {"applicationName": application, "deploymentGroups": [each.name for each in found]}

    @operation("DeleteDeploymentGroup")
    def delete_deployment_group(self, caller: Caller, params: Params) -> Params:
        name, application = params["deploymentGroupName"], params["applicationName"]
        found = records.one(self._db, caller.region, Kind.GROUP, name, application)
        if found is not None:
            with self._db.write() as tx:
                records.forget(tx, found)
        return {"hooksNotCleanedUp": []}

    # Deployment configurations

    @operation("CreateDeploymentConfig")
    def create_deployment_config(self, caller: Caller, params: Params) -> Params:
        name = params["deploymentConfigName"]
        if name.startswith("CodeDeployDefault"):
            raise AwsError("InvalidDeploymentConfigNameException", "The prefix CodeDeployDefault is reserved.")
        made = self._ids.uuid()
        spec = {
            "deploymentConfigId": made,
            "createTime": self._clock.now(),
            "computePlatform": "Server",
        } | _given(params)
        if spec["computePlatform"] == "Server" and not spec.get("minimumHealthyHosts"):
            raise AwsError("InvalidMinimumHealthyHostValueException", "Minimum healthy hosts must be given.")
        self._make(Item(caller.region, Kind.CONFIG, "", name, spec))
        return {"deploymentConfigId": made}

    @operation("GetDeploymentConfig")
    def get_deployment_config(self, caller: Caller, params: Params) -> Params:
        name = params["deploymentConfigName"]
        if name in PREDEFINED:
            return {"deploymentConfigInfo": {"deploymentConfigName": name} | PREDEFINED[name]}
        return {"deploymentConfigInfo": self._found(caller, Kind.CONFIG, name).spec}

    @operation("ListDeploymentConfigs")
    def list_deployment_configs(self, caller: Caller, params: Params) -> Params:
        own = [each.name for each in records.items(self._db, caller.region, Kind.CONFIG)]
        return {"deploymentConfigsList": [*PREDEFINED, *own]}

    @operation("DeleteDeploymentConfig")
    def delete_deployment_config(self, caller: Caller, params: Params) -> Params:
        name = params["deploymentConfigName"]
        if name in PREDEFINED:
            raise AwsError("InvalidOperationException", "A predefined deployment configuration cannot be deleted.")
        for application in records.items(self._db, caller.region, Kind.APPLICATION):
            for each in records.items(self._db, caller.region, Kind.GROUP, application.name):
                if each.spec["deploymentConfigName"] == name:
                    raise AwsError(
                        "DeploymentConfigInUseException",
                        f"The deployment configuration {name} is in use by the deployment group {each.name}.",
                    )
        found = records.one(self._db, caller.region, Kind.CONFIG, name)
        if found is not None:
            with self._db.write() as tx:
                records.forget(tx, found)
        return {}

    # Tags

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        tags = self._named(caller, params["ResourceArn"]).tags
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._named(caller, params["ResourceArn"])
        self._retag(replace(found, tags=found.tags | {e["Key"]: e.get("Value", "") for e in params["Tags"]}))
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        found = self._named(caller, params["ResourceArn"])
        self._retag(replace(found, tags={k: v for k, v in found.tags.items() if k not in params["TagKeys"]}))
        return {}

    def _retag(self, item: Item) -> None:
        with self._db.write() as tx:
            records.save(tx, item)

    def _named(self, caller: Caller, arn: str) -> Item:
        parts = arn.split(":", 6)
        if len(parts) != 7 or parts[2] != "codedeploy" or parts[5] not in list(Kind):
            raise AwsError("InvalidArnException", "The specified ARN is not in a valid format.")
        application, _, group = parts[6].partition("/")
        if group:
            return self._found(caller, Kind.GROUP, group, application)
        return self._found(caller, Kind(parts[5]), application)

    # What all have in common

    def _make(self, item: Item, also: Callable[[Any], None] | None = None) -> None:
        shown, _ = _NOUNS[item.kind]
        with self._db.write() as tx:
            if records.one(tx, item.region, item.kind, item.name, item.application) is not None:
                raise AwsError(f"{shown}AlreadyExistsException", f"{shown} already exists: {item.name}")
            if also is not None:
                also(tx)
            records.save(tx, item)

    def _found(self, caller: Caller, kind: Kind, name: str, application: str = "") -> Item:
        shown, noun = _NOUNS[kind]
        found = records.one(self._db, caller.region, kind, name, application)
        if found is None:
            raise AwsError(f"{shown}DoesNotExistException", f"No {noun} found for name: {name}")
        return found


def _given(params: Params) -> Params:
    """What is kept of a request, as it was given."""
    return {key: value for key, value in params.items() if key not in _NOT_SPEC}


def _tags(params: Params) -> dict[str, str]:
    return {each["Key"]: each.get("Value", "") for each in params.get("tags") or ()}


def _invalid(found: list[Violation]) -> AwsError:
    return AwsError("ValidationException", describe(found))
