"""The ancillary services: real clients reach moto through the gateway, and its state outlives the process."""

import asyncio
import os
import signal

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.calls import Caller
from portside.testing.server import ACCOUNT, quiet_log, serve

CALLER = Caller.root(ACCOUNT, "eu-west-1", "portside")
TRUST = '{"Version": "2012-10-17", "Statement": []}'


def made(directory, endpoint=""):
    return Ancillary(directory=directory, account=ACCOUNT, endpoint=endpoint, log=quiet_log())


@pytest.fixture
def directory(tmp_path, monkeypatch):
    # As the cloud's own process does: the socket's name stays short however deep the directory is.
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_state_is_the_same_after_a_restart_identifiers_included(directory):
    async with made(directory) as ancillary:
        assert not ancillary.has_state
        vpc = (await ancillary("ec2", "DescribeVpcs", {}, CALLER))["Vpcs"][0]["VpcId"]
        role = await ancillary("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": TRUST}, CALLER)
        await ancillary("s3", "CreateBucket", {"Bucket": "bucket", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}, CALLER)  # fmt: skip
        await ancillary("s3", "PutObject", {"Bucket": "bucket", "Key": "k/l", "Body": b"content"}, CALLER)
        group = await ancillary("ec2", "CreateSecurityGroup", {"GroupName": "g", "Description": "d", "VpcId": vpc}, CALLER)  # fmt: skip
    async with made(directory) as ancillary:
        assert ancillary.has_state
        assert (await ancillary("ec2", "DescribeVpcs", {}, CALLER))["Vpcs"][0]["VpcId"] == vpc
        again = await ancillary("iam", "GetRole", {"RoleName": "r"}, CALLER)
        assert again["Role"]["RoleId"] == role["Role"]["RoleId"]
        groups = await ancillary("ec2", "DescribeSecurityGroups", {"GroupIds": [group["GroupId"]]}, CALLER)
        assert groups["SecurityGroups"][0]["GroupName"] == "g"
        assert (await ancillary("s3", "GetObject", {"Bucket": "bucket", "Key": "k/l"}, CALLER))[
            "Body"
        ] == b"content"


async def test_it_comes_back_with_its_state_when_its_process_is_killed(directory):
    async with made(directory) as ancillary:
        await ancillary("sns", "CreateTopic", {"Name": "t"}, CALLER)
        process = ancillary._process
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        topics = await ancillary("sns", "ListTopics", {}, CALLER)
        assert [topic["TopicArn"].rsplit(":", 1)[1] for topic in topics["Topics"]] == ["t"]


async def test_refusals_arrive_as_the_service_words_them(directory):
    async with made(directory) as ancillary:
        with pytest.raises(AwsError) as caught:
            await ancillary("iam", "GetRole", {"RoleName": "none"}, CALLER)
        assert caught.value.code == "NoSuchEntity"
        with pytest.raises(AwsError) as caught:
            await ancillary("braket", "SearchDevices", {"filters": []}, CALLER)
        assert caught.value.code == "NotImplemented"


async def test_changes_are_announced_and_looks_are_not(directory):
    news = []
    async with made(directory) as ancillary:
        ancillary.subscribe("sns", news.append)
        await ancillary("sns", "ListTopics", {}, CALLER)
        assert news == []
        await ancillary("sns", "CreateTopic", {"Name": "t"}, CALLER)
        assert news == ["eu-west-1"]


async def test_unmodified_clients_reach_it_through_the_gateway(directory):
    async with made(directory) as ancillary, serve([], ancillary=ancillary, forwarder=ancillary) as endpoint:

        def walk():
            def client(service):
                return boto3.client(
                    service,
                    endpoint_url=endpoint,
                    region_name="eu-west-1",
                    aws_access_key_id="a",
                    aws_secret_access_key="b",
                )

            s3 = client("s3")
            s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
            s3.put_object(Bucket="bucket", Key="dir/key", Body=b"x" * 200_000)
            assert s3.get_object(Bucket="bucket", Key="dir/key")["Body"].read() == b"x" * 200_000
            assert s3.head_object(Bucket="bucket", Key="dir/key")["ContentLength"] == 200_000
            ssm = client("ssm")
            ssm.put_parameter(Name="/a/b", Value="v", Type="String")
            assert ssm.get_parameter(Name="/a/b")["Parameter"]["Value"] == "v"
            cloudwatch = client("cloudwatch")
            cloudwatch.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 1.0}])
            assert "m" in {metric["MetricName"] for metric in cloudwatch.list_metrics(Namespace="n")["Metrics"]}
            assert client("ec2").describe_vpcs()["Vpcs"][0]["IsDefault"]
            # Signed with the name that the other generation has too, which the cloud answers itself.
            listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
            classic = client("elb")
            classic.create_load_balancer(
                LoadBalancerName="old", Listeners=[listener], AvailabilityZones=["eu-west-1a"]
            )
            found = classic.describe_load_balancers()["LoadBalancerDescriptions"]
            assert [each["LoadBalancerName"] for each in found] == ["old"]
            with pytest.raises(ClientError, match="NoSuchKey"):
                s3.get_object(Bucket="bucket", Key="none")

        await asyncio.to_thread(walk)


async def test_another_endpoint_can_stand_in_its_place(directory):
    """The setting ancillary_endpoint; here the gateway of a second cloud with moto behind it."""
    async with made(directory) as moto, serve([], ancillary=moto, forwarder=moto) as endpoint:
        async with made(directory, endpoint) as ancillary:
            await ancillary("sns", "CreateTopic", {"Name": "t"}, CALLER)
            assert ancillary._process is None
        topics = await moto("sns", "ListTopics", {}, CALLER)
        assert len(topics["Topics"]) == 1


async def test_an_endpoint_that_does_not_answer_is_an_error_that_names_it(directory):
    async with made(directory, "http://127.0.0.1:9") as ancillary:
        with pytest.raises(AwsError, match=r"http://127\.0\.0\.1:9 did not answer") as caught:
            await ancillary("sns", "ListTopics", {}, CALLER)
        assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)


async def test_configurations_of_buckets_are_kept_as_they_were_sent(directory):
    metrics = {"Id": "m", "Filter": {"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "<v>"}]}}}
    bucket = {"Bucket": "bbb"}
    caller = Caller(ACCOUNT, "us-east-1", CALLER.arn, "portside")
    async with made(directory) as ancillary:

        async def ask(operation, **params):
            return await ancillary("s3", operation, bucket | params, caller)

        with pytest.raises(AwsError) as caught:
            await ask("ListBucketMetricsConfigurations")
        assert caught.value.code == "NoSuchBucket"
        await ask("CreateBucket")
        await ask("PutBucketMetricsConfiguration", Id="m", MetricsConfiguration=metrics)
        for number in range(100):
            await ask("PutBucketMetricsConfiguration", Id=f"n{number}", MetricsConfiguration={"Id": f"n{number}"})
        with pytest.raises(AwsError) as caught:
            await ask("PutBucketMetricsConfiguration", Id="x", MetricsConfiguration={"Id": "y"})
        assert caught.value.code == "MalformedXML"
        await ask("DeleteBucketMetricsConfiguration", Id="n0")
        for operation in ("GetBucketMetricsConfiguration", "DeleteBucketMetricsConfiguration"):
            with pytest.raises(AwsError) as caught:
                await ask(operation, Id="n0")
            assert (caught.value.code, caught.value.status) == ("NoSuchConfiguration", 404)
        # moto would take the one for DeleteBucket, the other for CreateBucket.
        for operation, params in (
            ("DeleteBucketMetadataConfiguration", {}),
            ("PutBucketRequestPayment", {"RequestPaymentConfiguration": {"Payer": "Requester"}}),
        ):
            with pytest.raises(AwsError) as caught:
                await ask(operation, **params)
            assert caught.value.code == "NotImplemented"
    async with made(directory) as ancillary:
        assert (await ask("GetBucketMetricsConfiguration", Id="m"))["MetricsConfiguration"] == metrics
        await ask("PutBucketMetricsConfiguration", Id="z", MetricsConfiguration={"Id": "z"})
        page = await ask("ListBucketMetricsConfigurations")
        assert len(page["MetricsConfigurationList"]) == 100 and page["IsTruncated"] is True
        rest = await ask("ListBucketMetricsConfigurations", ContinuationToken=page["NextContinuationToken"])
        assert [each["Id"] for each in rest["MetricsConfigurationList"]] == ["z"] and not rest["IsTruncated"]
        await ask("DeleteBucket")
        await ask("CreateBucket")
        assert "MetricsConfigurationList" not in await ask("ListBucketMetricsConfigurations")
