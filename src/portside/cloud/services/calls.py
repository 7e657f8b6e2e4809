"""How services are called: by clients through the gateway, and by one another.

Owns the vocabulary only: who calls (`Caller`), what an operation is (`operation`), and the one way from one
service to another (`Calls`). A service never imports another service; it calls its public API, whether that
is one of ours or one that `ancillary.py` passes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from portside.cloud.kernel.record import record
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe

Params = dict[str, Any]


@record(frozen=True, slots=True)
class Caller:
    """Whose call it is. `endpoint` is how the caller reached the cloud (`http://127.0.0.1:4566`).

    `role` is the ARN of the role whose session this is; calls of such a caller are authorized. Empty for the
    account itself, which may do everything. `asked`: the actions that are authorized, where a service does more
    in a role's name than AWS would have to (CloudFormation); None for all.
    """

    account: str
    region: str
    arn: str
    access_key: str = ""
    endpoint: str = ""
    role: str = ""
    asked: frozenset[str] | None = None

    @classmethod
    def root(cls, account: str, region: str, access_key: str = "", *, endpoint: str = "") -> Caller:
        """The account itself: whom the cloud's own loops call as, and who may do everything."""
        return cls(account, region, f"arn:aws:iam::{account}:root", access_key, endpoint)


@dataclass(frozen=True, slots=True)
class RoleSession:
    """Temporary credentials of a role, as AssumeRole gives them. `expires` in epoch seconds."""

    role: str
    arn: str
    user_id: str
    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: float

    def caller(self, region: str, endpoint: str = "") -> Caller:
        """Who calls with these credentials."""
        return Caller(self.arn.split(":")[4], region, self.arn, self.access_key, endpoint, self.role)


class Roles(Protocol):
    """How a service takes on a role that it was given."""

    async def assume(
        self,
        role: str,
        session_name: str,
        service: str,
        caller: Caller,
        seconds: int = 3600,
        source: str = "",
    ) -> RoleSession:
        """A session of `role` (an ARN) for `service` (`codebuild.amazonaws.com`), which acts for the resource
        `source` (the ARN of a project, a pipeline, a stack), on which trust policies may insist.

        Raises AwsError AccessDenied if the role does not exist or does not trust the service.
        """
        ...


# The parameter of StartBuild by which a pipeline hands over its artifacts; docs/decisions/0011-delivery.md.
PIPELINE_KEY = "portside:pipeline"
# The parameter of calls about nested stacks that names their parent; docs/decisions/0022-stack-execution.md.
PARENT_KEY = "portside:parent"


Handler = Callable[[Caller, Params], Params | Awaitable[Params]]
Method = TypeVar("Method", bound=Callable[..., Any])


def operation(name: str) -> Callable[[Method], Method]:
    """Marks the method of an `api.py` that answers the AWS operation `name`.

    The method takes the caller and the parameters (checked against botocore's shape, in its names) and
    returns the members of the output shape, or raises AwsError. It may be a coroutine.
    """

    def mark(method: Method) -> Method:
        method.__operation__ = name  # type: ignore[attr-defined]
        return method

    return mark


def invalid_by_default(found: list[Violation]) -> AwsError:
    return AwsError("ValidationError", describe(found))


@dataclass(frozen=True, slots=True)
class Service:
    """One AWS service as the gateway sees it.

    `name` is botocore's (`elbv2`); `invalid` makes the service's own error out of broken constraints;
    `partial` leaves operations that are not in the table to the ancillary endpoint.
    """

    name: str
    operations: Mapping[str, Handler]
    invalid: Callable[[list[Violation]], AwsError] = field(default=invalid_by_default)
    partial: bool = False


def operations_of(api: object) -> dict[str, Handler]:
    """The operations that an api object answers, by name."""
    found: dict[str, Handler] = {}
    for attribute in dir(type(api)):
        name = getattr(getattr(type(api), attribute), "__operation__", None)
        if name is not None:
            found[name] = getattr(api, attribute)
    return found


class Calls(Protocol):
    """Call any AWS service from inside the cloud.

    `await calls("elbv2", "RegisterTargets", {...}, caller)`: parameters and answer in botocore's names;
    raises AwsError as the service would answer.
    """

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params: ...
