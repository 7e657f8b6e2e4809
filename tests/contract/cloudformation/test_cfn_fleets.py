"""Fleets, clusters, notebooks and classic load balancers: kept by the ancillary services as a stack says."""

from __future__ import annotations

import json
from typing import Any

from cfn_ancillary import Cloud, of, showing

ROLE = "arn:aws:iam::000000000000:role/any"


async def test_a_spot_fleet_has_its_instances_until_it_goes(cloud: Cloud) -> None:
    data: dict[str, Any] = {
        "IamFleetRole": ROLE,
        "TargetCapacity": 2,
        "LaunchSpecifications": [{"ImageId": "ami-12345678", "InstanceType": "t3.micro", "SpotPrice": "0.1"}],
    }
    resources = {"Fleet": of("EC2::SpotFleet", SpotFleetRequestConfigData=data)}
    template = showing(resources, "Fleet.Id")
    out = await cloud.create(template)
    assert out["Fleet"] == out["FleetId"]

    async def instances() -> list[Any]:
        params = {"SpotFleetRequestId": out["Fleet"]}
        return list((await cloud.ask("ec2", "DescribeSpotFleetInstances", **params))["ActiveInstances"])

    assert len(await instances()) == 2
    data["TargetCapacity"] = 3
    assert (await cloud.update(template))["Fleet"] == out["Fleet"]
    assert len(await instances()) == 3
    data["IamFleetRole"] = f"{ROLE}2"
    assert (await cloud.update(template))["Fleet"] != out["Fleet"]
    await cloud.delete()
    found = (await cloud.ask("ec2", "DescribeSpotFleetRequests"))["SpotFleetRequestConfigs"]
    assert [each for each in found if each["SpotFleetRequestState"] == "active"] == []


async def test_a_cluster_and_a_group_of_instances_beside_it(cloud: Cloud) -> None:
    resources = {
        "Cluster": of(
            "EMR::Cluster",
            Name="numbers",
            ReleaseLabel="emr-6.15.0",
            ServiceRole="EMR_DefaultRole",
            JobFlowRole="EMR_EC2_DefaultRole",
            Applications=[{"Name": "Spark"}],
            Configurations=[{"Classification": "spark", "ConfigurationProperties": {"a": "b"}}],
            Instances={
                "MasterInstanceGroup": {"InstanceCount": 1, "InstanceType": "m5.xlarge", "Market": "ON_DEMAND"},
                "CoreInstanceGroup": {"InstanceCount": 2, "InstanceType": "m5.xlarge", "Market": "ON_DEMAND"},
                "KeepJobFlowAliveWhenNoSteps": True,
            },
            Tags=[{"Key": "a", "Value": "1"}],
        ),
        "Tasks": of(
            "EMR::InstanceGroupConfig",
            JobFlowId={"Ref": "Cluster"},
            InstanceRole="TASK",
            InstanceType="m5.large",
            InstanceCount=1,
            Name="tasks",
        ),
    }
    template = showing(resources, "Cluster.Id")
    out = await cloud.create(template)
    cluster = {"ClusterId": out["Cluster"]}
    shown = (await cloud.ask("emr", "DescribeCluster", **cluster))["Cluster"]
    assert (shown["Name"], shown["ReleaseLabel"]) == ("numbers", "emr-6.15.0")
    assert shown["Tags"][0]["Key"] == "a"

    async def groups() -> dict[str, int]:
        found = (await cloud.ask("emr", "ListInstanceGroups", **cluster))["InstanceGroups"]
        return {each["InstanceGroupType"]: each["RequestedInstanceCount"] for each in found}

    assert await groups() == {"MASTER": 1, "CORE": 2, "TASK": 1}
    resources["Tasks"]["Properties"]["InstanceCount"] = 4
    resources["Cluster"]["Properties"]["StepConcurrencyLevel"] = 5
    again = await cloud.update(template)
    assert (again["Cluster"], again["Tasks"]) == (out["Cluster"], out["Tasks"])
    assert await groups() == {"MASTER": 1, "CORE": 2, "TASK": 4}
    await cloud.delete()
    state = (await cloud.ask("emr", "DescribeCluster", **cluster))["Cluster"]["Status"]["State"]
    assert state == "TERMINATED"


async def test_a_notebook_is_stopped_before_it_goes(cloud: Cloud) -> None:
    resources = {
        "Book": of(
            "SageMaker::NotebookInstance",
            InstanceType="ml.t3.medium",
            RoleArn=ROLE,
            VolumeSizeInGB=10,
            Tags=[{"Key": "a", "Value": "1"}],
        )
    }
    out = await cloud.create(showing(resources, "Book.NotebookInstanceArn"))
    name = {"NotebookInstanceName": out["BookNotebookInstanceArn"].rpartition("/")[2]}
    shown = await cloud.ask("sagemaker", "DescribeNotebookInstance", **name)
    assert (shown["NotebookInstanceStatus"], shown["VolumeSizeInGB"]) == ("InService", 10)
    await cloud.delete()
    assert (await cloud.ask("sagemaker", "ListNotebookInstances")).get("NotebookInstances") in ([], None)


async def test_a_classic_load_balancer_is_kept_as_the_template_says(cloud: Cloud) -> None:
    listener = {"LoadBalancerPort": "80", "InstancePort": "8080", "Protocol": "HTTP"}
    balancer: dict[str, Any] = {
        "AvailabilityZones": ["us-east-1a"],
        "Listeners": [listener | {"PolicyNames": ["sticky"]}],
        "LBCookieStickinessPolicy": [{"PolicyName": "sticky", "CookieExpirationPeriod": "60"}],
        "HealthCheck": {
            "Target": "HTTP:8080/",
            "Interval": "30",
            "Timeout": "5",
            "HealthyThreshold": "2",
            "UnhealthyThreshold": "3",
        },
        "CrossZone": True,
        "ConnectionDrainingPolicy": {"Enabled": True, "Timeout": 20},
        "ConnectionSettings": {"IdleTimeout": 90},
        "Tags": [{"Key": "a", "Value": "1"}],
    }
    resources = {"LB": of("ElasticLoadBalancing::LoadBalancer", **balancer)}
    template = showing(resources, "LB.DNSName")
    out = await cloud.create(template)

    async def shown() -> Any:
        asked = {"LoadBalancerNames": [out["LB"]]}
        return (await cloud.ask("elb", "DescribeLoadBalancers", **asked))["LoadBalancerDescriptions"][0]

    async def attributes() -> Any:
        asked = {"LoadBalancerName": out["LB"]}
        return (await cloud.ask("elb", "DescribeLoadBalancerAttributes", **asked))["LoadBalancerAttributes"]

    found = await shown()
    assert found["DNSName"] == out["LBDNSName"] and found["HealthCheck"]["Target"] == "HTTP:8080/"
    (one,) = found["ListenerDescriptions"]
    assert (one["Listener"]["InstancePort"], one["PolicyNames"]) == (8080, ["sticky"])
    kept = await attributes()
    assert kept["CrossZoneLoadBalancing"]["Enabled"] and kept["ConnectionDraining"]["Timeout"] == 20
    assert kept["ConnectionSettings"]["IdleTimeout"] == 90
    properties = resources["LB"]["Properties"]
    properties["Listeners"] = [listener | {"LoadBalancerPort": "81"}]
    del properties["LBCookieStickinessPolicy"]
    properties["AvailabilityZones"] = ["us-east-1b"]
    properties["Tags"] = [{"Key": "b", "Value": "2"}]
    assert (await cloud.update(template))["LB"] == out["LB"]
    found = await shown()
    (one,) = found["ListenerDescriptions"]
    assert (one["Listener"]["LoadBalancerPort"], one["PolicyNames"]) == (81, [])
    assert found["AvailabilityZones"] == ["us-east-1b"]
    assert found["Policies"]["LBCookieStickinessPolicies"] == []
    await cloud.delete()
    assert (await cloud.ask("elb", "DescribeLoadBalancers"))["LoadBalancerDescriptions"] == []


async def test_a_classic_load_balancer_says_where_a_number_is_none(cloud: Cloud) -> None:
    listener = {"LoadBalancerPort": "http", "InstancePort": "8080", "Protocol": "HTTP"}
    balancer = of("ElasticLoadBalancing::LoadBalancer", AvailabilityZones=["us-east-1a"], Listeners=[listener])
    made = await cloud.do("CreateStack", StackName="web", TemplateBody=json.dumps({"Resources": {"LB": balancer}}))
    cloud.id = made["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any(
        "Listeners/0/LoadBalancerPort must be a number, and is 'http'." in each for each in await cloud.reasons()
    )
