"""boto3 as programs use it: waiters, paginators, retries, presigned URLs, and both kinds of validation."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError, WaiterError

from client_cloud import LocalCloud
from client_rows import is_version

PARAMETER = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}
QUICK = {"Delay": 1, "MaxAttempts": 60}


def fetched(url: str, method: str = "GET", data: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_version_is_the_rows() -> None:
    assert is_version("boto3", botocore.__version__)


@pytest.mark.client(
    "boto3", works="waiters, with their failures: stacks, services, tasks, load balancers, buckets"
)
def test_waiters(cloud: LocalCloud) -> None:
    cloudformation, ecs = cloud.client("cloudformation"), cloud.client("ecs")
    cloudformation.create_stack(StackName="waited", TemplateBody=json.dumps({"Resources": {"P": PARAMETER}}))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="waited", WaiterConfig=QUICK)
    cloudformation.delete_stack(StackName="waited")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="waited", WaiterConfig=QUICK)
    bad = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "Wrong", "Value": "x"}}}}
    cloudformation.create_stack(StackName="failed", TemplateBody=json.dumps(bad))
    with pytest.raises(WaiterError, match="terminal failure state"):
        cloudformation.get_waiter("stack_create_complete").wait(StackName="failed", WaiterConfig=QUICK)

    ecs.create_cluster(clusterName="waited")
    cloud.instance("waited")
    ecs.register_task_definition(
        family="waited", containerDefinitions=[{"name": "a", "image": "app:1", "memory": 64}]
    )
    ecs.create_service(cluster="waited", serviceName="s", taskDefinition="waited", desiredCount=1)
    ecs.get_waiter("services_stable").wait(cluster="waited", services=["s"], WaiterConfig=QUICK)
    (task,) = ecs.list_tasks(cluster="waited")["taskArns"]
    ecs.get_waiter("tasks_running").wait(cluster="waited", tasks=[task], WaiterConfig=QUICK)
    ecs.update_service(cluster="waited", service="s", desiredCount=0)
    ecs.get_waiter("tasks_stopped").wait(cluster="waited", tasks=[task], WaiterConfig=QUICK)
    ecs.delete_service(cluster="waited", service="s", force=True)
    ecs.get_waiter("services_inactive").wait(cluster="waited", services=["s"], WaiterConfig=QUICK)
    with pytest.raises(WaiterError, match="MISSING"):
        ecs.get_waiter("services_stable").wait(cluster="waited", services=["none"], WaiterConfig=QUICK)

    elb, ec2, s3 = cloud.client("elbv2"), cloud.client("ec2"), cloud.client("s3")
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
    (made,) = elb.create_load_balancer(Name="waited", Subnets=subnets)["LoadBalancers"]
    arns = {"LoadBalancerArns": [made["LoadBalancerArn"]]}
    elb.get_waiter("load_balancer_available").wait(**arns, WaiterConfig=QUICK)
    elb.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
    elb.get_waiter("load_balancers_deleted").wait(**arns, WaiterConfig=QUICK)
    s3.create_bucket(Bucket="waited")
    s3.get_waiter("bucket_exists").wait(Bucket="waited", WaiterConfig=QUICK)
    s3.put_object(Bucket="waited", Key="k", Body=b"x")
    s3.get_waiter("object_exists").wait(Bucket="waited", Key="k", WaiterConfig=QUICK)


@pytest.mark.client("boto3", works="paginators, with page sizes and starting tokens")
def test_paginators(cloud: LocalCloud) -> None:
    ecr, cloudformation = cloud.client("ecr", "us-west-2"), cloud.client("cloudformation", "us-west-2")
    names = [f"paged-{number:02}" for number in range(12)]
    for name in names:
        ecr.create_repository(repositoryName=name)
    pages = list(ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["repositories"]) for page in pages] == [5, 5, 2]
    first = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 5, "MaxItems": 7})
    seen = first.build_full_result()
    rest = ecr.get_paginator("describe_repositories").paginate(
        PaginationConfig={"StartingToken": seen["NextToken"]}
    )
    both = seen["repositories"] + rest.build_full_result()["repositories"]
    assert sorted(each["repositoryName"] for each in both) == names
    body = json.dumps({"Resources": {f"P{number}": PARAMETER for number in range(40)}})
    cloudformation.create_stack(StackName="events", TemplateBody=body)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="events", WaiterConfig=QUICK)
    events = list(cloudformation.get_paginator("describe_stack_events").paginate(StackName="events"))
    assert len(events) > 1
    assert len({each["EventId"] for page in events for each in page["StackEvents"]}) == 40 * 3 + 2


class Unreliable:
    """Between a client and the cloud: does to each request what `troubles` says next, then passes requests on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.troubles: list[str] = []
        self.requests = 0
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests += 1
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "before":
            return
        if trouble == "throttle":
            answer = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1\r\n")
            writer.write(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(answer) + answer)
            await writer.drain()
            return
        inner, outer = await asyncio.open_connection("127.0.0.97", self._port)
        outer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
        answer = await inner.read()
        outer.close()
        if trouble != "after":  # the cloud has acted, and the client does not hear of it
            writer.write(answer)
            await writer.drain()


@contextmanager
def unreliable(cloud: LocalCloud) -> Iterator[Unreliable]:
    made = Unreliable(int(cloud.url.rpartition(":")[2]))
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(made._serve, "127.0.0.1", 0))
    made.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@pytest.mark.client(
    "boto3",
    works="retries in the modes legacy, standard and adaptive: throttled, dropped before and after the cloud acted",
)
@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_retries(cloud: LocalCloud, mode: str) -> None:
    with unreliable(cloud) as between:
        config = Config(retries={"mode": mode, "max_attempts": 3})
        more = {"endpoint_url": f"http://127.0.0.1:{between.port}", "config": config}
        ecs = cloud.client("ecs", **more)
        for trouble in ("throttle", "before", "after"):
            between.troubles, between.requests = [trouble], 0
            # What ECS makes by name is made once, however often it is asked for.
            made = ecs.create_cluster(clusterName=f"retried-{mode}-{trouble}")["cluster"]
            assert (made["status"], between.requests) == ("ACTIVE", 2)
        found = cloud.client("ecs").list_clusters()["clusterArns"]
        assert len([each for each in found if f"retried-{mode}-" in each]) == 3
        # A token names the request: asked again it is the same stack.
        cloudformation = cloud.client("cloudformation", **more)
        between.troubles, between.requests = ["after"], 0
        body = json.dumps({"Resources": {"P": PARAMETER}})
        name = f"retried-{mode}"
        made = cloudformation.create_stack(StackName=name, TemplateBody=body, ClientRequestToken=f"t-{mode}")
        assert between.requests == 2 and f":stack/{name}/" in made["StackId"]
        between.troubles = ["throttle"] * 9
        with pytest.raises(ClientError, match="ThrottlingException"):
            ecs.list_clusters()


@pytest.mark.client("boto3", works="presigned URLs: S3 GET, PUT and POST, STS GetCallerIdentity")
def test_presigned_urls(cloud: LocalCloud) -> None:
    s3, sts = cloud.client("s3"), cloud.client("sts")
    s3.create_bucket(Bucket="signed")
    where = {"Bucket": "signed", "Key": "a b"}
    assert fetched(s3.generate_presigned_url("put_object", Params=where), "PUT", b"content") == (200, b"")
    assert s3.get_object(**where)["Body"].read() == b"content"
    for version in ("s3v4", "s3"):
        signer = cloud.client("s3", config=Config(signature_version=version))
        assert fetched(signer.generate_presigned_url("get_object", Params=where)) == (200, b"content")
    status, said = fetched(s3.generate_presigned_url("get_object", Params=where | {"Key": "none"}))
    assert (status, b"NoSuchKey" in said) == (404, True)
    post = s3.generate_presigned_post("signed", "posted")
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (key.encode(), value.encode())
        for key, value in post["fields"].items()
    )
    body += b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nposted\r\n--x--\r\n'
    request = urllib.request.Request(
        post["url"], data=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status in (200, 204)
    assert s3.get_object(Bucket="signed", Key="posted")["Body"].read() == b"posted"
    status, said = fetched(sts.generate_presigned_url("get_caller_identity"))
    assert status == 200 and b"<Account>000000000000</Account>" in said


@pytest.mark.client(
    "boto3", works="validation: before a request by the client, and without that by the cloud in AWS's words"
)
def test_validation_here_and_there(cloud: LocalCloud) -> None:
    with pytest.raises(ParamValidationError):
        cloud.client("ecs").create_service()
    config = Config(parameter_validation=False)
    for service, operation, params, code in (
        ("ecs", "create_service", {"desiredCount": 1}, "InvalidParameterException"),
        ("ecr", "describe_images", {}, "InvalidParameterException"),
        ("cloudformation", "create_stack", {}, "ValidationError"),
        ("elbv2", "create_target_group", {}, "ValidationError"),
        ("logs", "create_log_group", {}, "InvalidParameterException"),
        ("codebuild", "start_build", {}, "InvalidInputException"),
        ("codepipeline", "get_pipeline", {}, "ValidationException"),
    ):
        unchecked: Any = cloud.client(service, config=config)
        with pytest.raises(ClientError) as caught:
            getattr(unchecked, operation)(**params)
        assert (service, caught.value.response["Error"]["Code"]) == (service, code)
