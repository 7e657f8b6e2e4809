"""Types of services far from this system, kept and shown; and that nothing moto could make was forgotten."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from cfn_ancillary import Cloud, of, showing
from portside.cloud.services.cloudformation.resources import registry

LIST = """
import warnings
warnings.simplefilter("ignore")
from moto.cloudformation import parsing
print(*sorted(kind for kind in parsing.get_model_map() if kind.startswith("AWS::")))
"""


def test_every_type_that_moto_knows_is_made_here_or_withheld_for_a_reason() -> None:
    found = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True, timeout=120)
    # Nested stacks are the engine's own business; the other is the class that all derive from.
    theirs = set(found.stdout.split()) - {"AWS::SERVICE::RESOURCE", "AWS::CloudFormation::Stack"}
    assert len(theirs) > 80
    assert theirs <= {*registry.HANDLERS, *registry.WITHHELD}
    assert not set(registry.HANDLERS) & set(registry.WITHHELD)


async def test_an_api(cloud: Cloud) -> None:
    api = {"Ref": "Api"}
    resources: dict[str, Any] = {
        "Api": of("ApiGateway::RestApi", Name="orders", Tags=[{"Key": "a", "Value": "1"}]),
        "Path": of(
            "ApiGateway::Resource",
            RestApiId=api,
            ParentId={"Fn::GetAtt": ["Api", "RootResourceId"]},
            PathPart="orders",
        ),
        "Get": of(
            "ApiGateway::Method",
            RestApiId=api,
            ResourceId={"Ref": "Path"},
            HttpMethod="GET",
            AuthorizationType="NONE",
            MethodResponses=[{"StatusCode": "200"}],
            Integration={
                "Type": "MOCK",
                "RequestTemplates": {"application/json": '{"statusCode": 200}'},
                "IntegrationResponses": [{"StatusCode": "200"}],
            },
        ),
        "Live": of("ApiGateway::Deployment", RestApiId=api, Description="one") | {"DependsOn": "Get"},
    }
    template = showing(resources, "Api.RootResourceId", "Live.DeploymentId")
    out = await cloud.create(template)
    found = await cloud.ask(
        "apigateway", "GetMethod", restApiId=out["Api"], resourceId=out["Path"], httpMethod="GET"
    )
    assert found["methodIntegration"]["type"] == "MOCK"
    resources["Get"]["Properties"]["AuthorizationType"] = "AWS_IAM"
    assert await cloud.update(template) == out
    found = await cloud.ask(
        "apigateway", "GetMethod", restApiId=out["Api"], resourceId=out["Path"], httpMethod="GET"
    )
    assert found["authorizationType"] == "AWS_IAM"
    assert (await cloud.ask("apigateway", "GetRestApi", restApiId=out["Api"]))["tags"] == {"a": "1"}
    await cloud.delete()
    assert (await cloud.ask("apigateway", "GetRestApis"))["items"] == []


async def test_things_and_their_kinds(cloud: Cloud) -> None:
    role = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "credentials.iot.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
    resources: dict[str, Any] = {
        "Role": of("IAM::Role", AssumeRolePolicyDocument=role),
        "Kind": of("IoT::ThingType"),
        "Thing": of("IoT::Thing", AttributePayload={"Attributes": {"a": "1"}}),
        "May": of("IoT::Policy", PolicyDocument=may),
        "Alias": of("IoT::RoleAlias", RoleArn={"Fn::GetAtt": ["Role", "Arn"]}),
        "Bill": of("IoT::BillingGroup"),
        "Job": of("IoT::JobTemplate", JobTemplateId="job-1", Description="one", Document="{}"),
    }
    template = showing(resources, "Thing.Arn", "May.Arn", "Alias.RoleAliasArn")
    out = await cloud.create(template, Capabilities=["CAPABILITY_IAM"])
    assert out["ThingArn"].endswith(f"thing/{out['Thing']}")
    resources["Thing"]["Properties"]["AttributePayload"] = {"Attributes": {"a": "2"}}
    resources["May"]["Properties"]["PolicyDocument"]["Statement"][0]["Action"] = "iot:Connect"
    assert await cloud.update(template, Capabilities=["CAPABILITY_IAM"]) == out
    assert (await cloud.ask("iot", "DescribeThing", thingName=out["Thing"]))["attributes"]["a"] == "2"
    assert "iot:Connect" in (await cloud.ask("iot", "GetPolicy", policyName=out["May"]))["policyDocument"]
    await cloud.delete()
    assert (await cloud.ask("iot", "ListThings"))["things"] == []


async def test_warehouses_models_and_documents(cloud: Cloud) -> None:
    subnets = [each["SubnetId"] for each in (await cloud.ask("ec2", "DescribeSubnets"))["Subnets"][:2]]
    role = "arn:aws:iam::000000000000:role/learning"
    resources: dict[str, Any] = {
        "Where": of("Redshift::ClusterSubnetGroup", Description="one", SubnetIds=subnets),
        "How": of("Redshift::ClusterParameterGroup", Description="one", ParameterGroupFamily="redshift-1.0"),
        "Warehouse": of(
            "Redshift::Cluster",
            ClusterType="single-node",
            DBName="orders",
            NodeType="ra3.large",
            MasterUsername="app",
            MasterUserPassword="Correct-horse-9",
            ClusterSubnetGroupName={"Ref": "Where"},
        ),
        "Model": of("SageMaker::Model", ExecutionRoleArn=role, PrimaryContainer={"Image": "a/b:c"}),
        "Config": of(
            "SageMaker::EndpointConfig",
            ProductionVariants=[
                {
                    "VariantName": "one",
                    "ModelName": {"Fn::Select": [1, {"Fn::Split": ["/", {"Ref": "Model"}]}]},
                    "InitialInstanceCount": 1,
                    "InstanceType": "ml.t2.medium",
                    "InitialVariantWeight": 1.0,
                }
            ],
        ),
        "Run": of(
            "SSM::Document",
            DocumentType="Command",
            Content={"schemaVersion": "2.2", "description": "one", "mainSteps": []},
        ),
        "Locked": of("EMR::SecurityConfiguration", SecurityConfiguration={"a": "b"}),
    }
    template = showing(resources, "Warehouse.Endpoint.Port")
    out = await cloud.create(template, Tags=[{"Key": "team", "Value": "shop"}])
    assert out["Model"].startswith("arn:aws:sagemaker:") and out["WarehouseEndpointPort"] == "5439"
    resources["Warehouse"]["Properties"]["MasterUserPassword"] = "Correct-horse-10"
    resources["Run"]["Properties"]["Content"]["description"] = "two"
    again = await cloud.update(template, Tags=[{"Key": "team", "Value": "web"}])
    tags = (await cloud.ask("sagemaker", "ListTags", ResourceArn=out["Model"]))["Tags"]
    assert tags == [{"Key": "team", "Value": "web"}]
    (warehouse,) = (await cloud.ask("redshift", "DescribeClusters"))["Clusters"]
    assert warehouse["Tags"] == [{"Key": "team", "Value": "web"}]
    assert again["Warehouse"] == out["Warehouse"] and again["Run"] != out["Run"]
    await cloud.delete()
    assert (await cloud.ask("redshift", "DescribeClusters"))["Clusters"] == []
    assert (await cloud.ask("sagemaker", "ListModels"))["Models"] == []


async def test_queues_of_jobs(cloud: Cloud) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "batch.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    resources: dict[str, Any] = {
        "Role": of("IAM::Role", AssumeRolePolicyDocument=trust),
        "Machines": of(
            "Batch::ComputeEnvironment",
            Type="UNMANAGED",
            State="ENABLED",
            ServiceRole={"Fn::GetAtt": ["Role", "Arn"]},
        ),
        "Queue": of(
            "Batch::JobQueue",
            Priority=1,
            ComputeEnvironmentOrder=[{"Order": 1, "ComputeEnvironment": {"Ref": "Machines"}}],
        ),
        "Job": of(
            "Batch::JobDefinition",
            Type="container",
            ContainerProperties={"Image": "busybox", "Vcpus": 1, "Memory": 128, "Command": ["true"]},
        ),
    }
    template = showing(resources)
    out = await cloud.create(template, Capabilities=["CAPABILITY_IAM"])
    assert ":job-definition/" in out["Job"] and ":job-queue/" in out["Queue"]
    resources["Queue"]["Properties"]["Priority"] = 5
    assert await cloud.update(template, Capabilities=["CAPABILITY_IAM"]) == out
    (queue,) = (await cloud.ask("batch", "DescribeJobQueues"))["jobQueues"]
    assert queue["priority"] == 5
    await cloud.delete()
    assert (await cloud.ask("batch", "DescribeJobQueues"))["jobQueues"] == []


async def test_a_resource_group_without_a_query_has_its_stack(cloud: Cloud) -> None:
    resources = {
        "Group": of("ResourceGroups::Group", Name="mine", ResourceQuery={"Type": "CLOUDFORMATION_STACK_1_0"})
    }
    out = await cloud.create(showing(resources))
    found = await cloud.ask("resource-groups", "GetGroupQuery", GroupName=out["Group"])
    query = found["GroupQuery"]["ResourceQuery"]
    assert query["Type"] == "CLOUDFORMATION_STACK_1_0"
    assert json.loads(query["Query"])["StackIdentifier"] == cloud.id
    await cloud.delete()
