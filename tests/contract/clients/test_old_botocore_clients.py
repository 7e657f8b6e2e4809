"""botocore of 2023, before endpoints could be named by a variable and before CBOR: each protocol as it spoke then."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from client_cloud import LocalCloud, Tool, environment
from client_programs import from_pypi, script
from client_rows import ROWS, is_version

PROGRAM = """
import datetime, json, sys
import botocore, botocore.session

session = botocore.session.get_session()

def client(service):
    return session.create_client(service, endpoint_url=sys.argv[1])

told = {"version": botocore.__version__}
ecs, cloudwatch, elb = client("ecs"), client("cloudwatch"), client("elbv2")
told["ecs"] = ecs.create_cluster(clusterName="old")["cluster"]["status"]
now = datetime.datetime.now(datetime.timezone.utc)
cloudwatch.put_metric_alarm(
    AlarmName="old", Namespace="N", MetricName="M", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1.5,
    ComparisonOperator="GreaterThanThreshold",
)
told["cloudwatch"] = cloudwatch.describe_alarms(AlarmNames=["old"])["MetricAlarms"][0]["Threshold"]
told["elbv2"] = elb.describe_load_balancers(Names=[])["LoadBalancers"] == []
cloudformation = client("cloudformation")
template = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}}}
cloudformation.create_stack(StackName="old", TemplateBody=json.dumps(template))
waiter = cloudformation.get_waiter("stack_create_complete")
waiter.wait(StackName="old", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
s3 = client("s3")
s3.create_bucket(Bucket="old", CreateBucketConfiguration={"LocationConstraint": "ca-central-1"})
s3.put_object(Bucket="old", Key="k", Body=b"content")
told["s3"] = s3.get_object(Bucket="old", Key="k")["Body"].read().decode()
sqs = client("sqs")
url = sqs.create_queue(QueueName="old")["QueueUrl"]
sqs.send_message(QueueUrl=url, MessageBody="hello")
told["sqs"] = sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"]
told["sts"] = client("sts").get_caller_identity()["Account"]
print(json.dumps(told))
"""


@pytest.mark.client(
    "botocore-old",
    works="JSON, Query and REST as they were: ECS, CloudWatch and SQS by Query, S3, CloudFormation with a waiter",
)
def test_each_protocol_as_it_was(cloud: LocalCloud, tmp_path: Path) -> None:
    packages = from_pypi(f"botocore=={ROWS['botocore-old'].version}")
    program = script(
        tmp_path / "program", f'PYTHONPATH="{packages}" exec {sys.executable} -S program.py {cloud.url}'
    )
    (tmp_path / "program.py").write_text(PROGRAM)
    environ = environment(cloud.url) | {"AWS_REGION": "ca-central-1", "AWS_DEFAULT_REGION": "ca-central-1"}
    told = json.loads(Tool([str(program)], environ, tmp_path)())
    assert is_version("botocore-old", told.pop("version"))
    assert told == {
        "ecs": "ACTIVE", "cloudwatch": 1.5, "elbv2": True, "s3": "content", "sqs": "hello", "sts": "000000000000",
    }  # fmt: skip
