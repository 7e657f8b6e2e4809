"""Unmodified boto3 clients of CloudFormation over `FakeServices`, in real time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3

from cfn_world import FakeServices
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.server import quiet_log, serve


@asynccontextmanager
async def cloud(path: Path) -> AsyncIterator[tuple[Any, str, FakeServices]]:
    clock = SystemClock()
    fake = FakeServices(clock)  # type: ignore[arg-type]
    database = Database(path / "state.db")
    api = CloudFormationApi(database=database, ids=Ids(), clock=clock, calls=fake, log=quiet_log())
    try:
        async with api, serve([api.service()]) as endpoint:
            client = boto3.client(
                "cloudformation",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            try:
                yield client, endpoint, fake
            finally:
                client.close()
    finally:
        database.close()
