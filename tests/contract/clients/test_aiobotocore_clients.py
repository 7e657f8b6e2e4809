"""aiobotocore, which speaks with the cloud in a program of its own: waiters, paginators, streams."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from client_cloud import LocalCloud, Tool, environment
from client_programs import from_pypi, script
from client_rows import ROWS, is_version

VERSION = ROWS["aiobotocore"].version
PROGRAM = """
import asyncio, json
import aiobotocore
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

TEMPLATE = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}}}
QUICK = {"Delay": 1, "MaxAttempts": 60}

async def main():
    session, told = get_session(), {"version": aiobotocore.__version__}
    async with (
        session.create_client("cloudformation") as cloudformation,
        session.create_client("ecr") as ecr,
        session.create_client("ecs") as ecs,
        session.create_client("s3") as s3,
    ):
        await cloudformation.create_stack(StackName="aio", TemplateBody=json.dumps(TEMPLATE))
        waiter = cloudformation.get_waiter("stack_create_complete")
        await waiter.wait(StackName="aio", WaiterConfig=QUICK)
        names = [f"aio-{number}" for number in range(6)]
        await asyncio.gather(*(ecr.create_repository(repositoryName=name) for name in names))
        pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 4})
        found = [each["repositoryName"] async for page in pages for each in page["repositories"]]
        told["pages"] = sorted(name for name in found if name.startswith("aio-"))
        await s3.create_bucket(Bucket="aio")
        await s3.put_object(Bucket="aio", Key="large", Body=bytes(3 * 2**20))
        answer = await s3.get_object(Bucket="aio", Key="large")
        async with answer["Body"] as stream:
            told["bytes"] = len(await stream.read())
        url = await s3.generate_presigned_url("get_object", Params={"Bucket": "aio", "Key": "large"})
        told["url"] = url
        try:
            await ecs.describe_services(cluster="none", services=["a"])
        except ClientError as error:
            told["error"] = error.response["Error"]["Code"]
    print(json.dumps(told))

asyncio.run(main())
"""


@pytest.mark.client(
    "aiobotocore", works="clients side by side, a waiter, a paginator, streams, presigned URLs, errors"
)
def test_in_a_program_of_its_own(cloud: LocalCloud, tmp_path: Path) -> None:
    packages = from_pypi(f"aiobotocore=={VERSION}")
    program = script(tmp_path / "program", f'PYTHONPATH="{packages}" exec {sys.executable} -S program.py')
    (tmp_path / "program.py").write_text(PROGRAM)
    told = json.loads(Tool([str(program)], environment(cloud.url), tmp_path)())
    assert is_version("aiobotocore", told["version"])
    assert told["pages"] == [f"aio-{number}" for number in range(6)]
    assert told["bytes"] == 3 * 2**20
    assert told["url"].startswith(f"{cloud.url}/aio/large?")
    assert told["error"] == "ClusterNotFoundException"
