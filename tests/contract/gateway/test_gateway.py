"""The gateway towards real and towards broken clients: always an AWS error, never a traceback."""

import asyncio
import json
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Service, operation, operations_of
from portside.cloud.services.sts.api import StsApi
from portside.testing.server import serve

KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}


class Nobody:
    """For a gateway without roles."""

    async def assume_for(self, caller, params):
        raise AwsError("AccessDenied", "There are no roles here.", 403)

    def user_id(self, caller):
        raise AssertionError("only asked for sessions")


class Ecs:
    @operation("ListClusters")
    def list_clusters(self, caller, params):
        return {"clusterArns": [f"arn:aws:ecs:{caller.region}:{caller.account}:cluster/one"]}

    @operation("DescribeClusters")
    async def describe_clusters(self, caller, params):
        await asyncio.sleep(0)
        raise AwsError("ClusterNotFoundException", "Cluster not found.")

    @operation("DeleteCluster")
    def delete_cluster(self, caller, params):
        raise RuntimeError("a secret detail")


class CloudFormation:
    @operation("DescribeStacks")
    def describe_stacks(self, caller, params):
        raise AwsError("ValidationError", f"Stack with id {params['StackName']} does not exist")


@pytest.fixture
async def endpoint():
    services = [
        Service("ecs", operations_of(Ecs())),
        Service("cloudformation", operations_of(CloudFormation())),
        StsApi(Nobody()).service(),
    ]
    async with serve(services) as url:
        yield url


async def call(endpoint, service, name, **params):
    def go():
        client = boto3.client(service, endpoint_url=endpoint, **KEYS)
        try:
            return getattr(client, name)(**params)
        finally:
            client.close()

    return await asyncio.to_thread(go)


async def raw(endpoint, body=b"", headers=None, path="/", method="POST"):
    def go():
        request = urllib.request.Request(endpoint + path, data=body, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    return await asyncio.to_thread(go)


def signed(service):
    return (
        f"AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )


async def test_the_region_is_that_of_the_signature(endpoint):
    answer = await call(endpoint, "ecs", "list_clusters")
    assert answer["clusterArns"] == ["arn:aws:ecs:eu-west-1:000000000000:cluster/one"]


async def test_caller_identity(endpoint):
    answer = await call(endpoint, "sts", "get_caller_identity")
    assert answer["Account"] == "000000000000"
    assert answer["Arn"] == "arn:aws:iam::000000000000:root"


async def test_errors_arrive_with_code_and_message_in_json(endpoint):
    with pytest.raises(ClientError) as caught:
        await call(endpoint, "ecs", "describe_clusters")
    assert caught.value.response["Error"] == {
        "Code": "ClusterNotFoundException",
        "Message": "Cluster not found.",
    }


async def test_errors_arrive_with_code_and_message_in_xml(endpoint):
    with pytest.raises(ClientError) as caught:
        await call(endpoint, "cloudformation", "describe_stacks", StackName="none")
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"], error["Type"]) == (
        "ValidationError",
        "Stack with id none does not exist",
        "Sender",
    )


async def test_an_operation_that_is_not_offered_says_so(endpoint):
    with pytest.raises(ClientError, match=r"does not offer ecs:CreateCluster") as caught:
        await call(endpoint, "ecs", "create_cluster")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


async def test_a_fault_of_ours_tells_a_number_and_no_details(endpoint):
    status, _, body = await raw(
        endpoint,
        b'{"cluster": "a"}',
        {
            "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DeleteCluster",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": signed("ecs"),
        },
    )
    document = json.loads(body)
    assert (status, document["__type"]) == (500, "InternalFailure")
    assert b"secret detail" not in body
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"maxResults": "many"}', "SerializationException"),
        (b"\xff\xfe", "SerializationException"),
    ],
)
async def test_malformed_json_gets_the_json_error(endpoint, body, code):
    headers = {
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": signed("ecs"),
    }
    status, answered, content = await raw(endpoint, body, headers)
    assert (status, json.loads(content)["__type"]) == (400, code)
    assert answered["Content-Type"] == "application/x-amz-json-1.1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"Action=Nonsense&Version=2010-05-15", b"<Code>InvalidAction</Code>"),
        (b"Version=2010-05-15", b"<Code>MissingAction</Code>"),
        (b"Action=\xff", b"<Code>MalformedQueryString</Code>"),
        (b"Action=DescribeStacks&Version=2010-05-15&StackName=", b"<Code>ValidationError</Code>"),
    ],
)
async def test_malformed_queries_get_the_xml_error(endpoint, body, code):
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": signed("cloudformation")}
    status, answered, content = await raw(endpoint, body, headers)
    assert status == 400
    assert code in content
    assert answered["Content-Type"] == "text/xml"


async def test_an_unsigned_request_is_refused_so_that_no_web_page_can_make_one(endpoint):
    headers = {
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListClusters",
        "Content-Type": "application/x-amz-json-1.1",
    }
    status, _, content = await raw(endpoint, b"{}", headers)
    assert (status, json.loads(content)["__type"]) == (403, "MissingAuthenticationToken")


async def test_an_unknown_operation_of_a_json_service(endpoint):
    headers = {
        "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.Nonsense",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": signed("ecs"),
    }
    status, _, content = await raw(endpoint, b"{}", headers)
    assert status == 400
    assert json.loads(content)["__type"] == "UnknownOperationException"
