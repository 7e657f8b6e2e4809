"""A load balancer of a stack that writes access logs, over a whole cloud with Envoy and the ancillary buckets."""

from __future__ import annotations

import asyncio
import gzip
import json
import shlex
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from test_cfn_drift_clients import create, ended, kind, reasons

from backends import free_port
from codepipeline_cloud import Running, cloud
from portside.cloud.services.elbv2.access_log_loop import KEY

HELLO = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200", "MessageBody": "hello"}}]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def resources(running: Running, port: int, writer: Any) -> dict[str, Any]:
    subnets = [each["SubnetId"] for each in (await running.do("ec2", "describe_subnets"))["Subnets"]][:2]
    statement = {
        "Effect": "Allow",
        "Principal": writer,
        "Action": "s3:PutObject",
        "Resource": {"Fn::Sub": "${Bucket.Arn}/web/AWSLogs/${AWS::AccountId}/*"},
    }
    wanted = {"enabled": "true", "bucket": {"Ref": "Bucket"}, "prefix": "web"}
    return {
        "Bucket": kind("S3::Bucket", BucketName="traffic-logs"),
        "Policy": kind(
            "S3::BucketPolicy",
            Bucket={"Ref": "Bucket"},
            PolicyDocument={"Version": "2012-10-17", "Statement": [statement]},
        ),
        "Balancer": kind(
            "ElasticLoadBalancingV2::LoadBalancer",
            Name="web",
            Subnets=subnets,
            LoadBalancerAttributes=[{"Key": f"access_logs.s3.{k}", "Value": v} for k, v in wanted.items()],
        )
        | {"DependsOn": "Policy"},
        "Listener": kind(
            "ElasticLoadBalancingV2::Listener",
            LoadBalancerArn={"Ref": "Balancer"},
            Port=port,
            Protocol="HTTP",
            DefaultActions=HELLO,
        ),
    }


async def said(url: str) -> str:
    """What is answered, once anybody listens."""
    async with aiohttp.ClientSession(headers={"User-Agent": "somebody"}) as http, asyncio.timeout(30):
        while True:
            try:
                async with http.get(url) as answer:
                    return await answer.text()
            except aiohttp.ClientConnectorError:
                continue


async def test_requests_come_to_the_bucket(directory: Path) -> None:
    port = free_port()
    async with cloud(directory) as running:
        await create(running, await resources(running, port, {"AWS": "arn:aws:iam::127311923021:root"}))
        assert await said(f"http://127.0.0.1:{port}/one?two=3") == "hello"

        assert running.cloud.services.elb is not None
        keys: list[str] = []
        async with asyncio.timeout(30):
            while not keys:
                running.cloud.services.elb.access_logs.loop.wake(KEY)
                found = await running.do("s3", "list_objects_v2", Bucket="traffic-logs")
                keys = [each["Key"] for each in found["Contents"] if each["Key"].endswith(".log.gz")]
        (key,) = keys
        assert key.startswith("web/AWSLogs/000000000000/elasticloadbalancing/us-east-1/")
        stored = (await running.do("s3", "get_object", Bucket="traffic-logs", Key=key))["Body"].read()
        (line,) = gzip.decompress(stored).decode().splitlines()
        fields = shlex.split(line)
        assert (fields[0], fields[8], fields[9]) == ("http", "200", "-")
        assert fields[12] == f"GET http://127.0.0.1:{port}/one?two=3 HTTP/1.1"
        assert (fields[13], fields[22]) == ("somebody", "fixed-response")


async def test_without_permission_the_stack_fails(directory: Path) -> None:
    async with cloud(directory) as running:
        wanted = await resources(running, free_port(), {"AWS": "arn:aws:iam::111111111111:root"})
        template = json.dumps({"Resources": wanted})
        await running.do("cloudformation", "create_stack", StackName="web", TemplateBody=template)
        with pytest.raises(AssertionError):
            await ended(running, "CREATE", "web")
        told = " ".join(await asyncio.to_thread(reasons, running, "web"))
        assert "Access Denied for bucket: traffic-logs. Please check S3bucket permission" in told
