"""Which service and operation a request is for."""

import pytest

from portside.cloud.gateway.identify import Target, identify
from portside.cloud.gateway.signature import Scope, scope
from portside.cloud.protocol.errors import AwsError

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIA/20260131/eu-west-1/elasticloadbalancing/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0123"
)


@pytest.mark.parametrize(
    ("path", "headers", "fields", "scoped", "expected"),
    [
        ("/", {"x-amz-target": "AmazonEC2ContainerServiceV20141113.ListClusters"}, None, "ecs", Target("ecs", "ListClusters")),
        ("/", {"x-amz-target": "AmazonEC2ContainerServiceV20141113.ListClusters"}, None, None, Target("ecs", "ListClusters")),
        ("/", {"x-amz-target": "AmazonSSM.GetParameter"}, None, "ssm", Target("ssm", "GetParameter")),
        ("/", {}, {"Action": "DescribeListeners"}, "elasticloadbalancing", Target("elbv2", "DescribeListeners")),
        ("/", {}, {"Action": "DescribeTags", "Version": "2015-12-01"}, "elasticloadbalancing", Target("elbv2", "DescribeTags")),
        ("/", {}, {"Action": "DescribeTags", "Version": "2012-06-01"}, "elasticloadbalancing", Target("elb", "DescribeTags")),
        ("/", {}, {"Action": "DescribeTags", "Version": "2012-06-01"}, None, Target("elb", "DescribeTags")),
        ("/", {}, {"Action": "DescribeStacks", "Version": "2010-05-15"}, None, Target("cloudformation", "DescribeStacks")),
        ("/v2/", {}, None, None, Target("registry")),
        ("/v2/app/blobs/uploads/", {}, None, None, Target("registry")),
        ("/bucket/key", {}, None, "s3", Target("s3")),
        ("/key", {"host": "bucket.s3.localhost:4566"}, None, None, Target("s3")),
        ("/", {"host": "iam.amazonaws.com"}, {"Action": "ListRoles"}, None, Target("iam", "ListRoles")),
        ("/service/GraniteServiceVersion20100801/operation/ListMetrics", {}, None, "monitoring", Target("cloudwatch")),
    ],
)  # fmt: skip
def test_the_service_is_found(path, headers, fields, scoped, expected):
    assert identify(path, headers, fields, scoped) == expected


def test_a_request_that_names_nothing_is_told_how_to():
    with pytest.raises(AwsError, match="portside cloud env") as caught:
        identify("/", {"host": "localhost:4566"}, None, None)
    assert (caught.value.code, caught.value.status) == ("MissingAuthenticationToken", 403)


def test_an_unknown_target_is_refused():
    with pytest.raises(AwsError) as caught:
        identify("/", {"x-amz-target": "Nobody_1.DoIt"}, None, None)
    assert caught.value.code == "UnknownOperationException"


def test_the_scope_comes_from_the_header_or_the_presigned_url():
    assert scope(AUTHORIZATION, "") == Scope("AKIA", "eu-west-1", "elasticloadbalancing")
    signed = "X-Amz-Expires=60&X-Amz-Credential=AKIA%2F20260131%2Fus-east-1%2Fs3%2Faws4_request"
    assert scope("", signed) == Scope("AKIA", "us-east-1", "s3")
    assert scope("Basic QVdTOng=", "") is None


def test_the_older_signatures_of_s3_name_the_key_only():
    assert scope("AWS AKIA:c2lnbmVk=", "") == Scope("AKIA", "", "s3")
    assert scope("", "AWSAccessKeyId=AKIA&Signature=c2ln&Expires=1") == Scope("AKIA", "", "s3")
    assert scope("", "Action=ListUsers&AWSAccessKeyId=AKIA&Signature=c2ln") is None


def test_a_form_with_a_file_is_for_s3():
    headers = {"host": "localhost:4566", "content-type": "multipart/form-data; boundary=x"}
    assert identify("/bucket", headers, None, None) == Target("s3")
