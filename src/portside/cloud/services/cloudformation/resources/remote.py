"""Types of services that lie far from this system: API Gateway, AWS Batch, Redshift and more.

All are kept and shown by the ancillary services and do nothing here: no request is routed and no job runs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.kernel.record import replace
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.declared import Call, Declared, Listing, Tagging
from portside.cloud.services.cloudformation.resources.handler import Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle, Suffix
from portside.cloud.services.cloudformation.resources.shapes import request, text

_LOWER = NameStyle(suffix=Suffix.LOWER, limit=63, lower=True)


class RestApi(Declared):
    type = "AWS::ApiGateway::RestApi"
    service = "apigateway"
    name_property = "Name"
    name_is_unique = False
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateRestApi", {"name": "$name"}, "id")
    reads = Call("GetRestApi", {"restApiId": "$id"})
    listing = Listing(Call("GetRestApis", {}, "items"), "id", {"name": "$name"})
    deletes = Call("DeleteRestApi", {"restApiId": "$id"})
    renamed: ClassVar = {"ApiKeySourceType": "apiKeySource"}
    outputs: ClassVar = {"RestApiId": "$id", "RootResourceId": "rootResourceId"}

    async def read(self, work: Work) -> Params:
        found = await work.call("apigateway", "GetResources", {"restApiId": work.physical_id})
        root = next((each["id"] for each in found.get("items", []) if each.get("path") == "/"), "")
        return {"RestApiId": work.physical_id, "RootResourceId": root}


class ApiResource(Declared):
    type = "AWS::ApiGateway::Resource"
    service = "apigateway"
    creates = Call("CreateResource", {}, "id")
    listing = Listing(
        Call("GetResources", {"restApiId": "@RestApiId"}, "items"),
        "id",
        {"parentId": "@ParentId", "pathPart": "@PathPart"},
        unique=True,
    )
    deletes = Call("DeleteResource", {"restApiId": "@RestApiId", "resourceId": "$id"})
    outputs: ClassVar = {"ResourceId": "$id"}


class ApiMethod(Declared):
    type = "AWS::ApiGateway::Method"
    service = "apigateway"
    _METHOD: ClassVar = {"restApiId": "@RestApiId", "resourceId": "@ResourceId", "httpMethod": "@HttpMethod"}
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("PutMethod", {})
    reads = Call("GetMethod", _METHOD)
    deletes = Call("DeleteMethod", _METHOD)
    # What has operations of its own, which `configure` calls.
    _PARTS: ClassVar = ("Integration", "MethodResponses")

    def given(self, properties: Params) -> Params:
        found = {key: value for key, value in properties.items() if key not in self._PARTS}
        return {"AuthorizationType": "NONE"} | found

    async def configure(self, work: Work) -> None:
        method = self._names(work, Call("", self._METHOD), "")
        integration = work.properties.get("Integration")
        for each in work.properties.get("MethodResponses") or []:
            params = request("apigateway", "PutMethodResponse", each) | method
            await work.call("apigateway", "PutMethodResponse", params)
        if not integration:
            return
        renamed = {"IntegrationHttpMethod": "integrationHttpMethod", "Type": "type"}
        given = {key: value for key, value in integration.items() if key != "IntegrationResponses"}
        params = request("apigateway", "PutIntegration", given, renamed) | method
        await work.call("apigateway", "PutIntegration", params)
        for each in integration.get("IntegrationResponses") or []:
            params = request("apigateway", "PutIntegrationResponse", each) | method
            await work.call("apigateway", "PutIntegrationResponse", params)

    async def update(self, work: Work) -> Params:
        # A method that is put again takes the place of the one that is there.
        await self.create(work)
        await self.configure(work)
        return {}


class ApiDeployment(Declared):
    type = "AWS::ApiGateway::Deployment"
    service = "apigateway"
    creates = Call("CreateDeployment", {}, "id")
    listing = Listing(Call("GetDeployments", {"restApiId": "@RestApiId"}, "items"), "id")
    deletes = Call("DeleteDeployment", {"restApiId": "@RestApiId", "deploymentId": "$id"})
    renamed: ClassVar = {"DeploymentCanarySettings": "canarySettings"}
    outputs: ClassVar = {"DeploymentId": "$id"}
    unoffered: ClassVar = {"StageDescription": ""}

    async def delete(self, work: Work) -> None:
        stage = work.properties.get("StageName")
        if stage:
            params = {"restApiId": work.properties["RestApiId"], "stageName": stage}
            await work.call("apigateway", "DeleteStage", params)
        await super().delete(work)


class ComputeEnvironment(Declared):
    type = "AWS::Batch::ComputeEnvironment"
    service = "batch"
    name_property = "ComputeEnvironmentName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateComputeEnvironment", {"computeEnvironmentName": "$name"}, "computeEnvironmentArn")
    reads = Call("DescribeComputeEnvironments", {"computeEnvironments": "$id"}, "computeEnvironments.0")
    listing = Listing(
        Call("DescribeComputeEnvironments", {}, "computeEnvironments"),
        "computeEnvironmentArn",
        {"computeEnvironmentName": "$name"},
        unique=True,
    )
    updates = (Call("UpdateComputeEnvironment", {"computeEnvironment": "$id"}, partial=True),)
    deletes = Call("DeleteComputeEnvironment", {"computeEnvironment": "$id"})
    renamed: ClassVar = {"MaxvCpus": "maxvCpus", "MinvCpus": "minvCpus", "DesiredvCpus": "desiredvCpus"}
    outputs: ClassVar = {"ComputeEnvironmentArn": "$id"}
    unoffered: ClassVar = {"ReplaceComputeEnvironment": "", "UpdatePolicy": ""}

    async def read(self, work: Work) -> Params:
        return {"ComputeEnvironmentArn": work.physical_id}

    async def delete(self, work: Work) -> None:
        environment = {"computeEnvironment": work.physical_id}
        await work.call("batch", "UpdateComputeEnvironment", environment | {"state": "DISABLED"})
        await super().delete(work)


class JobQueue(Declared):
    type = "AWS::Batch::JobQueue"
    service = "batch"
    name_property = "JobQueueName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateJobQueue", {"jobQueueName": "$name"}, "jobQueueArn")
    listing = Listing(
        Call("DescribeJobQueues", {}, "jobQueues"), "jobQueueArn", {"jobQueueName": "$name"}, unique=True
    )
    updates = (Call("UpdateJobQueue", {"jobQueue": "$id"}),)
    deletes = Call("DeleteJobQueue", {"jobQueue": "$id"})
    outputs: ClassVar = {"JobQueueArn": "$id"}

    def given(self, properties: Params) -> Params:
        return {"State": "ENABLED"} | properties

    async def delete(self, work: Work) -> None:
        await work.call("batch", "UpdateJobQueue", {"jobQueue": work.physical_id, "state": "DISABLED"})
        await super().delete(work)


class JobDefinition(Declared):
    """An update registers a new revision, so it makes a new resource here as a task definition does."""

    type = "AWS::Batch::JobDefinition"
    service = "batch"
    name_property = "JobDefinitionName"
    name_is_unique = False
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("RegisterJobDefinition", {"jobDefinitionName": "$name"}, "jobDefinitionArn")
    listing = Listing(
        Call("DescribeJobDefinitions", {"jobDefinitionName": "$name"}, "jobDefinitions"), "jobDefinitionArn"
    )
    deletes = Call("DeregisterJobDefinition", {"jobDefinition": "$id"})
    outputs: ClassVar = {"JobDefinitionArn": "$id"}
    unoffered: ClassVar = {"ResourceRetentionPolicy": ""}


class WarehouseSubnets(Declared):
    type = "AWS::Redshift::ClusterSubnetGroup"
    service = "redshift"
    name_style: ClassVar[NameStyle | None] = _LOWER
    tagged = True
    creates = Call("CreateClusterSubnetGroup", {"ClusterSubnetGroupName": "$name"})
    reads = Call("DescribeClusterSubnetGroups", {"ClusterSubnetGroupName": "$id"}, "ClusterSubnetGroups.0")
    updates = (Call("ModifyClusterSubnetGroup", {"ClusterSubnetGroupName": "$id"}),)
    deletes = Call("DeleteClusterSubnetGroup", {"ClusterSubnetGroupName": "$id"})
    outputs: ClassVar = {"ClusterSubnetGroupName": "$id"}
    tagging = Tagging(
        "CreateTags", "DeleteTags", "ResourceName", "arn:aws:redshift:{region}:{account}:subnetgroup:{id}"
    )


class WarehouseParameters(Declared):
    type = "AWS::Redshift::ClusterParameterGroup"
    service = "redshift"
    name_property = "ParameterGroupName"
    name_style: ClassVar[NameStyle | None] = _LOWER
    tagged = True
    creates = Call("CreateClusterParameterGroup", {"ParameterGroupName": "$name"})
    reads = Call("DescribeClusterParameterGroups", {"ParameterGroupName": "$id"}, "ParameterGroups.0")
    tagging = Tagging(
        "CreateTags", "DeleteTags", "ResourceName", "arn:aws:redshift:{region}:{account}:parametergroup:{id}"
    )
    deletes = Call("DeleteClusterParameterGroup", {"ParameterGroupName": "$id"})


class Warehouse(Declared):
    type = "AWS::Redshift::Cluster"
    service = "redshift"
    name_property = "ClusterIdentifier"
    name_style: ClassVar[NameStyle | None] = _LOWER
    tagged = True
    creates = Call("CreateCluster", {"ClusterIdentifier": "$name"})
    reads = Call("DescribeClusters", {"ClusterIdentifier": "$id"}, "Clusters.0")
    updates = (Call("ModifyCluster", {"ClusterIdentifier": "$id"}, partial=True),)
    deletes = Call("DeleteCluster", {"ClusterIdentifier": "$id"})
    outputs: ClassVar = {"Endpoint.Address": "Endpoint.Address", "Endpoint.Port": "Endpoint.Port"}
    tagging = Tagging(
        "CreateTags", "DeleteTags", "ResourceName", "arn:aws:redshift:{region}:{account}:cluster:{id}"
    )
    state_path = "ClusterStatus"
    complete = frozenset({"available"})

    async def delete(self, work: Work) -> None:
        params = {"ClusterIdentifier": work.physical_id, "SkipFinalClusterSnapshot": True}
        await work.call("redshift", "DeleteCluster", params)


class Document(Declared):
    type = "AWS::SSM::Document"
    service = "ssm"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    creates = Call("CreateDocument", {"Name": "$name"})
    reads = Call("DescribeDocument", {"Name": "$id"}, "Document")
    deletes = Call("DeleteDocument", {"Name": "$id"})
    tagging = Tagging(
        "AddTagsToResource", "RemoveTagsFromResource", "ResourceId", more={"ResourceType": "Document"}
    )
    unoffered: ClassVar = {"UpdateMethod": ""}

    def missing(self, error: AwsError) -> bool:
        return error.code == "InvalidDocument" or super().missing(error)

    def given(self, properties: Params) -> Params:
        content: Any = properties.get("Content")
        return properties if content is None else properties | {"Content": text(content)}

    def replaces(self, old: Params, new: Params) -> bool:
        return any(old.get(key) != new.get(key) for key in {*old, *new} if key != "Tags")


class ResourceGroup(Declared):
    type = "AWS::ResourceGroups::Group"
    service = "resource-groups"
    name_property = "Name"
    tagged = True
    creates = Call("CreateGroup", {"Name": "$name"})
    reads = Call("GetGroup", {"GroupName": "$id"}, "Group")
    deletes = Call("DeleteGroup", {"GroupName": "$id"})
    updates = (
        Call("UpdateGroup", {"GroupName": "$id"}, partial=True),
        Call("UpdateGroupQuery", {"GroupName": "$id"}, partial=True),
    )
    outputs: ClassVar = {"Arn": "GroupArn"}
    tagging = Tagging("Tag", "Untag", "Arn", "Arn", keys="Keys")

    def _whole(self, properties: Params, stack_id: str) -> Params:
        """A group without a query has the resources of its stack."""
        query = {"Type": "CLOUDFORMATION_STACK_1_0"} | (properties.get("ResourceQuery") or {})
        if "Query" not in query and query["Type"] == "CLOUDFORMATION_STACK_1_0":
            query["Query"] = {"ResourceTypeFilters": ["AWS::AllSupported"], "StackIdentifier": stack_id}
        return properties | {"ResourceQuery": query}

    async def create(self, work: Work) -> tuple[str, Params]:
        return await super().create(replace(work, properties=self._whole(work.properties, work.stack_id)))

    async def update(self, work: Work) -> Params:
        new, old = self._whole(work.properties, work.stack_id), self._whole(work.old, work.stack_id)
        return await super().update(replace(work, properties=new, old=old))


class SecurityConfiguration(Declared):
    type = "AWS::EMR::SecurityConfiguration"
    service = "emr"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = PLAIN
    creates = Call("CreateSecurityConfiguration", {"Name": "$name"})
    reads = Call("DescribeSecurityConfiguration", {"Name": "$id"})
    deletes = Call("DeleteSecurityConfiguration", {"Name": "$id"})

    def missing(self, error: Any) -> bool:
        return super().missing(error) or "does not exist" in error.message
