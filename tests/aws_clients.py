"""Unmodified boto3 clients for an endpoint of ours, called from a coroutine."""

from __future__ import annotations

import asyncio
from typing import Any

import boto3
from botocore.exceptions import ClientError


class AwsClient:
    """`await client("describe_images", repositoryName=...)`."""

    def __init__(self, service: str, url: str, region: str = "us-east-1") -> None:
        self.boto: Any = boto3.client(
            service,
            endpoint_url=url,
            region_name=region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    async def __call__(self, name: str, **params: Any) -> Any:
        return await asyncio.to_thread(getattr(self.boto, name), **params)

    async def refused(self, name: str, **params: Any) -> tuple[str, str]:
        """Code and message of the error that the call must end in."""
        try:
            await self(name, **params)
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Error"]["Message"]
        raise AssertionError(f"{name} was not refused")

    async def pages(self, name: str, key: str, **params: Any) -> list[Any]:
        def collect() -> list[Any]:
            found = self.boto.get_paginator(name).paginate(**params)
            return [each for page in found for each in page[key]]

        return await asyncio.to_thread(collect)
