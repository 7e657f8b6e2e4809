"""The AWS API as `deploy` uses it, and nothing but the AWS API.

Owns the clients. A `Target` with an endpoint is the local cloud, or any other AWS-compatible endpoint; without
one it is whatever boto3's own configuration names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from portside.deploy.errors import NotAccepted, Unreachable


@dataclass(frozen=True, slots=True)
class Target:
    """Where to deploy to. `poll` is the number of seconds between two looks at something in progress."""

    name: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    poll: float = 3.0


@dataclass(frozen=True, slots=True)
class Time:
    """The present and waiting, so that tests need neither."""

    now: Callable[[], float] = time.monotonic  # noqa: TID251 - the command line's own clock
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251


class Aws:
    """Clients of one target, made when first used."""

    def __init__(self, target: Target, clock: Time | None = None) -> None:
        self.target = target
        self.clock = clock or Time()

    @cached_property
    def _session(self) -> Any:
        import boto3

        if self.target.endpoint is None:
            return boto3.Session()
        return boto3.Session(
            aws_access_key_id=self.target.access_key,
            aws_secret_access_key=self.target.secret_key,
            region_name=self.target.region,
        )

    def client(self, service: str) -> Any:
        from botocore.config import Config

        known = self.__dict__.setdefault("_clients", {})
        if service not in known:
            config = Config(
                retries={"mode": "standard", "max_attempts": 4},
                connect_timeout=5,
                s3={"addressing_style": "path"} if self.target.endpoint else None,
                # Settings of the user's that are meant for AWS itself stay out of the way of a local endpoint.
                proxies={} if self.target.endpoint else None,
            )
            with self.errors(f"cannot use {self.target.name}"):
                known[service] = self._session.client(
                    service,
                    endpoint_url=self.target.endpoint,
                    config=config,
                    verify=False if (self.target.endpoint or "").startswith("http://") else None,
                )
        return known[service]

    @property
    def region(self) -> str:
        return str(self.client("cloudformation").meta.region_name)

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn botocore's exceptions into ours, with `what` could not be done."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            NoRegionError,
        )

        try:
            yield
        except ClientError as error:
            why = error.response["Error"].get("Message") or error.response["Error"].get("Code", "")
            raise NotAccepted(what, why) from error
        except NoCredentialsError as error:
            raise Unreachable(what, "there are no AWS credentials", "Run `aws configure`.") from error
        except NoRegionError as error:
            raise Unreachable(what, "no region is set", "Set AWS_REGION, or run `aws configure`.") from error
        except BotoCoreError as error:
            remedy = (
                "See `portside cloud status`." if self.target.endpoint else "Check the network and the region."
            )
            raise Unreachable(what, str(error), remedy) from error


def error_code(error: BaseException) -> str:
    """The AWS code of a botocore ClientError, else an empty string."""
    response = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if isinstance(response, dict) else ""
