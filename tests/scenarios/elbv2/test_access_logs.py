"""Access logs: a bucket that may be written to is asked for first, then objects of entries come every five minutes."""

from __future__ import annotations

import gzip
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from elb_cloud import ElbCloud, elb_cloud, instance
from portside.cloud.kernel.clock import AWS_PACE
from portside.cloud.machine.proxy import Endpoint, Served
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.elbv2.access_logs import DELIVERY, Label
from portside.cloud.services.elbv2.routing import cluster_name
from portside.cloud.services.iam.evaluate import grants
from portside.testing.server import ACCOUNT

BUCKET = "logs"
ALLOWED = {"Service": DELIVERY}
ONE = Served(
    route="", cluster="", endpoint=Endpoint("127.0.1.1", 3000), client="192.0.2.1:49152", begin=1_800_000_000.25,
    whole=0.5, request=0.001, target=0.25, response=0.0, status=200, target_status=200, received=117, sent=91,
    method="GET", host="web.example.com", path="/a?b=c", protocol="HTTP/1.1", agent='a "b"', cipher="", tls="",
    trace="Root=1-2-3", server_name="", location="", connection="7",
)  # fmt: skip


@dataclass
class Part:
    """A piece of a log that somebody remembers."""

    closed_at: float
    entries: list[Served]
    name: str = "part"
    forgotten: int = 0

    def served(self) -> Iterator[Served]:
        yield from self.entries

    def forget(self) -> None:
        self.forgotten += 1


@dataclass
class Buckets:
    """What the object store has and answers."""

    policy: dict[str, Any] | None
    objects: list[tuple[str, bytes]] = field(default_factory=list)
    fault: AwsError | None = None

    def get_policy(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["Bucket"] != BUCKET:
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", status=404)
        if self.policy is None:
            raise AwsError("NoSuchBucketPolicy", "The bucket policy does not exist", status=404)
        return {"Policy": json.dumps(self.policy)}

    def put(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        self.objects.append((params["Key"], params["Body"]))
        return {}


def allowing(principal: Any = ALLOWED, resource: str = f"arn:aws:s3:::{BUCKET}/*", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:PutObject", "Resource": resource} | more
    return {"Version": "2012-10-17", "Statement": [statement]}


def with_buckets(cloud: ElbCloud, policy: dict[str, Any] | None) -> Buckets:
    buckets = Buckets(policy)
    cloud.calls.answers["s3", "GetBucketPolicy"] = buckets.get_policy
    cloud.calls.answers["s3", "PutObject"] = buckets.put
    cloud.elb.api._grants = grants
    return buckets


async def enable(cloud: ElbCloud, balancer: str, **more: str) -> None:
    wanted = {"enabled": "true", "bucket": BUCKET, **more}
    await cloud.call(
        "ModifyLoadBalancerAttributes",
        LoadBalancerArn=balancer,
        Attributes=[{"Key": f"access_logs.s3.{key}", "Value": value} for key, value in wanted.items()],
    )


@pytest.mark.parametrize(
    ("policy", "bucket"),
    [
        (None, BUCKET),
        (allowing(), "other"),
        (allowing({"AWS": "111111111111"}), BUCKET),
        (allowing(resource=f"arn:aws:s3:::{BUCKET}/elsewhere/*"), BUCKET),
        (allowing(Effect="Deny"), BUCKET),
    ],
)
async def test_a_bucket_that_cannot_be_written_to_is_refused(
    tmp_path: Path, policy: dict[str, Any] | None, bucket: str
) -> None:
    async with elb_cloud(tmp_path) as cloud:
        buckets = with_buckets(cloud, policy)
        balancer = await cloud.balancer()
        with pytest.raises(
            AwsError, match=f"Access Denied for bucket: {bucket}. Please check S3bucket permission"
        ):
            await enable(cloud, balancer, bucket=bucket)
        assert buckets.objects == []
        answer = await cloud.call("DescribeLoadBalancerAttributes", LoadBalancerArn=balancer)
        assert {"Key": "access_logs.s3.enabled", "Value": "false"} in answer["Attributes"]


@pytest.mark.parametrize(
    "principal", [ALLOWED, {"AWS": "arn:aws:iam::127311923021:root"}, {"AWS": "127311923021"}, "*"]
)
async def test_a_bucket_that_can_gets_a_first_object(tmp_path: Path, principal: Any) -> None:
    async with elb_cloud(tmp_path) as cloud:
        buckets = with_buckets(cloud, allowing(principal, f"arn:aws:s3:::{BUCKET}/web/AWSLogs/{ACCOUNT}/*"))
        await enable(cloud, await cloud.balancer(), prefix="web")
        ((key, _),) = buckets.objects
        assert key == f"web/AWSLogs/{ACCOUNT}/ELBAccessLogTestFile"


async def test_entries_come_every_five_minutes(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        buckets = with_buckets(cloud, allowing())
        balancer, group = await cloud.balancer(), await cloud.group()
        await cloud.listener(balancer, group)
        await cloud.register(group, (instance(1), 3000))
        await enable(cloud, balancer)
        buckets.objects.clear()
        served = replace(ONE, route=str(Label(balancer, 0, "forward")), cluster=cluster_name(group))
        refused = replace(
            served, route=str(Label(balancer, 5, "redirect")), endpoint=None, cluster="", status=301,
            target_status=None, target=None, response=None, location="https://web.example.com:443/",
        )  # fmt: skip
        other = replace(served, route=str(Label(balancer.replace("/web/", "/gone/"), 0, "forward")))
        nobody = replace(served, route="")
        part = Part(1_800_000_300.0, [served, other, nobody, refused])
        cloud.proxy.log_parts.append(part)
        await cloud.clock.advance(300)
        assert part.forgotten == 1
        ((key, body),) = buckets.objects
        name = balancer.rpartition("/")[2]
        start = (
            f"AWSLogs/{ACCOUNT}/elasticloadbalancing/us-east-1/2027/01/15/{ACCOUNT}_elasticloadbalancing_us-east-1"
        )
        assert key.startswith(f"{start}_app.web.{name}_20270115T0805Z_127.0.0.1_")
        assert key.endswith(".log.gz")
        one, two = (shlex.split(line) for line in gzip.decompress(body).decode().splitlines())
        dash = "-"
        assert one == [
            "http", "2027-01-15T08:00:00.750000Z", f"app/web/{name}", "192.0.2.1:49152", f"{instance(1)}:3000",
            "0.001", "0.250", "0.000", "200", "200", "117", "91",
            "GET http://web.example.com:80/a?b=c HTTP/1.1", 'a "b"', dash, dash, group, "Root=1-2-3", dash, dash, "0",
            "2027-01-15T08:00:00.250000Z", "forward", dash, dash, f"{instance(1)}:3000", "200", dash, dash,
            f"TID_{7:032x}",
        ]  # fmt: skip
        assert two[4:12] == [dash, "-1", "-1", "-1", "301", dash, "117", "91"]
        assert two[20] == "5"
        assert two[22:24] == ["redirect", "https://web.example.com:443/"]


async def test_a_part_is_kept_until_its_bucket_takes_it(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path, AWS_PACE) as cloud:
        buckets = with_buckets(cloud, allowing())
        balancer = await cloud.balancer()
        await enable(cloud, balancer)
        part = Part(cloud.clock.now(), [replace(ONE, route=str(Label(balancer, 0, "forward")))])
        cloud.proxy.log_parts.append(part)
        buckets.objects.clear()
        buckets.fault = AwsError("InternalError", "away", status=503)
        await cloud.clock.advance(300)
        assert part.forgotten == 0
        buckets.fault = None
        await cloud.clock.advance(300)
        assert part.forgotten > 0
        # It is still there, as when the cloud is killed between the delivery and the end of the part.
        await cloud.clock.advance(300)
        assert len(buckets.objects) > 1
        assert len(set(buckets.objects)) == 1
        buckets.fault = AwsError("NoSuchBucket", "gone", status=404)
        cloud.proxy.log_parts[:] = [Part(cloud.clock.now(), part.entries)]
        await cloud.clock.advance(300)
        assert cloud.proxy.log_parts[0].forgotten > 0, "nobody will ever take it"


async def test_without_a_bucket_logs_are_not_switched_on(tmp_path: Path) -> None:
    async with elb_cloud(tmp_path) as cloud:
        with_buckets(cloud, allowing())
        balancer = await cloud.balancer()
        with pytest.raises(AwsError, match=r"'access_logs.s3.bucket' must be specified"):
            await enable(cloud, balancer, bucket="")
