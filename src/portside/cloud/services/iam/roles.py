"""Roles as IAM has them, read through its API and kept until something in IAM changes.

Owns the copy of what bears on a role: its trust policy, its identity policies and its boundary. The roles
themselves are the ancillary services'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.iam.evaluate import Policies


@dataclass(frozen=True, slots=True)
class Role:
    """`trust` is the trust policy as JSON; `longest` the longest session in seconds."""

    arn: str
    id: str
    trust: str
    policies: Policies
    longest: int


class RoleReader:
    """Use `find`; call `forget` when IAM has changed."""

    def __init__(self, calls: Calls, account: str) -> None:
        self._calls = calls
        self._account = account
        self._known: dict[str, Role] = {}
        self._version = 0

    def forget(self, region: str = "") -> None:
        """For `Ancillary.subscribe`, which names a region; IAM has none."""
        self._known.clear()
        self._version += 1

    async def find(self, arn: str) -> Role | None:
        """The role, None if there is none of that ARN."""
        known = self._known.get(arn)
        if known is not None:
            return known
        version = self._version
        found = await self._read(arn)
        if found is not None and version == self._version:
            self._known[arn] = found
        return found

    async def _read(self, arn: str) -> Role | None:
        name = arn.rpartition("/")[2]
        if not name or arn.split(":")[4:5] != [self._account]:
            return None
        try:
            role = (await self._iam("GetRole", {"RoleName": name}))["Role"]
            if role["Arn"] != arn:
                return None
            inline = await self._all("ListRolePolicies", "PolicyNames", RoleName=name)
            identity = [
                (await self._iam("GetRolePolicy", {"RoleName": name, "PolicyName": each}))["PolicyDocument"]
                for each in inline
            ]
            for each in await self._all("ListAttachedRolePolicies", "AttachedPolicies", RoleName=name):
                identity.append(await self._managed(each["PolicyArn"]))
            limit = (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
            boundary = await self._managed(limit) if limit else None
        except AwsError as error:
            if error.code in ("NoSuchEntity", "NoSuchEntityException"):
                return None
            raise
        return Role(
            arn=arn,
            id=role["RoleId"],
            trust=role.get("AssumeRolePolicyDocument") or "",
            policies=Policies(tuple(identity), boundary),
            longest=int(role.get("MaxSessionDuration") or 3600),
        )

    async def _managed(self, arn: str) -> str:
        policy = (await self._iam("GetPolicy", {"PolicyArn": arn}))["Policy"]
        version = await self._iam("GetPolicyVersion", {"PolicyArn": arn, "VersionId": policy["DefaultVersionId"]})
        return str(version["PolicyVersion"]["Document"])

    async def _all(self, operation: str, member: str, **params: Any) -> list[Any]:
        found: list[Any] = []
        while True:
            answer = await self._iam(operation, params)
            found += answer.get(member, [])
            if not answer.get("IsTruncated"):
                return found
            params["Marker"] = answer["Marker"]

    async def _iam(self, operation: str, params: Params) -> Params:
        root = Caller.root(self._account, "us-east-1")
        return await self._calls("iam", operation, params, root)
