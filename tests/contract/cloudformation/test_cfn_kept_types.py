"""Types that are kept and shown: CodeDeploy's, resource policies of Logs, web ACLs. With the real services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from cfn_ancillary import Cloud, of, showing
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.cloud.services.codedeploy.api import CodeDeployApi
from portside.cloud.services.logs.api import LogsApi
from portside.testing.server import ACCOUNT, quiet_log, serve


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    monkeypatch.chdir(tmp_path)
    database, clock, log, ids = Database(tmp_path / "state.db"), SystemClock(), quiet_log(), Ids()
    shared: Any = {"database": database, "clock": clock, "log": log, "ids": ids}
    try:
        async with Ancillary(directory=tmp_path, account=ACCOUNT, endpoint="", log=log) as ancillary:
            services = [CodeDeployApi(**shared).service(), LogsApi(**shared).service()]
            calls = Dispatcher(ancillary, services)
            api = CloudFormationApi(calls=calls, **shared)
            async with api:
                yield Cloud(api, calls)
    finally:
        database.close()


async def test_deployments_are_declared(cloud: Cloud) -> None:
    group: dict[str, Any] = {
        "ApplicationName": {"Ref": "Application"},
        "ServiceRoleArn": f"arn:aws:iam::{ACCOUNT}:role/deploy",
        "DeploymentConfigName": {"Ref": "Config"},
        "Ec2TagFilters": [{"Key": "app", "Value": "web", "Type": "KEY_AND_VALUE"}],
        "AutoRollbackConfiguration": {"Enabled": True, "Events": ["DEPLOYMENT_FAILURE"]},
        "Tags": [{"Key": "a", "Value": "1"}],
    }
    resources: dict[str, Any] = {
        "Application": of("CodeDeploy::Application", ComputePlatform="Server", ApplicationName="web"),
        "Config": of("CodeDeploy::DeploymentConfig", MinimumHealthyHosts={"Type": "HOST_COUNT", "Value": 2}),
        "Group": of("CodeDeploy::DeploymentGroup", **group),
    }
    out = await cloud.create(showing(resources))

    async def shown() -> Any:
        names = {"applicationName": out["Application"], "deploymentGroupName": out["Group"]}
        return (await cloud.ask("codedeploy", "GetDeploymentGroup", **names))["deploymentGroupInfo"]

    assert (await shown())["deploymentConfigName"] == out["Config"]
    assert (await shown())["autoRollbackConfiguration"] == {"enabled": True, "events": ["DEPLOYMENT_FAILURE"]}
    assert (await shown())["ec2TagFilters"] == [{"Key": "app", "Value": "web", "Type": "KEY_AND_VALUE"}]
    with pytest.raises(AwsError, match="is in use by the deployment group"):
        await cloud.ask("codedeploy", "DeleteDeploymentConfig", deploymentConfigName=out["Config"])

    del group["AutoRollbackConfiguration"]
    group |= {"Tags": [{"Key": "a", "Value": "2"}], "DeploymentConfigName": "CodeDeployDefault.AllAtOnce"}
    resources["Group"] = of("CodeDeploy::DeploymentGroup", **group)
    assert await cloud.update(showing(resources)) == out
    assert (await shown())["deploymentConfigName"] == "CodeDeployDefault.AllAtOnce"
    assert (await shown())["autoRollbackConfiguration"]["enabled"] is False
    arn = f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:deploymentgroup:{out['Application']}/{out['Group']}"
    assert (await cloud.ask("codedeploy", "ListTagsForResource", ResourceArn=arn))["Tags"] == [
        {"Key": "a", "Value": "2"}
    ]
    await cloud.delete()
    assert (await cloud.ask("codedeploy", "ListApplications"))["applications"] == []


async def test_a_deployment_itself_is_refused_by_name(cloud: Cloud) -> None:
    group = of(
        "CodeDeploy::DeploymentGroup",
        ApplicationName={"Ref": "Application"},
        ServiceRoleArn=f"arn:aws:iam::{ACCOUNT}:role/deploy",
        Deployment={"Revision": {"RevisionType": "String"}},
    )
    template = json.dumps({"Resources": {"Application": of("CodeDeploy::Application"), "Group": group}})
    made = await cloud.do("CreateStack", StackName="web", TemplateBody=template)
    cloud.id = made["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any("does not offer Deployment of AWS::CodeDeploy" in each for each in await cloud.reasons())


async def test_a_policy_of_logs(cloud: Cloud) -> None:
    def policy(service: str) -> str:
        said = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "logs:PutLogEvents",
            "Resource": "*",
        }
        return json.dumps({"Version": "2012-10-17", "Statement": [said]})

    resources = {
        "Policy": of("Logs::ResourcePolicy", PolicyName="dns", PolicyDocument=policy("route53.amazonaws.com"))
    }
    assert await cloud.create(showing(resources)) == {"Policy": "dns"}
    resources["Policy"]["Properties"]["PolicyDocument"] = policy("es.amazonaws.com")
    await cloud.update(showing(resources))
    (shown,) = (await cloud.ask("logs", "DescribeResourcePolicies"))["resourcePolicies"]
    assert shown["policyName"] == "dns" and "es.amazonaws.com" in shown["policyDocument"]
    await cloud.delete()
    assert (await cloud.ask("logs", "DescribeResourcePolicies"))["resourcePolicies"] == []
    for params, message in (
        ({"policyName": "p", "policyDocument": "{"}, "malformed"),
        ({"policyName": "p"}, "must be given"),
        ({"policyName": "p", "policyDocument": policy("x"), "resourceArn": "arn:x"}, "which arn:x is not"),
    ):
        with pytest.raises(AwsError, match=message):
            await cloud.ask("logs", "PutResourcePolicy", **params)
    with pytest.raises(AwsError, match="does not exist"):
        await cloud.ask("logs", "DeleteResourcePolicy", policyName="dns")
    for number in range(10):
        await cloud.ask("logs", "PutResourcePolicy", policyName=f"p{number}", policyDocument=policy("x"))
    with pytest.raises(AwsError, match="limit exceeded"):
        await cloud.ask("logs", "PutResourcePolicy", policyName="more", policyDocument=policy("x"))
    first = await cloud.ask("logs", "DescribeResourcePolicies", limit=7)
    rest = await cloud.ask("logs", "DescribeResourcePolicies", limit=7, nextToken=first["nextToken"])
    assert len(first["resourcePolicies"] + rest["resourcePolicies"]) == 10 and "nextToken" not in rest


async def test_a_web_acl_and_what_has_it(cloud: Cloud) -> None:
    seen = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"}
    balancer = f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:loadbalancer/app/web/0123456789abcdef"
    resources = {
        "Acl": of("WAFv2::WebACL", DefaultAction={"Allow": {}}, Scope="REGIONAL", VisibilityConfig=seen),
        "Has": of("WAFv2::WebACLAssociation", ResourceArn=balancer, WebACLArn={"Fn::GetAtt": ["Acl", "Arn"]}),
    }
    out = await cloud.create(showing(resources, "Acl.Arn", "Acl.Id"))
    name, made, scope = out["Acl"].split("|")
    assert (made, scope) == (out["AclId"], "REGIONAL") and out["Has"] == f"{balancer}|{out['AclArn']}"
    found = await cloud.ask("wafv2", "GetWebACLForResource", ResourceArn=balancer)
    assert found["WebACL"]["Name"] == name
    resources["Acl"]["Properties"]["Description"] = "ours"
    assert await cloud.update(showing(resources, "Acl.Arn", "Acl.Id")) == out
    found = await cloud.ask("wafv2", "GetWebACL", Name=name, Id=made, Scope=scope)
    assert found["WebACL"]["Description"] == "ours"
    await cloud.delete()
    assert (await cloud.ask("wafv2", "ListWebACLs", Scope="REGIONAL"))["WebACLs"] == []


async def test_boto3_speaks_to_codedeploy(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    try:
        made = CodeDeployApi(database=database, ids=Ids(1), clock=SystemClock(), log=quiet_log())
        async with serve([made.service()]) as url:
            await asyncio.to_thread(_walk, url)
    finally:
        database.close()


def _walk(url: str) -> None:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("codedeploy", endpoint_url=url, region_name="us-east-1", **keys)
    client.create_application(applicationName="web", computePlatform="ECS", tags=[{"Key": "a", "Value": "1"}])
    with pytest.raises(client.exceptions.ApplicationAlreadyExistsException):
        client.create_application(applicationName="web")
    with pytest.raises(client.exceptions.ClientError, match="failed to satisfy constraint"):
        client.create_application(applicationName="no spaces")
    group = {"applicationName": "web", "deploymentGroupName": "blue", "serviceRoleArn": "arn:aws:iam::1:role/r"}
    with pytest.raises(client.exceptions.InvalidDeploymentStyleException):
        client.create_deployment_group(**group)
    style = {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"}
    client.create_deployment_group(**group, deploymentStyle=style)
    client.update_application(applicationName="web", newApplicationName="shop")
    assert client.list_deployment_groups(applicationName="shop")["deploymentGroups"] == ["blue"]
    client.update_deployment_group(
        applicationName="shop", currentDeploymentGroupName="blue", newDeploymentGroupName="green"
    )
    shown = client.get_deployment_group(applicationName="shop", deploymentGroupName="green")["deploymentGroupInfo"]
    assert (shown["deploymentConfigName"], shown["deploymentStyle"]) == ("CodeDeployDefault.ECSAllAtOnce", style)
    assert (shown["applicationName"], shown["deploymentGroupName"]) == ("shop", "green")
    assert (
        "CodeDeployDefault.LambdaCanary10Percent5Minutes"
        in client.list_deployment_configs()["deploymentConfigsList"]
    )
    ready = client.get_deployment_config(deploymentConfigName="CodeDeployDefault.HalfAtATime")[
        "deploymentConfigInfo"
    ]
    assert ready["minimumHealthyHosts"] == {"type": "FLEET_PERCENT", "value": 50}
    assert client.get_application(applicationName="shop")["application"]["createTime"].year > 2000
    with pytest.raises(client.exceptions.ClientError, match="does not offer codedeploy:CreateDeployment"):
        client.create_deployment(applicationName="shop", deploymentGroupName="green")
    client.delete_application(applicationName="shop")
    with pytest.raises(
        client.exceptions.ApplicationDoesNotExistException, match="No application found for name: shop"
    ):
        client.get_application(applicationName="shop")
    client.close()
